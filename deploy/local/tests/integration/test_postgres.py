"""The embedded Postgres, as whoever runs these tests."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest

from weir_local import installed, postgres_account
from weir_local.blocking import run_blocking
from weir_local.postgres import TEST_SETTINGS, Postgres, PostgresFailed
from weir_local.postgres_account import Way
from weir_local.processes import Identity
from weir_local.warden import Warden

PASSWORD = "a'b/c@d:e f"
AS_ROOT = os.getuid() == 0


async def query(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


@pytest.fixture(scope="module")
def stopped(session_place: Path) -> Iterator[Postgres]:
    """A server whose cluster is made once, at its first start: that takes seconds."""
    with Warden() as warden:
        server = Postgres(
            session_place / "postgres", PASSWORD, settings=TEST_SETTINGS, warden=warden
        )
        yield server
        server.remove()


@pytest.fixture
def server(stopped: Postgres) -> Iterator[Postgres]:
    """A server that was started."""
    stopped.start()
    yield stopped
    stopped.stop("immediate")


def test_it_answers_with_the_password_only(server: Postgres) -> None:
    """There is no other way in: no trust, no socket."""
    assert run_blocking(query(server.superuser_url, "SELECT 1")) == 1

    with pytest.raises(asyncpg.InvalidPasswordError):
        run_blocking(query(server.url("postgres", "weir", "guess"), "SELECT 1"))


def test_it_does_not_run_as_root(server: Postgres) -> None:
    """Its files belong to whoever it runs as, and to nobody else."""
    way = postgres_account.find_way(server.directory)
    assert server.data.stat().st_uid == way.owner.user
    assert server.data.stat().st_mode & 0o077 == 0
    assert way.account is None or way.account.user != 0


def test_starting_twice_starts_once(server: Postgres) -> None:
    """A second start finds the running server."""
    again = Postgres(server.directory, PASSWORD)

    assert again.start() == server.find_process()
    assert again.port == server.port


def test_committed_rows_survive_a_kill(server: Postgres) -> None:
    """After SIGKILL it recovers by itself, at the same address."""
    url = server.superuser_url
    run_blocking(query(url, "CREATE TABLE kept AS SELECT 42 AS value"))

    server.stop("kill")
    assert server.find_process() is None
    server.start()

    assert server.superuser_url == url
    assert run_blocking(query(url, "SELECT value FROM kept")) == 42


def test_a_recycled_pid_does_not_stop_it(server: Postgres) -> None:
    """The pid that a killed server left may belong to another program of ours by now."""
    server.stop("kill")
    bystander = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        pid_file = server.data / "postmaster.pid"
        lines = pid_file.read_text().splitlines()
        pid_file.write_text("\n".join([str(bystander.pid), *lines[1:]]) + "\n")

        assert server.find_process() is None
        server.start()

        assert bystander.poll() is None
        assert run_blocking(query(server.superuser_url, "SELECT 1")) == 1
    finally:
        bystander.kill()
        bystander.wait()


def test_another_password_is_explained(server: Postgres) -> None:
    """Whoever lost the state directory is told what to do."""
    other = Postgres(server.directory, "another password")

    with pytest.raises(PostgresFailed, match="made with another password"):
        other.start()


def test_a_first_start_that_was_killed_can_be_repeated(place: Path) -> None:
    """Half a cluster is thrown away, not used."""
    unfinished = place / "postgres" / "data.unfinished"
    unfinished.mkdir(parents=True)
    (unfinished / "PG_VERSION").write_text("18\n")
    server = Postgres(place / "postgres", PASSWORD, settings=TEST_SETTINGS)

    server.start()
    server.stop()

    assert not unfinished.exists()


def test_it_ends_with_a_launcher_that_was_killed(place: Path) -> None:
    """No server stays behind when the process that started it gets SIGKILL."""
    code = (
        "import sys, time; from pathlib import Path;"
        "from weir_local.postgres import *; from weir_local.warden import Warden;"
        "warden = Warden().start();"
        "server = Postgres(Path(sys.argv[1]), 'p', settings=TEST_SETTINGS, warden=warden);"
        "print(server.start().pid, flush=True); time.sleep(60)"
    )
    launcher = subprocess.Popen(
        [sys.executable, "-c", code, str(place / "postgres")], stdout=subprocess.PIPE, text=True
    )
    assert launcher.stdout is not None
    process = Identity.of(int(launcher.stdout.readline()))
    assert process is not None

    launcher.send_signal(signal.SIGKILL)
    launcher.wait()

    assert process.wait(10)


class TestWays:
    """How it is run where the launcher is root; an ordinary user runs it as it is."""

    @pytest.fixture
    def closed(self, place: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A directory that only its owner can enter, with the installation and the data in it."""
        closed = place / "like root's home"
        closed.mkdir(mode=0o700)
        root = installed.postgres_installation()
        copy = closed / "site" / root.parent.name / root.name
        shutil.copytree(root, copy, symlinks=True)
        libraries = root.parent.with_name(f"{root.parent.name}.libs")
        shutil.copytree(libraries, closed / "site" / libraries.name)
        monkeypatch.setattr(installed, "postgres_installation", lambda: copy)
        return closed

    def run(self, directory: Path) -> Way:
        server = Postgres(directory, PASSWORD, settings=TEST_SETTINGS)
        try:
            server.start()
            assert run_blocking(query(server.superuser_url, "SELECT 1")) == 1
            return postgres_account.find_way(directory)
        finally:
            server.stop()
            server.remove()

    def test_nobody_is_preferred(self, place: Path) -> None:
        """Where `nobody` can reach everything."""
        way = self.run(place / "postgres")

        assert way.account == (postgres_account.nobody() if AS_ROOT else None)
        assert way.prefix == ()

    def test_a_user_namespace_comes_next(self, closed: Path) -> None:
        """Where the installation lies in a closed directory."""
        way = self.run(closed / "postgres")

        assert way.account is None
        assert ("--user" in way.prefix) == AS_ROOT

    def test_a_copy_comes_last(
        self, closed: Path, place: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Where user namespaces are forbidden too; nothing of it stays after `remove`."""
        monkeypatch.setattr(postgres_account, "_in_user_namespace", lambda *_: None)
        monkeypatch.setattr(postgres_account, "OPEN_PLACE", place)

        way = self.run(closed / "postgres")

        assert way.account == (postgres_account.nobody() if AS_ROOT else None)
        assert (way.copied is not None) == AS_ROOT
        assert not [each for each in place.glob("weir-*") if any(each.iterdir())]
