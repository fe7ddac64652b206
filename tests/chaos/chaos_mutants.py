"""Copies of a service's source with one safeguard taken out.

Each change is a text that must be found exactly once: whoever moves the code learns here that the
mutation gate has to move along.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]


class MutationDoesNotApply(Exception):
    """The safeguard is not where it was, so nothing was taken out."""

    def __init__(self, mutant: str, file: str, found: int) -> None:
        super().__init__(f"{mutant}: the text to change is {found} times in {file}, not once.")


@dataclass(frozen=True, slots=True)
class Change:
    """One text in one file, below the service's `src`."""

    file: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class Mutant:
    """A service without one of its safeguards."""

    name: str
    service: str
    changes: Sequence[Change]

    def written_to(self, directory: Path) -> Path:
        """Copy the service's packages, changed, and return where they can be imported from.

        Raises:
            MutationDoesNotApply: A text is not there exactly once.
        """
        target = directory / self.name
        shutil.copytree(
            REPOSITORY / self.service / "src",
            target,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
        for change in self.changes:
            file = target / change.file
            text = file.read_text()
            found = text.count(change.before)
            if found != 1:
                raise MutationDoesNotApply(self.name, change.file, found)
            file.write_text(text.replace(change.before, change.after))
        return target


WITHOUT_LEASE_TOKEN = Mutant(
    "without-lease-token",
    "job-service",
    [
        Change(
            "job_service/adapters/job_statements.py",
            '    "leased": "lease_token = :was_lease_token",\n',
            '    "leased": "true",\n',
        ),
    ],
)
# The index, and the state behind it: either alone would still refuse a second entry.
WITHOUT_LEDGER_INDEX = Mutant(
    "without-ledger-index",
    "cost-service",
    [
        Change(
            "cost_service/adapters/migrations/versions/0001_ledger_and_prices.py",
            '        "uq_ledger_settlement",\n        "ledger",\n        ["hold_id"],\n'
            "        unique=True,\n",
            '        "uq_ledger_settlement",\n        "ledger",\n        ["hold_id"],\n'
            "        unique=False,\n",
        ),
        Change(
            "cost_service/adapters/postgres_ledger.py",
            "        WHERE hold.state = 'held'\n",
            "        WHERE true\n",
        ),
    ],
)
