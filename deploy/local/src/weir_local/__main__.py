"""The command line: `python -m weir_local up|down|logs|doctor|demo`, which `make` calls."""

import os
import signal
import sys
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer
from rich.console import Console
from rich.markup import escape

from weir_local import following
from weir_local.cloud import ADDRESS_AND_KEY, settings_of_cloud
from weir_local.environment_file import read_environment_file
from weir_local.fleet import ServiceFailed
from weir_local.installed import MissingPart
from weir_local.locking import Busy
from weir_local.migrations import MigrationFailed
from weir_local.postgres import PostgresFailed
from weir_local.postgres_account import NoWayToRunPostgres
from weir_local.progress import OnConsole
from weir_local.stack import PortTaken, Stack
from weir_local.valkey import ValkeyFailed

EXPECTED = (
    Busy,
    MigrationFailed,
    MissingPart,
    NoWayToRunPostgres,
    PortTaken,
    PostgresFailed,
    ServiceFailed,
    ValkeyFailed,
)
INTERRUPTED = 130
HOME = "WEIR_HOME"
PORTS = ("WEIR_PORT", "API_PORT")

app = typer.Typer(
    help="Runs all of Weir on this machine, without Docker.",
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
# Wider than the 80 columns that rich assumes where there is no terminal.
console = Console(highlight=False, soft_wrap=True, width=None if sys.stdout.isatty() else 100)


WithYotta = Annotated[
    bool, typer.Option(help="A cloud: that of YOTTA_URL, else a llama.cpp server on this machine.")
]


@app.command()
def up(yotta: WithYotta = True) -> None:
    """Start Postgres, Valkey, the six services and a cloud; restart what died."""
    stack = configured_stack(yotta=yotta)
    _stop_on_signal()
    progress = OnConsole(console)
    console.print("[bold]Starting Weir[/]")
    try:
        stack.up(progress)
    except EXPECTED as error:
        _give_up(progress, error)
    finally:
        progress.close()
    _tell_where(stack)


@app.command()
def down() -> None:
    """Stop everything. The data stays."""
    stack = configured_stack()
    if not stack.home.exists():
        console.print("Nothing runs here.")
        return
    progress = OnConsole(console)
    console.print("[bold]Stopping Weir[/]")
    try:
        stack.down(progress)
    except EXPECTED as error:
        _give_up(progress, error)
    finally:
        progress.close()


@app.command()
def logs(
    name: Annotated[str | None, typer.Argument(help="A service, or postgres or valkey.")] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as lines come.")] = False,
    lines: Annotated[int, typer.Option(help="How many of the last lines to begin with.")] = 20,
) -> None:
    """Print the logs, of one process or of all."""
    directory = configured_stack().home / "logs"
    files = following.find(directory, name)
    if not files:
        known = ", ".join(file.stem for file in following.find(directory, None))
        advice = f"There are logs of {known}." if known else "Start Weir with `make up`."
        console.print(f"There is no log of {name or 'anything'}. {advice}")
        raise typer.Exit(1)
    # A reader behind a pipe wants each line as it comes, too.
    write = partial(print, end="", flush=True)
    try:
        following.show(files, lines=lines, follow=follow, write=write)
    except (KeyboardInterrupt, BrokenPipeError):
        raise typer.Exit(0) from None


@app.command()
def doctor() -> None:
    """Check every part, and say what to do about what is wrong."""
    from weir_local.doctor import examine

    findings = examine(configured_stack())
    for finding in findings:
        mark = "[green]✓[/]" if finding.ok else "[red]✗[/]"
        console.print(f"{mark} {finding.part:<26} {escape(finding.says)}")
        if finding.advice:
            console.print(f"  [yellow]→ {escape(finding.advice)}[/]")
    wrong = sum(not finding.ok for finding in findings)
    console.print(f"\n{len(findings)} checks, {wrong} wrong." if wrong else "\nAll is well.")
    raise typer.Exit(1 if wrong else 0)


@app.command()
def demo(yotta: WithYotta = True) -> None:
    """Run real prompts through the whole stack, then show what was decided and billed."""
    from weir_local.demo import run_demo

    _stop_on_signal()
    progress = OnConsole(console)
    try:
        raise typer.Exit(run_demo(configured_stack(yotta=yotta), console, progress))
    except EXPECTED as error:
        _give_up(progress, error)
    finally:
        progress.close()


def configured_stack(*, yotta: bool = True) -> Stack:
    """Return the stack of this directory, with the settings of its `.env` file.

    Without `yotta` it has no cloud, else that of `YOTTA_URL` or one on this machine.
    """
    environment = read_environment_file(Path(".env"))
    # These are the launcher's own; what is left of the file is for the services.
    in_file = {name: environment.pop(name, "") for name in (HOME, *PORTS)}
    home = Path(os.environ.get(HOME) or in_file[HOME] or ".weir")
    given = [settings.get(name) for settings in (os.environ, in_file) for name in PORTS]
    port = next(filter(None, given), None)
    # Only the router is told of the cloud, and of the key to it.
    cloud = settings_of_cloud({**environment, **os.environ})
    environment = {name: environment[name] for name in environment.keys() - cloud.keys()}
    elsewhere = yotta and bool(cloud.get("YOTTA_URL"))
    if not elsewhere:
        cloud = {name: cloud[name] for name in cloud.keys() - ADDRESS_AND_KEY}
    return Stack(
        home,
        environment=environment,
        services={"compute-router": cloud},
        port=int(port) if port else None,
        yotta=yotta and not elsewhere,
    )


def _tell_where(stack: Stack) -> None:
    url = stack.gateway_url
    password_file = stack.secrets.path("admin.password")
    console.print(f"\n[bold green]Weir is ready.[/]  {url}")
    console.print(f"  OpenAI-compatible  {url}/v1")
    console.print(f"  API documentation  {url}/docs")
    console.print(f"  metrics            {url}/metrics")
    if not stack.yotta_url:
        cloud = "none: every prompt runs here"
    elif stack.yotta:
        cloud = f"yotta, a stand-in on this machine: {stack.yotta_url}"
    else:
        cloud = f"yotta, at {stack.yotta_url}"
    console.print(f"  cloud              {cloud}")
    console.print(f"  administrator      {stack.state.admin['username']}")
    if stack.state.password_shown:
        console.print(f"  password           in {password_file}")
    else:
        console.print(f"  password           {password_file.read_text().strip()}")
        console.print(f"                     [dim](shown once; kept in {password_file})[/]")
        stack.note_password_shown()
    console.print("  make logs, make doctor, make down")


def _stop_on_signal() -> None:
    """Let SIGTERM and Ctrl-C undo what was begun; once that goes on, nothing interrupts it."""

    def interrupt(number: int, frame: object) -> NoReturn:
        del number, frame
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        console.print("\n[yellow]Interrupted: stopping what was started.[/]")
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, interrupt)
    signal.signal(signal.SIGTERM, interrupt)


def _give_up(progress: OnConsole, error: Exception) -> NoReturn:
    progress.close()
    console.print(f"\n[red]{type(error).__name__}[/]", end=": ")
    console.print(str(error), markup=False)
    raise typer.Exit(1)


def main() -> None:
    """Run the command line."""
    try:
        app()
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None


if __name__ == "__main__":
    main()
