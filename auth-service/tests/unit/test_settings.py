"""Settings that can't be used stop the service at once, by name (X-A9)."""

from pathlib import Path

import pytest

from auth_service.settings import Settings
from service_kit.lifecycle import load_settings
from service_kit.settings import environment_variables

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture
def environment(monkeypatch, make_settings):
    """The variables of a good installation."""
    good = make_settings()
    for name in Settings.model_fields:
        value = getattr(good, name)
        value = value.get_secret_value() if hasattr(value, "get_secret_value") else value
        if value not in (None, ""):
            monkeypatch.setenv(name.upper(), str(value))
    return monkeypatch


def test_a_good_installation_starts(environment):
    """The variables of the fixture are all it takes."""
    assert load_settings(Settings).auth_issuer == "weir"


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFRESH_TOKEN_SECRET", "only-twenty-letters!"),
        ("REFRESH_TOKEN_SECRET", "changeme"),
        ("REFRESH_TOKEN_SECRET", ""),
        ("BOOTSTRAP_ADMIN_PASSWORD", "changeme"),
        ("BOOTSTRAP_ADMIN_PASSWORD", "bhiv2024"),
        ("BOOTSTRAP_ADMIN_PASSWORD", "tooshort"),
        ("DATABASE_URL", "mysql://weir@db/weir"),
        ("PASSWORD_MIN_LENGTH", "4"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "0"),
        ("ACCESS_TOKEN_EXPIRE_MINUTES", "soon"),
        ("SIGNING_KEYS_DIR", "/no/such/directory"),
        ("ALLOW_REGISTRATION", "perhaps"),
    ],
)
def test_a_bad_setting_is_named(environment, capsys, variable, value):
    """The process ends with 2 and says which variable, not what was in it."""
    environment.setenv(variable, value)

    with pytest.raises(SystemExit) as caught:
        load_settings(Settings)

    complaint = capsys.readouterr().err
    assert caught.value.code == 2
    assert complaint.startswith(f"{variable}:")
    assert not value.isalpha() or value not in complaint


def test_secrets_come_from_files(environment, tmp_path):
    """`NAME_FILE` does for every secret."""
    path = tmp_path / "admin-password"
    path.write_text("a password out of a file\n")
    environment.setenv("BOOTSTRAP_ADMIN_PASSWORD_FILE", str(path))

    password = load_settings(Settings).bootstrap_admin_password

    assert password is not None
    assert password.get_secret_value() == "a password out of a file"


def test_secrets_have_no_default():
    """An installation has to bring its own."""
    variables = {variable.name: variable for variable in environment_variables(Settings)}

    assert variables["REFRESH_TOKEN_SECRET"].required
    assert variables["REFRESH_TOKEN_SECRET"].secret
    assert variables["BOOTSTRAP_ADMIN_PASSWORD"].secret
    assert not variables["BOOTSTRAP_ADMIN_PASSWORD"].default


def test_every_variable_is_described():
    """In the code, and in the README's table."""
    table = README.read_text(encoding="utf-8")
    for variable in environment_variables(Settings):
        assert variable.description
        assert f"`{variable.name}`" in table
