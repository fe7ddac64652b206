"""How the demo shows things: amounts, tables, answers."""

from typing import Any

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table


def usd(nanousd: int | None) -> str:
    """Show an amount without rounding anything away."""
    if nanousd is None:
        return "-"
    dollars, rest = divmod(nanousd, 1_000_000_000)
    digits = f"{rest:09d}".rstrip("0")
    return f"${dollars}.{digits:0<3}"


def new_table(title: str) -> Table:
    """Return an empty table under a title."""
    return Table(
        title=title,
        title_justify="left",
        title_style="bold",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )


def show_answer_facts(console: Console, weir: dict[str, Any]) -> None:
    """Show where an answer was made and what it cost, from its `weir` object."""
    usage, complexity = weir["usage"], weir["decision"]["complexity"]
    console.print(
        f"[dim]{escape(weir['model'])} on [/][bold]{weir['target']}[/][dim], complexity "
        f"{complexity['score']}, {usage['tokens_input']} tokens in, {usage['tokens_output']} out, "
        f"{usd(weir['cost']['charged_nanousd'])}[/]"
    )


def show_jobs(console: Console, jobs: list[dict[str, Any]]) -> None:
    """Show what became of each job."""
    table = new_table("Jobs")
    for column in ("job", "state", "score", "target"):
        table.add_column(column, no_wrap=True)
    table.add_column("reason", overflow="fold")
    for column in ("in", "out", "cost"):
        table.add_column(column, justify="right", no_wrap=True)
    for job in jobs:
        decision = job["decision"]
        table.add_row(
            job["job_id"][-8:],
            job["state"],
            str(decision["complexity"]["score"]) if decision else "-",
            job["executed_target"] or "-",
            escape(_reason(job)),
            str(job["tokens_used_input"]),
            str(job["tokens_used_output"]),
            usd(job["actual_cost_nanousd"]),
        )
    console.print(table)


def show_budgets(console: Console, budgets: dict[str, dict[str, Any]]) -> None:
    """Show budgets of this month, each under a name."""
    table = new_table("Budget of this month")
    table.add_column("")
    for column in ("allocated", "spent", "reserved", "remaining"):
        table.add_column(column, justify="right")
    for name, budget in budgets.items():
        allocated = usd(budget["budget_allocated_nanousd"])
        table.add_row(
            name,
            allocated if budget["has_budget"] else "none yet",
            usd(budget["actual_cost_nanousd"]),
            usd(budget["reserved_nanousd"]),
            usd(budget["remaining_budget_nanousd"]),
        )
    console.print(table)


def _reason(job: dict[str, Any]) -> str:
    decision, target = job["decision"], job["executed_target"]
    if decision and target and decision["target"] != target:
        return f"fallback from {decision['target']}"
    reason = decision["reason"] if decision else job["failure_reason"]
    return (reason or "-").replace("_", " ").lower()
