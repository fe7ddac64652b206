"""The jobs of a chaos run, and what each of them has to answer.

The stand-in engine says "word0 word1 ..." one word at a time. A short job takes a quarter of a
second. Every tenth is long: it is still running elsewhere when a frozen replica wakes up and
believes that it has finished it.
"""

from __future__ import annotations

from typing import Any

TOKEN_DELAY_MS = 60
SHORT_TOKENS = 4
LONG_TOKENS = 40
PROMPT = "Count."


def tokens_of(number: int) -> int:
    """Return how many tokens the answer to a job has."""
    return LONG_TOKENS if number % 10 == 0 else SHORT_TOKENS


def body_of(number: int) -> dict[str, Any]:
    """Return what is posted for a job."""
    payload = {"prompt": PROMPT, "max_tokens": tokens_of(number)}
    return {"type": "generation_v2", "payload": payload}


def answer_of(number: int) -> str:
    """Return the text that a job ends with, whoever ran it and however often."""
    return " ".join(f"word{index}" for index in range(tokens_of(number)))
