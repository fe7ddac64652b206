"""Whatever the protos declare, one service serves."""

from __future__ import annotations

import importlib
import inspect


def servicers(file, service_modules):
    """Yield (RPC service, its generated base class, the classes that serve it)."""
    stub = importlib.import_module(file.name.removesuffix(".proto").replace("/", ".") + "_pb2_grpc")
    for service in file.service:
        base = getattr(stub, f"{service.name}Servicer")
        served_by = {
            member
            for module in service_modules
            for _, member in inspect.getmembers(module, inspect.isclass)
            if issubclass(member, base) and member is not base
        }
        yield service, base, served_by


def test_each_service_has_one_servicer(proto_files, service_modules):
    """An RPC service is served by exactly one class of ours."""
    counts = {
        service.name: len(served_by)
        for file in proto_files
        for service, _, served_by in servicers(file, service_modules)
    }

    assert len(counts) >= 11
    assert {name: count for name, count in counts.items() if count != 1} == {}


def test_each_rpc_is_served(proto_files, service_modules):
    """No RPC is left to the generated base, which would answer UNIMPLEMENTED."""
    missing = [
        f"{service.name}.{method.name}"
        for file in proto_files
        for service, base, served_by in servicers(file, service_modules)
        for servicer in served_by
        for method in service.method
        if getattr(servicer, method.name) is getattr(base, method.name)
    ]

    assert missing == []
