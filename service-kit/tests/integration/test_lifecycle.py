"""Processes: they start, they stop when told, and they do not limp on (as real processes)."""

import json
import os
import signal
import subprocess
import sys
import threading

import pytest

PROGRAM = """
import asyncio
from contextlib import asynccontextmanager
from service_kit.cli import service_main
from service_kit.errors import Unavailable
from service_kit.loop import PeriodicLoop, running
from service_kit.settings import ProcessSettings
import structlog

log = structlog.get_logger()


@asynccontextmanager
async def well(settings):
    log.info("opened", loop=type(asyncio.get_running_loop()).__module__)
    try:
        yield
    finally:
        await asyncio.sleep(0.1)
        log.info("closed")


@asynccontextmanager
async def unable(settings):
    raise RuntimeError("no port for sk-canary-000000")
    yield


@asynccontextmanager
async def failing(settings):
    async def tick():
        raise KeyError("a bug")

    async with well(settings), running(PeriodicLoop("x", 1, tick)):
        yield


@asynccontextmanager
async def waiting(settings):
    async def tick():
        raise Unavailable("database")

    async with running(PeriodicLoop("x", 0.05, tick)):
        yield


if __name__ == "__main__":
    service_main("x-service", ProcessSettings, "program:OPENER")
"""


class Process:
    """A service under test: its exit code and everything it logged."""

    def __init__(self, path, opener, arguments=(), **environment):
        (path / "program.py").write_text(PROGRAM.replace("OPENER", opener))
        self.popen = subprocess.Popen(
            [sys.executable, "program.py", *arguments],
            cwd=path,
            env={"PATH": os.environ["PATH"], **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.events = []
        self.plain = []
        self._seen = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self.popen.stdout:
            with self._seen:
                try:
                    self.events.append(json.loads(line))
                except ValueError:
                    self.plain.append(line)
                self._seen.notify_all()

    def wait_for(self, name):
        with self._seen:
            assert self._seen.wait_for(lambda: name in self.names, timeout=20), self.names

    @property
    def names(self):
        return [event["event"] for event in self.events]

    def ended(self):
        code = self.popen.wait(timeout=20)
        self._reader.join(timeout=5)
        return code, self.popen.stderr.read()


@pytest.fixture
def start(tmp_path):
    processes = []

    def run(opener, *arguments, **environment):
        process = Process(tmp_path, opener, arguments, **environment)
        processes.append(process)
        return process

    yield run
    for process in processes:
        process.popen.kill()
        process.popen.wait()
        process.popen.stderr.close()
        process.popen.stdout.close()


@pytest.mark.parametrize("sign", [signal.SIGTERM, signal.SIGINT])
def test_service_stops_when_told(start, sign):
    """SIGTERM and SIGINT let the service close what it opened, and exit with 0."""
    process = start("well")
    process.wait_for("service.started")
    process.popen.send_signal(sign)

    assert process.ended() == (0, "")
    assert process.names == [
        "opened",
        "service.started",
        "service.stopping",
        "closed",
        "service.stopped",
    ]
    assert process.events[0]["loop"].startswith("uvloop")
    assert {event["service"] for event in process.events} == {"x-service"}


def test_service_that_cannot_start_says_so(start):
    """A failure to open ends the process with 1 and a log line, without secrets."""
    process = start("unable")

    assert process.ended() == (1, "")
    assert process.names == ["service.failed"]
    assert "no port for" in process.events[0]["error"]
    assert "canary" not in json.dumps(process.events)


def test_failed_loop_takes_the_service_down(start):
    """A background task with a bug closes the service in order and ends it with 1."""
    process = start("failing")

    assert process.ended() == (1, "")
    assert process.names[-2:] == ["closed", "service.failed"]
    assert "KeyError" in process.events[-1]["error"]


def test_loop_that_waits_does_not(start):
    """A dependency that is away is logged, and the service lives on."""
    process = start("waiting")
    process.wait_for("loop.tick_failed")
    assert process.popen.poll() is None
    process.popen.terminate()

    assert process.ended()[0] == 0


def test_bad_settings_end_the_process_before_anything_opens(start):
    """Exit code 2, the variable on stderr, nothing on stdout."""
    process = start("well", LOG_LEVEL="loud")
    code, errors = process.ended()

    assert code == 2
    assert errors.startswith("LOG_LEVEL: ")
    assert process.names == []


def test_help_needs_no_settings(start):
    """Who asks for help gets it, on a machine where nothing is configured."""
    process = start("well", "--help", LOG_LEVEL="loud")
    code, _ = process.ended()

    assert code == 0
    assert "serve" in "".join(process.plain)
