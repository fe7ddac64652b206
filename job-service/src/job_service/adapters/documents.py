"""Values of the domain as JSON documents, and back."""

from __future__ import annotations

from dataclasses import asdict, fields
from typing import Any, Final

from job_service.domain.budget_scope import BudgetScope
from job_service.domain.charge import Price
from job_service.domain.decision import Alternative, Complexity, RouteDecision
from job_service.domain.settlement import Outcome
from job_service.domain.specification import JobSpecification, Message, Residency, Sampling

Document = dict[str, Any]

_OUTCOME_FIELDS: Final = frozenset(field.name for field in fields(Outcome))


def content_to_document(specification: JobSpecification) -> Document:
    """Return everything of a specification that has no column of its own."""
    return {
        "messages": [asdict(message) for message in specification.messages],
        "sampling": asdict(specification.sampling),
        "residency": specification.residency.value,
        "inputs": list(specification.inputs),
    }


def specification_from(type_: str, model: str, content: Document | None) -> JobSpecification:
    """Return a specification; without its content it has neither messages nor inputs."""
    if content is None:
        return JobSpecification(type_, model, ())
    sampling = dict(content["sampling"])
    sampling["stop"] = tuple(sampling["stop"])
    return JobSpecification(
        type_,
        model,
        tuple(Message(**message) for message in content["messages"]),
        Sampling(**sampling),
        Residency(content["residency"]),
        # Older jobs have none.
        tuple(content.get("inputs", ())),
    )


def scopes_to_document(scopes: tuple[BudgetScope, ...]) -> list[Document]:
    return [asdict(scope) for scope in scopes]


def scopes_from(document: list[Document]) -> tuple[BudgetScope, ...]:
    return tuple(BudgetScope(**scope) for scope in document)


def prices_to_document(prices: tuple[Price, ...]) -> list[Document]:
    return [asdict(price) for price in prices]


def prices_from(document: list[Document]) -> tuple[Price, ...]:
    return tuple(Price(**price) for price in document)


def decision_to_document(decision: RouteDecision | None) -> Document | None:
    return None if decision is None else asdict(decision)


def decision_from(document: Document | None) -> RouteDecision | None:
    if document is None:
        return None
    complexity = {**document["complexity"], "keywords": tuple(document["complexity"]["keywords"])}
    return RouteDecision(
        **{
            **document,
            "complexity": Complexity(**complexity),
            "explanation": tuple(document["explanation"]),
            "alternatives": tuple(Alternative(**each) for each in document["alternatives"]),
        }
    )


def outcome_to_document(outcome: Outcome) -> Document:
    return asdict(outcome)


def outcome_from(document: Document) -> Outcome:
    """Return an outcome; what a replica of a later release added is left out."""
    return Outcome(**{name: value for name, value in document.items() if name in _OUTCOME_FIELDS})
