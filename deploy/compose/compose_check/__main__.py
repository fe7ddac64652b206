"""python -m compose_check: see `make compose-check`."""

import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

from compose_check.commands import CheckFailed
from compose_check.engine import engine
from compose_check.project import BASE_IMAGES, Project
from compose_check.steps import Steps, lint
from compose_check.tools import find_tools, require_docker


class Table:
    """Runs steps, tells of each when it is done, and how long it took."""

    def __init__(self) -> None:
        self._rows: list[tuple[str, float, str, bool]] = []
        self.failed = False

    def step(self, name: str, what: Callable[[], str]) -> None:
        """Run one step; CheckFailed passes through, but is in the table."""
        started = time.monotonic()
        print(f"{name} ...", flush=True)
        try:
            note = what()
        except CheckFailed:
            self._add(name, started, "FAILED", ok=False)
            raise
        self._add(name, started, note, ok=True)

    def note(self, name: str, started: float, note: str) -> None:
        """Add a row for what was done meanwhile."""
        self._add(name, started, note, ok=True)

    def show(self) -> None:
        """Print every row, and the count."""
        print("\nWhat was checked:")
        for name, seconds, note, ok in self._rows:
            print(f"  {'ok    ' if ok else 'FAILED'} {name:<28} {seconds:6.1f} s   {note}")
        passed = sum(ok for *_, ok in self._rows)
        total = sum(seconds for _, seconds, *_ in self._rows)
        print(f"in {total:.0f} s: {passed} passed, {len(self._rows) - passed} failed", flush=True)

    def _add(self, name: str, started: float, note: str, *, ok: bool) -> None:
        seconds = time.monotonic() - started
        self._rows.append((name, seconds, note, ok))
        self.failed = self.failed or not ok
        print(f"  {'ok' if ok else 'FAILED'}, {seconds:.1f} s: {note}", flush=True)


def main() -> int:
    """Run everything; return the exit code."""
    # Ended from outside, it still takes down what it brought up.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    repository = Path.cwd()
    work = repository / "build" / "compose-check"
    work.mkdir(parents=True, exist_ok=True)
    table = Table()
    try:
        _check(table, repository, work)
    except CheckFailed as error:
        print(f"\n{error}", file=sys.stderr, flush=True)
        table.failed = True
    finally:
        table.show()
    return int(table.failed)


def _check(table: Table, repository: Path, work: Path) -> None:
    require_docker()
    tools = find_tools(work / "tools")
    table.step("Dockerfiles", lambda: lint(repository, tools))
    started = time.monotonic()
    print("Docker engine ...", flush=True)
    with engine(repository, work, BASE_IMAGES) as found:
        kind = "private, with stand-ins" if found.private else "the one that is there"
        table.note("Docker engine", started, kind)
        project = Project(repository, found, tools)
        steps = Steps(project)
        try:
            for name, what in steps.all():
                table.step(name, what)
        except CheckFailed:
            _show_logs(project)
            raise
        finally:
            steps.close()
            table.step("down", lambda: _down(project))


def _down(project: Project) -> str:
    project.down()
    if project.engine.private:
        # Nobody else uses it, and the next check finds there what is built already.
        return f"the images stay in the private engine, tagged :{project.tag}"
    project.remove_images()
    return "nothing is left"


def _show_logs(project: Project) -> None:
    try:
        print(project.compose("ps", "--all"))
        print(project.compose("logs", "--no-color", "--tail", "25")[-20000:], flush=True)
    except CheckFailed as error:
        print(f"(no logs: {error})", flush=True)


if __name__ == "__main__":
    sys.exit(main())
