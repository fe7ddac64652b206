"""Dead letters are redriven while job-service dies, and by two people at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import count, islice

import grpc
import pytest
from chaos_blows import wait_for, wait_until_ready
from chaos_books import Books, open_books
from chaos_client import SubmittingClient, submitting_client
from chaos_plan import REPLICAS
from chaos_traps import Counts, Trap
from chaos_verdict import broken_promises
from chaos_work import PROMPT, SHORT_TOKENS, tokens_of
from prometheus_client import CollectorRegistry
from weir.job.v1 import dead_letter_service_pb2 as pb
from weir.job.v1 import dead_letter_service_pb2_grpc as pb_grpc

from service_kit.errors import Unavailable
from service_kit.grpc_client import open_channel
from service_kit.grpc_errors import rpc_errors
from service_kit.tls import TlsFiles
from weir_local.stack import Stack

LETTERS = 25
# Nobody is late who redrives while a job takes four of these.
SLOW_TOKEN_MS = 1000
KEYS = (("a", "b"), ("a", "a"))
# Each has a connection to the database at once.
PAIRS_AT_ONCE = 8
# Held for ever, as far as anybody here waits.
FOR_GOOD = 60.0
WORKERS = [("gpu-worker", index) for index in range(REPLICAS)]

pytestmark = pytest.mark.timeout(600)


def is_short(number: int) -> bool:
    return tokens_of(number) == SHORT_TOKENS


@dataclass
class Graveyard:
    """Dead letters of one test's own project."""

    stack: Stack
    us: SubmittingClient
    books: Books
    counts: Counts = field(init=False)

    def __post_init__(self) -> None:
        self.counts = Counts(self.books, self.us.project_id)

    async def fill(self, number: int) -> list[str]:
        """Give so many short jobs to workers that fail each of them; return them when all died."""
        await self.start_workers({"INSTANT_FAIL_MARKER": PROMPT})
        await self.us.submit_wave(list(islice(filter(is_short, count()), number)))
        letters = list(self.us.job_ids.values())

        async def all_died() -> bool:
            return await self.counts.in_state("dead_letter", letters) == number

        await wait_for(all_died, 60, "some jobs are no dead letters")
        return letters

    async def start_workers(self, environment: dict[str, str] | None = None) -> None:
        for worker in WORKERS:
            await asyncio.to_thread(self.stack.start_service, *worker, environment, wait=False)
        await wait_until_ready(self.stack, WORKERS)

    async def none_admitting(self) -> bool:
        return await self.counts.in_state("admitting", self.us.job_ids.values()) == 0

    async def assert_each_lives_once_more(self) -> None:
        """Each job completes in its second admission, and is charged for that alone."""
        left = await self.books.left_over(90)
        evidence = await self.books.evidence(self.us.project_id)
        check = await asyncio.to_thread(self.stack.check_ledger)
        assert broken_promises(self.us.job_ids, left, evidence, check) == {}
        assert {job.admission for job in evidence.jobs.values()} == {2}


@pytest.fixture
async def graveyard(chaos_stack, request) -> AsyncIterator[Graveyard]:
    name = request.node.name.removeprefix("test_").replace("_", "-")[:30]
    async with (
        submitting_client(chaos_stack.gateway_url, name, at_once=4 * LETTERS) as us,
        open_books(chaos_stack) as books,
    ):
        graveyard = Graveyard(chaos_stack, us, books)
        yield graveyard
        await graveyard.start_workers()


async def test_killed_inside_a_redrive(graveyard):
    """Behind each step of the new admission: whoever saw no answer asks again with its key."""
    counts = graveyard.counts
    letters = await graveyard.fill(3 * LETTERS)
    await graveyard.start_workers()

    first, second, third = (letters[at : at + LETTERS] for at in range(0, 3 * LETTERS, LETTERS))
    for failpoint, group, caught in (
        ("after_job_row", first, partial(counts.in_state, "admitting", first)),
        ("after_hold", second, counts.held_and_not_admitted),
        ("after_admission", third, partial(counts.readmitted, third)),
    ):
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(graveyard.us.redrive_wave(group))
            await Trap("job-service", failpoint, FOR_GOOD, caught, 10).spring(graveyard.stack)
        await wait_for(graveyard.none_admitting, 30, "some are not admitted")

    await graveyard.assert_each_lives_once_more()


async def test_redriven_twice_at_once(graveyard):
    """X-R22: of two at two replicas, with one key or two, one opens an admission and holds it."""
    letters = await graveyard.fill(2 * LETTERS)
    await graveyard.start_workers({"INSTANT_TOKEN_DELAY_MS": str(SLOW_TOKEN_MS)})
    async with AsyncExitStack() as channels:
        replicas = [
            await channels.enter_async_context(replica_channel(graveyard.stack, index))
            for index in range(REPLICAS)
        ]
        places = asyncio.Semaphore(PAIRS_AT_ONCE)

        async def redrive_twice(letter: str, keys: tuple[str, str]) -> list[str]:
            async with places:
                both = zip(replicas, keys, strict=True)
                return await asyncio.gather(
                    *(redrive(channel, graveyard.us, letter, key) for channel, key in both)
                )

        pairs = await asyncio.gather(
            *(redrive_twice(letter, KEYS[number % 2]) for number, letter in enumerate(letters))
        )

    assert pairs == [[letter, letter] for letter in letters]
    holds = await graveyard.books.costs.fetch(
        "SELECT hold_id FROM holds WHERE job_id = ANY($1::text[]) AND state = 'held'", letters
    )
    assert sorted(row["hold_id"] for row in holds) == sorted(f"{letter}:2" for letter in letters)
    retried = await graveyard.books.jobs.fetch(
        "SELECT job_id FROM lifecycle_events WHERE job_id = ANY($1::text[]) AND type = 'retried'",
        letters,
    )
    assert sorted(row["job_id"] for row in retried) == sorted(letters)
    await graveyard.assert_each_lives_once_more()


def replica_channel(stack: Stack, index: int) -> grpc.aio.Channel:
    """Open a channel to one replica of job-service, as the gateway has it to both."""
    files = stack.authority.issue("gateway")
    return open_channel(
        stack.grpc_address("job-service", index),
        service="job-service",
        tls=TlsFiles(files.authority, files.certificate, files.key),
        registry=CollectorRegistry(),
        default_deadline_seconds=30,
    )


async def redrive(channel: grpc.aio.Channel, us: SubmittingClient, job_id: str, key: str) -> str:
    """Redrive a dead letter; return the id of the job that lives again."""
    request = pb.RedriveDeadLetterRequest(
        project_id=us.project_id, job_id=job_id, request_id=f"{key}-{job_id}"
    )
    bearer = (("authorization", f"Bearer {us.token}"),)
    while True:
        try:
            with rpc_errors():
                answer = await pb_grpc.DeadLetterServiceStub(channel).RedriveDeadLetter(
                    request, metadata=bearer
                )
        except Unavailable:
            # Whoever waited too long for a connection asks again, with the same key.
            await asyncio.sleep(0.1)
        else:
            return answer.job.job_id
