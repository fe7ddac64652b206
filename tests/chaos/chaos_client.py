"""A client that submits jobs at a steady pace and asks again, with its key, until it knows."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from http import HTTPStatus

import aiohttp
from chaos_work import body_of

PASSWORD = "correct horse battery staple"
SECONDS_FOR_ONE = 180.0
AT_ONCE = 16
FIRST_PAUSE_SECONDS = 0.2
LONGEST_PAUSE_SECONDS = 2.0


class Unanswered(Exception):
    """A request that has to be sent again."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Refusal:
    """A server error, when it was asked for and came, and whether it said when to come again."""

    asked_at: float
    at: float
    status: int
    detail: str
    says_when: bool


@dataclass
class SubmittingClient:
    """Knows the job that each number became.

    Attributes:
        project_id: Where they are.
        token: The person's own, as a bearer.
        at_once: How many requests may be under way.
        job_ids: Number -> job.
        repeats: How many requests had to be sent again, and why.
        refusals: The answers among them.
    """

    session: aiohttp.ClientSession
    project_id: str
    token: str
    at_once: int = AT_ONCE
    job_ids: dict[int, str] = field(default_factory=dict)
    repeats: Counter[str] = field(default_factory=Counter)
    refusals: list[Refusal] = field(default_factory=list)
    _places: asyncio.Semaphore = field(init=False)

    def __post_init__(self) -> None:
        self._places = asyncio.Semaphore(self.at_once)

    async def submit_wave(self, numbers: Sequence[int], seconds: float = 0.0) -> None:
        """Submit these jobs, spread evenly over some time, and return when all are accepted."""
        async with asyncio.TaskGroup() as tasks:
            for number in numbers:
                tasks.create_task(self._submit(number))
                await asyncio.sleep(seconds / len(numbers))

    async def redrive_wave(self, job_ids: Collection[str]) -> None:
        """Redrive these dead letters at once, each with a key, and return when all are accepted."""
        async with asyncio.TaskGroup() as tasks:
            for job_id in job_ids:
                path, key = f"/api/v1/dead-letters/{job_id}/redrive", f"redrive-{job_id}"
                tasks.create_task(self._until_accepted(path, key))

    async def _submit(self, number: int) -> None:
        key = f"chaos-{number}"
        self.job_ids[number] = await self._until_accepted("/api/v1/jobs", key, body_of(number))

    async def _until_accepted(
        self, path: str, key: str, body: Mapping[str, object] | None = None
    ) -> str:
        """Return the job's id.

        Raises:
            Unanswered: For so long that nobody would go on asking.
        """
        give_up_at = time.monotonic() + SECONDS_FOR_ONE
        pause = FIRST_PAUSE_SECONDS
        while True:
            try:
                async with self._places:
                    return await self._try(path, key, body)
            except Unanswered as unanswered:
                if time.monotonic() > give_up_at:
                    raise
                self.repeats[unanswered.reason] += 1
            await asyncio.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_SECONDS)

    async def _try(self, path: str, key: str, body: Mapping[str, object] | None) -> str:
        """Return the job's id.

        Raises:
            Unanswered: The answer, if there is one, leaves open whether there is a job.
        """
        headers, asked_at = {"Idempotency-Key": key}, time.monotonic()
        try:
            async with self.session.post(path, json=body, headers=headers) as answer:
                if answer.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
                    raise await self._refused(answer, asked_at)
                assert answer.status == HTTPStatus.ACCEPTED, await answer.text()
                return str((await answer.json())["job_id"])
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unanswered(type(error).__name__) from error

    async def _refused(self, answer: aiohttp.ClientResponse, asked_at: float) -> Unanswered:
        detail = (await answer.json())["detail"]
        says_when = "Retry-After" in answer.headers
        self.refusals.append(Refusal(asked_at, time.monotonic(), answer.status, detail, says_when))
        return Unanswered(f"{answer.status} {detail}")


@asynccontextmanager
async def submitting_client(
    gateway_url: str, name: str = "chaos", at_once: int = AT_ONCE
) -> AsyncIterator[SubmittingClient]:
    """Register somebody, make an API key, and submit with that."""
    async with aiohttp.ClientSession(gateway_url) as session:
        person = {
            "email": f"{name}@example.org",
            "username": name,
            "name": "Chaos",
            "password": PASSWORD,
        }
        registered = await _post(session, "/api/v1/auth/register", person)
        token = {"authorization": f"Bearer {registered['access_token']}"}
        async with session.get("/api/v1/auth/me", headers=token) as answer:
            project_id = (await answer.json())["default_project_id"]
        wanted = {"name": "chaos", "scopes": ["read", "inference", "jobs:write"]}
        key = await _post(session, "/api/v1/auth/api-keys", wanted, token)
    async with aiohttp.ClientSession(
        gateway_url,
        headers={"authorization": f"Bearer {key['secret']}"},
        timeout=aiohttp.ClientTimeout(total=20),
        connector=aiohttp.TCPConnector(limit=0),
    ) as session:
        yield SubmittingClient(session, project_id, registered["access_token"], at_once)


async def _post(
    session: aiohttp.ClientSession,
    path: str,
    body: Mapping[str, object],
    headers: dict[str, str] | None = None,
) -> dict[str, str]:
    async with session.post(path, json=body, headers=headers) as answer:
        assert answer.status == HTTPStatus.CREATED, await answer.text()
        return dict(await answer.json())
