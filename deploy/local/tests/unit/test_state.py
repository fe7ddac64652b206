"""What the launcher remembers."""

import json
from pathlib import Path

from weir_local.files import write_private
from weir_local.secret_files import SecretFiles
from weir_local.state import RecordedProcess, State


def test_it_reads_what_it_wrote(tmp_path: Path) -> None:
    """Nothing is lost between two runs."""
    state = State(gateway_url="http://127.0.0.1:8000", ports={"postgres": 20001})
    state.processes["gateway"] = RecordedProcess(12, "a:34", "f00")
    state.save(tmp_path / "state.json")

    assert State.load(tmp_path / "state.json") == state


def test_the_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    """It holds database passwords."""
    State().save(tmp_path / "state.json")

    assert (tmp_path / "state.json").stat().st_mode & 0o777 == 0o600


def test_other_tools_find_pids(tmp_path: Path) -> None:
    """Servers and services are listed by name."""
    state = State(servers={"postgres": 7})
    state.processes["gateway"] = RecordedProcess(12, "a:34", "f00")
    state.save(tmp_path / "state.json")

    assert json.loads((tmp_path / "state.json").read_text())["pids"] == {
        "postgres": 7,
        "gateway": 12,
    }


def test_no_file_is_an_empty_state(tmp_path: Path) -> None:
    """The first start needs none."""
    assert State.load(tmp_path / "state.json") == State()


def test_a_write_leaves_no_other_file(tmp_path: Path) -> None:
    """The new content takes the old one's place in one step."""
    for content in ("old", "new"):
        write_private(tmp_path / "file", content)

    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file", "new")]


class TestSecrets:
    """The secrets of a stack."""

    def test_a_password_stays(self, tmp_path: Path) -> None:
        """It is made once; two stacks have different ones."""
        first = SecretFiles(tmp_path / "a").password("redis.password")

        assert SecretFiles(tmp_path / "a").password("redis.password") == first
        assert SecretFiles(tmp_path / "b").password("redis.password") != first
        assert len(first) >= 32

    def test_there_is_one_signing_key(self, tmp_path: Path) -> None:
        """A second start keeps the key, or every token would end with a restart."""
        secrets = SecretFiles(tmp_path / "secrets")
        secrets.ensure_signing_key()
        keys = list(secrets.signing_keys.iterdir())
        secrets.ensure_signing_key()

        assert list(secrets.signing_keys.iterdir()) == keys
        assert len(keys) == 1
        assert keys[0].stat().st_mode & 0o777 == 0o600
        assert b"PRIVATE KEY" in keys[0].read_bytes()
