"""A receipt: verified offline, and refused when a digit was changed."""

import copy
import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from rich.console import Console

from weir_local.demo_client import DemoClient, UnexpectedAnswer
from weir_local.demo_display import usd

COMMAND = ("-m", "job_service", "verify-receipt", "receipt.json", "--keys", "keys.json")


def show_receipt(client: DemoClient, console: Console, project: str, job_id: str) -> None:
    """Fetch a job's receipt, have it verified, and tamper with it.

    Raises:
        UnexpectedAnswer: The receipt was refused, or a changed one was not.
    """
    console.rule("[bold]A receipt that nobody can change")
    receipt, keys = client.receipt(project, job_id), client.receipt_keys()
    console.print(f"[dim]$ python {' '.join(COMMAND)}[/]")
    console.print(
        _verify(receipt, keys, accepted=True), style="green", markup=False, soft_wrap=False
    )
    forged = _with_another_charge(receipt)
    before, after = (each["statement"]["charge_nanousd"] for each in (receipt, forged))
    console.print(f"the same with one digit changed, {usd(before)} to {usd(after)}:")
    console.print(
        _verify(forged, keys, accepted=False), style="yellow", markup=False, soft_wrap=False
    )


def _with_another_charge(receipt: dict[str, Any]) -> dict[str, Any]:
    """Return a copy whose charge has another first digit."""
    forged = copy.deepcopy(receipt)
    first, rest = (charge := str(forged["statement"]["charge_nanousd"]))[0], charge[1:]
    forged["statement"]["charge_nanousd"] = int(str(int(first) % 9 + 1) + rest)
    return forged


def _verify(receipt: dict[str, Any], keys: dict[str, Any], *, accepted: bool) -> str:
    """Run the command as anybody could, offline; return what it says."""
    with tempfile.TemporaryDirectory(prefix="weir-receipt-") as directory:
        Path(directory, "receipt.json").write_text(json.dumps(receipt))
        Path(directory, "keys.json").write_text(json.dumps(keys))
        done = subprocess.run(
            [sys.executable, *COMMAND],
            env={"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"},
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=60,
            check=False,
        )
    if done.returncode != (0 if accepted else 1):
        wrong = "refused" if accepted else "not refused"
        raise UnexpectedAnswer(f"The receipt was {wrong}: {done.stdout.strip()}")
    return done.stdout.strip()
