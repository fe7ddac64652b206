"""What each service is told."""

from pathlib import Path

from weir_local.pki import Authority
from weir_local.secret_files import SecretFiles
from weir_local.services import NAMES, SERVICES, Instance, Surroundings


def surroundings(home: Path, **replicas: int) -> Surroundings:
    ports = {
        f"{Instance(service, index).name} {kind}": 20_000 + 100 * number + 10 * index + kind_number
        for number, service in enumerate(SERVICES.values())
        for index in range(3)
        for kind_number, kind in enumerate(("grpc", "http", "api"))
    }
    return Surroundings(
        home=home,
        secrets=SecretFiles(home / "secrets"),
        authority=Authority(home / "pki"),
        ports=ports,
        replicas={name.replace("_", "-"): count for name, count in replicas.items()},
        environment={"LOG_LEVEL": "WARNING", "ENGINE_SLOTS": "1"},
        overrides={"gpu-worker": {"ENGINE_SLOTS": "2"}, "gpu-worker-1": {"ENGINE_SLOTS": "3"}},
    )


def test_no_secret_is_in_an_environment(tmp_path: Path) -> None:
    """A process listing of another user's shows paths at the most."""
    secrets = SecretFiles(tmp_path / "secrets")
    known = [secrets.password("admin.password"), secrets.password("redis.password")]

    for name in NAMES:
        environment = surroundings(tmp_path).environment_of(Instance(SERVICES[name]))
        assert not [value for value in environment.values() if value in known]
        assert "DATABASE_URL" not in environment
        assert "REDIS_URL" not in environment


def test_every_replica_is_in_the_address_list(tmp_path: Path) -> None:
    """Callers spread their calls over all of them."""
    environment = surroundings(tmp_path, job_service=2).environment_of(
        Instance(SERVICES["gateway"])
    )

    addresses = environment["JOB_SERVICE_ADDRESSES"].split(",")
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)


def test_two_workers_are_told_apart(tmp_path: Path) -> None:
    """Each has an id, an address, a certificate and a key of its own."""
    around = surroundings(tmp_path, gpu_worker=2)
    first, second = (around.environment_of(each) for each in around.instances("gpu-worker"))

    for variable in (
        "WORKER_ID",
        "WORKER_ADVERTISE_ADDRESS",
        "TLS_CERT_FILE",
        "RESULT_SIGNING_KEY_FILE",
    ):
        assert first[variable] != second[variable]


def test_replicas_sign_receipts_with_one_key(tmp_path: Path) -> None:
    """It is made once, for its owner's eyes only, and is still the same after a restart."""
    around = surroundings(tmp_path, job_service=2)
    first, second = (around.environment_of(each) for each in around.instances("job-service"))
    key = Path(first["RECEIPT_SIGNING_KEY_FILE"])
    made = key.read_bytes()

    again = surroundings(tmp_path).environment_of(Instance(SERVICES["job-service"]))

    assert second["RECEIPT_SIGNING_KEY_FILE"] == again["RECEIPT_SIGNING_KEY_FILE"] == str(key)
    assert key.read_bytes() == made
    assert key.stat().st_mode & 0o777 == 0o600


def test_settings_of_one_service_win(tmp_path: Path) -> None:
    """Over those for every service, and those over the launcher's own."""
    around = surroundings(tmp_path)

    assert around.environment_of(Instance(SERVICES["gpu-worker"]))["ENGINE_SLOTS"] == "2"
    assert around.environment_of(Instance(SERVICES["gateway"]))["ENGINE_SLOTS"] == "1"


def test_only_some_services_get_a_database(tmp_path: Path) -> None:
    """The others could not use an address they do not have."""
    with_database = {
        name
        for name in NAMES
        if "DATABASE_URL_FILE" in surroundings(tmp_path).environment_of(Instance(SERVICES[name]))
    }

    assert with_database == {"auth-service", "job-service", "cost-service"}


def test_second_process_may_be_told_something_else(tmp_path: Path) -> None:
    """Settings by the name of a process go beyond those of its service."""
    around = surroundings(tmp_path, gpu_worker=3)
    slots = [around.environment_of(each)["ENGINE_SLOTS"] for each in around.instances("gpu-worker")]

    assert slots == ["2", "3", "2"]
