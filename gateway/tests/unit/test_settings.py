"""Settings that would be unsafe are refused at start."""

import pytest
from pydantic import ValidationError

from gateway.settings import Settings


@pytest.fixture
def values(tmp_path):
    file = tmp_path / "file.pem"
    file.write_text("x")
    addresses = {
        f"{service}_addresses": "127.0.0.1:1"
        for service in ("auth_service", "job_service", "cost_service", "compute_router")
    }
    return {
        "tls_ca_file": file,
        "tls_cert_file": file,
        "tls_key_file": file,
        "redis_url": "redis://127.0.0.1:6379/0",
        **addresses,
    }


def test_defaults_are_safe(values):
    """Without a word about it, no origin, no proxy and no cookie is trusted."""
    settings = Settings(**values)

    assert settings.cors_origins == ()
    assert settings.trusted_proxies == ()
    assert not settings.cors_credentials


@pytest.mark.parametrize(
    "changes",
    [
        {"cors_origins": "*", "cors_credentials": "true"},
        {"trusted_proxies": "proxy.example.org"},
        {"rate_limit_per_minute": "0"},
        {"max_body_bytes": "0"},
        {"api_port": "70000"},
    ],
)
def test_unsafe_settings_are_refused(values, changes):
    """Nothing starts with them."""
    with pytest.raises(ValidationError):
        Settings(**{**values, **changes})
