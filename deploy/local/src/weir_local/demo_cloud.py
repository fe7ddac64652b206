"""A harder prompt: in the cloud, and at home while the cloud is switched off."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape

from weir_local.cloud import YOTTA
from weir_local.demo_client import DemoClient, UnexpectedAnswer
from weir_local.demo_display import show_answer_facts, usd
from weir_local.stack import Stack

PROMPT = (
    "Give a detailed and complex answer for an advanced reader: why do rivers meander, how do the "
    "outer banks erode while the inner ones grow, what makes a bend cut itself off in the end, and "
    "which of these effects would a weir change?"
)
MAX_TOKENS = 32
# Version 1 of the price book.
NANOUSD_PER_TOKEN = {"local": 1_000_000, YOTTA: 10_000_000}


class CloudScenes:
    """What a stack does with a prompt that looks hard."""

    def __init__(self, stack: Stack, client: DemoClient, console: Console) -> None:
        self._stack = stack
        self._client = client
        self._console = console

    def play(self, project: str, key: str) -> None:
        """Show the decision; with a cloud also the answer, and the fallback if it is ours."""
        self._console.rule("[bold]Where does a harder prompt go, and why?")
        self._say(f"[cyan]{PROMPT}[/]")
        decision = self._decision()
        for line in decision["explanation"]:
            self._say(f"[dim]{escape(line)}[/]")
        self._say(f"→ [bold]{decision['target']}[/]: {escape(decision['reason'])}")
        if not self._stack.yotta_url:
            self._say("[dim]There is no cloud here, so this prompt is not run.[/]")
            return
        self._answer(project, key, ran_on=YOTTA)
        if not self._stack.yotta:
            where = f"The cloud at {escape(self._stack.yotta_url)}"
            self._say(f"[dim]{where} is not ours: no fallback is shown.[/]")
            return
        self._console.rule("[bold]The same prompt while the cloud is away")
        with self._cloud_switched_off():
            self._tell_of_fallback(self._answer(project, key, ran_on="local"))

    def _decision(self) -> dict[str, Any]:
        """Return the decision, as soon as the router has found the cloud if there is one."""
        if not self._stack.yotta_url:
            return self._client.explain(PROMPT)
        return self._client.explain_until_target(PROMPT, YOTTA)

    @contextmanager
    def _cloud_switched_off(self) -> Iterator[None]:
        self._stack.stop_yotta()
        self._say("[yellow]yotta stopped[/]")
        try:
            yield
        finally:
            self._stack.start_yotta()
            self._say("[green]yotta started again[/]")

    def _answer(self, project: str, key: str, ran_on: str) -> dict[str, Any]:
        """Run the prompt; return its `weir` object once it is billed as it should be."""
        text, weir = self._client.chat(key, PROMPT, MAX_TOKENS)
        self._say(escape(text.strip()))
        show_answer_facts(self._console, weir)
        if weir["target"] != ran_on:
            raise UnexpectedAnswer(f"It ran on {weir['target']} and not on {ran_on}.")
        check_bill(self._client, project, weir["job_id"], ran_on)
        return weir

    def _tell_of_fallback(self, weir: dict[str, Any]) -> None:
        decision = weir["decision"]
        says = next(line for line in decision["explanation"] if line.startswith(f"{YOTTA}: "))
        self._say(f"[dim]{escape(says)}[/]")
        self._say(
            f"→ [bold yellow]fallback[/]: decided for {decision['target']}, which did not answer; "
            f"local ran it and is billed: {usd(weir['cost']['charged_nanousd'])}"
        )

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=False)


def check_bill(client: DemoClient, project: str, job_id: str, ran_on: str) -> None:
    """Return if a job is billed for its tokens, at the price of what ran it."""
    bill = client.bill(project, job_id)
    due = bill["tokens_used_total"] * NANOUSD_PER_TOKEN[ran_on]
    if (bill["target"], bill["actual_cost_nanousd"]) != (ran_on, due):
        raise UnexpectedAnswer(f"The price of {ran_on} is {usd(due)}, the bill says {bill}.")
