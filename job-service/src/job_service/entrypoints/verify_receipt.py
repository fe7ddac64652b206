"""Verifies a receipt from a file, for people: offline, with nothing but the file and keys."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from job_service.domain.receipt_check import VerifiedReceipt, verify_receipt
from job_service.domain.receipt_document import ReceiptRefused, key_ring
from job_service.domain.strict_json import MalformedJson, strict_json

STDIN: Final = "-"
MAX_FILE_BYTES: Final = 16 * 1024 * 1024
NANO_DIGITS: Final = 9


def run(file: str, keys_file: str | None) -> int:
    """Print what the receipt proves, or what is wrong with it; return the exit code.

    Args:
        file: The receipt; `-` for standard input.
        keys_file: The keys to believe; `None` for those inside of the receipt.
    """
    try:
        if file == keys_file == STDIN:
            raise ReceiptRefused("Only one of the two can come from standard input.")
        receipt = _read(file)
        ring = None if keys_file is None else _ring(keys_file)
        verified = verify_receipt(receipt, ring)
    except ReceiptRefused as error:
        for problem in error.problems:
            print(_shown(f"refused: {problem}"), file=sys.stderr)  # noqa: T201 -- a command's output
        return 1
    for label, value in _summary(verified, keys_file):
        print(_shown(f"{label:<10} {value}"))  # noqa: T201 -- a command's output
    return 0


def _ring(keys_file: str) -> Mapping[str, Any]:
    document = _read(keys_file)
    try:
        return key_ring(document)
    except ReceiptRefused as error:
        raise ReceiptRefused(*(f"{_name(keys_file)}: {each}" for each in error.problems)) from error


def _read(file: str) -> object:
    """Return the JSON in a file.

    Raises:
        ReceiptRefused: It can't be read, or is no JSON.
    """
    try:
        if file == STDIN:
            content = sys.stdin.buffer.read(MAX_FILE_BYTES + 1)
        else:
            with Path(file).open("rb") as opened:
                content = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise ReceiptRefused(f"{_name(file)}: {error.strerror or error}.") from error
    except ValueError as error:
        raise ReceiptRefused(f"{_name(file)}: no file has such a name.") from error
    if len(content) > MAX_FILE_BYTES:
        raise ReceiptRefused(f"{_name(file)} has more than {MAX_FILE_BYTES} bytes.")
    try:
        return strict_json(content)
    except MalformedJson as error:
        raise ReceiptRefused(f"{_name(file)} is no JSON: {error}.") from error


def _name(file: str) -> str:
    return "standard input" if file == STDIN else file


def _summary(verified: VerifiedReceipt, keys_file: str | None) -> Iterator[tuple[str, str]]:
    said, signer = verified.statement, verified.signer
    if keys_file is None:
        yield "unchanged", f"since it was signed with the key {signer.key_id};"
        yield "", "that Weir signed it is known only with --keys"
    else:
        yield "verified", "signed with one of the given keys, and nothing was changed since"
    yield "job", f"{said['job_id']} of project {said['project_id']}"
    yield "", f"{said['job_type']}, {said['kind']}, {said['state']} at {said['issued_at']}"
    yield "target", f"{said['target'] or 'none'}, attempt {said['attempt']}"
    yield "model", said["model"] or "none"
    counted = said["usage_source"] or "none charged"
    yield "tokens", f"{said['tokens_input']} in, {said['tokens_output']} out ({counted})"
    yield "charge", _charge(said)
    claimed = "" if keys_file else ", by its own account"
    yield "signed by", f"{signer.key_id} ({signer.owner}{claimed})"
    yield "worker", _worker(verified)
    if keys_file is None:
        yield "keys", "from the receipt itself: whoever wrote it chose them"
    else:
        yield "keys", f"from {_name(keys_file)}"


def _charge(said: Mapping[str, Any]) -> str:
    whole, nano = divmod(said["charge_nanousd"], 10**NANO_DIGITS)
    usd = f"{whole}.{nano:0{NANO_DIGITS}}"
    prices = said["price_version"]
    return f"{usd} USD" + (f", prices of version {prices}" if prices else "")


def _worker(verified: VerifiedReceipt) -> str:
    said, worker = verified.statement, verified.worker
    if worker is not None:
        result = said["result"]["statement"]
        digest = f", model file {result['model_digest']}" if result["model_digest"] else ""
        return f"its signature verifies: {worker.key_id} ({worker.owner}){digest}"
    if said["result_problem"]:
        return f"its signature was not accepted: {said['result_problem']}"
    if said["provider_response_id"]:
        return f"none signed; the provider's response id is {said['provider_response_id']}"
    return "none signed"


def _shown(text: str) -> str:
    """Return a text that does nothing to a terminal, whatever somebody put into it."""
    printable = "".join(each if each.isprintable() else repr(each)[1:-1] for each in text)
    return printable.encode("ascii", "backslashreplace").decode()
