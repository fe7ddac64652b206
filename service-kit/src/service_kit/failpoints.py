"""Places where a test may kill or delay this process. Off unless a test turns them on.

`FAILPOINTS="after_hold=kill,after_claim=pause:3,after_go=kill:2"`: kill at the
first passing, sleep 3 s at every passing, kill at the second passing. Settings
refuse the variable unless `ENVIRONMENT=test`. `FAILPOINTS="@/path/to/file"` reads that text from
a file at every passing, so that a test can arm a process that already runs.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal


@dataclass(frozen=True, slots=True)
class Failpoint:
    """What happens at one place: a kill at the n-th passing, or a pause in seconds."""

    action: Literal["kill", "pause"]
    amount: float


_FORM: Final = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)=(?:kill(?::(?P<passing>[1-9][0-9]*))?"
    r"|pause:(?P<seconds>[0-9]+(?:\.[0-9]+)?))"
)

_active: dict[str, Failpoint] = {}
_passed: Counter[str] = Counter()
_file: Path | None = None
_file_text = ""


def parse(text: str) -> dict[str, Failpoint]:
    """Read the value of `FAILPOINTS`.

    Raises:
        ValueError: It is not a list of `name=kill`, `name=kill:n`, `name=pause:seconds`.
    """
    if text.startswith("@"):
        return {}
    found: dict[str, Failpoint] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _FORM.fullmatch(part)
        if match is None:
            raise ValueError("expected name=kill, name=kill:n or name=pause:seconds")
        if match["seconds"]:
            found[match["name"]] = Failpoint("pause", float(match["seconds"]))
        else:
            found[match["name"]] = Failpoint("kill", int(match["passing"] or 1))
    return found


def configure(text: str) -> None:
    """Turn on the failpoints named in the text, and all others off."""
    global _file, _file_text
    _file, _file_text = (Path(text[1:]), "") if text.startswith("@") else (None, "")
    _turn_on(text)


def _turn_on(text: str) -> None:
    _active.clear()
    _passed.clear()
    _active.update(parse(text))


def _read_again(file: Path) -> None:
    global _file_text
    text = file.read_text().strip() if file.exists() else ""
    if text != _file_text:
        _file_text = text
        _turn_on(text)


async def failpoint(name: str) -> None:
    """Pass a named place; nothing happens unless a test asked for it."""
    if _file is not None:
        _read_again(_file)
    if not _active:
        return
    found = _active.get(name)
    if found is None:
        return
    _passed[name] += 1
    if found.action == "pause":
        await asyncio.sleep(found.amount)
    elif _passed[name] == found.amount:
        os.kill(os.getpid(), signal.SIGKILL)
