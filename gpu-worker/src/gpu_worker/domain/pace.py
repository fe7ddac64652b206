"""How fast a worker answers, measured from the answers it gave."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

# A newer answer counts this much, so that a change of load shows within a few answers.
_WEIGHT: Final = 0.3


@dataclass(frozen=True, slots=True)
class Pace:
    """Output tokens per second of one prompt; 0 while unknown."""

    tokens_per_second: float = 0.0

    def after(self, tokens: int, seconds: float) -> Pace:
        """Return the pace with one more answer taken in; an empty one says nothing."""
        if tokens < 1 or seconds <= 0:
            return self
        measured = tokens / seconds
        if self.tokens_per_second == 0:
            return Pace(measured)
        return Pace(self.tokens_per_second + _WEIGHT * (measured - self.tokens_per_second))
