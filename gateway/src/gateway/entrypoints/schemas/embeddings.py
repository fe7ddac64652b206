"""Embeddings as the OpenAI API has them."""

from __future__ import annotations

from typing import Literal

from gateway.entrypoints.schemas.base import RequestBody, only
from gateway.entrypoints.schemas.routing import Model
from gateway.entrypoints.schemas.texts import Texts


class EmbeddingsBody(RequestBody):
    """A request for the vectors of texts. `model` may be `auto`."""

    model: Model
    input: Texts
    encoding_format: Literal["float", "base64"] = "float"
    """`base64` is of little-endian 32-bit floats."""
    dimensions: only(None) = None  # type: ignore[valid-type]
    user: str | None = None
