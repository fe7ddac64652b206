"""A stack whose six services are stand-ins that only answer health checks.

The launcher does not care what a service does; the real ones are tested in tests/e2e.
"""

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


@pytest.fixture
def stand_ins(tmp_path: Path) -> dict[str, str]:
    """The setting that puts stand-ins in the place of the services."""
    for service in SERVICES.values():
        package = tmp_path / "stand ins" / service.module
        package.mkdir(parents=True)
        (package / "__init__.py").write_text("")
        (package / "__main__.py").write_text(STAND_IN)
    return {"PYTHONPATH": str(tmp_path / "stand ins"), "ENVIRONMENT": "test"}


@pytest.fixture
def stack(tmp_path: Path, stand_ins: dict[str, str]) -> Iterator[Stack]:
    """A stack of stand-ins, not started yet."""
    tmp_path.chmod(0o755)
    stack = Stack(tmp_path / "a home", environment=stand_ins, stop_with_launcher=True)
    yield stack
    stack.down()
