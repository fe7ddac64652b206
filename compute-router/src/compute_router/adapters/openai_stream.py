"""A streamed answer: events in, deltas and the end out."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

from compute_router.adapters.event_stream import EventReader, EventTooLarge
from compute_router.adapters.openai_http import Answer, Broken
from compute_router.adapters.openai_words import BadAnswer, Piece, piece_of
from compute_router.domain.execution import Delta, Finished, FinishReason, Usage
from compute_router.domain.operation import Operation

# An answer with an event for every token stays far below this.
MAX_STREAM_BYTES: Final = 32 * 1024 * 1024
_DONE: Final = "[DONE]"


async def streamed_events(
    answer: Answer, operation: Operation
) -> AsyncGenerator[Delta | Finished, None]:
    """Give the deltas of a streamed answer, and its end.

    Raises:
        Broken, BadAnswer: It broke off before it said why it ends.
    """
    ending = _Ending()
    try:
        async with aclosing(_pieces(answer, operation)) as pieces:
            async for piece in pieces:
                ending.note(piece)
                if piece.text:
                    # Where the provider reports no usage, a chunk counts as one token.
                    yield Delta(piece.text, 1)
    except (Broken, BadAnswer):
        # An answer that said why it ends is whole: only its usage may be missing.
        if ending.finish_reason is None:
            raise
    yield ending.finished()


async def _pieces(answer: Answer, operation: Operation) -> AsyncGenerator[Piece, None]:
    """Give what the events say, up to `[DONE]`."""
    reader = EventReader()
    async with aclosing(answer.chunks(MAX_STREAM_BYTES)) as chunks:
        async for chunk in chunks:
            try:
                found = reader.feed(chunk)
            except EventTooLarge as error:
                raise BadAnswer("EVENT_TOO_LARGE") from error
            for data in found:
                if data.strip() == _DONE:
                    await answer.rest()
                    return
                yield piece_of(data, operation)
    raise Broken("CUT_OFF")


@dataclass(slots=True)
class _Ending:
    """What was said about the end so far."""

    finish_reason: FinishReason | None = None
    usage: Usage | None = None
    response_id: str = ""

    def note(self, piece: Piece) -> None:
        self.finish_reason = piece.finish_reason or self.finish_reason
        if piece.has_usage:
            self.usage = piece.usage
        self.response_id = self.response_id or piece.response_id

    def finished(self) -> Finished:
        reason = self.finish_reason or FinishReason.STOP
        return Finished(reason, self.usage, provider_response_id=self.response_id)
