"""The library `xllamacpp`, and how every model here is loaded with it."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any, Final

# Prompts that were answered before are not kept beside the slots: memory is for the model.
_CACHE_MIB: Final = 0


class EngineUnusable(Exception):
    """The engine can't run on this machine; the message says what to do about it."""


def llama_library() -> Any:
    """Return the module `xllamacpp`.

    It is imported here and not before: a worker with another engine needs neither
    the wheel nor libgomp.

    Raises:
        EngineUnusable: It, or a library that it needs, is not installed.
    """
    try:
        ctypes.CDLL("libgomp.so.1")
    except OSError as error:
        raise EngineUnusable(
            "llama.cpp needs libgomp.so.1, which this machine lacks: "
            "install the package libgomp1 (Debian, Ubuntu) or libgomp (Fedora, Alpine)."
        ) from error
    try:
        import xllamacpp
    except ImportError as error:
        raise EngineUnusable(f"xllamacpp can't be imported: {error}") from error
    return xllamacpp


def parameters(library: Any, path: Path, *, threads: int, key: str) -> Any:
    """Return what every model is loaded with; `key` opens llama.cpp's HTTP port."""
    params = library.CommonParams()
    params.model.path = str(path)
    params.cpuparams.n_threads = threads
    params.cpuparams_batch.n_threads = threads
    params.cache_ram_mib = _CACHE_MIB
    params.api_keys = [key]
    params.endpoint_slots = False
    params.verbosity = 0
    return params


def load(library: Any, params: Any) -> Any:
    """Load a model and return its `xllamacpp.Server`. Holds Python's lock meanwhile.

    Raises:
        EngineUnusable: The file holds no model, or does not fit into memory.
    """
    try:
        return library.Server(params)
    except RuntimeError as error:
        raise EngineUnusable(f"{params.model.path} can't be loaded: {error}") from error
