"""Where a job was sent, and why, in the router's own words."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Complexity:
    score: int = 0
    threshold: int = 0
    words: int = 0
    context_characters: int = 0
    keywords: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Alternative:
    target: str
    eligible: bool
    reason: str
    estimated_cost_nanousd: int = 0


@dataclass(frozen=True, slots=True)
class RouteDecision:
    target: str
    model: str
    reason: str
    complexity: Complexity = Complexity()
    explanation: tuple[str, ...] = ()
    alternatives: tuple[Alternative, ...] = ()
    estimated_cost_nanousd: int = 0
