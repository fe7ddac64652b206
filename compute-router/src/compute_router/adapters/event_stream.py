"""Server-sent events from bytes, within bounds."""

from __future__ import annotations

from typing import Final

MAX_EVENT_BYTES: Final = 1024 * 1024


class EventTooLarge(Exception):
    """A line, or the data of one event, is larger than any honest one."""


class EventReader:
    """Turns bytes into the data of events, however the bytes are cut.

    Other fields than `data` are passed over: no provider says anything there.
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._max_event_bytes = max_event_bytes
        self._line = bytearray()
        self._data: list[bytes] = []
        self._data_bytes = 0

    def feed(self, chunk: bytes) -> list[str]:
        """Return the data of every event that is complete now.

        Raises:
            EventTooLarge: One of them would not fit.
        """
        complete = []
        *lines, rest = chunk.split(b"\n")
        for part in lines:
            self._append(part)
            line = bytes(self._line).removesuffix(b"\r")
            self._line.clear()
            if line:
                self._take(line)
            elif self._data:
                complete.append(b"\n".join(self._data).decode("utf-8", "replace"))
                self._data, self._data_bytes = [], 0
        self._append(rest)
        return complete

    def _append(self, part: bytes) -> None:
        if len(self._line) + len(part) > self._max_event_bytes:
            raise EventTooLarge
        self._line += part

    def _take(self, line: bytes) -> None:
        field, _, value = line.partition(b":")
        if field != b"data":
            return
        value = value.removeprefix(b" ")
        self._data_bytes += len(value) + 1
        if self._data_bytes > self._max_event_bytes:
            raise EventTooLarge
        self._data.append(value)
