"""What Prometheus gathered from the running stack."""

import json

from compose_check.commands import CheckFailed, wait_for
from compose_check.dashboards import Query
from compose_check.project import SERVICES, Project

_ASK = """
import json, sys, urllib.parse, urllib.request
found = {}
for expression in json.loads(%r):
    query = urllib.parse.urlencode({"query": expression})
    address = "http://prometheus:9090/api/v1/query?" + query
    with urllib.request.urlopen(address, timeout=10) as answer:
        found[expression] = json.load(answer)["data"]["result"]
print(json.dumps(found))
"""


def ask(project: Project, expressions: list[str]) -> dict[str, list[dict[str, object]]]:
    """Return Prometheus's answer to each expression, asked from inside the network."""
    text = project.python("gateway", _ASK % json.dumps(expressions))
    found: dict[str, list[dict[str, object]]] = json.loads(text)
    return found


def check_targets(project: Project, replicas: int) -> int:
    """Return how many replicas Prometheus scrapes, once these are all of them.

    Args:
        project: The stack.
        replicas: How many there are of the six services together.
    """
    jobs = {service.removesuffix("-cpu") for service in SERVICES}

    def all_up() -> int | None:
        series = ask(project, ['up{job!="prometheus"} == 1'])['up{job!="prometheus"} == 1']
        labels = [each["metric"] for each in series]
        seen = {label["job"] for label in labels if isinstance(label, dict)}
        if seen == jobs and len(series) == replicas:
            return len(series)
        raise CheckFailed(f"{len(series)} of {replicas} replicas, of {sorted(seen)}")

    return wait_for("Prometheus scrapes every replica", all_up, seconds=90)


def check_queries(project: Project, queries: list[Query]) -> int:
    """Return how many queries of the dashboard have an answer, once all of them do."""

    def all_answered() -> int | None:
        answers = ask(project, [query.expression for query in queries])
        empty = [q for q in queries if not answers[q.expression]]
        if not empty:
            return len(queries)
        raise CheckFailed("\n".join(f"{q.panel}: {q.expression}: no series" for q in empty))

    return wait_for("every panel shows something", all_answered, seconds=120)


def replicas_called(project: Project, job: str, service: str) -> int | None:
    """Return how many replicas of `job` answered calls of one RPC service, as Prometheus knows."""
    selector = f'job="{job}",grpc_service="{service}"'
    expression = f"sum by (instance) (grpc_server_handled_total{{{selector}}})"
    return len(ask(project, [expression])[expression]) or None
