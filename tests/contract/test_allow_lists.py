"""The page that says who may call what is complete."""

from __future__ import annotations

import re


def test_architecture_lists_every_rpc_service(repository, proto_files):
    """`docs/architecture.md`, from which the e2e suite takes the callers, misses no RPC service."""
    page = (repository / "docs" / "architecture.md").read_text()
    table = page.split("| RPC service | Callers |")[1].split("\n\n")[0]
    listed = set(re.findall(r"`(\w+Service)`", table))
    declared = {service.name for file in proto_files for service in file.service}

    assert listed == declared
