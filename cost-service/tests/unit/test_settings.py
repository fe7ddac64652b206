"""Settings and their limits."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from cost_service.adapters.grants import role_of
from cost_service.settings import AuditSettings, Settings
from service_kit.settings import environment_variables


@pytest.fixture
def environment(monkeypatch, tmp_path):
    pem = tmp_path / "file.pem"
    pem.write_text("x")
    values = {
        "DATABASE_URL": "postgresql://cost_service:some-password@127.0.0.1:5432/cost_service",
        "AUTH_SERVICE_ADDRESSES": "127.0.0.1:7001",
        "TLS_CA_FILE": str(pem),
        "TLS_CERT_FILE": str(pem),
        "TLS_KEY_FILE": str(pem),
    }
    for name, value in values.items():
        monkeypatch.setenv(name, value)
    return monkeypatch


def test_dollars_are_exact(environment):
    """Dollars become nano-dollars without a float between."""
    environment.setenv("DEFAULT_PROJECT_CAP_USD", "0.000000001")
    settings = Settings()

    assert settings.default_project_cap_nanousd == 1
    assert settings.default_allowance_nanousd == 100 * 10**9


@pytest.mark.parametrize("value", ["-1", "nan", "inf", "0.0000000001", "9000000001", "ten"])
def test_bad_dollars_are_refused(environment, value):
    """A cap is a number of dollars from 0 on, exact to the nano-dollar."""
    environment.setenv("DEFAULT_PROJECT_CAP_USD", value)

    with pytest.raises(ValidationError):
        Settings()


def test_every_setting_is_described():
    """Each variable says what it is for."""
    assert all(variable.description for variable in environment_variables(Settings))


@pytest.mark.parametrize("settings_class", [Settings, AuditSettings])
def test_every_setting_is_in_the_readme(settings_class):
    """The README names each variable."""
    readme = (Path(__file__).parents[2] / "README.md").read_text()

    assert [
        variable.name
        for variable in environment_variables(settings_class)
        if f"`{variable.name}`" not in readme
    ] == []


def test_role_is_read_from_the_url():
    """The login role is who the address logs in as."""
    assert role_of(SecretStr("postgresql://a%40b:secret@h:1/d")) == "a@b"
