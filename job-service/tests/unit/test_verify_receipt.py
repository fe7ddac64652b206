"""`verify-receipt` believes nothing it can't prove, and says what is wrong."""

import copy
import io
import json
import sys
from contextlib import suppress
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from job_fakes import DECISION, EMBED, SIGNER, VECTORS, running_job
from receipt_samples import WORKER, ended_job, vouched
from typer.testing import CliRunner

from job_service.__main__ import app
from job_service.domain.charge import Usage
from job_service.domain.receipt import statement_of
from job_service.domain.receipt_check import verify_receipt
from job_service.domain.receipt_document import ReceiptRefused, key_ring
from job_service.domain.result_statement import read_result
from job_service.domain.specification import JobKind
from job_service.domain.strict_json import MalformedJson, strict_json
from job_service.entrypoints.verify_receipt import run
from service_kit.signatures import SigningKey, canonical_json, jwk_of

STRANGER = SigningKey.generate()


def a_key(key, owner):
    return {**jwk_of(key.public_key), "owner": owner}


KEYS = [a_key(SIGNER, "job-service"), a_key(WORKER, "gpu-worker/w1")]


def signed_document(statement, key=SIGNER, keys=KEYS):
    return {
        "statement": statement,
        "key_id": key.key_id,
        "signature": key.sign(canonical_json(statement)).hex(),
        "keys": keys,
    }


def a_receipt(*events, job=None, **changes):
    """Return a receipt as the gateway shows it, of a statement that may be changed."""
    ended, progress = ended_job(*events, job=job)
    ended = replace(ended, decision=DECISION)
    statement = json.loads(statement_of(ended, read_result(ended, progress)))
    return signed_document({**statement, **changes})


def resigned_result(**changes):
    """Return a receipt that we signed, around a statement that its worker signed otherwise."""
    receipt = a_receipt()
    result = receipt["statement"]["result"]
    result["statement"] |= changes
    result["signature"] = WORKER.sign(canonical_json(result["statement"])).hex()
    return signed_document(receipt["statement"])


RECEIPT = a_receipt()
RING = key_ring({"keys": KEYS})


def problems(document, ring=None):
    with pytest.raises(ReceiptRefused) as caught:
        verify_receipt(document, ring)
    return " ".join(caught.value.problems)


def put(document, path, value):
    """Return the document with one value changed."""
    changed = copy.deepcopy(document)
    place = changed
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return changed


def other(value):
    """Return a value of the same kind that is another."""
    match value:
        case str():
            return value[:-1] + ("1" if value[-1:] == "0" else "0")
        case int():
            return value + 1
        case None:
            return "something"
        case dict():
            return {**value, "more": 1}


class TestGenuine:
    @pytest.mark.parametrize("ring", [None, RING])
    def test_is_verified(self, ring):
        verified = verify_receipt(RECEIPT, ring)
        assert verified.signer.key_id == SIGNER.key_id
        assert verified.worker.owner == "gpu-worker/w1"

    def test_without_a_worker(self):
        verified = verify_receipt(a_receipt(result=None, provider_response_id="r-1"))
        assert verified.worker is None

    def test_of_vectors(self):
        job = running_job(JobKind.INTERACTIVE, specification=EMBED)
        assert verify_receipt(a_receipt(*vouched(job, *VECTORS, usage=Usage(9, 0)), job=job)).worker

    def test_order_and_spaces_of_the_file_do_not_matter(self):
        turned = dict(reversed(RECEIPT["statement"].items()))
        assert verify_receipt({**RECEIPT, "statement": turned})

    def test_bare_list_of_keys_will_do(self):
        assert key_ring(KEYS) == RING


STATEMENT_FIELDS = sorted(RECEIPT["statement"])
RESULT_FIELDS = sorted(RECEIPT["statement"]["result"]["statement"])


class TestTampering:
    """X-K: no bit of a receipt can be changed."""

    @pytest.mark.parametrize("field", STATEMENT_FIELDS)
    @pytest.mark.parametrize("ring", [None, RING])
    def test_each_field_is_covered(self, field, ring):
        path = ["statement", field]
        forged = put(RECEIPT, path, other(RECEIPT["statement"][field]))
        assert "The receipt's signature is wrong" in problems(forged, ring)

    @pytest.mark.parametrize("field", STATEMENT_FIELDS)
    def test_each_field_has_to_be_there(self, field):
        forged = copy.deepcopy(RECEIPT)
        del forged["statement"][field]
        assert "The receipt's signature is wrong" in problems(forged)

    @pytest.mark.parametrize("field", RESULT_FIELDS)
    def test_each_field_of_the_worker_is_covered_twice(self, field):
        value = RECEIPT["statement"]["result"]["statement"][field]
        told = problems(put(RECEIPT, ["statement", "result", "statement", field], other(value)))
        assert "The receipt's signature is wrong" in told
        assert "The worker's result's signature is wrong" in told

    @pytest.mark.parametrize("field", ["target", "reason", "complexity"])
    def test_the_decision_is_covered(self, field):
        value = other(RECEIPT["statement"]["decision"][field])
        forged = put(RECEIPT, ["statement", "decision", field], value)
        assert "The receipt's signature is wrong" in problems(forged)

    def test_addition_is_noticed(self):
        assert "signature is wrong" in problems(put(RECEIPT, ["statement", "more"], 1))

    @pytest.mark.parametrize("at", [0, 31, 63])
    @pytest.mark.parametrize(
        ("path", "whose"),
        [
            (["signature"], "The receipt's signature is wrong"),
            (["statement", "result", "signature"], "The worker's result's signature is wrong"),
        ],
    )
    def test_each_signature_counts(self, path, whose, at):
        """One bit of it is enough."""
        found = RECEIPT
        for step in path:
            found = found[step]
        raw = bytearray.fromhex(found)
        raw[at] ^= 1
        assert whose in problems(put(RECEIPT, path, raw.hex()), RING)

    def test_worker_s_signature_is_checked_on_its_own(self):
        """Ours around it proves nothing about it."""
        receipt = put(RECEIPT, ["statement", "result", "signature"], "00" * 64)
        told = problems(signed_document(receipt["statement"]))
        assert (
            told
            == f"The worker's result's signature is wrong: key {WORKER.key_id} did not sign this."
        )

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("job_id", "another"),
            ("attempt", 2),
            ("model", "large"),
            ("prompt_digest", "00" * 32),
            ("output_digest", "00" * 32),
            ("tokens_input", 1),
            ("tokens_output", 1),
            ("operation", "embedding"),
        ],
    )
    def test_worker_has_to_speak_of_the_same(self, field, value):
        told = problems(resigned_result(**{field: value}))
        assert told == f"The worker's statement disagrees with the receipt: {field}."

    def test_worker_s_key_has_to_be_its_own(self):
        told = problems(resigned_result(worker_id="w2"))
        assert "with the key of gpu-worker/w1, not of gpu-worker/w2" in told


class TestKeys:
    def test_stranger_s_receipt_is_refused_by_the_published_keys(self):
        """It verifies with the keys that the stranger put inside. That is what --keys is for."""
        keys = [a_key(STRANGER, "job-service"), KEYS[1]]
        forged = signed_document(RECEIPT["statement"], STRANGER, keys)
        assert verify_receipt(forged).signer.key_id == STRANGER.key_id
        assert f"unknown key {STRANGER.key_id}" in problems(forged, RING)

    def test_worker_can_not_sign_receipts(self):
        """Its key is a published one, too, but of a worker."""
        forged = signed_document(RECEIPT["statement"], WORKER)
        assert "with the key of gpu-worker/w1, not of job-service" in problems(forged, RING)

    def test_keys_inside_are_ignored_where_others_are_given(self):
        assert verify_receipt({**RECEIPT, "keys": "nonsense"}, RING)

    @pytest.mark.parametrize("missing", [0, 1])
    def test_each_key_is_needed(self, missing):
        keys = [key for at, key in enumerate(KEYS) if at != missing]
        whose = ("receipt", "worker's result")[missing]
        assert f"The {whose} is signed with the unknown key" in problems({**RECEIPT, "keys": keys})

    @pytest.mark.parametrize("at", [0, 1])
    def test_key_can_not_take_another_s_name(self, at):
        forged = put(RECEIPT, ["keys", at, "x"], jwk_of(STRANGER.public_key)["x"])
        assert "is not the thumbprint of its key" in problems(forged)

    @pytest.mark.parametrize("path", [["key_id"], ["statement", "result", "key_id"]])
    def test_id_has_to_name_a_known_key(self, path):
        assert f"unknown key {STRANGER.key_id}" in problems(put(RECEIPT, path, STRANGER.key_id))


class TestForm:
    @pytest.mark.parametrize(
        ("path", "value", "told"),
        [
            (["statement"], None, "no statement"),
            (["statement"], [], "no statement"),
            (["key_id"], 7, "no key_id"),
            (["signature"], None, "hexadecimal"),
            (["signature"], "00" * 63, "hexadecimal"),
            (["signature"], "0g" * 64, "hexadecimal"),
            (["signature"], "00 " * 64, "hexadecimal"),
            (["signature"], "٠" * 128, "hexadecimal"),
            (["keys"], None, "no list of keys"),
            (["keys"], {}, "no list of keys"),
            (["keys", 0], "x", "keys[0] is no JSON object"),
            (["keys", 0, "kid"], 1, "keys[0] lacks a kid"),
            (["keys", 0, "owner"], None, "keys[0] lacks a kid or an owner"),
            (["keys", 0, "x"], "é", "no Ed25519"),
            (["keys", 0, "x"], "AAAA", "no Ed25519"),
            (["keys", 0, "x"], 1, "no Ed25519"),
            (["keys", 0, "crv"], "P-256", "no Ed25519"),
            (["statement", "result"], [], "worker's result is no JSON object"),
            (["statement", "result"], {}, "worker's result has no statement"),
            (["statement", "attempt"], 1.5, "canonical JSON"),
            (["statement", "model"], "\ud800", "canonical JSON"),
        ],
    )
    def test_what_is_malformed_is_named(self, path, value, told):
        assert told in problems(put(RECEIPT, path, value))

    @pytest.mark.parametrize("document", [None, 1, "x", [], [RECEIPT]])
    def test_what_is_no_receipt_at_all(self, document):
        assert "no JSON object" in problems(document)

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("type", "weir.receipt.v2"),
            ("state", "running"),
            ("kind", "x"),
            ("attempt", -1),
            ("attempt", True),
            ("charge_nanousd", 2**63),
            ("charge_nanousd", "1"),
            ("prompt_digest", "x"),
            ("output_digest", "AB" * 32),
            ("issued_at", "yesterday"),
            ("issued_at", "2026-01-01T00:00:00"),
            ("decision", []),
            ("model", 1),
        ],
    )
    def test_signed_nonsense_is_nonsense(self, field, value):
        assert f"can't be, in: {field}" in problems(a_receipt(**{field: value}))

    def test_signed_gap_is_named(self):
        statement = dict(RECEIPT["statement"])
        del statement["model"], statement["state"]
        assert "lacks: state, model" in problems(signed_document(statement))

    def test_signed_nonsense_of_a_worker_is_nonsense(self):
        assert "can't be, in: finished_at" in problems(resigned_result(finished_at="x"))

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("finish_reason", "as somebody told me"),
            ("worker_id", "w" * 256),
            ("model_digest", "x" * 256),
            ("started_at", "2026-01-02 03:04:04Z"),
            ("finished_at", "20260102T030405.000000000Z"),
        ],
    )
    def test_worker_has_no_words_of_its_own(self, field, value):
        assert f"can't be, in: {field}" in problems(resigned_result(**{field: value}))

    def test_worker_adds_nothing(self):
        """What it adds isn't repeated, either."""
        told = problems(resigned_result(secret_of_a_tenant="x"))
        assert told == "The worker's statement has unknown fields: 1."

    def test_signed_nonsense_in_a_decision_is_nonsense(self):
        assert "decision lacks: reason" in problems(
            a_receipt(decision={"target": "a", "complexity": 1})
        )


class TestCommand:
    @pytest.fixture
    def write(self, tmp_path):
        def written(document, name="receipt.json"):
            path = tmp_path / name
            raw = document if isinstance(document, bytes) else json.dumps(document).encode()
            path.write_bytes(raw)
            return str(path)

        return written

    def test_says_what_is_proved(self, write, capsys):
        assert run(write(RECEIPT), write({"keys": KEYS}, "keys.json")) == 0
        told = capsys.readouterr().out
        statement = RECEIPT["statement"]
        assert f"{statement['job_id']} of project p1" in told
        assert "30 in, 3 out (reported)" in told
        assert "0.033000000 USD, prices of version 1" in told
        assert f"{SIGNER.key_id} (job-service)" in told
        assert f"its signature verifies: {WORKER.key_id} (gpu-worker/w1)" in told
        assert "keys.json" in told
        assert told.startswith("verified ")

    def test_claims_no_more_than_the_receipt_s_own_keys_prove(self, write, capsys):
        assert run(write(RECEIPT), None) == 0
        told = capsys.readouterr().out
        assert told.startswith(f"unchanged  since it was signed with the key {SIGNER.key_id}")
        assert "known only with --keys" in told
        assert "from the receipt itself" in told
        assert "verified " not in told

    @pytest.mark.parametrize(
        ("changes", "told"),
        [
            ({"result": None}, "none signed"),
            ({"result": None, "provider_response_id": "r-1"}, "response id is r-1"),
            ({"result": None, "result_problem": "It lied."}, "not accepted: It lied."),
        ],
    )
    def test_says_who_else_vouches(self, write, capsys, changes, told):
        assert run(write(a_receipt(**changes)), None) == 0
        assert told in capsys.readouterr().out

    def test_says_everything_that_is_wrong(self, write, capsys):
        forged = put(RECEIPT, ["statement", "result", "statement", "attempt"], 9)
        assert run(write(forged), None) == 1
        told = capsys.readouterr()
        assert told.out == ""
        assert len(told.err.splitlines()) == 2

    def test_harms_no_terminal(self, write, capsys):
        """A forger chooses what is in a receipt with the forger's own key."""
        assert run(write(a_receipt(model="\x1b[2Jé\n\u202e", result=None)), None) == 0
        told = capsys.readouterr().out
        assert "\\x1b[2J\\xe9\\n\\u202e" in told
        assert told.isascii()

    @pytest.mark.parametrize(
        ("content", "told"),
        [
            (b"", "no JSON"),
            (b"{", "no JSON"),
            (b"\xff", "no UTF-8"),
            (b'{"a":1,"a":2}', "comes twice"),
            (b'{"a":NaN}', "NaN"),
            (b"[" * 100_000, "too deeply"),
            (b'{"a":' + b"9" * 5_000 + b"}", "too long"),
            (b" " * (16 * 1024 * 1024 + 1), "more than"),
        ],
    )
    def test_says_why_a_file_is_no_receipt(self, write, capsys, content, told):
        assert run(write(content), None) == 1
        assert told in capsys.readouterr().err
        assert run(write(RECEIPT), write(content, "keys.json")) == 1
        assert "keys.json" in capsys.readouterr().err

    def test_says_which_file_is_missing(self, write, tmp_path, capsys):
        for name in (str(tmp_path / "none.json"), str(tmp_path), "\0"):
            assert run(name, None) == 1
            assert run(write(RECEIPT), name) == 1
        assert "No such file" in capsys.readouterr().err

    def test_reads_standard_input_once(self, write, capsys, monkeypatch):
        raw = io.BytesIO(json.dumps(RECEIPT).encode())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(raw))
        assert run("-", write(KEYS, "keys.json")) == 0
        assert run("-", "-") == 1
        assert "Only one" in capsys.readouterr().err

    def test_needs_no_setting(self, write, monkeypatch):
        """As people call it: nothing of the service's environment is read."""
        monkeypatch.delenv("DATABASE_URL", raising=False)
        runner = CliRunner()
        good = runner.invoke(app, ["verify-receipt", write(RECEIPT)], env={})
        assert (good.exit_code, good.exception) == (0, None)
        forged = write(put(RECEIPT, ["signature"], "00" * 64), "forged.json")
        assert runner.invoke(app, ["verify-receipt", forged]).exit_code == 1
        assert "--keys" in runner.invoke(app, ["verify-receipt", "--help"]).output


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=4,
)


def paths(document, path=()):
    """Return where anything is in a document."""
    yield path
    steps = document.items() if isinstance(document, dict) else enumerate(document)
    for step, value in steps:
        if isinstance(value, dict | list):
            yield from paths(value, (*path, step))
        else:
            yield (*path, step)


PATHS = [path for path in paths(RECEIPT) if path]


def is_proved(document, ring=None):
    """Tell whether it verifies. Anything but a yes or a reason goes through."""
    try:
        return verify_receipt(document, ring) is not None
    except ReceiptRefused:
        return False


class TestFuzz:
    """Whatever is in the file, the answer is yes or a reason."""

    @given(st.sampled_from(PATHS), JSON_VALUES)
    @settings(max_examples=60, deadline=None)
    def test_any_value_anywhere(self, path, value):
        document = put(RECEIPT, path, value)
        assert is_proved(document, RING) in (True, False)
        assert is_proved(document) in (True, False)

    @given(st.sampled_from([path for path in PATHS if path[0] == "statement"]), JSON_VALUES)
    @settings(max_examples=60, deadline=None)
    def test_any_value_that_somebody_signed(self, path, value):
        """Forms are checked even where the signature fits."""
        document = put(RECEIPT, path, value)
        with suppress(TypeError, ValueError):
            # What canonical JSON has no form for can't be signed.
            document = signed_document(document["statement"])
        assert is_proved(document) in (True, False)

    @given(st.binary(max_size=200))
    @settings(max_examples=60, deadline=None)
    def test_any_bytes(self, raw):
        with suppress(MalformedJson):
            strict_json(raw)

    @given(st.binary(max_size=60), st.integers(0, 5_000), st.integers(0, 60))
    @settings(
        max_examples=30,
        deadline=None,
        suppress_health_check=[HealthCheck.function_scoped_fixture],
    )
    def test_any_damage_to_a_file(self, tmp_path, noise, at, length):
        path = tmp_path / "receipt.json"
        raw = json.dumps(RECEIPT).encode()
        path.write_bytes(raw[:at] + noise + raw[at + length :])
        assert run(str(path), None) in (0, 1)
