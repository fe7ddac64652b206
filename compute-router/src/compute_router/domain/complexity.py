"""How demanding a prompt looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

CHARACTERS_PER_POINT: Final = 10
POINTS_PER_KEYWORD: Final = 20


@dataclass(frozen=True, slots=True)
class Complexity:
    score: int
    threshold: int
    words: int
    context_characters: int
    keywords: tuple[str, ...]
    """Those found, each once, in the order of the configured list."""

    @property
    def is_below_threshold(self) -> bool:
        return self.score < self.threshold


@dataclass(frozen=True, slots=True)
class ComplexityScale:
    """Words of the last user message, context characters // 10, 20 for each distinct keyword.

    Keywords are whole words, in any case.
    """

    threshold: int
    keywords: Sequence[str]

    def measure(self, prompt: str, context_characters: int) -> Complexity:
        words = len(prompt.split())
        found = tuple(word for word in dict.fromkeys(self.keywords) if _holds(prompt, word))
        return Complexity(
            score=(
                words + context_characters // CHARACTERS_PER_POINT + POINTS_PER_KEYWORD * len(found)
            ),
            threshold=self.threshold,
            words=words,
            context_characters=context_characters,
            keywords=found,
        )


def _holds(text: str, word: str) -> bool:
    pattern = rf"(?<!\w){re.escape(word)}(?!\w)"
    return re.search(pattern, text, re.IGNORECASE) is not None
