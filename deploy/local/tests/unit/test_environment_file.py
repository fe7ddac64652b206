"""The `.env` file."""

from pathlib import Path

import pytest

from weir_local.environment_file import read_environment_file


def test_it_reads_names_and_values(tmp_path: Path) -> None:
    """Comments, quotes and `export` are as people write them; what is empty says nothing."""
    file = tmp_path / ".env"
    file.write_text("# a comment\n\nA=1\nexport B='two words'\nC=x # why\nD=\"a # b\"\nE=\n")

    assert read_environment_file(file) == {
        "A": "1",
        "B": "two words",
        "C": "x",
        "D": "a # b",
    }


def test_no_file_has_no_settings(tmp_path: Path) -> None:
    """Nobody needs one."""
    assert read_environment_file(tmp_path / ".env") == {}


def test_nonsense_is_named_by_its_line(tmp_path: Path) -> None:
    """Whoever wrote it can find it."""
    (tmp_path / ".env").write_text("A=1\nnonsense\n")

    with pytest.raises(ValueError, match=r"\.env:2 "):
        read_environment_file(tmp_path / ".env")
