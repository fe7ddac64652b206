"""Settings: documented, and refused where they are unsafe."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from gpu_worker.settings import Settings
from service_kit.settings import environment_variables

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def values(tmp_path):
    """What has to be given."""
    file = tmp_path / "x.pem"
    file.touch()
    return {
        "worker_id": "w1",
        "compute_router_addresses": "127.0.0.1:1",
        "tls_ca_file": file,
        "tls_cert_file": file,
        "tls_key_file": file,
        "result_signing_key_file": tmp_path / "result.pem",
    }


def test_every_variable_is_documented():
    """The README names each variable, and every one has a description."""
    text = README.read_text()
    for variable in environment_variables(Settings):
        assert f"`{variable.name}`" in text
        assert variable.description


@pytest.mark.parametrize(
    "changes",
    [
        {"engine": "instant"},
        {"engine": "instant", "environment": "production"},
        {"worker_id": "../w1"},
        {"worker_id": ""},
        {"engine_slots": 0},
        {"engine_threads": 0},
        {"default_max_tokens": 2048},
        {"context_tokens": 1},
        {"model_name": "a b"},
        {"compute_router_addresses": "nowhere"},
    ],
)
def test_unsafe_values_are_refused(values, changes):
    """A worker that could not work, or should not, does not start."""
    with pytest.raises(ValidationError):
        Settings(**{**values, **changes})


def test_instant_engine_is_for_tests(values):
    """With ENVIRONMENT=test, and only then."""
    assert Settings(**values, engine="instant", environment="test").engine == "instant"


def test_threads_follow_the_machine(values):
    """Some, and not more than help."""
    assert 1 <= Settings(**values).threads <= 8
    assert Settings(**values, engine_threads=11).threads == 11
