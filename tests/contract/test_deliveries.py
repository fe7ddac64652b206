"""X-R16: whatever changes something is delivered twice by a test of its service."""

from __future__ import annotations

import re

# The first word of an RPC that only tells.
READING = {"Check", "Count", "Explain", "Export", "Get", "List", "Watch"}
NOT_REPEATED = {
    "AuthService.Login": "each opens a session of its own, which ends by itself",
    "ExecutionService.Execute": "one stream for each lease; nothing paid runs before its Go",
    "InferenceService.Generate": "runs again, at our cost; its job is posted once",
}


def test_each_changing_rpc_is_delivered_twice(proto_files, service_modules, repository):
    """An RPC that is added has its line in `tests/integration/test_deliveries.py`, or a reason."""
    tests = repository.glob("*/tests/integration/test_deliveries.py")
    delivered = {
        name for file in tests for name in re.findall(r'"(\w+Service\.\w+)":', file.read_text())
    }
    served = {base.__name__ for module in service_modules for base in _servicers(module)}
    changing = {
        f"{service.name}.{method.name}"
        for file in proto_files
        for service in file.service
        if f"{service.name}Servicer" in served
        for method in service.method
        if re.findall("[A-Z][a-z]*", method.name)[0] not in READING
    }

    assert len(changing) > 20
    assert delivered & NOT_REPEATED.keys() == set()
    assert changing == delivered | NOT_REPEATED.keys()


def _servicers(module):
    """Return the generated classes that classes of a module serve."""
    members = [member for member in vars(module).values() if isinstance(member, type)]
    return [base for member in members for base in member.__mro__[1:]]
