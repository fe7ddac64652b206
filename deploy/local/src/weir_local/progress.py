"""Tells how far a start or stop has come."""

import contextlib
import time
from collections.abc import Iterator

from rich.console import Console
from rich.markup import escape


class Progress:
    """Whoever wants to know; this one does not."""

    def begun(self, what: str) -> None:
        """Something was started and is being waited for."""

    def done(self, what: str, seconds: float, note: str = "") -> None:
        """It is there."""

    def failed(self, what: str, text: str) -> None:
        """It will not be there; `text` says why, and how things go on."""

    def said(self, text: str) -> None:
        """Something worth a line of its own."""


class OnConsole(Progress):
    """Prints a line for each part, and on a terminal also what is being waited for."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._status = console.status("", spinner="dots") if console.is_terminal else None
        self._waiting: list[str] = []

    def begun(self, what: str) -> None:
        self._waiting.append(what)
        self._show()

    def done(self, what: str, seconds: float, note: str = "") -> None:
        self._forget(what)
        self._console.print(f"  [green]✓[/] {what:<18} {seconds:5.1f} s  [dim]{note}[/]")

    def failed(self, what: str, text: str) -> None:
        self._forget(what)
        self._console.print(f"  [yellow]✗ {what}[/]  {escape(text)}")

    def said(self, text: str) -> None:
        self._console.print(f"  {text}")

    def close(self) -> None:
        """Stop showing what is waited for."""
        if self._status is not None:
            self._status.stop()

    def _forget(self, what: str) -> None:
        if what in self._waiting:
            self._waiting.remove(what)
        self._show()

    def _show(self) -> None:
        if self._status is None:
            return
        if self._waiting:
            self._status.update(", ".join(self._waiting))
            self._status.start()
        else:
            self._status.stop()


@contextlib.contextmanager
def step(progress: Progress, what: str, note: str = "") -> Iterator[None]:
    """Report a part that is done when the block is left."""
    started = time.monotonic()
    progress.begun(what)
    yield
    progress.done(what, time.monotonic() - started, note)
