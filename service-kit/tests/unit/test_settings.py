"""Settings that must stop a process, and how it says so (X-A9, X-O4)."""

import os
import resource
import subprocess
import sys

import pytest

from service_kit.lifecycle import load_settings
from service_kit.settings import (
    Addresses,
    CommaSeparated,
    DatabaseUrl,
    MigrationSettings,
    RedisUrl,
    Secret,
    ServiceSettings,
    environment_variables,
)

GOOD_SECRET = "c0rrect-horse-battery"


class Settings(ServiceSettings):
    database_url: DatabaseUrl
    """The service's own database."""
    redis_url: RedisUrl
    """Scratch."""
    receipt_secret: Secret
    """Signs
    receipts."""
    bootstrap_password: Secret | None = None
    auth_service_addresses: Addresses = "127.0.0.1:1"
    keywords: CommaSeparated = ("detailed", "complex")
    poll_seconds: float = 1.0


@pytest.fixture
def environment(monkeypatch, tmp_path):
    """A good environment, to be spoilt by the test."""
    for name in [name for name in os.environ if name.isupper() and name != "PATH"]:
        monkeypatch.delenv(name)
    for name in ("TLS_CA_FILE", "TLS_CERT_FILE", "TLS_KEY_FILE"):
        (tmp_path / name).touch()
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setenv("DATABASE_URL", "postgresql://job:d9f8s7d6f@db:5432/job")
    monkeypatch.setenv("REDIS_URL", "redis://:d9f8s7d6f@redis:6379/0")
    monkeypatch.setenv("RECEIPT_SECRET", GOOD_SECRET)
    return monkeypatch


def complaints(capsys, settings_class=Settings):
    with pytest.raises(SystemExit) as caught:
        load_settings(settings_class)
    assert caught.value.code == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    return shown.err.splitlines()


def test_good_settings_are_read(environment):
    """What the environment says is what the service gets, once, unchangeable."""
    environment.setenv("KEYWORDS", "long, deep")
    settings = load_settings(Settings)

    assert settings.receipt_secret.get_secret_value() == GOOD_SECRET
    assert settings.keywords == ("long", "deep")
    assert settings.drain_seconds == 10.0
    with pytest.raises(ValueError):
        settings.drain_seconds = 1


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("RECEIPT_SECRET", "changeme"),
        ("RECEIPT_SECRET", "change-me"),
        ("RECEIPT_SECRET", "CHANGE_ME"),
        ("RECEIPT_SECRET", "changeme-changeme-changeme"),
        ("RECEIPT_SECRET", "your-secret-key-goes-here"),
        ("RECEIPT_SECRET", "secret"),
        ("RECEIPT_SECRET", "password"),
        ("RECEIPT_SECRET", "bhiv2024"),
        ("RECEIPT_SECRET", "bhiv2024-super-secure-key"),
        ("RECEIPT_SECRET", "an-example-secret-value"),
        ("RECEIPT_SECRET", "..."),
        ("RECEIPT_SECRET", "<put a secret here please>"),
        ("RECEIPT_SECRET", "aaaaaaaaaaaaaaaaaaaaaaaa"),
        ("RECEIPT_SECRET", "fifteen-chars-x"),
        ("BOOTSTRAP_PASSWORD", "changeme"),
        ("DATABASE_URL", "mysql://job:sw0rdfish@db/job"),
        ("DATABASE_URL", "sw0rdfish"),
        ("DATABASE_URL", "postgresql://job:sw0rdfish@db:port/job"),
        ("REDIS_URL", "http://:sw0rdfish@redis:6379"),
        ("TLS_CA_FILE", "/sw0rdfish/ca.pem"),
        ("GRPC_ADDRESS", "sw0rdfish"),
        ("HTTP_ADDRESS", "sw0rdfish:99999"),
        ("AUTH_SERVICE_ADDRESSES", "127.0.0.1:1,sw0rdfish"),
        ("DRAIN_SECONDS", "sw0rdfish"),
        ("DRAIN_SECONDS", "-1"),
        ("DRAIN_SECONDS", "nan"),
        ("POLL_SECONDS", "sw0rdfish"),
        ("ENVIRONMENT", "sw0rdfish"),
        ("LOG_LEVEL", "sw0rdfish"),
        ("FAILPOINTS", "sw0rdfish=kill"),
    ],
)
def test_bad_setting_is_named_and_not_shown(environment, capsys, name, value):
    """X-A9, X-O4: one line names the variable; its value is in no line."""
    environment.setenv(name, value)

    lines = complaints(capsys)

    assert [line.partition(":")[0] for line in lines] == [name]
    assert value not in lines[0]
    assert "sw0rdfish" not in lines[0]


@pytest.mark.parametrize("name", ["DATABASE_URL", "REDIS_URL", "RECEIPT_SECRET", "TLS_KEY_FILE"])
@pytest.mark.parametrize("value", [None, ""])
def test_missing_setting_is_named(environment, capsys, name, value):
    """X-O4: what is not set, or set to nothing, is asked for by its name."""
    environment.delenv(name)
    if value is not None:
        environment.setenv(name, value)

    assert complaints(capsys) == [f"{name}: is not set"]


def test_every_bad_setting_is_named_at_once(environment, capsys):
    """Nobody has to start a service five times to learn of five mistakes."""
    environment.delenv("DATABASE_URL")
    environment.setenv("RECEIPT_SECRET", "short")
    environment.setenv("LOG_LEVEL", "loud")

    names = {line.partition(":")[0] for line in complaints(capsys)}

    assert names == {"DATABASE_URL", "RECEIPT_SECRET", "LOG_LEVEL"}


def test_secret_comes_from_a_file(environment, tmp_path):
    """NAME_FILE names a file; white space around its content does not count."""
    environment.delenv("RECEIPT_SECRET")
    (tmp_path / "secret").write_text(f"\n {GOOD_SECRET}\n")
    environment.setenv("RECEIPT_SECRET_FILE", str(tmp_path / "secret"))
    (tmp_path / "url").write_text("postgresql://job:fr0mafile@db:5432/job\n")
    environment.delenv("DATABASE_URL")
    environment.setenv("DATABASE_URL_FILE", str(tmp_path / "url"))

    settings = load_settings(Settings)

    assert settings.receipt_secret.get_secret_value() == GOOD_SECRET
    assert settings.database_url.get_secret_value() == "postgresql://job:fr0mafile@db:5432/job"


def test_secret_from_a_file_is_checked_too(environment, capsys, tmp_path):
    """A placeholder in a file is still a placeholder."""
    environment.delenv("RECEIPT_SECRET")
    (tmp_path / "secret").write_text("changeme")
    environment.setenv("RECEIPT_SECRET_FILE", str(tmp_path / "secret"))

    assert [line.partition(":")[0] for line in complaints(capsys)] == ["RECEIPT_SECRET"]


@pytest.mark.parametrize("optional", [False, True])
def test_unreadable_secret_file_is_named(environment, capsys, tmp_path, optional):
    """A file that is not there is reported under the variable that names it."""
    name = "BOOTSTRAP_PASSWORD" if optional else "RECEIPT_SECRET"
    environment.delenv("RECEIPT_SECRET" if not optional else "BOOTSTRAP_PASSWORD", raising=False)
    environment.setenv(f"{name}_FILE", str(tmp_path / "sw0rdfish"))

    lines = complaints(capsys)

    assert [line.partition(":")[0] for line in lines] == [f"{name}_FILE"]
    assert "sw0rdfish" not in lines[0]


def test_two_sources_that_disagree_are_refused(environment, capsys, tmp_path):
    """NAME and NAME_FILE may both be set only if they say the same."""
    (tmp_path / "secret").write_text("another-good-secret-1")
    environment.setenv("RECEIPT_SECRET_FILE", str(tmp_path / "secret"))

    lines = complaints(capsys)

    assert len(lines) == 1
    assert "RECEIPT_SECRET_FILE" in lines[0]
    assert "another-good" not in lines[0]
    (tmp_path / "secret").write_text(GOOD_SECRET)
    assert load_settings(Settings).receipt_secret.get_secret_value() == GOOD_SECRET


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("DATABASE_URL", "postgresql://job:changeme@db:5432/job"),
        ("DATABASE_URL", "postgresql://job:bhiv%32024@db:5432/job"),
        ("DATABASE_URL", "postgresql://job@db:5432/job"),
        ("REDIS_URL", "redis://redis:6379/0"),
        ("REDIS_URL", "redis://:password@redis:6379/0"),
    ],
)
def test_production_refuses_placeholder_passwords(environment, capsys, name, url):
    """A URL with a password from a template runs on a laptop and not in production."""
    environment.setenv(name, url)
    load_settings(Settings)

    environment.setenv("ENVIRONMENT", "production")

    assert [line.partition(":")[0] for line in complaints(capsys)] == [name]


def test_failpoints_are_for_tests(environment, capsys):
    """Failpoints are read where ENVIRONMENT=test, and checked there."""
    environment.setenv("FAILPOINTS", "after_hold=kill:2,before_finish=pause:0.5")
    assert "ENVIRONMENT=test" in complaints(capsys)[0]

    environment.setenv("ENVIRONMENT", "test")
    load_settings(Settings)

    environment.setenv("FAILPOINTS", "after_hold=explode")
    assert complaints(capsys)[0].startswith("FAILPOINTS: ")


def test_migration_needs_a_database_and_nothing_else(environment, capsys):
    """`migrate` runs where no certificate is, with the owner's address before the service's."""
    environment.delenv("TLS_CA_FILE")
    plain = load_settings(MigrationSettings)
    environment.setenv("MIGRATION_DATABASE_URL", "postgresql://owner:d9f8s7d6f@db:5432/job")
    owner = load_settings(MigrationSettings)
    environment.delenv("MIGRATION_DATABASE_URL")
    environment.delenv("DATABASE_URL")

    assert plain.url.get_secret_value().startswith("postgresql://job:")
    assert owner.url.get_secret_value().startswith("postgresql://owner:")
    assert complaints(capsys, MigrationSettings) == ["DATABASE_URL: is not set"]


def test_secrets_are_in_no_repr(environment):
    """Who prints the settings prints no secret."""
    shown = repr(load_settings(Settings))

    assert GOOD_SECRET not in shown
    assert "d9f8s7d6f" not in shown


def test_variables_document_themselves():
    """The list that `.env.example` is made from knows names, defaults, secrets and words."""
    variables = {one.name: one for one in environment_variables(Settings)}

    assert variables["RECEIPT_SECRET"].required
    assert variables["RECEIPT_SECRET"].secret
    assert variables["RECEIPT_SECRET"].default is None
    assert variables["RECEIPT_SECRET"].description == "Signs receipts."
    assert variables["BOOTSTRAP_PASSWORD"].secret
    assert variables["BOOTSTRAP_PASSWORD"].default == ""
    assert variables["KEYWORDS"].default == "detailed,complex"
    assert not variables["POLL_SECONDS"].secret
    assert variables["DRAIN_SECONDS"].description


def test_every_variable_of_the_kit_is_described():
    """A variable without a word of explanation is not finished."""
    for settings_class in (ServiceSettings, MigrationSettings):
        assert all(variable.description for variable in environment_variables(settings_class))


def test_process_with_bad_settings_ends_in_time(tmp_path):
    """X-O4: a whole process needs less than two seconds, of a core to itself, to refuse."""
    (tmp_path / "main.py").write_text(
        "from service_kit.cli import service_main\n"
        "from service_kit.settings import ServiceSettings\n"
        "service_main('x-service', ServiceSettings, 'nowhere:nothing')\n"
    )
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [sys.executable, "main.py"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"]},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    took = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    assert done.returncode == 2
    assert done.stderr.splitlines()[0] == "TLS_CA_FILE: is not set"
    assert "Traceback" not in done.stderr
    assert took < 2
