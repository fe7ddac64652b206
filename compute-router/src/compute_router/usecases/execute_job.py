"""Run one attempt of a job on the best target that takes it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from datetime import timedelta

import structlog

from compute_router.domain.decision import RouteDecision
from compute_router.domain.errors import (
    PROMPT_TOO_LONG,
    GoNotGiven,
    NoCapacity,
    PromptRefused,
    RanNothing,
    TargetUnavailable,
    WorkerLost,
)
from compute_router.domain.execution import (
    Dispatching,
    Finished,
    Job,
    Released,
    TargetEvent,
    Task,
)
from compute_router.domain.operation import Operation
from compute_router.usecases.decide_route import DecideRoute
from compute_router.usecases.ports import GoSignal, Measurements, Target
from service_kit.failpoints import failpoint

log = structlog.get_logger(__name__)

ExecutionEvent = RouteDecision | Dispatching | Released | TargetEvent


@dataclass(frozen=True, slots=True)
class _Refusal:
    """A target that ran nothing, and why."""

    target: str
    context_tokens: int
    error: RanNothing

    def may_be_followed_by(self, context_tokens: int, operation: Operation) -> bool:
        """Return whether a target with such a context may take what this one did not.

        What may be embedded has limits of its own, which nobody announces.
        """
        return (
            self.error.reason != PROMPT_TOO_LONG
            or operation is Operation.EMBEDDING
            or context_tokens > self.context_tokens
        )


@dataclass(frozen=True, slots=True)
class ExecuteJob:
    """Decides, dispatches, and falls back only while nothing ran and nothing was paid."""

    decide: DecideRoute
    measurements: Measurements
    go_timeout_seconds: float

    async def __call__(self, job: Job, go: GoSignal) -> AsyncGenerator[ExecutionEvent, None]:
        """Give the decision, and what comes of it. Closing the generator stops the target.

        A paid target gets the prompt only after `go`. Targets are tried in the
        order of the decision; the next one only if the one before ran nothing.

        Raises:
            NoCapacity: Everything is full for the moment; nothing ran.
            ModelNotServed: No target serves the model.
            OperationNotServed: None does with it what is asked.
            TargetUnavailable: The targets that serve it are away; nothing was paid.
            PromptRefused: The target can't take the prompt, as its reason says.
            GoNotGiven: The dispatch was not confirmed; nothing ran.
            WorkerLost: The target went away while it had the prompt.
            ExecutionFailed: The target failed.
        """
        decision = self.decide(job.complete_query)
        self.measurements.decided(decision.target, decision.reason)
        log.info(
            "route.decided",
            job_id=job.job_id,
            attempt=job.attempt,
            target=decision.target,
            model=decision.model,
            reason=decision.reason,
            complexity=decision.complexity.score,
        )
        yield decision
        targets = {target.name: target for target in self.decide.targets}
        refusals: list[_Refusal] = []
        for number, (name, model) in enumerate(decision.choices, start=1):
            task, target = Task(f"{job.job_id}-{job.attempt}-{number}", model, job), targets[name]
            context_tokens = _context_of(target, model)
            if refusals:
                if not refusals[-1].may_be_followed_by(context_tokens, job.operation):
                    continue
                self._note_fallback(refusals[-1], task, name)
            try:
                async with aclosing(self._dispatch(target, task, go)) as events:
                    async for event in events:
                        yield event
            except RanNothing as error:
                refusals.append(_Refusal(name, context_tokens, error))
                if target.paid:
                    yield Released(name, task.client_task_id, error.reason)
                if isinstance(error, GoNotGiven) or _holds_everywhere(error):
                    raise
            else:
                return
        raise _most_hopeful([refusal.error for refusal in refusals])

    def _note_fallback(self, refusal: _Refusal, task: Task, to_target: str) -> None:
        self.measurements.fell_back(refusal.target, to_target, refusal.error.reason)
        log.warning(
            "route.fallback",
            job_id=task.job.job_id,
            attempt=task.job.attempt,
            from_target=refusal.target,
            to_target=to_target,
            reason=refusal.error.reason,
        )

    async def _dispatch(
        self, target: Target, task: Task, go: GoSignal
    ) -> AsyncGenerator[Dispatching | TargetEvent, None]:
        with self._counted(target.name) as outcome:
            if target.paid:
                yield Dispatching(target.name, task.client_task_id)
                await self._wait_for_go(go, task.client_task_id)
                await failpoint("router_after_go")
            async with aclosing(target.execute(task)) as events:
                async for event in events:
                    if isinstance(event, Finished):
                        outcome.append(str(event.finish_reason))
                    yield event

    async def _wait_for_go(self, go: GoSignal, client_task_id: str) -> None:
        try:
            async with asyncio.timeout(self.go_timeout_seconds):
                await go.wait(client_task_id)
        except TimeoutError as error:
            raise GoNotGiven(client_task_id) from error

    @contextmanager
    def _counted(self, target: str) -> Iterator[list[str]]:
        outcome: list[str] = []
        try:
            yield outcome
        except RanNothing:
            outcome.append("released")
            raise
        except WorkerLost:
            outcome.append("lost")
            raise
        except Exception:
            outcome.append("failed")
            raise
        finally:
            # Nothing to say: the generator was closed, because the caller left.
            self.measurements.executed(target, outcome[0] if outcome else "cancelled")


def _context_of(target: Target, model: str) -> int:
    known = target.state().find_model(model)
    return 0 if known is None else known.context_tokens


def _holds_everywhere(error: RanNothing) -> bool:
    return isinstance(error, PromptRefused) and error.holds_everywhere


def _most_hopeful(errors: Sequence[RanNothing]) -> RanNothing:
    """Return the refusal that passes soonest, so that nobody gives up too early.

    A prompt too long for one target may wait for the other. Where none passes, the last one.
    """
    passing = [error for error in errors if isinstance(error, (NoCapacity, TargetUnavailable))]
    return min(passing, key=lambda e: e.retry_after or timedelta(0), default=errors[-1])
