"""Fakes for the ports of the job service. The store passes the same suite as Postgres."""

import asyncio
from collections import Counter
from contextlib import asynccontextmanager
from dataclasses import asdict, astuple, dataclass, field, fields, replace
from datetime import UTC, datetime, timedelta

from event_fakes import FakeDeltas, WokenPublisher

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Price, PriceBook, Usage
from job_service.domain.dead_letter import AdmissionCharge, AttemptRecord, Evidence
from job_service.domain.decision import RouteDecision
from job_service.domain.execution import (
    Delta,
    Embedding,
    ExecutionError,
    Finished,
    FinishReason,
    Progress,
    Started,
)
from job_service.domain.job import Job
from job_service.domain.job_events import LifecycleRecord
from job_service.domain.job_state import CLAIMABLE_STATES, JobState
from job_service.domain.lifecycle import event_of
from job_service.domain.retry_policy import RetryPolicy
from job_service.domain.settlement import SettlementKind
from job_service.domain.specification import JobKind, JobSpecification, Message, Operation, Sampling
from job_service.domain.targets import Model, Target, agree_terms
from job_service.domain.vectors import packed
from job_service.usecases.admit_job import AdmitJob
from job_service.usecases.cancel_job import CancelJob
from job_service.usecases.check_queue_room import CheckQueueRoom
from job_service.usecases.create_job import CreateJob
from job_service.usecases.dead_letter_ports import DeadLetterPosition
from job_service.usecases.dispatch_jobs import DispatchJobs, Places
from job_service.usecases.execute_attempt import ExecuteAttempt
from job_service.usecases.expire_blocked import ExpireBlocked
from job_service.usecases.get_dead_letter import GetDeadLetter, ListDeadLetters
from job_service.usecases.get_job import GetJob
from job_service.usecases.job_ports import Depths
from job_service.usecases.ledger_ports import OpenHold, PlacedHold
from job_service.usecases.live_attempts import LiveAttempts
from job_service.usecases.purge_dead_letter import PurgeDeadLetter
from job_service.usecases.queue_ports import BlockedLane
from job_service.usecases.readmit_job import ReadmitJob, RetryRoute, RetryWish
from job_service.usecases.reap_jobs import ReapJobs
from job_service.usecases.reconcile_holds import ReconcileHolds
from job_service.usecases.redrive_dead_letters import RedriveDeadLetters
from job_service.usecases.relay_settlements import RelaySettlements
from job_service.usecases.retry_job import RetryJob
from job_service.usecases.run_job import RunJob
from job_service.usecases.store_change import StoreChange
from job_service.usecases.submit_job import Submission, SubmitJob
from job_service.usecases.unblock_jobs import UnblockJobs
from service_kit.errors import ErrorCode, ServiceError, Unavailable
from service_kit.ids import new_id
from service_kit.signatures import SigningKey
from service_kit.testing.clock import FixedClock

LEASE_SECONDS = 10.0
BLOCKED_MAX_SECONDS = 3600.0
SIGNER = SigningKey.generate()
LOCAL_PRICE = 1_000_000_000_000
YOTTA_PRICE = 10_000_000_000_000
BOOK = PriceBook(
    "1",
    (
        Price("local", "*", LOCAL_PRICE, LOCAL_PRICE),
        Price("yotta", "*", YOTTA_PRICE, YOTTA_PRICE),
    ),
)
LOCAL = Target(
    "local",
    paid=False,
    models=(
        Model(
            "smol",
            context_tokens=2048,
            default_max_tokens=100,
            template_overhead_tokens=30,
            message_overhead_tokens=5,
        ),
    ),
)
YOTTA = Target("yotta", paid=True, models=(Model("big", 8192, 200, 50, 10),))
HELLO = JobSpecification("generation_v2", "smol", (Message("user", "Hello!"),))
CHAT = replace(HELLO, type="chat_completion")
CONTINUE = JobSpecification("completion", "smol", (), inputs=("Once upon",))
EMBED = JobSpecification("embedding", "smol", (), inputs=("one", "two words"))
# LOCAL, able to do everything.
SKILLED = replace(LOCAL, models=(replace(LOCAL.models[0], operations=frozenset(Operation)),))
VECTORS = (Embedding(0, packed([0.5, -1.0])), Embedding(1, packed([2.0, 0.25])))
SCOPES = (BudgetScope("project", "p1", "u1", default_cap=True),)
TERMS = agree_terms(HELLO, (LOCAL,), BOOK)
DECISION = RouteDecision("local", "smol", "complexity_below_threshold")
STARTED = Started("local", "smol", "w1")
USAGE = Usage(30, 3)
EMBEDDED = (DECISION, STARTED, *VECTORS, Finished(FinishReason.STOP, Usage(9, 0)))
ANSWER = (
    DECISION,
    STARTED,
    Delta("Hel", 1),
    Delta("lo!", 2),
    Finished(FinishReason.STOP, USAGE),
)


def a_job(kind=JobKind.QUEUED, **changes):
    """Return a job as its row is first written."""
    return Job(
        **{
            "id": new_id(),
            "project_id": "p1",
            "kind": kind,
            "specification": HELLO if kind is JobKind.QUEUED else CHAT,
            "scopes": SCOPES,
            "max_retries": 3,
            "lease_token": new_id(),
            "terms": TERMS,
            **changes,
        }
    )


def running_job(kind=JobKind.QUEUED, **changes):
    """Return a job in its first attempt."""
    return a_job(kind, **{"state": JobState.RUNNING, "attempt": 1, "period": "2026-01", **changes})


def a_submission(kind=JobKind.QUEUED, **changes):
    return Submission(
        **{
            "project_id": "p1",
            "owner_user_id": "u1",
            "is_default_project": True,
            "kind": kind,
            "specification": HELLO if kind is JobKind.QUEUED else CHAT,
            "key": "",
            "max_retries": 3,
            "origin_request_id": "r1",
            **changes,
        }
    )


def an_error(reason, code=ErrorCode.INTERNAL, message="It went wrong."):
    error = ServiceError(message)
    error.reason, error.code = reason, code
    return error


async def admitted(work, job):
    """Store a job and take it through admission, as if its hold had been granted."""
    async with work() as unit:
        stored = await unit.jobs.add(job)
        after = stored.admitted("2026-01", new_id())
        stored = await unit.jobs.save(stored, after)
        if stored.state is JobState.RUNNING:
            await unit.attempts.open(stored)
        return stored


@dataclass
class Tables:
    jobs: dict = field(default_factory=dict)
    available_at: dict = field(default_factory=dict)
    blocked_at: dict = field(default_factory=dict)
    events: dict = field(default_factory=dict)
    attempts: dict = field(default_factory=dict)
    idempotency: dict = field(default_factory=dict)
    settlements: dict = field(default_factory=dict)
    receipts: dict = field(default_factory=dict)
    receipt_keys: dict = field(default_factory=dict)
    audit: list = field(default_factory=list)

    def copy(self):
        return Tables(
            dict(self.jobs),
            dict(self.available_at),
            dict(self.blocked_at),
            {key: list(value) for key, value in self.events.items()},
            {key: dict(value) for key, value in self.attempts.items()},
            dict(self.idempotency),
            {key: dict(value) for key, value in self.settlements.items()},
            dict(self.receipts),
            dict(self.receipt_keys),
            list(self.audit),
        )


class FakeStore:
    """A unit of work factory over dictionaries: one transaction at a time, rolled back on error."""

    def __init__(self, clock=None):
        self.clock = clock or FixedClock()
        self.tables = Tables()
        self.is_away = False
        self.lose_next_reply = False
        self._one_at_a_time = asyncio.Lock()

    @asynccontextmanager
    async def __call__(self):
        if self.is_away:
            raise Unavailable("database")
        async with self._one_at_a_time:
            # Others get their turn between transactions, as with a database.
            await asyncio.sleep(0)
            tables = self.tables.copy()
            yield FakeWork(tables, self.clock)
            self.tables = tables
        if self.lose_next_reply:
            self.lose_next_reply = False
            raise Unavailable("database")

    # -- what tests look at and turn ---------------------------------------------------------

    def job(self, job_id):
        return self.tables.jobs[job_id]

    async def stored(self, job_id):
        return self.tables.jobs.get(job_id)

    async def lapse(self, job_id):
        job = self.tables.jobs[job_id]
        past = self.clock.now() - timedelta(seconds=1)
        self.tables.jobs[job_id] = replace(job, lease_expires_at=past)

    async def make_due(self, job_id):
        self.tables.available_at[job_id] = self.clock.now()

    async def flood(self, job_id, count):
        """Store so many more jobs like this one, as fast as may be."""
        one, due_at = self.tables.jobs[job_id], self.tables.available_at[job_id]
        for number in range(count):
            copy = replace(one, id=f"{job_id}-{number}")
            self.tables.jobs[copy.id] = copy
            self.tables.available_at[copy.id] = due_at
            self.tables.events[copy.id] = []

    async def age_blocked(self, job_id, seconds):
        self.tables.blocked_at[job_id] -= timedelta(seconds=seconds)

    async def events_of(self, job_id):
        return [event.type for event in self.tables.events[job_id]]

    async def attempts_of(self, job_id):
        return [row for (owner, _), row in sorted(self.tables.attempts.items()) if owner == job_id]

    async def settlements(self):
        return {
            hold_id: (row["settlement"].kind, row["settlement"].amount_nanousd, row["sent"])
            for hold_id, row in self.tables.settlements.items()
        }

    async def make_settlement_due(self, hold_id):
        self.tables.settlements[hold_id]["due_at"] = self.clock.now()

    async def age_settlement(self, hold_id, seconds):
        row = self.tables.settlements[hold_id]
        row["sent_at"] = self.clock.now() - timedelta(seconds=seconds)

    async def audited(self):
        return [entry[:3] for entry in self.tables.audit]

    async def keys(self):
        return {key.key: reservation.job_id for key, reservation in self.tables.idempotency.items()}


class FakeWork:
    def __init__(self, tables, clock):
        self.jobs = FakeJobs(tables, clock)
        self.attempts = FakeAttempts(tables, clock)
        self.idempotency = FakeIdempotency(tables, clock)
        self.settlements = FakeSettlements(tables, clock)
        self.receipts = FakeReceipts(tables, clock)
        self.dead_letters = FakeDeadLetters(tables, clock)
        self.audit = FakeAudit(tables)
        self.queue = FakeQueue(tables, clock)


class FakeJobs:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    @property
    def _lease_end(self):
        return self._clock.now() + timedelta(seconds=LEASE_SECONDS)

    async def add(self, job):
        now = self._clock.now()
        stored = replace(job, created_at=now, lease_expires_at=self._lease_end)
        self._tables.jobs[job.id] = stored
        self._tables.available_at[job.id] = now
        self._tables.events[job.id] = [event_of(None, job)]
        return stored

    async def save(self, was, now):
        found = self._tables.jobs.get(was.id)
        if found is None or not _is_still(found, was):
            return None
        # Only what differs is written: a renewal in between stays.
        changed = {
            each.name: getattr(now, each.name)
            for each in fields(Job)
            if getattr(now, each.name) != getattr(was, each.name)
        }
        stored = self._stamped(found, was, replace(found, **changed))
        self._tables.jobs[now.id] = stored
        self._tables.events[now.id].append(event_of(was, now))
        return stored

    def _stamped(self, found, was, now):
        moment = self._clock.now()
        stamps = {
            "created_at": found.created_at,
            "started_at": found.started_at,
            "completed_at": found.completed_at,
            "next_retry_at": found.next_retry_at,
            "lease_expires_at": found.lease_expires_at,
            "cancel_requested": found.cancel_requested or now.cancel_requested,
        }
        if now.lease_token is None:
            stamps["lease_expires_at"] = None
        elif now.lease_token != was.lease_token:
            stamps["lease_expires_at"] = self._lease_end
        if now.state is not was.state:
            if was.state.is_final:
                stamps |= {"started_at": None, "completed_at": None, "cancel_requested": False}
            if now.state is JobState.RUNNING:
                stamps["started_at"] = found.started_at or moment
            if now.state is JobState.BLOCKED:
                self._tables.blocked_at[now.id] = moment
            if now.state in CLAIMABLE_STATES:
                self._tables.available_at[now.id] = moment + timedelta(seconds=now.delay_seconds)
            if now.state is JobState.RETRYING:
                stamps["next_retry_at"] = self._tables.available_at[now.id]
            if now.state.is_final:
                stamps["completed_at"], stamps["next_retry_at"] = moment, None
        return replace(now, delay_seconds=0.0, **stamps)

    async def find(self, project_id, job_id):
        job = self._tables.jobs.get(job_id)
        return _without_content(job) if job and job.project_id == project_id else None

    async def find_embeddings(self, job_id):
        job = self._tables.jobs.get(job_id)
        return job.result_embeddings if job else None

    async def find_anywhere(self, job_id):
        job = self._tables.jobs.get(job_id)
        return _without_content(job) if job else None

    async def find_several(self, job_ids):
        found = [await self.find_anywhere(job_id) for job_id in job_ids]
        return [job for job in found if job is not None]

    async def lock(self, job_id):
        return self._tables.jobs.get(job_id)

    async def list_page(self, project_id, state, limit, after):
        states = {JobState.PENDING, JobState.ADMITTING} if state is JobState.PENDING else {state}
        found = [
            job
            for job in self._tables.jobs.values()
            if job.project_id == project_id
            and (state is None or job.state in states)
            and (after is None or (job.created_at, job.id) < (after.created_at, after.job_id))
        ]
        found.sort(key=lambda job: (job.created_at, job.id), reverse=True)
        return [replace(_without_content(job), result_text=None) for job in found[:limit]]

    async def claim(self, limit, after=""):
        due = [
            job
            for job in self._tables.jobs.values()
            if job.state in CLAIMABLE_STATES
            and job.is_queued
            and self._tables.available_at[job.id] <= self._clock.now()
        ]
        due.sort(key=_own_order)
        running = Counter(
            job.project_id
            for job in self._tables.jobs.values()
            if job.state is JobState.RUNNING and job.is_queued
        )
        turns = []
        for job in due:
            running[job.project_id] += 1
            turn = (running[job.project_id], job.project_id <= after, job.project_id)
            turns.append((turn, job))
        turns.sort(key=lambda one: one[0])
        return [await self._claim(job) for _, job in turns[:limit]]

    async def _claim(self, was):
        stored = await self.save(was, was.claimed(new_id()))
        stored = replace(stored, next_retry_at=None)
        self._tables.jobs[was.id] = stored
        await FakeAttempts(self._tables, self._clock).open(stored)
        return stored

    async def renew(self, job, progress):
        found = self._tables.jobs.get(job.id)
        if found is None or not _is_still(found, job) or found.state is not JobState.RUNNING:
            return None
        renewed = replace(found.noting(progress), lease_expires_at=self._lease_end)
        self._tables.jobs[job.id] = renewed
        return renewed.cancel_requested

    async def lock_lapsed(self, limit):
        return self._lapsed()[:limit]

    async def lapsed_count(self):
        return len(self._lapsed())

    def _lapsed(self):
        return [
            job
            for job in self._tables.jobs.values()
            if job.state in (JobState.ADMITTING, JobState.RUNNING)
            and job.lease_expires_at < self._clock.now()
        ]

    async def depths(self):
        unfinished = Counter(
            job.state.value for job in self._tables.jobs.values() if not job.state.is_final
        )
        unsent = sum(not row["sent"] for row in self._tables.settlements.values())
        dead = sum(job.is_dead_letter for job in self._tables.jobs.values())
        return Depths(dict(unfinished), unsent, dead)


def _is_still(found, was):
    fence = (
        found.lease_token == was.lease_token
        if was.lease_token is not None
        else found.lease_token is None and found.attempt == was.attempt
    )
    return fence and (found.state, found.admission) == (was.state, was.admission)


def _without_content(job):
    bare = replace(job.specification, messages=(), inputs=(), sampling=Sampling())
    return replace(job, specification=bare, result_embeddings=None)


def _own_order(job):
    return (-job.priority, job.created_at)


def _lane(job):
    keys = [scope.scope_id for scope in job.scopes if scope.kind == "api_key"]
    return BlockedLane(job.project_id, keys[0] if keys else "")


class FakeQueue:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    async def lock(self, project_id):
        """One transaction at a time: nobody else is there."""

    async def count(self, project_id, at_most):
        waiting = [
            job
            for job in self._tables.jobs.values()
            if job.project_id == project_id
            and job.is_queued
            and not job.state.is_final
            and job.state is not JobState.RUNNING
        ]
        return min(at_most, len(waiting))

    def _blocked(self):
        return [job for job in self._tables.jobs.values() if job.state is JobState.BLOCKED]

    async def blocked_lanes(self):
        return sorted({_lane(job) for job in self._blocked()}, key=astuple)

    async def first_blocked(self, lane):
        found = [job for job in self._blocked() if _lane(job) == lane]
        return min(found, key=_own_order, default=None)

    async def lock_blocked_for(self, seconds, limit):
        since, long_ago = self._tables.blocked_at, self._clock.now() - timedelta(seconds=seconds)
        found = [job for job in self._blocked() if since[job.id] < long_ago]
        return sorted(found, key=lambda job: since[job.id])[:limit]


class FakeAttempts:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    async def open(self, job):
        key = (job.id, job.attempt)
        if key in self._tables.attempts:
            raise AssertionError("an attempt number was used twice")
        self._tables.attempts[key] = {
            "attempt": job.attempt,
            "admission": job.admission,
            "started_at": self._clock.now(),
            "outcome": None,
            "dispatched": False,
        }

    async def note_dispatch(self, job):
        row = self._tables.attempts[job.id, job.attempt]
        row["dispatched"] = job.dispatch is not None
        if job.dispatch is None:
            row["released_at"] = self._clock.now()
        else:
            row.update(asdict(job.dispatch), dispatched_at=self._clock.now(), released_at=None)

    async def close(self, end):
        row = self._tables.attempts[end.job_id, end.attempt]
        values = asdict(end)
        del values["job_id"]
        if end.target is None:
            del values["target"], values["model"]
        row.update(values, finished_at=self._clock.now())


class FakeDeadLetters:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    def _which(self, which):
        found = [
            job
            for job in self._tables.jobs.values()
            if job.is_dead_letter
            and job.project_id == which.project_id
            and which.type in ("", job.specification.type)
            and which.failure_reason in ("", job.failure_reason)
        ]
        return sorted(found, key=lambda job: (job.completed_at, job.id))

    async def list_page(self, which, limit, after):
        found = [
            job
            for job in reversed(self._which(which))
            if after is None or (job.completed_at, job.id) < (after.completed_at, after.job_id)
        ]
        return [replace(_without_content(job), result_text=None) for job in found[:limit]]

    async def oldest(self, which, limit, after, died_by):
        found = [
            DeadLetterPosition(job.completed_at, job.id)
            for job in self._which(which)
            if (after is None or (job.completed_at, job.id) > (after.completed_at, after.job_id))
            and (died_by is None or job.completed_at <= died_by)
        ]
        return found[:limit]

    async def evidence(self, job_id, limit):
        rows = sorted(self._tables.attempts.items())
        attempts = [_record_of(row) for (owner, _), row in rows if owner == job_id]
        changes = [
            LifecycleRecord(seq, str(event.type), event.details, self._clock.now())
            for seq, event in enumerate(self._tables.events[job_id], 1)
        ]
        charges = [
            _charge_of(row)
            for row in self._tables.settlements.values()
            if row["settlement"].job_id == job_id
        ]
        return Evidence(
            attempts[-limit:],
            len(attempts),
            changes[-limit:],
            len(changes),
            sorted(charges, key=lambda charge: charge.admission),
        )

    async def purge(self, job_id):
        job = _without_content(self._tables.jobs[job_id])
        self._tables.jobs[job_id] = replace(
            job, last_error=None, result_text=None, decision=None, purged_at=self._clock.now()
        )
        for (owner, _), row in self._tables.attempts.items():
            if owner == job_id:
                row["error"] = None


def _record_of(row):
    times = ("started_at", "dispatched_at", "released_at", "finished_at")
    texts = ("target", "model", "client_task_id", "outcome", "error", "usage_source")
    numbers = ("attempt", "admission", "tokens_input", "tokens_output", "provider_cost_nanousd")
    return AttemptRecord(
        **{name: row.get(name) for name in times},
        **{name: str(row.get(name) or "") for name in texts},
        **{name: row.get(name) or 0 for name in numbers},
    )


def _charge_of(row):
    settlement = row["settlement"]
    outcome = settlement.outcome
    return AdmissionCharge(
        admission=int(settlement.hold_id.rpartition(":")[2]),
        job_state=outcome.job_state,
        charge_nanousd=settlement.amount_nanousd,
        voided=settlement.kind is SettlementKind.VOID,
        provider_cost_nanousd=outcome.provider_cost_nanousd,
        price_version=outcome.price_version,
        ended_at=settlement.created_at,
        booked=row["sent"],
    )


class FakeAudit:
    def __init__(self, tables):
        self._tables = tables

    async def add(self, action, *, actor, subject, details):
        self._tables.audit.append((action, actor, subject, details))


class FakeIdempotency:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    async def find(self, key):
        return self._tables.idempotency.get(key)

    async def reserve(self, key, wanted):
        wanted = replace(wanted, taken_at=self._clock.now())
        return self._tables.idempotency.setdefault(key, wanted)

    async def jobs_under(self, key):
        return [
            one.job_id
            for taken, one in self._tables.idempotency.items()
            if one.job_id and taken == replace(key, key=key.key + one.job_id)
        ]

    async def release(self, job_id):
        for key in [k for k, one in self._tables.idempotency.items() if one.job_id == job_id]:
            del self._tables.idempotency[key]


class FakeSettlements:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    async def add(self, settlement, receipt=None):
        if receipt is not None:
            self._tables.receipts.setdefault((receipt.job_id, receipt.admission), receipt)
        if settlement.hold_id in self._tables.settlements:
            return False
        now = self._clock.now()
        self._tables.settlements[settlement.hold_id] = {
            "settlement": replace(settlement, created_at=now),
            "due_at": now,
            "sent": False,
            "sent_at": None,
        }
        return True

    async def claim(self, limit, lease_seconds):
        now = self._clock.now()
        due = [
            row
            for row in self._tables.settlements.values()
            if not row["sent"] and row["due_at"] <= now
        ]
        for row in due[:limit]:
            row["due_at"] = now + timedelta(seconds=lease_seconds)
            one = row["settlement"]
            row["settlement"] = replace(one, attempts=one.attempts + 1)
        return [row["settlement"] for row in due[:limit]]

    async def mark_sent(self, hold_ids):
        for hold_id in hold_ids:
            self._tables.settlements[hold_id].update(sent=True, sent_at=self._clock.now())

    async def postpone(self, hold_id, error, seconds):
        due_at = self._clock.now() + timedelta(seconds=seconds)
        self._tables.settlements[hold_id].update(due_at=due_at, error=error)

    async def resend(self, hold_id, sent_before_seconds):
        row = self._tables.settlements.get(hold_id)
        long_ago = self._clock.now() - timedelta(seconds=sent_before_seconds)
        if row is None or row["sent_at"] is None or row["sent_at"] >= long_ago:
            return False
        row.update(sent=False, sent_at=None, due_at=self._clock.now())
        return True


class FakeReceipts:
    def __init__(self, tables, clock):
        self._tables, self._clock = tables, clock

    async def keep_key(self, key):
        keys, now = self._tables.receipt_keys, self._clock.now()
        return keys.setdefault(key.key_id, replace(key, created_at=now)).owner

    async def find(self, job_id):
        of_job = [each for (owner, _), each in self._tables.receipts.items() if owner == job_id]
        return max(of_job, key=lambda each: each.admission, default=None)

    async def find_keys(self, key_ids):
        return [key for key in await self.list_keys() if key.key_id in key_ids]

    async def list_keys(self):
        newest = reversed(self._tables.receipt_keys.values())
        return sorted(newest, key=lambda key: key.created_at, reverse=True)


class FakeLedger:
    """Books like cost-service: one budget, holds that are settled once."""

    def __init__(self, budget_nanousd=10**18):
        self.budget_nanousd = budget_nanousd
        self.holds = {}
        self.settled = {}
        self.calls = []
        self.is_away = False
        self.refuse_settling = {}
        # The calendar month, which has a budget of its own, and that of each hold.
        self.period = "2026-01"
        self.periods = {}
        # Keys whose own cap is used up.
        self.empty_keys = set()

    async def place_hold(self, job):
        self.calls.append(("place", job.hold_id))
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("cost-service")
        if job.hold_id in self.settled:
            raise an_error("HOLD_SETTLED", ErrorCode.FAILED_PRECONDITION)
        amount = job.agreed.hold_nanousd
        if job.hold_id not in self.holds:
            has_room = self.spent + amount <= self.budget_nanousd
            if not has_room or any(scope.scope_id in self.empty_keys for scope in job.scopes):
                raise an_error("BUDGET_EXCEEDED", ErrorCode.RESOURCE_EXHAUSTED, "Too little left.")
            self.holds[job.hold_id] = amount
            self.periods[job.hold_id] = self.period
        return PlacedHold(self.holds[job.hold_id], self.periods[job.hold_id])

    @property
    def spent(self):
        """What is held or was charged in this month."""
        amounts = self.holds | {hold: amount for hold, (_, amount) in self.settled.items()}
        return sum(
            amount
            for hold, amount in amounts.items()
            if self.periods.get(hold, self.period) == self.period
        )

    async def settle(self, settlement):
        self.calls.append((settlement.kind.value, settlement.hold_id))
        await asyncio.sleep(0)
        if self.is_away:
            raise Unavailable("cost-service")
        if settlement.hold_id in self.refuse_settling:
            raise self.refuse_settling[settlement.hold_id]
        if settlement.hold_id in self.settled:
            return False
        self.settled[settlement.hold_id] = (settlement.kind.value, settlement.amount_nanousd)
        return True

    async def open_holds(self, min_age_seconds):
        long_ago = datetime(2026, 1, 1, tzinfo=UTC)
        return [OpenHold(hold, long_ago) for hold in self.holds if hold not in self.settled]


class Kept:
    """`Prices` or `Targets` with a value, or with none yet."""

    def __init__(self, value, next_value=None):
        self.value = value
        self.next_value = next_value

    def current(self):
        if self.value is None:
            raise Unavailable("anything")
        return self.value

    async def refresh(self):
        if self.next_value is not None:
            self.value = self.next_value


class FakeExecutor:
    """Plays a script for every execution: events, errors to raise, or events to wait for."""

    def __init__(self, *script):
        self.scripts = [script or ANSWER]
        self.jobs = []
        self.streams = []

    def play(self, *scripts):
        """Play these, one per execution; the last one again and again."""
        self.scripts = list(scripts)

    @asynccontextmanager
    async def execute(self, job):
        self.jobs.append(job)
        script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        stream = FakeStream(script)
        self.streams.append(stream)
        try:
            yield stream
        finally:
            stream.stop()


class FakeStream:
    def __init__(self, script):
        self._script = script
        self.stopped = asyncio.Event()
        self.gone_to = []

    async def events(self):
        for step in self._script:
            await asyncio.sleep(0)
            if isinstance(step, asyncio.Event):
                await self._wait(step)
            if self.stopped.is_set():
                return
            if isinstance(step, Exception):
                raise step
            if callable(step):
                await step()
            elif not isinstance(step, asyncio.Event):
                yield step

    async def _wait(self, event):
        waits = [asyncio.ensure_future(each.wait()) for each in (event, self.stopped)]
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for each in waits:
            each.cancel()

    async def go(self, client_task_id):
        self.gone_to.append(client_task_id)

    def stop(self):
        self.stopped.set()


class FakeBackground:
    def __init__(self):
        self.tasks = []

    def start(self, work, *, request_id):
        self.tasks.append(asyncio.ensure_future(work))

    async def done(self):
        """Wait until everything that was started has ended."""
        while self.tasks:
            await self.tasks.pop(0)


class FakeHints:
    def __init__(self):
        self.said = Counter()

    def work_waits(self):
        self.said["work"] += 1

    def place_freed(self):
        self.said["place"] += 1

    def settlement_waits(self):
        self.said["settlement"] += 1

    def cancel_requested(self, job_id):
        self.said["cancel"] += 1


class FakeMetrics:
    def __init__(self):
        self.counts = Counter()

    def job_changed(self, kind, state):
        self.counts[f"{kind} {state}"] += 1

    def retried(self, state):
        self.counts[f"retried {state}"] += 1

    def purged(self):
        self.counts["purged"] += 1

    def executed(self, target):
        self.counts[f"executed {target}"] += 1

    def lease_lost(self):
        self.counts["lease lost"] += 1

    def deltas_failed(self):
        self.counts["deltas failed"] += 1

    def usage_excess(self):
        self.counts["excess"] += 1

    def settlement_refused(self):
        self.counts["settlement refused"] += 1

    def result_refused(self):
        self.counts["result refused"] += 1

    def orphan_hold(self):
        self.counts["orphan"] += 1

    def depths(self, depths):
        self.counts["depths"] += 1


class World:
    """All use cases over fakes, or over a given store."""

    def __init__(self, store=None):
        self.clock = FixedClock()
        self.store = store or FakeStore(self.clock)
        self.ledger = FakeLedger()
        self.prices, self.targets = Kept(BOOK), Kept((LOCAL, YOTTA))
        self.executor = FakeExecutor()
        self.background, self.hints = FakeBackground(), FakeHints()
        self.metrics, self.live = FakeMetrics(), LiveAttempts()
        self.policy = RetryPolicy(backoff_seconds=60, max_lost=5, wait_seconds=0.5)
        self.check_room = CheckQueueRoom(10_000, self.clock)
        self.submit = SubmitJob(
            self.store, self.prices, self.targets, self.metrics, self.check_room
        )
        self.signer = SIGNER
        self.store_change = StoreChange(self.signer, self.metrics)
        self.admit = AdmitJob(
            self.store,
            self.ledger,
            self.prices,
            self.targets,
            self.hints,
            self.metrics,
            self.store_change,
        )
        self.create = CreateJob(self.submit, self.admit)
        self.deltas = FakeDeltas()
        self.publisher = WokenPublisher(self.deltas, self.clock)
        self.execute = ExecuteAttempt(
            self.store,
            self.executor,
            self.targets,
            self.hints,
            self.metrics,
            self.store_change,
            self.clock,
            self.policy,
            renew_seconds=0.01,
            deltas=self.publisher,
            finish_patience_seconds=30,
        )
        self.get = GetJob(self.store)
        self.run = RunJob(
            self.submit, self.admit, self.execute, self.background, self.live, self.get
        )
        self.dispatch = DispatchJobs(
            self.store,
            self.execute,
            self.background,
            self.live,
            self.hints,
            Places(8, self.clock),
        )
        self.reap = ReapJobs(
            self.store,
            self.admit,
            self.background,
            self.hints,
            self.metrics,
            self.store_change,
            self.clock,
            self.policy,
            lease_seconds=LEASE_SECONDS,
            patience_seconds=7.0,
            _seen_at=self.clock.monotonic(),
        )
        self.unblock = UnblockJobs(self.store, self.admit)
        self.expire_blocked = ExpireBlocked(
            self.store, self.hints, self.metrics, self.store_change, BLOCKED_MAX_SECONDS
        )
        self.relay = RelaySettlements(self.store, self.ledger, self.metrics, LEASE_SECONDS)
        self.reconcile = ReconcileHolds(
            self.store, self.ledger, self.hints, self.metrics, self.clock, min_age_seconds=60
        )
        self.cancel = CancelJob(self.store, self.hints, self.metrics, self.store_change)
        self.readmit = ReadmitJob(
            self.store,
            self.prices,
            self.targets,
            self.metrics,
            self.store_change,
            self.check_room,
        )
        self.retry_wish = RetryJob(self.readmit, self.admit)
        self.redrive_many = RedriveDeadLetters(
            self.store, self.readmit, self.admit, self.background
        )
        self.list_dead_letters = ListDeadLetters(self.store)
        self.get_dead_letter = GetDeadLetter(self.store)
        self.purge = PurgeDeadLetter(self.store, self.metrics)

    async def retry(self, job_id, project_id="p1", route=RetryRoute.RETRY, key=""):
        return await self.retry_wish(RetryWish(project_id, job_id, route, "user:u1", key))

    async def redrive(self, job_id, project_id="p1", key=""):
        return await self.retry(job_id, project_id, RetryRoute.REDRIVE, key)

    async def dead_letter(self, **changes):
        """Return a job that failed once and may not be tried again."""
        job = await self.claimed(max_retries=0, **changes)
        broke = ExecutionError("EXECUTION_FAILED", ErrorCode.INTERNAL, "It broke.")
        progress = Progress()
        for event in (DECISION, STARTED):
            progress.note(event)
        now = job.errored(broke, progress, self.policy)
        async with self.store() as work:
            return await self.store_change(work, job, now, job.noting(progress), progress)

    async def dispatch_all(self):
        """Run what is due until nothing is."""
        while await self.dispatch():
            await self.background.done()

    async def claimed(self, **changes):
        """Return a queued job as a dispatcher holds it."""
        job = await admitted(self.store, a_job(**changes))
        async with self.store() as work:
            claimed = [one for one in await work.jobs.claim(100) if one.id == job.id]
        return claimed[0]


async def collect(events):
    return [event async for event in events]


async def until(condition, seconds=10.0):
    """Wait until a condition holds; fail after so many seconds."""
    async with asyncio.timeout(seconds):
        while True:
            found = condition()
            if asyncio.iscoroutine(found):
                found = await found
            if found:
                return found
            await asyncio.sleep(0.01)
