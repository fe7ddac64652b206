"""What must hold between the two services' books; `ledger_check` says which readings these are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from cost_service.domain.books import BookedEntry, CostBooks, Finding, JobBooks, OutboxRow
from cost_service.domain.hold import HoldState
from cost_service.domain.job_rules import charge_of
from cost_service.domain.ledger_rules import settlements_by_hold
from cost_service.domain.names import job_id_of
from cost_service.domain.prices import ANY_MODEL, Price


def service_drifts(
    sent_before: Iterable[OutboxRow], cost: CostBooks, jobs: JobBooks
) -> Iterator[Finding]:
    """Yield every drift between the services."""
    settlements = settlements_by_hold(cost.entries)
    yield from _charge_matches_ledger(jobs, settlements)
    yield from _sent_is_booked(sent_before, settlements)
    yield from _booked_was_sent(cost, jobs)
    yield from _open_hold_has_job(cost, jobs)
    yield from _terms_match_hold(cost, jobs)


def _charge_matches_ledger(
    jobs: JobBooks, settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    for job in jobs.jobs:
        entry = settlements.get(job.hold_id)
        if (
            job.is_final
            and entry
            and charge_of(entry.kind, entry.amount_nanousd) != job.charge_nanousd
        ):
            yield Finding(
                "charge_matches_ledger",
                job.job_id,
                f"charge {job.charge_nanousd}, ledger {entry.kind} {entry.amount_nanousd}",
            )


def _sent_is_booked(
    sent_before: Iterable[OutboxRow], settlements: Mapping[str, BookedEntry]
) -> Iterator[Finding]:
    for row in sent_before:
        entry = settlements.get(row.hold_id)
        if entry is None or not _same(row, entry):
            found = f"{entry.kind} {entry.amount_nanousd}" if entry else "nothing"
            yield Finding(
                "sent_is_booked",
                row.hold_id,
                f"sent {row.kind} {row.amount_nanousd}, booked {found}",
            )


def _booked_was_sent(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    outbox = {row.hold_id: row for row in jobs.outbox}
    for entry in cost.entries:
        row = outbox.get(entry.hold_id)
        if entry.kind.settles and (row is None or not _same(row, entry)):
            found = f"{row.kind} {row.amount_nanousd}" if row else "nothing"
            yield Finding(
                "booked_was_sent",
                entry.hold_id,
                f"booked {entry.kind} {entry.amount_nanousd}, outbox {found}",
            )


def _open_hold_has_job(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    known = {job.job_id: job for job in jobs.jobs}
    settled = {row.hold_id for row in jobs.outbox}
    for hold in cost.holds:
        if hold.state is not HoldState.HELD or hold.hold_id in settled:
            continue
        job = known.get(job_id_of(hold.hold_id))
        if job is None or job.is_final or job.hold_id != hold.hold_id:
            yield Finding(
                "open_hold_has_job",
                hold.hold_id,
                "no such job" if job is None else "its job is over or has another hold",
            )


def _terms_match_hold(cost: CostBooks, jobs: JobBooks) -> Iterator[Finding]:
    """A job is charged by the prices of the version that its hold names, and up to that hold.

    Terms are stored before the hold is placed and never change within an admission, and a version
    is in the price book before anybody can agree on it.
    """
    book = {(one.price_version, one.price.key): one.price for one in cost.prices}
    placed = {hold.hold_id: hold for hold in cost.holds if hold.placed}
    for job in jobs.jobs:
        hold = placed.get(job.hold_id)
        if hold is None or job.agreed is None:
            continue
        if (hold.price_version, hold.amount_nanousd) != (
            job.agreed.price_version,
            job.agreed.hold_nanousd,
        ):
            yield Finding(
                "terms_match_hold",
                job.hold_id,
                f"agreed {job.agreed.hold_nanousd} by version {job.agreed.price_version}, "
                f"held {hold.amount_nanousd} by version {hold.price_version}",
            )
        for price in job.agreed.prices:
            if not _is_in_book(price, book, job.agreed.price_version):
                yield Finding(
                    "terms_match_hold",
                    job.hold_id,
                    f"price of {price.target} {price.model} is not that of version "
                    f"{job.agreed.price_version}",
                )


def _is_in_book(
    price: Price, book: Mapping[tuple[str, tuple[str, str]], Price], version: str
) -> bool:
    for model in (price.model, ANY_MODEL):
        found = book.get((version, (price.target, model)))
        if found is not None:
            return (found.input_nanousd_per_million, found.output_nanousd_per_million) == (
                price.input_nanousd_per_million,
                price.output_nanousd_per_million,
            )
    return False


def _same(row: OutboxRow, entry: BookedEntry) -> bool:
    asked = entry.amount_nanousd + entry.excess_nanousd
    return row.kind is entry.kind and row.amount_nanousd == asked
