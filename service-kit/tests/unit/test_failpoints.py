"""Failpoints do what a test asks, and nothing otherwise."""

import subprocess
import sys
import time

import pytest

from service_kit import failpoints
from service_kit.failpoints import Failpoint, failpoint, parse


@pytest.fixture(autouse=True)
def all_off():
    yield
    failpoints.configure("")


def test_list_is_read():
    """Names, actions and amounts are read; an empty value turns everything off."""
    assert parse("a=kill, b=kill:3,c=pause:0.5") == {
        "a": Failpoint("kill", 1),
        "b": Failpoint("kill", 3),
        "c": Failpoint("pause", 0.5),
    }
    assert parse("") == {}


@pytest.mark.parametrize(
    "text", ["a", "a=", "a=explode", "a=pause", "a=kill:x", "=kill", "a=pause:-1", "a=kill:0"]
)
def test_nonsense_is_refused(text):
    """A failpoint that would silently never fire makes a test without teeth."""
    with pytest.raises(ValueError):
        parse(text)


async def test_pause_holds_the_caller():
    """A paused place takes its time, at every passing."""
    failpoints.configure("here=pause:0.05")
    started = time.monotonic()
    await failpoint("here")
    await failpoint("here")
    await failpoint("elsewhere")

    assert 0.1 <= time.monotonic() - started < 1


def test_kill_ends_the_process_at_the_nth_passing():
    """The process dies by SIGKILL, so nothing is cleaned up."""
    program = (
        "import asyncio\n"
        "from service_kit import failpoints\n"
        "failpoints.configure('here=kill:3')\n"
        "async def main():\n"
        "    for number in range(5):\n"
        "        print(number, flush=True)\n"
        "        await failpoints.failpoint('here')\n"
        "asyncio.run(main())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.returncode == -9
    assert done.stdout.split() == ["0", "1", "2"]
