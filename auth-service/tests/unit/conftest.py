"""Unit tests keep everything in memory."""

import pytest


@pytest.fixture
def unit_of_work(fake_unit_of_work):
    return fake_unit_of_work
