"""Chooses TCP ports that nobody else is likely to take."""

import random
import socket
import time
from collections.abc import Collection

# Below the range from which Linux takes source ports of outgoing connections (32768 and up), so
# that a port is still free when a killed service comes back to it.
FIRST, LAST = 20_000, 32_000
LOOPBACK = "127.0.0.1"


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
    """Return a free port outside `avoid`."""
    generator = random.SystemRandom()
    for _ in range(2_000):
        port = generator.randrange(FIRST, LAST)
        if port not in avoid and is_free(port):
            return port
    raise OSError(f"No free TCP port was found between {FIRST} and {LAST}.")


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
