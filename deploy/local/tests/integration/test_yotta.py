"""The cloud of a stack: a real llama.cpp server beside stand-ins for the services."""

import signal
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from rich.console import Console

from weir_local import doctor
from weir_local.fleet import ServiceFailed
from weir_local.progress import OnConsole
from weir_local.stack import Stack
from weir_local.yotta import MODEL


@pytest.fixture(scope="module")
def with_yotta(session_place: Path, stand_ins: dict[str, str]) -> Iterator[Stack]:
    """A stack with a cloud, running."""
    stack = Stack(
        session_place / "a home",
        environment=stand_ins,
        services={"yotta": {"YOTTA_THREADS": "1"}},
        yotta=True,
        stop_with_launcher=True,
    )
    with stack:
        yield stack


def key_of(stack: Stack) -> str:
    return stack.secrets.path("yotta.key").read_text()


def complete(stack: Stack, key: str) -> httpx.Response:
    with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {key}"}) as client:
        body = {"model": MODEL, "prompt": "One, two,", "max_tokens": 2}
        return client.post(f"{stack.yotta_url}/v1/completions", json=body, timeout=60)


def finding_of(stack: Stack) -> doctor.Finding:
    return doctor._cloud(stack)


def test_it_can_be_stopped_and_started(with_yotta: Stack) -> None:
    """At the same address, also after it was frozen; whoever looks later knows that it is ours."""
    url = with_yotta.yotta_url
    with_yotta.send("yotta", signal.SIGSTOP)

    with_yotta.stop_yotta()
    assert with_yotta.find("yotta") is None
    with_yotta.start_yotta()

    assert with_yotta.yotta_url == url
    assert complete(with_yotta, key_of(with_yotta)).status_code == 200
    assert Stack(with_yotta.home).as_it_runs().yotta


def test_doctor_asks_a_cloud_elsewhere_too(with_yotta: Stack) -> None:
    """With the key that was given for it; a wrong one is found out."""
    elsewhere = Stack(with_yotta.home)
    elsewhere.state.yotta_here = False

    elsewhere.state.yotta_settings = {
        "YOTTA_API_KEY_FILE": str(with_yotta.home / "secrets/yotta.key")
    }
    assert finding_of(elsewhere).ok

    elsewhere.state.yotta_settings = {"YOTTA_API_KEY": "a guess"}
    assert finding_of(elsewhere).says.endswith("HTTP 401")
    assert not finding_of(elsewhere).ok


def test_doctor_wants_no_list_where_models_are_named(with_yotta: Stack) -> None:
    """A cloud without one is as good then; a refused key still is not."""
    elsewhere = Stack(with_yotta.home)
    elsewhere.state.yotta_here = False
    elsewhere.state.yotta_url = f"{with_yotta.yotta_url}/nothing-here"
    key = {"YOTTA_API_KEY_FILE": str(with_yotta.home / "secrets/yotta.key")}

    elsewhere.state.yotta_settings = key
    assert not finding_of(elsewhere).ok

    elsewhere.state.yotta_settings = key | {"YOTTA_MODELS": MODEL}
    assert finding_of(elsewhere).ok

    elsewhere.state.yotta_url = with_yotta.yotta_url
    elsewhere.state.yotta_settings = {"YOTTA_API_KEY": "a guess", "YOTTA_MODELS": MODEL}
    assert not finding_of(elsewhere).ok


def test_it_lives_and_dies_with_its_stack(with_yotta: Stack, stand_ins: dict[str, str]) -> None:
    """It answers whoever has the key; `up` repairs it alone; without it the router is told so."""
    key, before = key_of(with_yotta), dict(with_yotta.state.pids)

    assert complete(with_yotta, key).json()["usage"]["completion_tokens"] == 2
    assert complete(with_yotta, "a guess").status_code == 401
    process = psutil.Process(before["yotta"])
    assert not any(key in text for text in (*process.cmdline(), *process.environ().values()))
    assert finding_of(with_yotta).ok

    with_yotta.kill("yotta")
    assert not finding_of(with_yotta).ok
    with_yotta.up()
    after = with_yotta.state.pids
    assert {name for name in after if after[name] != before[name]} == {"yotta"}
    url = with_yotta.yotta_url

    without = Stack(with_yotta.home, environment=stand_ins)
    without.up()
    changed = {name for name in after if without.state.pids.get(name) != after[name]}
    assert changed == {"yotta", "compute-router"}
    assert not without.yotta_url
    with httpx.Client(trust_env=False) as client, pytest.raises(httpx.ConnectError):
        client.get(f"{url}/health")


def test_up_goes_on_without_one_that_fails(
    with_yotta: Stack, stand_ins: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    """All else runs, the router is told of no cloud, and whoever starts it is told why."""
    broken = {"yotta": {"YOTTA_THREADS": "many"}}
    stack = Stack(with_yotta.home, environment=stand_ins, services=broken, yotta=True)

    stack.up(OnConsole(Console(soft_wrap=True)))

    said = capsys.readouterr().out
    assert "make up OPTIONS=--no-yotta" in said
    assert "invalid literal for int() with base 10: 'many'" in said
    assert stack.find("yotta") is None
    assert not stack.yotta_url
    assert "YOTTA_URL" not in psutil.Process(stack.state.pids["compute-router"]).environ()
    assert finding_of(stack).says.startswith("no cloud")
    assert not Stack(with_yotta.home).as_it_runs().yotta


def test_the_cloud_alone_is_not_enough(with_yotta: Stack, stand_ins: dict[str, str]) -> None:
    """`up` waits for a worker of ours, or simple prompts would go to the cloud at first."""
    lonely = Stack(
        with_yotta.home,
        environment=stand_ins | {"WORKERS": "0"},
        services={"compute-router": {"YOTTA_URL": "http://127.0.0.1:9"}},
        seconds_to_start=2,
    )

    with pytest.raises(ServiceFailed, match="No model is served after 2 s"):
        lonely.up()
