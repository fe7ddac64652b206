"""Runs what a client of the OpenAI API asked for, while it waits."""

from __future__ import annotations

from typing import Final

from fastapi import Request, Response
from fastapi.responses import JSONResponse
from weir.job.v1 import job_service_pb2 as pb

from gateway.entrypoints.answer import Answer, Shape
from gateway.entrypoints.answer_stream import AnswerStream, StreamShape
from gateway.entrypoints.disconnection import until_disconnect
from gateway.entrypoints.edge import Edge
from service_kit.errors import ServiceError

_CLIENT_LEFT: Final = 499


async def answered(edge: Edge, request: Request, run: pb.RunJobRequest, shape: Shape) -> Response:
    """Return the answer in one piece. A client that leaves cancels the job."""
    response = await until_disconnect(request.receive, _run(edge, run, shape))
    return response or Response(status_code=_CLIENT_LEFT)


def streamed(
    edge: Edge, run: pb.RunJobRequest, shape: StreamShape, *, include_usage: bool
) -> Response:
    """Return the answer in pieces, as they come."""
    return AnswerStream(
        edge.jobs,
        run,
        shape,
        timeout_seconds=edge.completion_seconds,
        keep_alive_seconds=edge.keep_alive_seconds,
        include_usage=include_usage,
    )


async def _run(edge: Edge, run: pb.RunJobRequest, shape: Shape) -> Response:
    answer = Answer(run.specification.model)
    try:
        async with edge.jobs.run_job(run, edge.completion_seconds) as running:
            await answer.follow(running)
        return JSONResponse(shape.whole(answer), headers=answer.headers())
    except ServiceError as error:
        return answer.failure(error)
