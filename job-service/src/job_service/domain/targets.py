"""Where prompts may run, as the router last said."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

from job_service.domain.charge import Offer, PriceBook, Terms, terms_for
from job_service.domain.errors import ModelNotFound, OperationNotServed
from job_service.domain.specification import AUTO, JobSpecification, Operation, Residency
from service_kit.errors import Unavailable

LOCAL_TARGET: Final = "local"


@dataclass(frozen=True, slots=True)
class Model:
    name: str
    context_tokens: int
    default_max_tokens: int
    template_overhead_tokens: int = 0
    message_overhead_tokens: int = 0
    operations: frozenset[Operation] = frozenset({Operation.CHAT})


@dataclass(frozen=True, slots=True)
class Target:
    name: str
    paid: bool
    models: tuple[Model, ...]


def remembering(known: Iterable[Target], listed: Iterable[Target]) -> tuple[Target, ...]:
    """Return what is listed now; a target that lists no model keeps those it last had."""
    before = {target.name: target.models for target in known}
    return tuple(
        target if target.models else replace(target, models=before.get(target.name, ()))
        for target in listed
    )


def serves(targets: Iterable[Target], model: str) -> bool:
    """Tell whether any target has the model, as far as we know."""
    return any(model in (AUTO, each.name) for target in targets for each in target.models)


def agree_terms(
    specification: JobSpecification, targets: tuple[Target, ...], book: PriceBook
) -> Terms:
    """Return the terms for a job at the dearest target that may run it.

    A target that has not told its models yet may run it all the same: the router knows more, and
    sooner. So its price is agreed on too. The hold does not cover it: a cloud that is away for long
    must not make all work look dear.

    Raises:
        ModelNotFound: Every permitted target told its models, and none has this one.
        OperationNotServed: Some have it, but none does what is asked of it.
        Unavailable: No model is known yet, or none has a price.
    """
    permitted = [
        target
        for target in targets
        if specification.residency is Residency.ANY or target.name == LOCAL_TARGET
    ]
    named = [
        (target.name, model)
        for target in permitted
        for model in target.models
        if specification.model in (AUTO, model.name)
    ]
    found = [(name, model) for name, model in named if specification.operation in model.operations]
    if not found:
        if not permitted or not all(target.models for target in permitted):
            raise Unavailable("model")
        if named:
            raise OperationNotServed(specification.operation, specification.model)
        raise ModelNotFound(specification.model)
    offers = [
        Offer(
            price=price,
            context_tokens=model.context_tokens,
            default_max_tokens=model.default_max_tokens,
            template_overhead_tokens=model.template_overhead_tokens,
            message_overhead_tokens=model.message_overhead_tokens,
        )
        for target, model in found
        if (price := book.find(target, model.name)) is not None
    ]
    if not offers:
        raise Unavailable("price")
    terms = terms_for(
        specification.prompt_bytes,
        len(specification.messages),
        specification.sampling.max_tokens,
        offers,
        book.version,
        inputs=len(specification.inputs),
        has_output=not specification.makes_vectors,
    )
    silent = [target.name for target in permitted if not target.models]
    foreseen = [book.find(target, model.name) for target in silent for _, model in found]
    prices = [*terms.prices, *(price for price in foreseen if price is not None)]
    return replace(terms, prices=tuple(dict.fromkeys(prices)))
