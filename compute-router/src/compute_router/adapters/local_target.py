"""The target `local`: our own workers, the emptiest first."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import grpc
import structlog
from weir.worker.v1 import inference_service_pb2_grpc as pb_grpc

from compute_router.adapters.worker_channels import WorkerChannels, WorkerUnreachable
from compute_router.adapters.worker_protocol import event_of, request_of
from compute_router.domain.errors import (
    PROMPT_TOO_LONG,
    ExecutionFailed,
    NoCapacity,
    PromptRefused,
    RanNothing,
    WorkerLost,
)
from compute_router.domain.execution import Finished, Started, TargetEvent, Task
from compute_router.domain.operation import Operation
from compute_router.domain.target import LOCAL, TargetState
from compute_router.domain.worker import Worker, in_order_of_trial, merged_models
from compute_router.usecases.worker_fleet import WorkerFleet
from service_kit import request_context
from service_kit.errors import DeadlineExceeded, ErrorCode, ServiceError
from service_kit.grpc_client import NO_DEADLINE
from service_kit.grpc_errors import from_rpc_error

log = structlog.get_logger(__name__)

# The worker can't take this prompt, and another one may: it said so before anything ran.
_TRY_ANOTHER: Final = frozenset({"WORKER_BUSY", "WORKER_DRAINING", "MODEL_NOT_SERVED"})
_LOST: Final = frozenset({ErrorCode.UNAVAILABLE, ErrorCode.CANCELLED})


@dataclass(frozen=True, slots=True)
class Patience:
    """How long workers are waited for, and how many are tried."""

    connect_seconds: float = 2.0
    silence_seconds: float = 120.0
    """Between two events; reading a long prompt is silent."""
    aside_seconds: float = 2.0
    """A worker that could not be reached gets no new work for so long."""
    workers_tried: int = 3


class LocalTarget:
    """Implements `Target` over the registered workers.

    Another worker is tried only while the one before provably ran nothing. A
    worker that breaks off later is lost: the caller may start a new attempt.
    """

    def __init__(
        self,
        fleet: WorkerFleet,
        channels: WorkerChannels,
        *,
        paid: bool = False,
        patience: Patience | None = None,
    ) -> None:
        self._fleet = fleet
        self._channels = channels
        self._paid = paid
        self._patience = patience or Patience()

    @property
    def name(self) -> str:
        return LOCAL

    @property
    def paid(self) -> bool:
        return self._paid

    def state(self) -> TargetState:
        loads = self._fleet.loads()
        total = sum(load.worker.slots_total for load in loads)
        busy = sum(load.slots_busy for load in loads)
        status = (
            f"{len(loads)} {'worker' if len(loads) == 1 else 'workers'}, "
            f"{busy} of {total} slots busy"
            if loads
            else "no worker is registered"
        )
        return TargetState(
            name=LOCAL,
            available=bool(loads),
            paid=self._paid,
            own=True,
            models=merged_models([load.worker for load in loads]),
            slots_total=total,
            slots_busy=busy,
            status=status,
        )

    async def execute(self, task: Task) -> AsyncGenerator[TargetEvent, None]:
        refusal: RanNothing = NoCapacity(task.model)
        too_long_for = 0
        for worker in self._workers_for(task):
            served = worker.find_model(task.model)
            if served is None or served.context_tokens <= too_long_for:
                continue
            try:
                async with aclosing(self._run_on(worker, task)) as events:
                    async for event in events:
                        yield event
                return
            except RanNothing as error:
                refusal = error
                if isinstance(error, PromptRefused):
                    if error.reason != PROMPT_TOO_LONG:
                        raise
                    # What may be embedded has a limit of its own, which workers don't announce.
                    if task.job.operation is not Operation.EMBEDDING:
                        too_long_for = served.context_tokens
        raise refusal

    def _workers_for(self, task: Task) -> list[Worker]:
        order = in_order_of_trial(
            self._fleet.loads(),
            task.model,
            task.job.query.tokens_input_bound,
            task.job.operation,
        )
        return [load.worker for load in order[: self._patience.workers_tried]]

    async def _run_on(self, worker: Worker, task: Task) -> AsyncGenerator[TargetEvent, None]:
        finished: Finished | None = None
        with self._fleet.running(worker.worker_id):
            try:
                async with (
                    self._channels.connected(
                        worker.address, self._patience.connect_seconds
                    ) as channel,
                    aclosing(self._generate(channel, worker, task)) as events,
                ):
                    async for event in events:
                        if isinstance(event, Finished):
                            finished = event
                            break
                        yield event
            except WorkerUnreachable as error:
                self._put_aside(worker, "unreachable")
                raise NoCapacity(task.model) from error
        # The slot counts as free before the caller hears of it: it may ask again at once.
        if finished is None:
            raise ExecutionFailed(LOCAL, "ENDED_EARLY")
        yield finished

    async def _generate(
        self, channel: grpc.aio.Channel, worker: Worker, task: Task
    ) -> AsyncGenerator[TargetEvent, None]:
        left = request_context.remaining_seconds()
        call = pb_grpc.InferenceServiceStub(channel).Generate(
            request_of(task), timeout=NO_DEADLINE if left is None else left
        )
        has_started = False
        try:
            while (response := await self._read(call)) is not grpc.aio.EOF:
                event = event_of(response, LOCAL)
                if event is None:
                    continue
                if isinstance(event, Started):
                    self._check_identity(event, worker)
                    has_started = True
                yield event
        except grpc.aio.AioRpcError as error:
            raise self._named(from_rpc_error(error), worker, task, has_started) from error
        except TimeoutError as error:
            self._put_aside(worker, "silent")
            raise WorkerLost(worker.worker_id) from error
        finally:
            # Stops the engine if the caller left; does nothing to a call that is over.
            call.cancel()

    async def _read(self, call: Any) -> Any:
        async with asyncio.timeout(self._patience.silence_seconds):
            return await call.read()

    def _check_identity(self, started: Started, worker: Worker) -> None:
        """Refuse an answer in another worker's name: its result would be booked on that one."""
        if started.worker_id != worker.worker_id:
            # What it calls itself is not ours to repeat: it may be anything.
            log.error("worker.impostor", worker_id=worker.worker_id, address=worker.address)
            self._put_aside(worker, "impostor")
            raise ExecutionFailed(LOCAL, "WORKER_IMPOSTOR")

    def _named(
        self, error: ServiceError, worker: Worker, task: Task, has_started: bool
    ) -> ServiceError:
        if not has_started:
            if error.reason in _TRY_ANOTHER:
                if error.reason != "WORKER_BUSY":
                    self._put_aside(worker, error.reason)
                return NoCapacity(task.model)
            if error.code is ErrorCode.INVALID_ARGUMENT:
                return PromptRefused(error.reason, error.message, error.metadata)
            if error.code is ErrorCode.PERMISSION_DENIED:
                self._put_aside(worker, error.reason)
                return NoCapacity(task.model)
        if error.code is ErrorCode.DEADLINE_EXCEEDED:
            # The caller's own: the worker is as good as before.
            return DeadlineExceeded("The answer took longer than it may.")
        if error.code in _LOST:
            self._put_aside(worker, error.reason)
            return WorkerLost(worker.worker_id)
        return ExecutionFailed(LOCAL, error.reason)

    def _put_aside(self, worker: Worker, why: str) -> None:
        log.warning("worker.put_aside", worker_id=worker.worker_id, reason=why)
        self._fleet.put_aside(worker.worker_id, self._patience.aside_seconds)
