"""What the contract tests read: the repository itself and the descriptors of its protos."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from google.protobuf import descriptor_pb2

SERVICES = (
    "gateway",
    "auth_service",
    "job_service",
    "cost_service",
    "compute_router",
    "gpu_worker",
)


@pytest.fixture(scope="session")
def repository() -> Path:
    return Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def proto_files() -> list[descriptor_pb2.FileDescriptorProto]:
    """Every file of ours, as its committed stub describes it."""
    files = []
    for module in _modules("weir"):
        if module.__name__.endswith("_pb2"):
            file = descriptor_pb2.FileDescriptorProto()
            module.DESCRIPTOR.CopyToProto(file)
            files.append(file)
    assert files
    return files


@pytest.fixture(scope="session")
def service_modules() -> list[ModuleType]:
    """Every module of every service."""
    return [
        module
        for name in SERVICES
        for module in _modules(name)
        if ".migrations." not in module.__name__ and not module.__name__.endswith("__main__")
    ]


def _modules(package_name: str) -> Iterator[ModuleType]:
    package = importlib.import_module(package_name)
    yield package
    for found in pkgutil.iter_modules(package.__path__):
        name = f"{package_name}.{found.name}"
        if found.ispkg or (package_name == "weir"):
            yield from _modules(name)
        elif found.name != "__main__" and "migrations" not in name:
            yield importlib.import_module(name)
    if package_name.startswith("weir"):
        yield from _namespaces(package)


def _namespaces(package: ModuleType) -> Iterator[ModuleType]:
    # The generated packages have no __init__.py, which pkgutil passes over.
    for directory in map(Path, package.__path__):
        for child in sorted(directory.iterdir()):
            if child.is_dir() and not child.name.startswith("__"):
                yield from _modules(f"{package.__name__}.{child.name}")
