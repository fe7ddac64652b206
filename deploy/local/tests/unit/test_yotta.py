"""The cloud on this machine: what it is told, and what the router is told about it."""

from pathlib import Path

import pytest

from weir_local.__main__ import configured_stack
from weir_local.cloud import Cloud, settings_of_cloud
from weir_local.services import SERVICES, Instance
from weir_local.stack import Stack
from weir_local.yotta import Options


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory that commands are given in; nothing of the caller's says where Yotta is."""
    monkeypatch.chdir(tmp_path)
    cloud = ("YOTTA_URL", "YOTTA_API_KEY", "YOTTA_API_KEY_FILE")
    for name in (*cloud, "WEIR_HOME", "WEIR_PORT", "API_PORT"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def router_settings(stack: Stack) -> dict[str, str]:
    """Return what this stack would tell its router about Yotta."""
    router = Instance(SERVICES["compute-router"])
    stack.state.ports |= {f"{name} grpc": 1 for name in SERVICES}
    stack.state.ports |= {f"{name} http": 2 for name in (*SERVICES, "yotta")}
    return settings_of_cloud(stack.surroundings.environment_of(router))


def test_server_reads_what_the_launcher_tells_it(tmp_path: Path) -> None:
    """Address and threads from its environment, the key from a file."""
    (tmp_path / "key").write_text("secret\n")
    cloud = Cloud("127.0.0.1:9000", tmp_path / "key")

    options = Options.read(cloud.server_environment() | {"YOTTA_THREADS": "1"})

    assert options == Options("127.0.0.1", 9000, "secret", 1)


def test_router_is_told_of_the_server_here(directory: Path) -> None:
    """By its address and the file with the key; no key is in an environment."""
    settings = router_settings(configured_stack())

    assert settings["YOTTA_URL"] == "http://127.0.0.1:2"
    assert settings["YOTTA_API_KEY_FILE"] == str(directory / ".weir/secrets/yotta.key")
    assert settings["YOTTA_OPERATIONS"] == "chat,completion"
    assert "YOTTA_API_KEY" not in settings


def test_a_given_cloud_takes_its_place(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The router, and no other service, is told what the caller says."""
    (directory / ".env").write_text("YOTTA_URL=https://yotta.example\nYOTTA_SLOTS=3\n")
    monkeypatch.setenv("YOTTA_API_KEY_FILE", "key")

    stack = configured_stack()

    assert not stack.yotta
    assert router_settings(stack) == {
        "YOTTA_URL": "https://yotta.example",
        "YOTTA_SLOTS": "3",
        "YOTTA_API_KEY_FILE": str(directory / "key"),
    }
    assert not settings_of_cloud(stack.environment)


def test_there_may_be_no_cloud(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """`up --no-yotta` does without, even where an address is given."""
    monkeypatch.setenv("YOTTA_URL", "https://yotta.example")
    monkeypatch.setenv("YOTTA_API_KEY", "secret")

    stack = configured_stack(yotta=False)

    assert not stack.yotta
    assert not router_settings(stack)


def test_a_key_alone_is_not_shown_to_the_server_here(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What belongs to another address stays away; other settings count."""
    monkeypatch.setenv("YOTTA_API_KEY", "of-another-one")
    monkeypatch.setenv("YOTTA_FIRST_BYTE_SECONDS", "5")

    settings = router_settings(configured_stack())

    assert "YOTTA_API_KEY" not in settings
    assert settings["YOTTA_FIRST_BYTE_SECONDS"] == "5"


def test_home_and_port_may_stand_in_the_file(
    directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The environment counts before `.env`, and no service is handed either."""
    (directory / ".env").write_text("WEIR_HOME=elsewhere\nWEIR_PORT=8123\nLOG_LEVEL=DEBUG\n")

    of_file = configured_stack()
    monkeypatch.setenv("API_PORT", "8124")
    monkeypatch.setenv("WEIR_HOME", "here")
    of_environment = configured_stack()

    assert (of_file.home, of_file.port) == (directory / "elsewhere", 8123)
    assert (of_environment.home, of_environment.port) == (directory / "here", 8124)
    assert of_file.environment == {"LOG_LEVEL": "DEBUG"}
