"""The answer of a running attempt, as it is put together from what Redis kept of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from job_service.domain.job_events import AnswerDelta, Gap, Snapshot

# Readers that are further behind than this get a snapshot. A whole answer fits nearly always.
WINDOW_CHARACTERS: Final = 256 * 1024
WINDOW_DELTAS: Final = 4096


@dataclass(frozen=True, slots=True)
class Entry:
    """What the lease holder wrote: the text of delta `number`, or of all up to it."""

    number: int
    text: str
    is_snapshot: bool = False


@dataclass(slots=True)
class Answer:
    """All text of one attempt up to delta `last`: a beginning in one piece, then its deltas.

    Args:
        attempt: Whose answer this is; 0 while none runs.
    """

    attempt: int = 0
    most_characters: int = WINDOW_CHARACTERS
    most_deltas: int = WINDOW_DELTAS
    # The entry up to which everything was taken in or found useless.
    read_to: int = 0
    _beginning: str = ""
    _beginning_to: int = 0
    _texts: list[str] = field(default_factory=list)
    _characters: int = 0

    @property
    def last(self) -> int:
        return self._beginning_to + len(self._texts)

    def take(self, entry: Entry) -> None:
        """Take in the next entry. Between holes only a snapshot goes on."""
        self.read_to = max(self.read_to, entry.number)
        if entry.is_snapshot:
            if entry.number > self.last:
                self.replace(entry.number, entry.text)
        elif entry.number == self.last + 1:
            self._texts.append(entry.text)
            self._characters += len(entry.text)
            if self._characters > self.most_characters or len(self._texts) > self.most_deltas:
                self._fold(len(self._texts) - len(self._texts) // 2)

    def replace(self, number: int, text: str) -> None:
        """Take `text` for everything up to delta `number`."""
        self._beginning, self._beginning_to = text, number
        self._texts, self._characters = [], 0

    def _fold(self, count: int) -> None:
        self._beginning += "".join(self._texts[:count])
        self._beginning_to += count
        self._texts = self._texts[count:]
        self._characters = sum(map(len, self._texts))

    def after(self, number: int) -> Sequence[AnswerDelta | Gap | Snapshot]:
        """Return what comes next for a reader that has the deltas up to `number`."""
        if number >= self.last:
            return ()
        if number >= self._beginning_to:
            text = self._texts[number - self._beginning_to]
            return (AnswerDelta(self.attempt, number + 1, text),)
        snapshot = Snapshot(self.attempt, self._beginning_to, self._beginning)
        if number > 0:
            return (Gap(self.attempt, number + 1, self._beginning_to), snapshot)
        # Who has seen nothing of the answer misses nothing.
        return (snapshot,)
