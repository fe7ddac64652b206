"""Every value of every enum means something to some service."""

from __future__ import annotations


def test_each_value_is_converted(proto_files, repository):
    """A value that no service names would arrive as nothing; unit tests walk each conversion."""
    code = "\n".join(file.read_text() for file in repository.glob("*/src/**/*.py"))
    values = [
        value.name
        for file in proto_files
        for enum in file.enum_type
        for value in enum.value
        if value.number != 0
    ]

    assert len(values) > 30
    assert [name for name in values if name not in code] == []
