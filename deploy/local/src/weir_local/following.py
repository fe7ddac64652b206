"""Shows the log files of a stack, of one process or of all, and follows them."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path

from weir_local.processes import tail


def find(directory: Path, name: str | None) -> list[Path]:
    """Return the log files of a name (`gateway`, `postgres`, ...), or of everything."""
    pattern = "*.log" if name is None else f"{name}.log"
    return sorted(directory.glob(pattern))


def show(
    files: Sequence[Path], *, lines: int, follow: bool, write: Callable[[str], object]
) -> None:
    """Write the last lines of each file, then those that come; a name before each of several."""
    width = max(len(file.stem) for file in files)
    named = len(files) > 1
    ends = {}
    for file in files:
        ends[file] = file.stat().st_size
        _write(tail(file, lines), f"{file.stem:<{width}} | " if named else "", write)
    while follow:
        for file in files:
            text, ends[file] = _read_from(file, ends[file])
            _write(text, f"{file.stem:<{width}} | " if named else "", write)
        time.sleep(0.2)


def _read_from(file: Path, offset: int) -> tuple[str, int]:
    """Return the whole lines after `offset`; from the beginning if the file was replaced."""
    if not file.exists():
        return "", 0
    if file.stat().st_size < offset:
        offset = 0
    with file.open("rb") as opened:
        opened.seek(offset)
        complete = opened.read().rpartition(b"\n")[0]
    if not complete:
        return "", offset
    return complete.decode("utf-8", errors="replace"), offset + len(complete) + 1


def _write(text: str, prefix: str, write: Callable[[str], object]) -> None:
    for line in text.splitlines():
        write(f"{prefix}{line}\n")
