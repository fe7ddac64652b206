"""Between the protos' and the domain's words for refunds and surcharges."""

from __future__ import annotations

from typing import Final

from weir.cost.v1 import correction_service_pb2 as pb

from cost_service.domain.correction import Correction, JobEntry
from cost_service.domain.settlement import EntryKind
from service_kit.timestamps import timestamp

ENTRY_KINDS: Final = {
    EntryKind.POST: pb.LEDGER_ENTRY_KIND_POST,
    EntryKind.VOID: pb.LEDGER_ENTRY_KIND_VOID,
    EntryKind.REFUND: pb.LEDGER_ENTRY_KIND_REFUND,
    EntryKind.SURCHARGE: pb.LEDGER_ENTRY_KIND_SURCHARGE,
}


def correction_from_proto(
    request: pb.RefundJobRequest | pb.SurchargeJobRequest, kind: EntryKind
) -> Correction:
    return Correction(
        request_id=request.request_id,
        kind=kind,
        job_id=request.job_id,
        admission=request.admission,
        amount_nanousd=request.amount_nanousd,
        reason=request.reason,
    )


def entry_to_proto(entry: JobEntry) -> pb.LedgerEntry:
    return pb.LedgerEntry(
        entry_id=entry.entry_id,
        kind=ENTRY_KINDS[entry.kind],
        hold_id=entry.hold_id,
        job_id=entry.job_id,
        project_id=entry.project_id,
        amount_nanousd=entry.amount_nanousd,
        reason=entry.reason,
        period=entry.period,
        price_version=entry.price_version,
        created_at=timestamp(entry.created_at),
    )
