"""Settings: documented, and refused where they are unsafe."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from compute_router.settings import Settings
from service_kit.settings import environment_variables

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def values(tmp_path):
    """What has to be given."""
    file = tmp_path / "x.pem"
    file.touch()
    return {
        "redis_url": "redis://:a-long-password@127.0.0.1:6379/0",
        "tls_ca_file": file,
        "tls_cert_file": file,
        "tls_key_file": file,
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
        {"local_target_paid": True},
        {"local_target_paid": True, "environment": "production"},
        {"complexity_threshold": -1},
        {"worker_lease_seconds": 0},
        {"go_timeout_seconds": 0},
        {"workers_tried": 0},
        {"redis_url": "http://127.0.0.1"},
        {"cost_service_addresses": "nowhere"},
        {"yotta_url": "127.0.0.1:9000"},
        {"yotta_url": "https://yotta.test/v1"},
        {"yotta_url": "https://key@yotta.test"},
        {"yotta_url": "https://yotta.test?key=1"},
        {"yotta_api_key": ""},
        {"yotta_api_key": "two words"},
        {"yotta_api_key": "a\r\nheader: b"},
        {"yotta_api_key": "k", "yotta_url": "http://yotta.test", "environment": "production"},
        {"yotta_api_key": "k", "yotta_url": "http://10.0.0.1:80", "environment": "production"},
        {"yotta_api_key": "k", "yotta_url": "http://localhost.x", "environment": "production"},
        {"yotta_driver": "other"},
        {"yotta_operations": "chat,paint"},
        {"yotta_operations": ""},
        {"yotta_idle_seconds": 0},
        {"breaker_failures": 0},
    ],
)
def test_unsafe_values_are_refused(values, changes):
    """A router that could not work, or should not, does not start."""
    with pytest.raises(ValidationError):
        Settings(**{**values, **changes})


def test_paid_local_target_is_for_tests(values):
    """With ENVIRONMENT=test, and only then."""
    assert Settings(**values, local_target_paid=True, environment="test").local_target_paid


@pytest.mark.parametrize(
    "changes",
    [
        {"yotta_api_key": "k", "yotta_url": "https://yotta.test"},
        {"yotta_api_key": "test", "yotta_url": "http://127.0.0.1:9000"},
        {"yotta_api_key": "k", "yotta_url": "http://[::1]:9000"},
        {"yotta_api_key": "k", "yotta_url": "http://localhost:9000"},
        {"yotta_url": "http://yotta.test"},
        {"yotta_api_key": "k", "yotta_url": "http://yotta.test", "environment": "development"},
    ],
)
def test_key_that_nobody_overhears_may_be_any(values, changes):
    """A stranger's key may be short or look like a placeholder; only its way must be safe."""
    assert Settings(**{**values, "environment": "production", **changes})


def test_overheard_key_is_named(values):
    """The message says which variable to change, and how; the key is not in it."""
    unsafe = {"yotta_api_key": "k-4711", "yotta_url": "http://a.test", "environment": "production"}
    with pytest.raises(ValidationError) as caught:
        Settings(**values, **unsafe)

    (error,) = caught.value.errors()
    assert error["ctx"]["error"].variable == "YOTTA_URL"
    assert "https://" in error["msg"]
    assert "4711" not in error["msg"]


def test_keywords_are_a_list(values, monkeypatch):
    """Words separated by commas; none is a choice too."""
    monkeypatch.setenv("COMPLEXITY_KEYWORDS", "in depth, thorough ,")

    assert Settings(**values).complexity_keywords == ("in depth", "thorough")
    assert Settings(**values, complexity_keywords="").complexity_keywords == ()


def test_key_comes_from_a_file(values, tmp_path, monkeypatch):
    """The key is a secret: it may be mounted, and is never shown."""
    file = tmp_path / "key"
    file.write_text("k1-of-the-provider\n")
    monkeypatch.setenv("YOTTA_API_KEY_FILE", str(file))

    settings = Settings(**values, yotta_url="https://yotta.test:8443/api/")

    assert settings.yotta_api_key.get_secret_value() == "k1-of-the-provider"
    assert "k1-of" not in repr(settings)
    assert settings.yotta_url == "https://yotta.test:8443/api"
