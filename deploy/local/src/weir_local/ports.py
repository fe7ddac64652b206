"""Chooses TCP ports that nobody else is likely to take."""

import fcntl
import os
import random
import re
import socket
import tempfile
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

# Below the range from which Linux takes source ports of outgoing connections (32768 and up), so
# that a port is still free when a killed service comes back to it.
FIRST, LAST = 20_000, 32_000
LOOPBACK = "127.0.0.1"
# From its choice until its service listens.
PROMISED_SECONDS = 60.0
_LINE = re.compile(r"(?P<port>[0-9]{4,5}) (?P<since>[0-9]+\.[0-9]{3})\n")


def is_free(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether a server could listen on the port right now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError:
            return False
    return True


def choose(avoid: Collection[int] = ()) -> int:
    """Return a free port outside `avoid`, and keep it for a while from whoever else chooses one."""
    generator = random.SystemRandom()
    with _promised() as promised:
        for _ in range(2_000):
            port = generator.randrange(FIRST, LAST)
            if port not in avoid and port not in promised and is_free(port):
                promised[port] = time.time()
                return port
    raise OSError(f"No free TCP port was found between {FIRST} and {LAST}.")


@contextmanager
def _promised() -> Iterator[dict[int, float]]:
    """Give the ports that launchers of this user chose lately, to add one to.

    Until somebody listens there, a port looks free to everybody; two stacks that start at once
    choose some dozens each.
    """
    file = Path(tempfile.gettempdir()) / f"weir-ports-{os.getuid()}"
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    with os.fdopen(descriptor, "r+") as lines:
        fcntl.flock(lines, fcntl.LOCK_EX)
        oldest = time.time() - PROMISED_SECONDS
        # Whoever was killed while it wrote left half a line, which promises nothing.
        found = (_LINE.fullmatch(line) for line in lines)
        told = {int(each["port"]): float(each["since"]) for each in found if each is not None}
        promised = {port: since for port, since in told.items() if since > oldest}
        yield promised
        lines.seek(0)
        lines.writelines(f"{port} {since:.3f}\n" for port, since in promised.items())
        lines.truncate()


def keep_or_choose(port: int | None, seconds: float = 2.0) -> int:
    """Return the port if it is free or gets free soon, else another one."""
    deadline = time.monotonic() + seconds
    while port is not None and time.monotonic() < deadline:
        if is_free(port):
            return port
        time.sleep(0.05)
    return choose()


def accepts_connections(port: int, host: str = LOOPBACK) -> bool:
    """Tell whether something listens on the port."""
    try:
        with socket.create_connection((host, port), timeout=1):
            return True
    except OSError:
        return False
