"""Runs programs with a deadline, and says what one printed when it fails."""

import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

_LAST_CHARACTERS = 4000

T = TypeVar("T")


class CheckFailed(Exception):
    """The check can't go on. The message says what was expected and what was there."""


def run(
    command: Sequence[str | Path],
    *,
    seconds: float,
    environment: Mapping[str, str],
    directory: Path,
    stdin: str = "",
) -> str:
    """Return what a program printed on stdout.

    Raises:
        CheckFailed: It ended with another code than 0, or not within `seconds`.
    """
    shown = " ".join(str(part) for part in command)
    try:
        done = subprocess.run(
            list(command),
            env=dict(environment),
            cwd=directory,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise CheckFailed(f"{shown}\ndid not end within {seconds:.0f} s") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr)[-_LAST_CHARACTERS:]
        raise CheckFailed(f"{shown}\nended with {done.returncode}:\n{said}")
    return done.stdout


def wait_for(what: str, probe: Callable[[], T | None], *, seconds: float) -> T:
    """Return what `probe` gives once that is something; `CheckFailed` after the deadline.

    A probe that fails is asked again, and its last failure is told with the deadline.
    """
    deadline = time.monotonic() + seconds
    last = "nothing"
    while True:
        try:
            found = probe()
        except CheckFailed as error:
            found, last = None, str(error)
        if found is not None:
            return found
        if time.monotonic() > deadline:
            raise CheckFailed(f"{what}: not within {seconds:.0f} s; the last answer was: {last}")
        time.sleep(0.5)
