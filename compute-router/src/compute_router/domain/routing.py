"""The rules of routing, in order; each adds a line to the explanation.

vector space -> can serve (residency, availability, model, operation) -> budget -> complexity ->
load -> price
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from compute_router.domain.complexity import Complexity, ComplexityScale
from compute_router.domain.decision import Alternative, Exclusion, Reason, RouteDecision
from compute_router.domain.errors import (
    ModelNotServed,
    NoCapacity,
    OperationNotServed,
    RanNothing,
    TargetUnavailable,
)
from compute_router.domain.operation import Operation
from compute_router.domain.prices import PriceBook
from compute_router.domain.query import AUTO, Residency, RouteQuery
from compute_router.domain.target import YOTTA, Model, TargetState

_NANOUSD: Final = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Candidate:
    """A target that is still in the running."""

    target: TargetState
    model: Model
    estimated_cost_nanousd: int | None
    """`None`: no price is known."""


@dataclass(frozen=True, slots=True)
class Deliberation:
    """A decision in the making; rules take one and return the next."""

    query: RouteQuery
    complexity: Complexity
    prices: PriceBook | None
    targets: tuple[TargetState, ...]
    candidates: tuple[Candidate, ...] = ()
    """Best first."""
    excluded: tuple[tuple[str, Exclusion], ...] = ()
    explanation: tuple[str, ...] = field(default=())
    keeps_vector_space: bool = False
    """It was an embedding with `auto`: its complexity does not matter."""

    @property
    def prefers_own(self) -> bool:
        """Return whether our own hardware goes first."""
        return self.keeps_vector_space or self.complexity.is_below_threshold

    def saying(self, line: str) -> Deliberation:
        return replace(self, explanation=(*self.explanation, line))

    def exclusion_of(self, target: str) -> Exclusion | None:
        return dict(self.excluded).get(target)


def decide(
    query: RouteQuery,
    targets: Sequence[TargetState],
    scale: ComplexityScale,
    prices: PriceBook | None,
) -> RouteDecision:
    """Return where the prompt goes.

    Raises:
        NoCapacity: Nothing is there to run anything, for the moment.
        ModelNotServed: Targets are there, and none serves the model.
        OperationNotServed: The model is there, and can't do what is asked of it.
        TargetUnavailable: Those that serve it are away, or ruled out by the request.
    """
    deliberation = Deliberation(
        query=query,
        complexity=scale.measure(query.prompt, query.context_characters),
        prices=prices,
        targets=tuple(targets),
    )
    for rule in RULES:
        deliberation = rule(deliberation)
    return _decision(deliberation)


def one_vector_space(given: Deliberation) -> Deliberation:
    """Read `auto` of an embedding as one model: vectors of two can't be compared.

    It is our own hardware's, where that does embeddings, even if it is away.
    """
    query = given.query
    if query.operation is not Operation.EMBEDDING or query.model != AUTO:
        return given
    able = [
        model.name
        for target in sorted(given.targets, key=lambda target: not target.own)
        for model in target.models
        if query.operation in model.operations
    ]
    if not able:
        return given
    return replace(given, query=replace(query, model=able[0]), keeps_vector_space=True).saying(
        f"vector space: auto is {able[0]} for every embedding, however complex"
    )


def can_serve(given: Deliberation) -> Deliberation:
    """Keep the targets that can run the prompt at all."""
    for target in given.targets:
        found, line = _judge(given.query, target)
        if isinstance(found, Model):
            candidate = Candidate(target, found, _estimate(given, target, found))
            given = replace(given, candidates=(*given.candidates, candidate))
        else:
            given = replace(given, excluded=(*given.excluded, (target.name, found)))
        given = given.saying(f"{target.name}: {line}")
    if all(target.name != YOTTA for target in given.targets):
        given = replace(given, excluded=(*given.excluded, (YOTTA, Exclusion.NOT_CONFIGURED)))
        given = given.saying(f"{YOTTA}: not configured")
    if not given.candidates:
        raise _nobody(given)
    return given


def within_budget(given: Deliberation) -> Deliberation:
    """Leave out what would cost more than the budget allows, as long as something stays."""
    headroom = given.query.budget_headroom_nanousd
    if headroom is None:
        return given
    affordable = tuple(
        candidate
        for candidate in given.candidates
        if (candidate.estimated_cost_nanousd or 0) <= headroom
    )
    if not affordable:
        return given.saying(
            f"budget: {_usd(headroom)} is left, less than any target may cost; "
            "admission has the last word"
        )
    over = tuple(
        (candidate.target.name, Exclusion.OVER_BUDGET)
        for candidate in given.candidates
        if candidate not in affordable
    )
    line = f"budget: {_usd(headroom)} is left"
    if over:
        line += f", too little for {', '.join(name for name, _ in over)}"
    return replace(given, candidates=affordable, excluded=(*given.excluded, *over)).saying(line)


def by_complexity(given: Deliberation) -> Deliberation:
    """Prefer our own hardware for what looks easy, and others for what does not."""
    complexity = given.complexity
    wants_own = given.prefers_own
    ordered = sorted(given.candidates, key=lambda candidate: candidate.target.own != wants_own)
    keywords = f" ({', '.join(complexity.keywords)})" if complexity.keywords else ""
    comparison = "below" if complexity.is_below_threshold else "at or above"
    why = ", whatever the complexity" if given.keeps_vector_space else ""
    return replace(given, candidates=tuple(ordered)).saying(
        f"complexity: {complexity.words} words + {complexity.context_characters} context "
        f"characters / 10 + 20 x {len(complexity.keywords)} keywords{keywords} = "
        f"{complexity.score}, {comparison} the threshold {complexity.threshold}: "
        f"prefer {'local' if wants_own else YOTTA}{why}"
    )


def by_load(given: Deliberation) -> Deliberation:
    """Say how full the candidates are. A full one stays in the running: it may empty soon."""
    return given.saying(
        "load: " + "; ".join(f"{c.target.name}: {c.target.status}" for c in given.candidates)
    )


def by_price(given: Deliberation) -> Deliberation:
    """Say what the candidates would cost at most; the cheaper of two equals goes first."""
    if given.prices is None:
        return given.saying("price: unknown at the moment, estimated as 0")
    wants_own = given.prefers_own
    ordered = sorted(
        given.candidates,
        key=lambda c: (c.target.own != wants_own, c.estimated_cost_nanousd or 0),
    )
    said = "; ".join(
        f"{c.target.name}: "
        + ("unknown" if c.estimated_cost_nanousd is None else _usd(c.estimated_cost_nanousd))
        for c in ordered
    )
    return replace(given, candidates=tuple(ordered)).saying(f"price at most: {said}")


RULES: Final[tuple[Callable[[Deliberation], Deliberation], ...]] = (
    one_vector_space,
    can_serve,
    within_budget,
    by_complexity,
    by_load,
    by_price,
)


def _judge(query: RouteQuery, target: TargetState) -> tuple[Model | Exclusion, str]:
    """Return the model that the target would use, or why it can't, and a line about it."""
    if query.residency is Residency.LOCAL_ONLY and not target.own:
        return Exclusion.RESIDENCY, "not our own hardware, and the request is local_only"
    if not target.available:
        return Exclusion.UNAVAILABLE, target.status
    models = _models(query, target)
    if not models:
        return Exclusion.MODEL_NOT_SERVED, f"does not serve {query.model}"
    model = next((model for model in models if query.operation in model.operations), None)
    if model is None:
        return Exclusion.OPERATION_NOT_SERVED, f"does no {query.operation} with {query.model}"
    if query.tokens_input_bound > model.context_tokens:
        # The bound is far above the true count for most texts: only a tokenizer can say no.
        return model, (
            f"serves {model.name}; the prompt may be too long for its "
            f"{model.context_tokens} tokens, which the target will count"
        )
    return model, f"serves {model.name} with a context of {model.context_tokens} tokens"


def _models(query: RouteQuery, target: TargetState) -> tuple[Model, ...]:
    """Return the models of the target that the query may mean."""
    return tuple(model for model in target.models if query.model in (AUTO, model.name))


def _estimate(given: Deliberation, target: TargetState, model: Model) -> int | None:
    price = None if given.prices is None else given.prices.find(target.name, model.name)
    if price is None:
        return None
    query = given.query
    tokens_output = query.max_tokens or model.default_max_tokens
    if query.operation is Operation.EMBEDDING:
        # Vectors are no tokens.
        tokens_output = 0
    return price.cost_nanousd(query.tokens_input_bound, tokens_output)


def _nobody(given: Deliberation) -> RanNothing:
    """Return what the caller is told. Only what stays true when targets come back is final."""
    query = given.query
    known = [(target, _models(query, target)) for target in given.targets]
    able = [
        target.name
        for target, models in known
        if any(query.operation in model.operations for model in models)
    ]
    if able:
        return TargetUnavailable(query.model, _why_none(given, able))
    allowed = [t for t in given.targets if t.own or query.residency is not Residency.LOCAL_ONLY]
    if any(not target.available and not target.models for target in allowed):
        # Who knows what it serves when it is back?
        return NoCapacity(query.model)
    if any(models for _, models in known):
        return OperationNotServed(query.model, query.operation)
    if query.model != AUTO and any(target.available for target in given.targets):
        return ModelNotServed(query.model)
    return NoCapacity(query.model)


def _why_none(given: Deliberation, able: Collection[str]) -> str:
    """Return why none of those that could run the prompt may, and which own ones are missing."""
    excluded = dict(given.excluded)
    said = []
    for target in given.targets:
        why = excluded[target.name]
        if why is Exclusion.RESIDENCY and target.name in able:
            said.append(f"{target.name} is not our own hardware, and the request is local_only")
        elif why is Exclusion.UNAVAILABLE and (target.own or target.name in able):
            said.append(f"{target.name} is unavailable ({target.status})")
    return "; ".join(said)


def _decision(given: Deliberation) -> RouteDecision:
    best, *others = given.candidates
    alternatives = [
        Alternative(
            other.target.name,
            other.model.name,
            eligible=True,
            reason=Exclusion.LESS_SUITABLE,
            estimated_cost_nanousd=other.estimated_cost_nanousd or 0,
        )
        for other in others
    ]
    alternatives += [
        Alternative(name, "", eligible=False, reason=why) for name, why in given.excluded
    ]
    return RouteDecision(
        target=best.target.name,
        model=best.model.name,
        reason=_reason(given, best),
        complexity=given.complexity,
        explanation=given.explanation,
        alternatives=tuple(alternatives),
        estimated_cost_nanousd=best.estimated_cost_nanousd or 0,
    )


_REASONS: Final = {
    Exclusion.NOT_CONFIGURED: Reason.YOTTA_NOT_CONFIGURED,
    Exclusion.MODEL_NOT_SERVED: Reason.ONLY_TARGET_FOR_MODEL,
    Exclusion.OPERATION_NOT_SERVED: Reason.ONLY_TARGET_FOR_OPERATION,
    Exclusion.RESIDENCY: Reason.RESIDENCY,
    Exclusion.OVER_BUDGET: Reason.PREFERRED_TARGET_OVER_BUDGET,
}


def _reason(given: Deliberation, best: Candidate) -> Reason:
    if given.keeps_vector_space and best.target.own:
        return Reason.SAME_VECTOR_SPACE
    below = given.prefers_own
    if best.target.own == below:
        return Reason.COMPLEXITY_BELOW_THRESHOLD if below else Reason.COMPLEXITY_AT_THRESHOLD
    # The kind that complexity prefers is out: say what put it out.
    preferred = [
        given.exclusion_of(target.name) for target in given.targets if target.own == below
    ] or ([] if below else [given.exclusion_of(YOTTA)])
    known = [_REASONS[why] for why in preferred if why in _REASONS]
    return known[0] if known else Reason.PREFERRED_TARGET_UNAVAILABLE


def _usd(nanousd: int) -> str:
    text = f"{nanousd // _NANOUSD}.{nanousd % _NANOUSD:09d}".rstrip("0").rstrip(".")
    return f"{text} USD"
