"""What a job tells while it runs: in order, resumable, to as many readers as there are."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field

import httpx
import pytest
import websockets
from httpx_sse import aconnect_sse


@dataclass
class Reader:
    """Follows the events of one job, and insists on the rules while it does."""

    cursor: str = ""
    seq: int = 0
    attempt: int = 0
    number: int = 0
    text: str = ""
    gaps: int = 0
    expects_snapshot: bool = False
    types: list[str] = field(default_factory=list)
    job: dict | None = None

    def take(self, kind: str, data: dict, cursor: str) -> None:
        assert self.job is None, "an event after the end"
        assert (cursor and cursor != self.cursor) or kind == "gap"
        assert not self.expects_snapshot or kind == "snapshot"
        getattr(self, f"_{kind}")(data)
        self.cursor = cursor

    def _lifecycle(self, data):
        assert data["seq"] == self.seq + 1, "a change was left out, or told twice"
        self.seq = data["seq"]
        self.types.append(data["type"])

    def _delta(self, data):
        if data["attempt"] != self.attempt:
            assert data["attempt"] > self.attempt, "a delta of an older attempt"
            self.attempt, self.number, self.text = data["attempt"], 0, ""
        assert data["number"] == self.number + 1, "a delta was left out, or told twice"
        self.number = data["number"]
        self.text += data["text"]

    def _gap(self, data):
        assert data["first_missing"] <= data["last_missing"]
        self.gaps += 1
        self.expects_snapshot = True

    def _snapshot(self, data):
        self.expects_snapshot = False
        self.attempt, self.number, self.text = data["attempt"], data["number"], data["text"]

    def _ended(self, data):
        self.job = data["job"]

    async def read(self, client: httpx.AsyncClient, job_id: str, *, most: int = 10_000) -> None:
        """Follow by SSE, resuming where this reader was, until the end or so many events."""
        headers = {"Last-Event-ID": self.cursor} if self.cursor else {}
        path = f"/api/v1/jobs/{job_id}/events"
        async with aconnect_sse(client, "GET", path, headers=headers) as source:
            source.response.raise_for_status()
            async for event in source.aiter_sse():
                self.take(event.event, event.json(), event.id)
                most -= 1
                if most == 0 and not self.expects_snapshot:
                    return


async def submit(account, prompt: str) -> str:
    made = await account.http.post(
        "/api/v1/jobs", json={"type": "generation_v2", "payload": {"prompt": prompt}}
    )
    assert made.status_code == 202, made.text
    return made.json()["job_id"]


async def test_events_tell_the_whole_job(crash_stack, account):
    """From `created` to `ended`: every change by its number, and the answer as it came."""
    job_id = await submit(account, "Tell it all.")
    reader = Reader()

    async with asyncio.timeout(30):
        await reader.read(account.http, job_id)

    assert reader.types[0] == "created"
    assert reader.types[-2:] == ["running", "completed"]
    assert reader.text == reader.job["result_text"] != ""
    assert reader.number > 1, "the answer should come in pieces"
    assert reader.gaps == 0


async def test_reader_that_comes_back_misses_nothing(crash_stack, account):
    """Cut after every single event and resumed, a story is the same as in one piece."""
    job_id = await submit(account, "Tell it in pieces.")
    reader = Reader()

    async with asyncio.timeout(60):
        while reader.job is None:
            await reader.read(account.http, job_id, most=1)

    assert reader.text == reader.job["result_text"]
    assert reader.gaps == 0


async def test_many_readers_see_the_same(crash_stack, account):
    """Fifteen readers of one job, by SSE and WebSocket, all get the whole of it."""
    job_id = await submit(account, "Tell it to everybody.")
    by_sse, by_socket = [Reader() for _ in range(10)], [Reader() for _ in range(5)]

    async with asyncio.timeout(60):
        await asyncio.gather(
            *(reader.read(account.http, job_id) for reader in by_sse),
            *(follow_socket(crash_stack, account, job_id, reader) for reader in by_socket),
        )

    for reader in by_sse + by_socket:
        assert reader.text == reader.job["result_text"] != ""
        assert reader.types[-1] == "completed"


async def test_wiped_redis_costs_a_gap_and_no_text(crash_stack, account):
    """Redis emptied while a reader is away: it is told what is missing, and given the whole."""
    job_id = await submit(account, "Tell it after the flood.")
    reader = Reader()

    async with asyncio.timeout(30):
        while reader.number == 0:
            await reader.read(account.http, job_id, most=1)
        await account.finished_job(job_id)
        await crash_stack.wipe_redis()
        await reader.read(account.http, job_id)

    assert reader.gaps == 1
    assert reader.text == reader.job["result_text"]


async def test_wipe_while_the_job_runs(crash_stack, account, until):
    """Redis emptied under a running job: its readers still end with the whole answer."""
    job_ids = [await submit(account, f"Flood number {n}.") for n in range(4)]
    readers = [Reader() for _ in job_ids]

    async def some_delta_came():
        return any(reader.number for reader in readers)

    async def wipe_soon():
        await until(some_delta_came, seconds=30)
        await crash_stack.wipe_redis()

    async with asyncio.timeout(60):
        await asyncio.gather(
            wipe_soon(),
            *(
                reader.read(account.http, job_id)
                for reader, job_id in zip(readers, job_ids, strict=True)
            ),
        )

    for reader in readers:
        assert reader.text == reader.job["result_text"] != ""


async def test_foreign_events_look_absent(crash_stack, account, new_account):
    """Another user's job has no events, by SSE and by socket, as one that never was."""
    job_id = await submit(account, "Mine.")
    stranger = await new_account()

    answer = await stranger.http.get(f"/api/v1/jobs/{job_id}/events")
    with pytest.raises(websockets.InvalidStatus) as refused:
        await follow_socket(crash_stack, stranger, job_id, Reader())

    assert answer.status_code == 404
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert refused.value.response.status_code == 404


async def test_socket_wants_a_credential_and_never_in_the_url(crash_stack, account):
    """Without a credential, or with one in the address, no socket opens."""
    job_id = await submit(account, "Closed.")
    base = socket_url(crash_stack, job_id)

    for url in (base, f"{base}?token={account.api_key}"):
        with pytest.raises(websockets.InvalidStatus) as refused:
            async with websockets.connect(url):
                pass
        assert refused.value.response.status_code in (400, 401)


async def test_made_up_cursor_is_refused(crash_stack, account):
    """A cursor that was never given is an error, not an empty story."""
    job_id = await submit(account, "Once.")

    for cursor in ("nonsense", "999.1-1", "-1.0-0", "1.2-3-4", "9" * 400):
        answer = await account.http.get(
            f"/api/v1/jobs/{job_id}/events", headers={"Last-Event-ID": cursor}
        )
        assert answer.status_code in (400, 422), cursor


def socket_url(stack, job_id: str) -> str:
    return stack.gateway_url.replace("http", "ws", 1) + f"/api/v1/jobs/{job_id}/events"


async def follow_socket(stack, account, job_id: str, reader: Reader) -> None:
    """Follow by WebSocket, the key in a subprotocol as a browser has to."""
    async with websockets.connect(
        socket_url(stack, job_id), subprotocols=["weir.v1", f"weir.bearer.{account.api_key}"]
    ) as socket:
        assert socket.subprotocol == "weir.v1"
        async for message in socket:
            event = json.loads(message)
            reader.take(event["event"], event["data"], event["cursor"])
