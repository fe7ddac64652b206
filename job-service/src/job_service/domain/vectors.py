"""Embeddings as bytes: 32-bit floats, little-endian, which is also how they are digested."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterable, Sequence
from typing import Final

FLOAT_BYTES: Final = 4


def packed(values: Iterable[float]) -> bytes:
    """Return numbers as bytes. One that is too large for 32 bits becomes infinite."""
    return _swapped(array("f", values)).tobytes()


def unpacked(vector: bytes) -> Sequence[float]:
    return _swapped(array("f", vector))


def divided(vectors: bytes, count: int) -> list[bytes]:
    """Return so many vectors of the same length that were written one after the other."""
    size = len(vectors) // count
    return [vectors[at : at + size] for at in range(0, size * count, size)]


def is_finite(vector: bytes) -> bool:
    """Tell whether all of its numbers are numbers: JSON has no other ones."""
    return math.isfinite(sum(unpacked(vector)))


def _swapped(values: array[float]) -> array[float]:
    if sys.byteorder == "big":
        values.byteswap()
    return values
