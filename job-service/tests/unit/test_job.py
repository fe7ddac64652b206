"""The state machine of a job: what may follow what, and what comes out."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from job_fakes import ANSWER, TERMS, a_job

from job_service.domain.ending_job import INTERRUPTED, LOST_TOO_OFTEN
from job_service.domain.errors import JobAlreadyFinished, JobNotFinished, JobNotRetryable
from job_service.domain.execution import (
    Delta,
    Dispatching,
    ExecutionError,
    Progress,
    Started,
    Verdict,
)
from job_service.domain.job import Job
from job_service.domain.job_record import AMBIGUOUS, Dispatch, IllegalTransition
from job_service.domain.job_state import JobState
from job_service.domain.retry_policy import RetryPolicy
from job_service.domain.settlement import SettlementKind, orphan_settlement, settlement_of
from job_service.domain.specification import JobKind
from service_kit.errors import ErrorCode

MOMENT = datetime(2026, 1, 2, tzinfo=UTC)
POLICY = RetryPolicy(backoff_seconds=60, max_lost=3, wait_seconds=0.5)
FAILED = ExecutionError("EXECUTION_FAILED", ErrorCode.INTERNAL, "It broke.")
NO_CAPACITY = ExecutionError("NO_CAPACITY", ErrorCode.RESOURCE_EXHAUSTED, "Full.")
TOO_LONG = ExecutionError("PROMPT_TOO_LONG", ErrorCode.INVALID_ARGUMENT, "Too long.")
WORKER_LOST = ExecutionError("WORKER_LOST", ErrorCode.UNAVAILABLE, "Gone.")
ROUTER_AWAY = ExecutionError("UNAVAILABLE", ErrorCode.UNAVAILABLE, "Gone.")
ERRORS = [FAILED, NO_CAPACITY, TOO_LONG, WORKER_LOST, ROUTER_AWAY]


def running(kind=JobKind.QUEUED, **changes):
    return a_job(
        kind, state=JobState.RUNNING, attempt=1, lease_token="t1", period="2026-01", **changes
    )


def progress_of(*events):
    progress = Progress()
    for event in events:
        progress.note(event)
    return progress


HALFWAY = (Started("local", "smol"), Delta("Hel", 2))


class TestAdmission:
    def test_queued_work_waits(self):
        job = a_job().admitted("2026-01", "t")
        assert (job.state, job.lease_token, job.attempt) == (JobState.PENDING, None, 0)

    def test_interactive_work_runs_at_once(self):
        job = a_job(JobKind.INTERACTIVE).admitted("2026-01", "t")
        assert (job.state, job.lease_token, job.attempt) == (JobState.RUNNING, "t", 1)

    def test_refused_queued_work_is_blocked(self):
        job = a_job().refused("BUDGET_EXCEEDED", "Too little.")
        assert (job.state, job.failure_reason) == (JobState.BLOCKED, "BUDGET_EXCEEDED")
        assert job.admitted("2026-01", "t").failure_reason is None

    def test_refused_interactive_work_fails_and_frees_its_key(self):
        job = a_job(JobKind.INTERACTIVE).refused("BUDGET_EXCEEDED", "Too little.")
        assert (job.state, job.failure_reason) == (JobState.FAILED, "BUDGET_EXCEEDED")
        assert job.frees_its_key
        assert settlement_of(job).kind is SettlementKind.VOID

    def test_terms_are_agreed_once(self):
        with pytest.raises(IllegalTransition):
            a_job().with_terms(TERMS)


class TestReaping:
    """The reaper's decisions: kind x dispatched x cancel requested x usage."""

    @pytest.mark.parametrize("kind", JobKind)
    @pytest.mark.parametrize("dispatched", [False, True])
    @pytest.mark.parametrize("tokens", [0, 7])
    def test_cancel_comes_first(self, kind, dispatched, tokens):
        """What was to be cancelled is cancelled, and pays what was stored as used."""
        job = self.lapsed(kind, dispatched, tokens, cancel_requested=True).reaped(POLICY, "t2")

        assert job.state is JobState.CANCELLED
        kind_of_settlement = settlement_of(job).kind
        assert kind_of_settlement is (SettlementKind.POST if tokens else SettlementKind.VOID)

    @pytest.mark.parametrize("kind", JobKind)
    @pytest.mark.parametrize("tokens", [0, 7])
    def test_dispatched_work_never_runs_again(self, kind, tokens):
        """It is ambiguous: the tenant pays nothing, and what we may owe is noted."""
        job = self.lapsed(kind, True, tokens).reaped(POLICY, "t2")

        assert (job.state, job.failure_reason) == (JobState.FAILED, AMBIGUOUS)
        assert settlement_of(job).kind is SettlementKind.VOID
        assert settlement_of(job).outcome.provider_cost_nanousd > 0
        assert not job.frees_its_key

    @pytest.mark.parametrize("tokens", [0, 7])
    def test_queued_work_waits_again_at_once(self, tokens):
        job = self.lapsed(JobKind.QUEUED, False, tokens).reaped(POLICY, "t2")

        assert (job.state, job.lease_token) == (JobState.PENDING, None)
        assert (job.attempt, job.retry_count, job.lost_count) == (1, 0, 1)
        assert (job.delay_seconds, job.tokens_counted) == (0, 0)

    def test_queued_work_that_is_lost_too_often_is_poison(self):
        lapsed = replace(self.lapsed(JobKind.QUEUED, False, 0), lost_count=POLICY.max_lost - 1)
        job = lapsed.reaped(POLICY, "t2")

        assert (job.state, job.failure_reason) == (JobState.DEAD_LETTER, LOST_TOO_OFTEN)
        assert settlement_of(job).kind is SettlementKind.VOID

    @pytest.mark.parametrize("tokens", [0, 7])
    def test_interactive_work_is_interrupted(self, tokens):
        """Its caller is gone; the last stored usage is charged."""
        job = self.lapsed(JobKind.INTERACTIVE, False, tokens).reaped(POLICY, "t2")

        assert (job.state, job.failure_reason) == (JobState.FAILED, INTERRUPTED)
        settlement = settlement_of(job)
        assert settlement.kind is (SettlementKind.POST if tokens else SettlementKind.VOID)
        assert settlement.amount_nanousd == ((2 + 7) * 1_000_000 if tokens else 0)

    def test_queued_admission_is_repeated(self):
        job = a_job(lease_token="t1").reaped(POLICY, "t2")
        assert (job.state, job.lease_token) == (JobState.ADMITTING, "t2")

    def test_interactive_admission_fails(self):
        job = a_job(JobKind.INTERACTIVE).reaped(POLICY, "t2")
        assert (job.state, job.failure_reason) == (JobState.FAILED, INTERRUPTED)
        assert settlement_of(job).kind is SettlementKind.VOID

    @staticmethod
    def lapsed(kind, dispatched, tokens, **changes):
        return running(
            kind,
            dispatch=Dispatch("local", "task") if dispatched else None,
            tokens_counted=tokens,
            executed_target="local" if tokens else None,
            executed_model="smol" if tokens else None,
            **changes,
        )


class TestErrors:
    """What an attempt that ended without an answer means."""

    def test_no_capacity_hands_back(self):
        job = running().errored(NO_CAPACITY, Progress(), POLICY)
        assert (job.state, job.retry_count, job.lost_count) == (JobState.PENDING, 0, 0)
        assert job.delay_seconds == 0.5

    def test_router_away_before_anything_ran_hands_back(self):
        job = running().errored(ROUTER_AWAY, Progress(), POLICY)
        assert (job.state, job.lost_count) == (JobState.PENDING, 0)

    @pytest.mark.parametrize("error", [ROUTER_AWAY, WORKER_LOST])
    def test_lost_while_it_ran_requeues_at_once(self, error):
        job = running().errored(error, progress_of(*HALFWAY), POLICY)
        assert (job.state, job.lost_count, job.delay_seconds) == (JobState.PENDING, 1, 0)

    def test_worker_lost_before_it_said_anything_counts_too(self):
        """X-R21: a prompt that kills its worker at once is poison as well."""
        assert running().errored(WORKER_LOST, Progress(), POLICY).lost_count == 1

    def test_failure_backs_off_twice_as_long_each_time(self):
        delays = [
            running(retry_count=count).errored(FAILED, Progress(), POLICY).delay_seconds
            for count in range(3)
        ]
        assert delays == [60, 120, 240]

    def test_retries_end_in_a_dead_letter(self):
        job = running(retry_count=3).errored(FAILED, Progress(), POLICY)
        assert (job.state, job.failure_reason) == (JobState.DEAD_LETTER, "EXECUTION_FAILED")
        assert job.retry_count == 3

    def test_what_would_fail_again_fails(self):
        job = running().errored(TOO_LONG, Progress(), POLICY)
        assert (job.state, job.failure_reason) == (JobState.FAILED, "PROMPT_TOO_LONG")

    @pytest.mark.parametrize("error", [FAILED, ROUTER_AWAY, WORKER_LOST])
    def test_dispatched_work_is_ambiguous(self, error):
        """X-P4: what may have been paid is not paid for a second time."""
        job = running(dispatch=Dispatch("yotta", "task")).errored(error, Progress(), POLICY)
        assert (job.state, job.failure_reason) == (JobState.FAILED, AMBIGUOUS)
        assert settlement_of(job).kind is SettlementKind.VOID

    def test_answer_cut_off_after_go_keeps_its_key(self):
        """X-P4: nothing came yet, but it may have been paid, so the same key runs nothing again."""
        cut_off = a_job(
            JobKind.INTERACTIVE, state=JobState.RUNNING, dispatch=Dispatch("yotta", "task")
        ).abandoned(Progress())

        assert (cut_off.state, cut_off.failure_reason) == (JobState.FAILED, AMBIGUOUS)
        assert not cut_off.frees_its_key

    @pytest.mark.parametrize("error", [NO_CAPACITY, TOO_LONG])
    def test_dispatched_work_of_which_nothing_ran_is_not(self, error):
        job = running(dispatch=Dispatch("yotta", "task")).errored(error, Progress(), POLICY)
        assert job.failure_reason != AMBIGUOUS
        assert job.dispatch is None

    def test_interactive_failure_charges_what_its_caller_got(self):
        """X-P6: a stream cut midway is charged as counted."""
        job = running(JobKind.INTERACTIVE).errored(FAILED, progress_of(*HALFWAY), POLICY)
        assert job.state is JobState.FAILED
        assert settlement_of(job).kind is SettlementKind.POST
        assert job.charge_nanousd == (2 + 2) * 1_000_000
        assert not job.frees_its_key

    def test_interactive_failure_without_an_answer_is_free(self):
        job = running(JobKind.INTERACTIVE).errored(NO_CAPACITY, Progress(), POLICY)
        assert job.state is JobState.FAILED
        assert settlement_of(job).kind is SettlementKind.VOID
        assert job.frees_its_key

    @pytest.mark.parametrize("started", [True, False])
    @pytest.mark.parametrize("error", ERRORS)
    def test_every_error_has_a_verdict(self, error, started):
        assert error.verdict(started=started) in Verdict


class TestCancel:
    @pytest.mark.parametrize(
        ("changes", "words"), [({}, "redrive it or purge it"), ({"purged_at": MOMENT}, "already")]
    )
    def test_dead_letter_says_what_can_be_done(self, changes, words):
        """It is over, and yet there is something to decide, until it is purged."""
        with pytest.raises(JobAlreadyFinished, match=words) as refused:
            a_job(state=JobState.DEAD_LETTER, **changes).cancellation_requested()
        assert ("redrive" in refused.value.message) is not bool(changes)

    @pytest.mark.parametrize("state", JobState)
    def test_every_state_says_what_cancelling_does(self, state):
        job = a_job(state=state)
        if state.is_final:
            with pytest.raises(JobAlreadyFinished):
                job.cancellation_requested()
        elif state is JobState.RUNNING:
            assert job.cancellation_requested() == replace(job, cancel_requested=True)
        else:
            cancelled = job.cancellation_requested()
            assert cancelled.state is JobState.CANCELLED
            assert settlement_of(cancelled).kind is SettlementKind.VOID

    @pytest.mark.parametrize("state", [JobState.RETRYING, JobState.BLOCKED, JobState.RUNNING])
    def test_cancelled_work_did_not_fail(self, state):
        """What had gone wrong before is not why it ended."""
        job = a_job(state=state, failure_reason="EXECUTION_FAILED", last_error="It broke.")
        asked = job.cancellation_requested()
        ended = asked.stopped(Progress()) if state is JobState.RUNNING else asked
        assert (ended.state, ended.failure_reason) == (JobState.CANCELLED, None)

    def test_stopped_work_pays_what_was_made(self):
        job = running().stopped(progress_of(*HALFWAY))
        assert (job.state, job.result_text) == (JobState.CANCELLED, "Hel")
        assert settlement_of(job).amount_nanousd == (2 + 2) * 1_000_000

    def test_stopped_before_the_first_token_is_free(self):
        job = running().stopped(progress_of(Started("local", "smol")))
        assert settlement_of(job).kind is SettlementKind.VOID


class TestCompletion:
    def test_reported_usage_is_charged(self):
        job = running().completed(progress_of(*ANSWER))
        assert (job.state, job.result_text) == (JobState.COMPLETED, "Hello!")
        assert settlement_of(job).amount_nanousd == 33 * 1_000_000

    def test_needs_an_end(self):
        with pytest.raises(IllegalTransition):
            running().completed(progress_of(*HALFWAY))

    def test_paid_target_is_noted_as_our_cost(self):
        job = running(dispatch=Dispatch("local", "task")).completed(progress_of(*ANSWER))
        assert settlement_of(job).outcome.provider_cost_nanousd == 33 * 1_000_000


RETRYABLE = (JobState.FAILED, JobState.DEAD_LETTER, JobState.CANCELLED)


def ended(state, **changes):
    """Return a job that ended so, with everything set that an admission may leave behind."""
    full = replace(
        running(dispatch=Dispatch("local", "task")).completed(progress_of(*ANSWER)),
        state=state,
        attempt=4,
        retry_count=3,
        lost_count=2,
        waits=6,
        cancel_requested=True,
        failure_reason="EXECUTION_FAILED",
        last_error="It broke.",
        priority=7,
        origin_request_id="r1",
        created_at=MOMENT,
        started_at=MOMENT,
        completed_at=MOMENT,
        next_retry_at=MOMENT,
        lease_expires_at=MOMENT,
    )
    return replace(full, **changes)


class TestRetry:
    @pytest.mark.parametrize("state", RETRYABLE)
    def test_a_new_admission_is_a_new_job_but_for_its_attempts(self, state):
        """C3: nothing of what it came to is left, so nothing of it can be told or charged again."""
        was = ended(state)
        job = was.retried("t9")
        asked_for = a_job(id=was.id, priority=7, origin_request_id="r1", terms=None)
        assert job == replace(
            asked_for, admission=2, attempt=4, lease_token="t9", created_at=MOMENT
        )
        assert job.hold_id == f"{was.id}:2"
        assert job.with_terms(TERMS).admitted("2026-02", "t").state is JobState.PENDING

    @pytest.mark.parametrize("state", [state for state in JobState if not state.is_final])
    def test_live_work_is_not_retried(self, state):
        with pytest.raises(JobNotFinished):
            a_job(state=state).retried("t9")

    @pytest.mark.parametrize(
        ("job", "why"),
        [
            (ended(JobState.COMPLETED), "it is completed"),
            (ended(JobState.COMPLETED, kind=JobKind.INTERACTIVE), "it is completed"),
            (ended(JobState.DEAD_LETTER, purged_at=MOMENT), "its content was purged"),
            (ended(JobState.FAILED, kind=JobKind.INTERACTIVE), "its caller is gone"),
        ],
        ids=["completed", "answered", "purged", "interactive"],
    )
    def test_what_never_runs_again_says_why(self, job, why):
        with pytest.raises(JobNotRetryable, match=f": {why}."):
            job.retried("t9")

    def test_unclear_work_is_the_persons_decision(self):
        """AMBIGUOUS: it may have been paid for; who retries it knows that."""
        was = running(dispatch=Dispatch("yotta", "task")).abandoned(Progress())
        assert was.failure_reason == AMBIGUOUS
        assert was.retried("t9").dispatch is None


class TestOrphans:
    def test_live_job_keeps_its_hold(self):
        job = running()
        assert orphan_settlement(job.hold_id, job) is None

    @pytest.mark.parametrize("state", [state for state in JobState if state.is_final])
    def test_final_job_lets_its_hold_go(self, state):
        job = a_job(state=state)
        assert orphan_settlement(job.hold_id, job).kind is SettlementKind.VOID

    def test_unknown_job_lets_its_hold_go(self):
        assert orphan_settlement("j9:1", None).hold_id == "j9:1"

    def test_earlier_admission_lets_its_hold_go(self):
        job = running(admission=2)
        assert orphan_settlement(f"{job.id}:1", job).kind is SettlementKind.VOID


class JobLife(RuleBasedStateMachine):
    """Any order of events keeps the promises of a job's life."""

    job: Job

    @initialize(kind=st.sampled_from(JobKind), max_retries=st.integers(0, 2))
    def submitted(self, kind, max_retries):
        self.job = a_job(kind, max_retries=max_retries)
        self.highest_attempt = 0
        self.settled = None

    def become(self, job):
        assert not self.job.state.is_final, "a final state never changes"
        assert job.attempt >= self.job.attempt, "attempts never reset"
        self.job = job
        if job.state.is_final:
            self.settled = settlement_of(job)

    def is_in(*states):
        return precondition(lambda self: self.job.state in states)

    @is_in(JobState.ADMITTING, JobState.BLOCKED)
    @rule()
    def grant(self):
        self.become(self.job.admitted("2026-01", "t"))

    @is_in(JobState.ADMITTING)
    @rule()
    def refuse(self):
        self.become(self.job.refused("BUDGET_EXCEEDED", "Too little."))

    @precondition(lambda self: self.job.is_queued)
    @is_in(JobState.PENDING, JobState.RETRYING)
    @rule()
    def claim(self):
        before = self.job.attempt
        self.become(self.job.claimed("t"))
        assert self.job.attempt == before + 1

    @is_in(JobState.RUNNING)
    @rule()
    def dispatch(self):
        self.become(self.job.dispatched(Dispatching("local", "task")))

    @is_in(JobState.RUNNING)
    @rule()
    def release(self):
        self.become(self.job.released())

    @is_in(JobState.RUNNING)
    @rule(events=st.sampled_from([(), HALFWAY]))
    def renew(self, events):
        self.become(self.job.noting(progress_of(*events)))

    @is_in(JobState.RUNNING)
    @rule()
    def complete(self):
        self.become(self.job.completed(progress_of(*ANSWER)))
        assert self.settled.kind is SettlementKind.POST

    @is_in(JobState.RUNNING)
    @rule(error=st.sampled_from(ERRORS), events=st.sampled_from([(), HALFWAY]))
    def err(self, error, events):
        was = self.job
        self.become(was.errored(error, progress_of(*events), POLICY))
        if was.dispatch is not None and not error.is_unpaid and was.is_queued:
            assert self.job.state is JobState.FAILED, "never run again blindly"

    @is_in(JobState.RUNNING)
    @rule(events=st.sampled_from([(), HALFWAY]))
    def stop(self, events):
        self.become(self.job.stopped(progress_of(*events)))

    @is_in(JobState.RUNNING)
    @rule(events=st.sampled_from([(), HALFWAY]))
    def abandon(self, events):
        self.become(self.job.abandoned(progress_of(*events)))

    @is_in(JobState.RUNNING, JobState.ADMITTING)
    @rule()
    def reap(self):
        was = self.job
        self.become(was.reaped(POLICY, "t2"))
        if was.dispatch is not None:
            assert self.job.state.is_final, "never run again blindly"

    @precondition(lambda self: not self.job.state.is_final)
    @rule()
    def cancel(self):
        self.become(self.job.cancellation_requested())

    @precondition(lambda self: self.job.state in RETRYABLE and self.job.is_queued)
    @rule()
    def retry(self):
        was = self.job
        self.job, self.settled = was.retried("t3").with_terms(TERMS), None
        assert (self.job.admission, self.job.attempt) == (was.admission + 1, was.attempt)

    @precondition(lambda self: self.job.state.is_final)
    @rule()
    def stay(self):
        with pytest.raises(JobAlreadyFinished):
            self.job.cancellation_requested()
        for change in (
            lambda: self.job.claimed("t"),
            lambda: self.job.completed(progress_of(*ANSWER)),
            lambda: self.job.reaped(POLICY, "t"),
            lambda: self.job.admitted("2026-01", "t"),
        ):
            with pytest.raises(IllegalTransition):
                change()

    @invariant()
    def leases_belong_to_work(self):
        if self.job.state in (JobState.RUNNING, JobState.ADMITTING):
            assert self.job.lease_token is not None
        if self.job.state in (JobState.PENDING, JobState.RETRYING, JobState.BLOCKED):
            assert self.job.lease_token is None
            assert self.job.dispatch is None

    @invariant()
    def money_is_within_the_hold(self):
        if self.job.charge_nanousd is not None:
            assert self.job.state.is_final
            assert 0 <= self.job.charge_nanousd <= TERMS.hold_nanousd

    @invariant()
    def retries_are_bounded(self):
        assert self.job.retry_count <= self.job.max_retries
        assert self.job.lost_count <= POLICY.max_lost

    @invariant()
    def final_jobs_are_settled(self):
        assert (self.settled is not None) == self.job.state.is_final


JobLife.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestJobLife = JobLife.TestCase
