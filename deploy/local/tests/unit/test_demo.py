"""The demo insists on what it shows."""

import io
from typing import Any, cast

import pytest
from rich.console import Console

from weir_local import demo_receipt
from weir_local.demo_client import DemoClient, UnexpectedAnswer
from weir_local.demo_cloud import CloudScenes
from weir_local.stack import Stack


class FakeStack:
    """A stack of which nothing runs but perhaps a cloud."""

    def __init__(self, *, yotta: bool = True, yotta_url: str = "http://127.0.0.1:9000") -> None:
        self.yotta = yotta
        self.yotta_url = yotta_url
        self.runs = True

    def stop_yotta(self) -> None:
        self.runs = False

    def start_yotta(self) -> None:
        self.runs = True


class FakeClient:
    """Answers as Weir would, or as it should not."""

    def __init__(self, stack: FakeStack, *, falls_back: bool = True, price: int = 0) -> None:
        self._stack = stack
        self._falls_back = falls_back
        self._price = price

    def explain(self, prompt: str) -> dict[str, Any]:
        target = "yotta" if self._stack.yotta_url else "local"
        return {
            "target": target,
            "reason": "complexity_at_threshold",
            "complexity": {"score": 104},
            "explanation": ["local: serves it", "yotta: serves it"],
        }

    def explain_until_target(self, prompt: str, target: str) -> dict[str, Any]:
        return self.explain(prompt)

    def chat(self, key: str, prompt: str, max_tokens: int) -> tuple[str, dict[str, Any]]:
        target = "yotta" if self._stack.runs or not self._falls_back else "local"
        return "Rivers.", {
            "job_id": target,
            "target": target,
            "model": "m",
            "decision": self.explain(prompt),
            "usage": {"tokens_input": 1, "tokens_output": 2},
            "cost": {"charged_nanousd": self.bill("", target)["actual_cost_nanousd"]},
        }

    def bill(self, project_id: str, job_id: str) -> dict[str, Any]:
        price = self._price or {"yotta": 10_000_000, "local": 1_000_000}[job_id]
        return {"target": job_id, "tokens_used_total": 3, "actual_cost_nanousd": 3 * price}


def play(stack: FakeStack, client: FakeClient) -> str:
    """Return what the scenes show."""
    console = Console(file=io.StringIO(), width=100)
    CloudScenes(cast(Stack, stack), cast(DemoClient, client), console).play("p", "k")
    return cast(io.StringIO, console.file).getvalue()


def test_cloud_answers_and_is_fallen_back_from() -> None:
    """Both bills are shown, and the cloud runs again afterwards."""
    stack = FakeStack()

    shown = play(stack, FakeClient(stack))

    assert "on yotta" in shown
    assert "$0.030" in shown
    assert "→ fallback" in shown
    assert "local ran it and is billed: $0.003" in shown
    assert stack.runs


def test_answer_of_the_wrong_target_is_an_error() -> None:
    """A fallback that did not happen is not shown as one; the cloud runs again all the same."""
    stack = FakeStack()

    with pytest.raises(UnexpectedAnswer, match="ran on yotta and not on local"):
        play(stack, FakeClient(stack, falls_back=False))

    assert stack.runs


def test_bill_at_the_wrong_price_is_an_error() -> None:
    """The fallback is billed at the local price, or the demo fails."""
    stack = FakeStack()

    with pytest.raises(UnexpectedAnswer, match=r"The price of local is \$0\.003"):
        play(stack, FakeClient(stack, price=10_000_000))


def test_cloud_of_somebody_else_is_never_switched_off() -> None:
    """Its answer is shown, and no fallback."""
    stack = FakeStack(yotta=False)

    shown = play(stack, FakeClient(stack))

    assert "on yotta" in shown
    assert "fallback is shown" in shown
    assert "→ fallback" not in shown


def test_without_a_cloud_only_the_decision_is_shown() -> None:
    """There is nothing to fall back from."""
    stack = FakeStack(yotta=False, yotta_url="")

    assert "no cloud here" in play(stack, FakeClient(stack))


@pytest.mark.parametrize("charge", [1, 9, 84_000_000, 999])
def test_a_forged_charge_differs_in_one_digit(charge: int) -> None:
    """And in nothing else; the receipt itself stays as it is."""
    receipt = {"statement": {"charge_nanousd": charge, "job_id": "j"}, "signature": "00"}

    forged = demo_receipt._with_another_charge(receipt)

    forged_charge = forged["statement"].pop("charge_nanousd")
    assert receipt["statement"] == {"charge_nanousd": charge, "job_id": "j"}
    assert sum(a != b for a, b in zip(str(charge), str(forged_charge), strict=True)) == 1
    assert forged == {"statement": {"job_id": "j"}, "signature": "00"}
