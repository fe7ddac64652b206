"""One launcher at a time works on a stack."""

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from weir_local.progress import Progress


class Busy(Exception):
    """Another launcher has been at work on the same stack for too long."""


@contextlib.contextmanager
def exclusive(file: Path, progress: Progress, seconds: float = 180.0) -> Iterator[None]:
    """Hold the lock while the block runs; the kernel frees it if this process is killed."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        _acquire(descriptor, file, progress, seconds)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _acquire(descriptor: int, file: Path, progress: Progress, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    told = False
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode() or "unknown"
            if time.monotonic() > deadline:
                raise Busy(f"The launcher with pid {holder} still holds {file}.") from None
            if not told:
                progress.said(f"waiting for another launcher (pid {holder})")
                told = True
            time.sleep(0.1)
        else:
            return
