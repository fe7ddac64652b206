"""Starting, repairing and stopping a whole stack, of stand-ins for the services."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest

from weir_local import ports, readiness
from weir_local.fleet import ServiceFailed
from weir_local.processes import Identity, tail
from weir_local.services import HOME_VARIABLE, NAMES
from weir_local.stack import PortTaken, Stack


def processes_of(home: Path) -> list[str]:
    """Return the service processes that belong to a stack, whoever knows of them."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(HOME_VARIABLE) == str(home):
                found.append(" ".join(process.cmdline()))
        except (psutil.Error, OSError):
            continue
    return found


def test_up_brings_everything_and_down_leaves_nothing(stack: Stack) -> None:
    """After `up` every service is ready; after `down` no process is left."""
    stack.up()

    for name in NAMES:
        assert readiness.ask(stack.service_url(name)).ready
    assert len(processes_of(stack.home)) == len(NAMES)
    recorded = json.loads((stack.home / "state.json").read_text())
    assert recorded["gateway_url"] == stack.gateway_url
    assert recorded["admin"]["username"] == "admin"
    assert set(recorded["pids"]) == {"postgres", "valkey", *NAMES}

    stack.down()

    assert processes_of(stack.home) == []
    assert stack.postgres.find_process() is None
    assert stack.valkey.find_process() is None
    assert not stack.is_up()


def test_up_repairs_only_what_died(stack: Stack) -> None:
    """A second `up` starts the killed service and leaves the others alone."""
    stack.up()
    before = dict(stack.state.pids)
    stack.kill("job-service")

    stack.up()

    after = stack.state.pids
    assert {name for name in after if after[name] != before[name]} == {"job-service"}


def test_up_repairs_a_killed_postgres(stack: Stack) -> None:
    """At its old address, so that the services need no restart."""
    stack.up()
    before = dict(stack.state.pids)
    stack.postgres.stop("kill")
    stack.valkey.stop(number=signal.SIGKILL)

    stack.up()

    after = stack.state.pids
    assert {name for name in after if after[name] != before[name]} == {"postgres", "valkey"}


def test_changed_settings_restart_a_service(stack: Stack, stand_ins: dict[str, str]) -> None:
    """Only the one whose settings changed."""
    stack.up()
    before = dict(stack.state.pids)
    changed = Stack(
        stack.home, environment=stand_ins, services={"job-service": {"POLL_SECONDS": "2"}}
    )

    changed.up()

    after = changed.state.pids
    assert {name for name in after if after[name] != before[name]} == {"job-service"}


def test_a_failing_service_is_named_with_its_last_words(
    stack: Stack, stand_ins: dict[str, str]
) -> None:
    """The error holds the end of its log, and what had been started is stopped."""
    failing = Stack(stack.home, environment=stand_ins, services={"cost-service": {"FAIL": "1"}})

    with pytest.raises(ServiceFailed, match=r"(?s)cost-service ended.*told to fail"):
        failing.up()

    assert processes_of(stack.home) == []
    assert stack.postgres.find_process() is None


def test_a_service_that_never_gets_ready_is_named(stack: Stack, stand_ins: dict[str, str]) -> None:
    """With what its readiness check said."""
    unready = Stack(
        stack.home,
        environment=stand_ins,
        services={"gateway": {"UNREADY": "1"}},
        seconds_to_start=0.5,
    )

    with pytest.raises(ServiceFailed, match="gateway was not ready after 0 s: HTTP 503"):
        unready.up()

    assert processes_of(stack.home) == []


def test_up_waits_for_a_model(stack: Stack, stand_ins: dict[str, str]) -> None:
    """A stack on which no prompt could run yet is not up."""
    without = Stack(
        stack.home,
        environment=stand_ins,
        services={"gateway": {"NO_MODEL": "1"}},
        seconds_to_start=3,
    )

    with pytest.raises(ServiceFailed, match="No model is served after 3 s"):
        without.up()

    assert processes_of(stack.home) == []


def test_two_stacks_share_nothing(stack: Stack, place: Path, stand_ins: dict[str, str]) -> None:
    """Two clones of the repository run side by side."""
    other = Stack(place / "other", environment=stand_ins, stop_with_launcher=True)
    stack.up()
    other.up()
    try:
        assert not _served(stack) & _served(other)
        assert not set(stack.state.pids.values()) & set(other.state.pids.values())
        assert stack.secrets.password("postgres.password") != other.secrets.password(
            "postgres.password"
        )
    finally:
        other.down()
    assert readiness.ask(stack.gateway_url).ready


def _served(stack: Stack) -> set[int]:
    """The ports that something listens on; the stand-ins serve no gRPC, so those stay free."""
    unused = ("grpc", "gateway http")
    return {port for name, port in stack.state.ports.items() if not name.endswith(unused)}


def test_ports_stay_over_a_restart(stack: Stack) -> None:
    """Whoever wrote down an address can go on using it."""
    stack.up()
    before = dict(stack.state.ports)
    stack.down()

    stack.up()

    assert stack.state.ports == before


def test_a_taken_port_is_left_to_its_owner(stack: Stack, stand_ins: dict[str, str]) -> None:
    """The gateway's port is refused by name if it was asked for."""
    port = ports.choose()
    holder = subprocess.Popen(
        [sys.executable, "-m", "http.server", str(port), "--bind", "127.0.0.1"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        while not ports.accepts_connections(port):
            time.sleep(0.05)
        with pytest.raises(PortTaken, match=f"Port {port} is taken"):
            Stack(stack.home, environment=stand_ins, port=port).up()
    finally:
        holder.kill()
        holder.wait()


def test_replicas_run_side_by_side(stack: Stack, stand_ins: dict[str, str]) -> None:
    """Each has an address and a log of its own, and can be killed alone."""
    several = Stack(stack.home, environment=stand_ins, replicas={"job-service": 2})
    several.up()

    several.kill("job-service", 1)

    assert several.find("job-service", 0) is not None
    assert several.find("job-service", 1) is None
    several.start_service("job-service", 1)
    assert readiness.ask(several.service_url("job-service", 1)).ready
    assert tail(several.log("job-service", 1), 2) == "started\nstarted"


def test_a_deaf_service_is_killed_by_down(stack: Stack, stand_ins: dict[str, str]) -> None:
    """`down` asks first; who does not hear is stopped all the same."""
    stack.up()
    stack.start_service("gateway", environment={"DEAF": "1"})
    gateway = stack.find("gateway")
    assert gateway is not None

    stack.fleet.stop(["gateway"], seconds=0.3)

    assert not gateway.is_running()


def test_two_launchers_do_not_race(stack: Stack, stand_ins: dict[str, str]) -> None:
    """Two `up` at once start everything once."""
    other = Stack(stack.home, environment=stand_ins)
    both = [threading.Thread(target=each.up) for each in (stack, other)]
    for thread in both:
        thread.start()
    for thread in both:
        thread.join()

    assert len(processes_of(stack.home)) == len(NAMES)
    stack.down()


LAUNCH = """
import json, os, sys, time
from pathlib import Path
from weir_local.stack import Stack
from weir_local import __main__ as command
home, environment, remain = Path(sys.argv[1]), json.loads(sys.argv[2]), sys.argv[3] == "remain"
command._stop_on_signal()
stack = Stack(home, environment=environment, stop_with_launcher=remain)
try:
    stack.up()
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(130)
"""


def launch(stack: Stack, environment: dict[str, str], mode: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", LAUNCH, str(stack.home), json.dumps(environment), mode],
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_up_leaves_nothing(
    stack: Stack, stand_ins: dict[str, str], number: signal.Signals
) -> None:
    """Ctrl-C while services start stops those that were started."""
    launcher = launch(stack, stand_ins | {"UNREADY": "1"}, "go")
    while not processes_of(stack.home):
        assert launcher.poll() is None
        time.sleep(0.05)

    launcher.send_signal(number)

    assert launcher.wait(timeout=30) == 130
    assert processes_of(stack.home) == []
    assert stack.postgres.find_process() is None
    assert stack.valkey.find_process() is None


def test_a_killed_demo_leaves_nothing(stack: Stack, stand_ins: dict[str, str]) -> None:
    """What shall end with the launcher does so even after SIGKILL."""
    launcher = launch(stack, stand_ins, "remain")
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "up\n"
    postgres = stack.postgres.find_process()
    assert isinstance(postgres, Identity)

    launcher.kill()
    launcher.wait()

    assert postgres.wait(20)
    assert processes_of(stack.home) == []


def test_a_killed_up_leaves_the_services_running(stack: Stack, stand_ins: dict[str, str]) -> None:
    """`make up` returns and its services live on; `down` finds them."""
    launcher = launch(stack, stand_ins, "go")
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == "up\n"
    launcher.kill()
    launcher.wait()

    assert len(processes_of(stack.home)) == len(NAMES)
    stack.down()
    assert processes_of(stack.home) == []


def test_the_home_is_closed_to_others(stack: Stack) -> None:
    """Secrets, keys and logs can be read by their owner only."""
    stack.up()

    for name in ("secrets", "pki", "logs", "valkey"):
        assert (stack.home / name).stat().st_mode & 0o077 == 0
    assert (stack.home / "state.json").stat().st_mode & 0o777 == 0o600
    allowed = 0o711 if os.getuid() == 0 else 0o700
    assert stack.home.stat().st_mode & 0o777 == allowed


def test_no_process_shows_a_secret(stack: Stack) -> None:
    """Neither in its arguments nor in its environment."""
    stack.up()
    secrets = [
        file.read_text() for file in stack.secrets.path(".").iterdir() if file.suffix == ".password"
    ]
    assert len(secrets) >= 10
    shown = []
    for pid in stack.state.pids.values():
        process = psutil.Process(pid)
        shown += [*process.cmdline(), *process.environ().values()]

    assert not [text for text in shown if any(secret in text for secret in secrets)]
