"""Which fields the two statements have, and what may stand in them (docs/receipts.md)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Final

from job_service.domain.execution import FinishReason
from job_service.domain.job_state import FINAL_STATES

RECEIPT_TYPE: Final = "weir.receipt.v1"
RESULT_TYPE: Final = "weir.result.v1"
MAX_INTEGER: Final = 2**63 - 1
MAX_NAME_CHARACTERS: Final = 255
_RFC_3339: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}"
    r"(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})"
)

Check = Callable[[object], bool]


class MalformedStatement(Exception):
    """A field is missing, or holds what it can't. The message names all such fields."""


def check_receipt_form(statement: Mapping[str, Any]) -> None:
    """Refuse a receipt's statement in which a field is missing or of another kind.

    Raises:
        MalformedStatement: All such fields are named.
    """
    _check(statement, _RECEIPT_FIELDS, "receipt's statement")
    if statement["decision"] is not None:
        _check(statement["decision"], _DECISION_FIELDS, "decision")


def check_result_form(statement: Mapping[str, Any]) -> None:
    """Refuse a worker's statement in which a field is missing, unknown or of another kind.

    A receipt repeats it under our signature, so there is no room in it for anything else.

    Raises:
        MalformedStatement: All such fields are named, but for those that only the worker knows.
    """
    _check(statement, _RESULT_FIELDS, "worker's statement")
    unknown = len(statement.keys() - _RESULT_FIELDS.keys())
    if unknown:
        raise MalformedStatement(f"The worker's statement has unknown fields: {unknown}.")


def _check(statement: Mapping[str, Any], fields: Mapping[str, Check], whose: str) -> None:
    missing = [name for name in fields if name not in statement]
    if missing:
        raise MalformedStatement(f"The {whose} lacks: {', '.join(missing)}.")
    wrong = [name for name, is_fine in fields.items() if not is_fine(statement[name])]
    if wrong:
        raise MalformedStatement(f"The {whose} has a value that can't be, in: {', '.join(wrong)}.")


def _text(value: object) -> bool:
    return isinstance(value, str)


def _name(value: object) -> bool:
    return isinstance(value, str) and len(value) <= MAX_NAME_CHARACTERS


def _count(value: object) -> bool:
    return type(value) is int and 0 <= value <= MAX_INTEGER


def _digest(value: object) -> bool:
    return isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value) is not None


def _time(value: object) -> bool:
    try:
        return isinstance(value, str) and datetime.fromisoformat(value).tzinfo is not None
    except ValueError:
        return False


def _timestamp(value: object) -> bool:
    return isinstance(value, str) and _RFC_3339.fullmatch(value) is not None and _time(value)


def _object(value: object) -> bool:
    return isinstance(value, Mapping)


def _only(*words: str) -> Check:
    return lambda value: isinstance(value, str) and value in words


def _or_null(check: Check) -> Check:
    return lambda value: value is None or check(value)


_RECEIPT_FIELDS: Final[Mapping[str, Check]] = {
    "type": _only(RECEIPT_TYPE),
    "job_id": _text,
    "project_id": _text,
    "kind": _only("queued", "interactive"),
    "job_type": _text,
    "state": _only(*FINAL_STATES),
    "admission": _count,
    "attempt": _count,
    "target": _or_null(_text),
    "model": _or_null(_text),
    "prompt_digest": _digest,
    "output_digest": _or_null(_digest),
    "tokens_input": _count,
    "tokens_output": _count,
    "usage_source": _or_null(_only("reported", "counted")),
    "charge_nanousd": _count,
    "price_version": _or_null(_text),
    "decision": _or_null(_object),
    "provider_response_id": _or_null(_text),
    "result": _or_null(_object),
    "result_problem": _or_null(_text),
    "issued_at": _time,
}
_DECISION_FIELDS: Final[Mapping[str, Check]] = {
    "target": _text,
    "reason": _text,
    "complexity": _count,
}
_RESULT_FIELDS: Final[Mapping[str, Check]] = {
    "type": _only(RESULT_TYPE),
    "job_id": _name,
    "attempt": _count,
    "worker_id": _name,
    "operation": _only("chat", "completion", "embedding"),
    "model": _name,
    "model_digest": _name,
    "prompt_digest": _digest,
    "output_digest": _digest,
    "tokens_input": _count,
    "tokens_output": _count,
    "finish_reason": _only(*FinishReason),
    "started_at": _timestamp,
    "finished_at": _timestamp,
}
