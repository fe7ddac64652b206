"""What gets installed is pinned by hash, and the files that say so name no host."""

from __future__ import annotations

import re

import pytest

LOCKS = ("runtime.txt", "dev.txt", "bootstrap.txt", "model.txt", "peers.txt")


@pytest.mark.parametrize("name", LOCKS)
def test_every_requirement_has_hashes(repository, name):
    """pip would refuse an unhashed line only at install time."""
    text = (repository / "requirements" / name).read_text()
    entries = re.split(r"\n(?=\S)", text.strip())

    assert entries
    assert [entry for entry in entries if "--hash=sha256:" not in entry or "==" not in entry] == []


@pytest.mark.parametrize("name", LOCKS)
def test_no_host_is_named(repository, name):
    """A lock file works with whatever index the machine uses."""
    text = (repository / "requirements" / name).read_text()

    assert re.findall(r"https?://|--index|file:|@ ", text) == []


def test_direct_dependencies_are_locked(repository):
    """What a service imports by its pyproject.toml is in the lock that its image installs."""
    import tomllib

    locked = {
        line.split("==")[0].split("[")[0].lower()
        for line in (repository / "requirements" / "runtime.txt").read_text().splitlines()
        if "==" in line
    }
    wanted = {
        re.split(r"[\[<>=;! ]", dependency)[0].lower()
        for pyproject in repository.glob("*/pyproject.toml")
        for dependency in tomllib.loads(pyproject.read_text())["project"]["dependencies"]
        if not dependency.startswith("weir-")
    }

    assert len(wanted) > 10
    assert wanted - locked == set()
