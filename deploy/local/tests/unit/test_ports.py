"""Ports that launchers choose."""

import subprocess
import sys
import tempfile

import pytest

from weir_local import ports

CHOOSE = "from weir_local import ports; print(*(ports.choose() for _ in range(60)))"


@pytest.fixture(autouse=True)
def own_directory(monkeypatch, tmp_path):
    """Promises of other launchers on this machine stay out of it."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    return tmp_path


def test_launchers_at_once_choose_different_ports():
    """Nobody listens on any of them yet, so each looks free to all."""
    command = [sys.executable, "-c", CHOOSE]
    launchers = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    chosen = [port for each in launchers for port in each.communicate(timeout=60)[0].split()]
    assert len(chosen) == len(set(chosen)) == 240


def test_promise_ends(monkeypatch):
    """A port that nobody came to listen on can be chosen again."""
    monkeypatch.setattr(ports, "FIRST", 20_000)
    monkeypatch.setattr(ports, "LAST", 20_001)
    monkeypatch.setattr(ports, "is_free", lambda port: True)
    assert ports.choose() == 20_000
    with pytest.raises(OSError, match="No free TCP port"):
        ports.choose()
    monkeypatch.setattr(ports, "PROMISED_SECONDS", 0.0)
    assert ports.choose() == 20_000


def test_half_a_line_promises_nothing(own_directory):
    """Who was killed while it wrote is in nobody's way."""
    ports.choose()
    (file,) = own_directory.iterdir()
    file.write_text("2123\n21")
    assert ports.FIRST <= ports.choose() < ports.LAST
