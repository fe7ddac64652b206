"""Real prompts through the whole stack: what came out, what was decided, what it cost."""

from dataclasses import replace
from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from weir_local.demo_client import DemoClient, UnexpectedAnswer
from weir_local.progress import Progress
from weir_local.stack import Stack

PROMPT = "Write two sentences about rivers."
QUEUED_PROMPT = "Write a short greeting for a new colleague."
COMPLEX_PROMPT = (
    "Give a detailed and complex answer for an advanced reader: why do rivers meander, how do the "
    "outer banks erode while the inner ones grow, what makes a bend cut itself off in the end, and "
    "which of these effects would a weir change?"
)
TINY_BUDGET_USD = "0.000001"


def run_demo(stack: Stack, console: Console, progress: Progress) -> int:
    """Show everything; return 0 if all of it was as it should be.

    A stack that runs already is used and left running; else one is started, and stopped again
    whatever happens.
    """
    was_up = stack.is_up()
    if not was_up:
        stack = replace(stack, stop_with_launcher=True)
    try:
        console.rule("[bold]Using the Weir that runs here" if was_up else "[bold]Starting Weir")
        stack.up(Progress() if was_up else progress)
        console.print(f"[bold green]ready[/] at {stack.gateway_url}")
        with DemoClient(stack.gateway_url) as client:
            _Demo(client, console).run()
        return _check_ledger(stack, console)
    except UnexpectedAnswer as error:
        console.print(f"\n[red]That was not expected:[/] {escape(str(error))}")
        console.print(f"The logs are in {escape(str(stack.home / 'logs'))}")
        return 1
    finally:
        if not was_up:
            console.rule("[bold]Stopping what was started")
            stack.down(progress)


class _Demo:
    """The scenes, in order."""

    def __init__(self, client: DemoClient, console: Console) -> None:
        self._client = client
        self._console = console

    def run(self) -> None:
        self._console.rule("[bold]A person, a project, a key")
        self._client.register()
        project = self._client.default_project()
        key = self._client.new_key(project)
        before = self._client.budget(project)
        self._say(f"registered {self._client.username}; an API key {key[:6]}…, shown once")
        self._stream(key)
        self._decide()
        self._queue(project)
        tiny, tiny_jobs = self._refuse()
        self._client.wait_until_settled(project)
        self._table(self._client.jobs(project) + tiny_jobs)
        self._budgets(before, self._client.budget(project), self._client.budget(tiny))

    def _stream(self, key: str) -> None:
        """A chat by the official client, its tokens as they come."""
        self._console.rule("[bold]A chat, streamed by the openai client")
        self._say(f"[cyan]{PROMPT}[/]")
        last: Any = None
        pieces = 0
        for chunk in self._client.stream(key, PROMPT, max_tokens=48):
            last = chunk
            text = chunk.choices[0].delta.content if chunk.choices else None
            if text:
                pieces += 1
                self._console.print(text, end="", markup=False, soft_wrap=True)
        self._console.print()
        weir = (last.model_extra or {}).get("weir") if last is not None else None
        if weir is None or pieces < 2:
            raise UnexpectedAnswer("The answer was not streamed, or did not say what it cost.")
        usage, cost = weir["usage"], weir["cost"]
        self._say(
            f"[dim]{weir['model']} on {weir['target']}, complexity "
            f"{weir['decision']['complexity']['score']}, {usage['tokens_input']} tokens in, "
            f"{usage['tokens_output']} out, {_usd(cost['charged_nanousd'])}[/]"
        )

    def _decide(self) -> None:
        """Where a harder prompt would go; nothing runs."""
        self._console.rule("[bold]Where would a harder prompt go, and why?")
        self._say(f"[cyan]{COMPLEX_PROMPT}[/]")
        decision = self._client.explain(COMPLEX_PROMPT)
        for line in decision["explanation"]:
            self._say(f"[dim]{escape(line)}[/]")
        self._say(f"→ {decision['target']}: {escape(decision['reason'])}")

    def _queue(self, project: str) -> None:
        """A job that runs in the background."""
        self._console.rule("[bold]A queued job")
        self._say(f"[cyan]{QUEUED_PROMPT}[/]")
        job_id = self._client.queue(project, QUEUED_PROMPT, max_tokens=32)
        states = list(self._client.states(project, job_id))
        self._say(" → ".join(states))
        job = self._client.job(project, job_id)
        if job["state"] != "completed":
            raise UnexpectedAnswer(f"The job is {job['state']}: {job['last_error']}")
        self._console.print(job["result_text"].strip(), markup=False, soft_wrap=True)

    def _refuse(self) -> tuple[str, list[dict[str, Any]]]:
        """A budget that is too small: refused at once, or waiting."""
        self._console.rule("[bold]A budget that holds")
        tiny = self._client.new_project("Tiny", TINY_BUDGET_USD)
        self._say(f"a project that may spend ${TINY_BUDGET_USD}")
        refusal = self._client.refused_chat(self._client.new_key(tiny), PROMPT)
        self._say(f"its chat    [yellow]{escape(refusal)}[/]")
        if refusal != "429 insufficient_quota":
            raise UnexpectedAnswer(f"The chat was refused with {refusal}.")
        states = list(self._client.states(tiny, self._client.queue(tiny, PROMPT, max_tokens=32)))
        self._say(f"its job     [yellow]{' → '.join(states)}[/]  (it runs after a top-up)")
        if states[-1] != "blocked":
            raise UnexpectedAnswer(f"The job beyond its budget is {states[-1]}.")
        return tiny, self._client.jobs(tiny)

    def _table(self, jobs: list[dict[str, Any]]) -> None:
        table = _new_table("Jobs")
        for column in ("job", "state", "complexity", "target"):
            table.add_column(column, no_wrap=True)
        table.add_column("reason", overflow="fold")
        for column in ("in", "out", "cost"):
            table.add_column(column, justify="right", no_wrap=True)
        for job in jobs:
            decision = job["decision"]
            reason = decision["reason"] if decision else job["failure_reason"]
            table.add_row(
                job["job_id"][-8:],
                job["state"],
                str(decision["complexity"]["score"]) if decision else "-",
                job["executed_target"] or "-",
                escape((reason or "-").replace("_", " ").lower()),
                str(job["tokens_used_input"]),
                str(job["tokens_used_output"]),
                _usd(job["actual_cost_nanousd"]),
            )
        self._console.print(table)

    def _budgets(self, before: dict[str, Any], after: dict[str, Any], tiny: dict[str, Any]) -> None:
        table = _new_table("Budget of this month")
        table.add_column("")
        for column in ("allocated", "spent", "reserved", "remaining"):
            table.add_column(column, justify="right")
        for name, budget in (("before", before), ("after", after), ("Tiny", tiny)):
            allocated = _usd(budget["budget_allocated_nanousd"])
            table.add_row(
                name,
                allocated if budget["has_budget"] else "none yet",
                _usd(budget["actual_cost_nanousd"]),
                _usd(budget["reserved_nanousd"]),
                _usd(budget["remaining_budget_nanousd"]),
            )
        self._console.print(table)

    def _say(self, text: str) -> None:
        self._console.print(text)


def _check_ledger(stack: Stack, console: Console) -> int:
    console.rule("[bold]Does every nano-dollar add up?")
    check = stack.check_ledger()
    if check.consistent:
        console.print("\n".join(check.report.splitlines()[-2:]), style="green", markup=False)
        return 0
    console.print(check.report, style="red", markup=False)
    return 1


def _new_table(title: str) -> Table:
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def _usd(nanousd: int | None) -> str:
    """Show an amount without rounding anything away."""
    if nanousd is None:
        return "-"
    dollars, rest = divmod(nanousd, 1_000_000_000)
    digits = f"{rest:09d}".rstrip("0")
    return f"${dollars}.{digits:0<3}"
