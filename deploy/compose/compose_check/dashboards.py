"""Reads what the panels of a dashboard ask Prometheus."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# Four scrapes; Grafana would choose something like it.
_RATE_INTERVAL = "1m"
_NO_METRICS = frozenset(
    ("by", "without", "on", "ignoring", "group_left", "group_right", "or", "and", "unless", "bool")
)


@dataclass(frozen=True, slots=True)
class Query:
    """One query of one panel."""

    panel: str
    expression: str

    @property
    def metrics(self) -> frozenset[str]:
        """The names of the metrics it reads."""
        text = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\"[^\"]*\"", " ", self.expression)
        text = re.sub(r"\b(by|without)\s*\([^)]*\)", " ", text)
        names = re.findall(r"\b[a-z_][a-z0-9_]*\b(?!\s*\()", text)
        return frozenset(names) - _NO_METRICS


def queries(dashboard: Path) -> list[Query]:
    """Return every query of a dashboard, with an interval in place of Grafana's variable."""
    return list(_queries(json.loads(dashboard.read_text())["panels"]))


def _queries(panels: list[dict[str, Any]]) -> Iterator[Query]:
    for panel in panels:
        yield from _queries(panel.get("panels", []))
        for target in panel.get("targets", []):
            expression = target["expr"].replace("$__rate_interval", _RATE_INTERVAL)
            yield Query(panel["title"], expression)


def recording_rules(found: list[Query]) -> str:
    """Return a rule file that records every query, for `promtool check rules`."""
    rules = [
        {"record": f"check:panel{number}", "expr": query.expression}
        for number, query in enumerate(found)
    ]
    # JSON is YAML.
    return json.dumps({"groups": [{"name": "dashboard", "rules": rules}]})
