"""Real prompts through the whole stack: what came out, what was decided, what it cost."""

from dataclasses import replace
from typing import Any

from rich.console import Console
from rich.markup import escape

from weir_local.demo_client import DemoClient, UnexpectedAnswer
from weir_local.demo_cloud import CloudScenes, check_bill
from weir_local.demo_display import show_answer_facts, show_budgets, show_jobs
from weir_local.demo_receipt import show_receipt
from weir_local.progress import Progress
from weir_local.stack import Stack

PROMPT = "Write two sentences about rivers."
QUEUED_PROMPT = "Write a short greeting for a new colleague."
TINY_BUDGET_USD = "0.000001"
TOPPED_UP_BUDGET_USD = "5"


def run_demo(stack: Stack, console: Console, progress: Progress) -> int:
    """Show everything; return 0 if all of it was as it should be.

    A stack that runs already is used and left running; else one is started, and stopped again
    whatever happens.
    """
    was_up = stack.is_up()
    stack = stack.as_it_runs() if was_up else replace(stack, stop_with_launcher=True)
    try:
        console.rule("[bold]Using the Weir that runs here" if was_up else "[bold]Starting Weir")
        stack.up(Progress() if was_up else progress)
        console.print(f"[bold green]ready[/] at {stack.gateway_url}")
        with DemoClient(stack.gateway_url) as client:
            _Demo(stack, client, console).run()
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

    def __init__(self, stack: Stack, client: DemoClient, console: Console) -> None:
        self._stack = stack
        self._client = client
        self._console = console

    def run(self) -> None:
        self._console.rule("[bold]A person, a project, a key")
        self._client.register()
        project = self._client.default_project()
        key = self._client.new_key(project)
        before = self._client.budget(project)
        self._say(f"registered {self._client.username}; an API key {key[:6]}…, shown once")
        job_id = self._stream(key)
        check_bill(self._client, project, job_id, "local")
        CloudScenes(self._stack, self._client, self._console).play(project, key)
        self._queue(project)
        tiny = self._refuse_then_pay()
        show_receipt(self._client, self._console, project, job_id)
        for each in (project, tiny):
            self._client.wait_until_settled(each)
        self._console.rule("[bold]What it cost")
        show_jobs(self._console, self._client.jobs(project) + self._client.jobs(tiny))
        after, of_tiny = self._client.budget(project), self._client.budget(tiny)
        show_budgets(self._console, {"before": before, "after": after, "Tiny": of_tiny})

    def _stream(self, key: str) -> str:
        """A chat by the official client, its tokens as they come; the id of its job."""
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
        show_answer_facts(self._console, weir)
        if weir["target"] != "local":
            raise UnexpectedAnswer(f"A simple prompt ran on {weir['target']}.")
        return str(weir["job_id"])

    def _queue(self, project: str) -> None:
        """A job that runs in the background."""
        self._console.rule("[bold]A queued job")
        self._say(f"[cyan]{QUEUED_PROMPT}[/]")
        job_id = self._client.queue(project, QUEUED_PROMPT, max_tokens=32)
        self._say(" → ".join(self._client.states(project, job_id)))
        self._show_result(project, job_id)

    def _refuse_then_pay(self) -> str:
        """A budget that is too small: refused at once, or waiting for more; the project's id."""
        self._console.rule("[bold]A budget that holds")
        tiny = self._client.new_project("Tiny", TINY_BUDGET_USD)
        self._say(f"a project that may spend ${TINY_BUDGET_USD}")
        refusal = self._client.refused_chat(self._client.new_key(tiny), PROMPT)
        self._say(f"its chat    [yellow]{escape(refusal)}[/]")
        if refusal != "429 insufficient_quota":
            raise UnexpectedAnswer(f"The chat was refused with {refusal}.")
        job_id = self._client.queue(tiny, PROMPT, max_tokens=32)
        states = list(self._client.states(tiny, job_id))
        self._say(f"its job     [yellow]{' → '.join(states)}[/]")
        if states[-1] != "blocked":
            raise UnexpectedAnswer(f"The job beyond its budget is {states[-1]}.")
        self._client.set_budget(tiny, TOPPED_UP_BUDGET_USD)
        states = list(self._client.states(tiny, job_id, after="blocked"))
        self._say(f"topped up to ${TOPPED_UP_BUDGET_USD}: blocked → {' → '.join(states)}")
        self._show_result(tiny, job_id)
        return tiny

    def _show_result(self, project: str, job_id: str) -> None:
        job = self._client.job(project, job_id)
        if job["state"] != "completed":
            raise UnexpectedAnswer(f"The job is {job['state']}: {job['last_error']}")
        self._console.print(job["result_text"].strip(), markup=False, soft_wrap=False)

    def _say(self, text: str) -> None:
        self._console.print(text, soft_wrap=False)


def _check_ledger(stack: Stack, console: Console) -> int:
    console.rule("[bold]Does every nano-dollar add up?")
    check = stack.check_ledger()
    if check.consistent:
        console.print("\n".join(check.report.splitlines()[-2:]), style="green", markup=False)
        return 0
    console.print(check.report, style="red", markup=False)
    return 1
