"""A stack whose six services are stand-ins that only answer health checks.

The launcher does not care what a service does; the real ones are tested in tests/e2e.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from weir_local.services import SERVICES
from weir_local.stack import Stack

STAND_IN = """
import http.server, os, pathlib, signal, sys, time

def setting(name):
    file = os.environ.get(name + "_FILE")
    return pathlib.Path(file).read_text() if file else os.environ.get(name)

if sys.argv[1:] == ["migrate"]:
    assert setting("MIGRATION_DATABASE_URL").startswith("postgresql://")
    print("migrated")
    sys.exit(0)
if os.environ.get("FAIL"):
    sys.exit("This stand-in was told to fail.")
if os.environ.get("DEAF"):
    signal.signal(signal.SIGTERM, signal.SIG_IGN)

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(503 if os.environ.get("UNREADY") else 200)
        self.end_headers()
        if self.path == "/metrics":
            self.wfile.write(b"router_workers " + os.environ.get("WORKERS", "1").encode())
            return
        served = b"false" if os.environ.get("NO_MODEL") else b"true"
        self.wfile.write(b'{"checks": {"models": {"ok": ' + served + b"}}}")
    def log_message(self, *_):
        pass

name = pathlib.Path(sys.argv[0]).parent.name
address = os.environ["HTTP_ADDRESS"]
if name == "gateway":
    address = os.environ["API_HOST"] + ":" + os.environ["API_PORT"]
host, port = address.split(":")
print("started", flush=True)
http.server.ThreadingHTTPServer((host, int(port)), Handler).serve_forever()
"""


@contextlib.contextmanager
def open_directory() -> Iterator[Path]:
    """Yield a directory with a space in its name; as root, `nobody` may pass to it.

    pytest's own are closed to others.
    """
    directory = Path(tempfile.mkdtemp(prefix="weir test "))
    if os.getuid() == 0:
        directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that goes with the test."""
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def session_place() -> Iterator[Path]:
    """A directory that goes with the session."""
    with open_directory() as directory:
        yield directory


@pytest.fixture(scope="session")
def stand_ins(session_place: Path) -> dict[str, str]:
    """The settings that put stand-ins in the place of the services."""
    for service in SERVICES.values():
        package = session_place / "stand ins" / service.module
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(STAND_IN)
    return {"PYTHONPATH": str(session_place / "stand ins"), "ENVIRONMENT": "test"}


@pytest.fixture
def stack(session_place: Path, stand_ins: dict[str, str]) -> Iterator[Stack]:
    """A stack of stand-ins, not running; its databases are those of the test before."""
    stack = Stack(session_place / "a home", environment=stand_ins, stop_with_launcher=True)
    yield stack
    stack.down()
