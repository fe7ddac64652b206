"""Exports as CSV for spreadsheets, and as JSON."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from typing import Final

from weir.cost.v1 import report_service_pb2 as pb

from gateway.domain.money import usd_text
from gateway.entrypoints.convert import find_time, time_of
from gateway.entrypoints.report_views import compute_job_view

_COLUMNS: Final = (
    "booked_at",
    "finished_at",
    "entry_id",
    "kind",
    "job_id",
    "job_type",
    "job_state",
    "target",
    "model",
    "complexity",
    "tokens_input",
    "tokens_output",
    "usage_source",
    "cost_usd",
    "cost_nanousd",
    "provider_cost_nanousd",
    "price_version",
    "api_key_id",
)
# What spreadsheets take for the begin of a formula, or skip before they look for one.
_FORMULA_BEGINS: Final = ("=", "+", "-", "@", "\t", "\r", "\n")


class CostsCsv:
    """Ledger entries as RFC 4180 has it: a header, CRLF, quotes where they are needed.

    The costs add up to what was charged: a refund's is negative.
    """

    def head(self) -> bytes:
        return _lines([_COLUMNS])

    def body(self, page: pb.ExportCostsResponse) -> bytes:
        return _lines(_cells(entry) for entry in page.entries)

    def tail(self) -> bytes:
        return b""


class ComputeJobsJson:
    """A JSON array of jobs in the documents' shape."""

    def __init__(self) -> None:
        self._is_first = True

    def head(self) -> bytes:
        return b"["

    def body(self, page: pb.ExportComputeJobsResponse) -> bytes:
        written = []
        for job in page.jobs:
            written.append("\n" if self._is_first else ",\n")
            written.append(compute_job_view(job).model_dump_json())
            self._is_first = False
        return "".join(written).encode()

    def tail(self) -> bytes:
        return b"\n]\n"


def safe_cell(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula: with an apostrophe before it."""
    return f"'{text}" if text.startswith(_FORMULA_BEGINS) else text


def _cells(entry: pb.CostEntry) -> list[object]:
    finished_at = find_time(entry, "finished_at")
    return [
        time_of(entry.booked_at).isoformat(),
        finished_at.isoformat() if finished_at else "",
        entry.entry_id,
        safe_cell(entry.kind),
        safe_cell(entry.job_id),
        safe_cell(entry.job_type),
        safe_cell(entry.job_state),
        safe_cell(entry.target),
        safe_cell(entry.model),
        entry.complexity if entry.HasField("complexity") else "",
        entry.tokens_input,
        entry.tokens_output,
        safe_cell(entry.usage_source),
        usd_text(entry.cost_nanousd),
        entry.cost_nanousd,
        entry.provider_cost_nanousd,
        safe_cell(entry.price_version),
        safe_cell(entry.api_key_id),
    ]


def _lines(rows: Iterable[Iterable[object]]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\r\n").writerows(rows)
    return text.getvalue().encode()
