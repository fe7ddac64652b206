"""`docker-compose.yml` gives every service what it needs, and nothing that it should not have."""

from __future__ import annotations

import importlib
import re
import stat
import subprocess
from urllib.parse import urlsplit

import pytest
import yaml

from compose_check.dashboards import queries
from compose_check.project import BASE_IMAGES, RUNNING
from service_kit.settings import environment_variables
from weir_compose.bundles import WORKER_IDS, Vault
from weir_compose.handing_out import hand_out

MODULES = {
    "gateway": "gateway",
    "auth-service": "auth_service",
    "job-service": "job_service",
    "cost-service": "cost_service",
    "compute-router": "compute_router",
    "gpu-worker-cpu": "gpu_worker",
    "gpu-worker-gpu": "gpu_worker",
}
ONE_SHOT = {
    "setup",
    "databases",
    "migrate-auth-service",
    "migrate-job-service",
    "migrate-cost-service",
    "check-ledger",
}


@pytest.fixture(scope="module")
def compose(repository):
    return yaml.safe_load((repository / "docker-compose.yml").read_text())


@pytest.fixture(scope="module")
def services(compose):
    return compose["services"]


@pytest.fixture(scope="module")
def dockerfiles(repository):
    """The text of each Dockerfile, by its path."""
    paths = (repository / "deploy" / "docker").glob("*.Dockerfile")
    return {str(path.relative_to(repository)): path.read_text() for path in paths}


@pytest.fixture
def vault(tmp_path):
    return Vault(tmp_path / "vault")


def dockerfile_of(services, service):
    """The Dockerfile of its image, which another service may build; None if it is not ours."""
    for each in services.values():
        if each["image"] == service["image"] and "build" in each:
            return each["build"]["dockerfile"]
    return None


def test_every_container_is_confined(services):
    """No capability, no new privileges, nothing to write to, and a limit of memory."""
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service, name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["init"] is True, name
        assert {"mem_limit", "pids_limit", "logging", "restart"} <= service.keys(), name


def test_nobody_is_root(services, dockerfiles):
    """By the Compose file, or by the image where it is ours."""
    for name, service in services.items():
        file = dockerfile_of(services, service)
        if file is None:
            assert str(service["user"]).split(":")[0] not in ("", "0", "root"), name
        else:
            assert "\nUSER 10001:10001\n" in dockerfiles[file], name
            assert "user" not in service, name


def test_what_keeps_running_has_a_health_check(services, dockerfiles):
    """`up --wait` and `depends_on` mean something."""
    for name in services.keys() - ONE_SHOT:
        file = dockerfile_of(services, services[name])
        has = "healthcheck" in services[name] or "\nHEALTHCHECK --" in dockerfiles[file or ""]
        assert has, name


def test_gpu_image_is_never_that_of_cpus(repository, services):
    """Its build asks for CUDA, and fails with what to do where no index of such wheels is given."""
    arguments = services["gpu-worker-gpu"]["build"]["args"]
    script = repository / "deploy" / "docker" / "install_engine.sh"
    done = subprocess.run(
        ["sh", script, arguments["ENGINE"], ""], capture_output=True, text=True, check=False
    )

    assert arguments == {"ENGINE": "cuda", "CUDA_WHEELS": "${CUDA_WHEELS:-}"}
    assert done.returncode == 1
    assert "CUDA_WHEELS" in done.stderr
    assert "args" not in services["gpu-worker-cpu"]["build"]


def test_services_get_time_to_end(services):
    """Running calls finish before the container is killed."""
    for name in MODULES:
        drain = float(services[name]["environment"]["DRAIN_SECONDS"])
        assert drain < int(services[name]["stop_grace_period"].removesuffix("s")), name


@pytest.mark.parametrize("name", MODULES)
def test_settings_are_those_of_the_service(services, name):
    """Every required one is given, and none that the service does not know."""
    settings = importlib.import_module(f"{MODULES[name]}.settings").Settings
    variables = {each.name: each for each in environment_variables(settings)}
    given = services[name]["environment"].keys()
    known = {form for each in variables for form in (each, f"{each}_FILE")}

    missing = [
        each.name
        for each in variables.values()
        if each.required and not {each.name, f"{each.name}_FILE"} & given
    ]

    assert missing == []
    assert given - known == set()


def test_addresses_are_those_of_containers(services):
    """Every host:port that a service is given names a container on the same network."""
    for name in MODULES:
        for variable, value in services[name]["environment"].items():
            if variable.endswith("_ADDRESSES"):
                host, _, port = value.partition(":")
                assert port == "9000", (name, variable)
                assert "backend" in services[host]["networks"], (name, variable)


def test_no_secret_is_written_down(compose):
    """No secret stands in an environment, where `docker inspect` shows it: each is a file."""
    for name, service in compose["services"].items():
        for variable, value in (service.get("environment") or {}).items():
            is_secret = re.search(r"(PASSWORD|SECRET|_KEY|DATABASE_URL|REDIS_URL)$", variable)
            assert not is_secret, (name, variable)
            assert not re.search(r"://[^/@]*:[^/@]*@", str(value)), (name, variable)


def test_key_of_yotta_is_a_file_of_the_operator(repository, compose):
    """The router alone sees it; without one there is an empty file, and the router is not told."""
    users = {name for name, each in compose["services"].items() if "secrets" in each}
    variable = compose["services"]["compute-router"]["environment"]["YOTTA_API_KEY_FILE"]
    [(secret, place)] = compose["secrets"].items()
    given = re.fullmatch(r"\$\{YOTTA_API_KEY_FILE:-\./(.*)\}", place["file"])

    assert users == {"compute-router"}
    assert variable == f"${{YOTTA_API_KEY_FILE:+/run/secrets/{secret}}}"
    assert given is not None
    assert (repository / given[1]).read_bytes() == b""


def test_no_registry_is_asked_for_our_images(services):
    """Their names belong to nobody: what a stranger put there would run with our secrets."""
    ours = {name: each for name, each in services.items() if each["image"].startswith("weir/")}
    built = {each["image"] for each in ours.values() if "build" in each}

    for name, service in ours.items():
        assert service["pull_policy"] == ("build" if "build" in service else "never"), name
        assert service["image"] in built, name
    assert ours.keys() >= {*MODULES, *ONE_SHOT}


def test_only_the_edge_is_published(compose):
    """The gateway and Grafana on loopback; Postgres, Redis and the rest on no port at all."""
    services = compose["services"]
    published = {name for name, each in services.items() if "ports" in each}
    addresses = [port for name in published for port in services[name]["ports"]]

    assert published == {"gateway", "grafana"}
    assert all(re.match(r"(\$\{WEIR_ADDRESS:-)?127\.0\.0\.1", each) for each in addresses)
    assert compose["networks"]["backend"] == {"internal": True}
    reaching_out = {n for n, s in services.items() if set(s.get("networks", [])) - {"backend"}}
    assert reaching_out == {"gateway", "compute-router", "grafana"}


def test_what_the_files_name_is_handed_out(services, vault):
    """Every path below /run/weir is in the bundle of the volume that is mounted there."""
    bundles = vault.bundles()
    for name, service in services.items():
        mounted = [v.split(":") for v in service.get("volumes", []) if ":/run/weir" in v]
        text = yaml.safe_dump([service.get("environment"), service.get("healthcheck")])
        for path in re.findall(r"/run/weir/([a-z0-9._-]+)", text):
            [[volume, _, mode]] = mounted
            assert mode == "ro", name
            handed = {each.split("/")[0] for each in bundles[volume.removesuffix("-secrets")]}
            assert path in handed, (name, path)
    assert len(bundles) > 10


def test_setup_hands_to_every_volume(services, dockerfiles, vault):
    """A bundle without its volume would be lost; a volume without its directory would be root's."""
    mounted = dict(v.split(":")[:2] for v in services["setup"]["volumes"])
    loop = re.search(r"for place in (.*?);", dockerfiles["deploy/docker/setup.Dockerfile"], re.S)

    assert loop is not None
    assert mounted == {
        "vault": "/secrets/vault",
        **{f"{name}-secrets": f"/secrets/{name}" for name in vault.bundles()},
    }
    assert set(loop[1].replace("\\", "").split()) == {"vault", *vault.bundles()}


def test_workers_are_who_their_certificates_say(services):
    """The id in the environment is the one that `setup` writes into the certificate."""
    for name, worker_id in WORKER_IDS.items():
        assert services[name]["environment"]["WORKER_ID"] == worker_id


def test_handing_out_keeps_what_is_right(vault, tmp_path):
    """A second start changes no secret; what is not handed out any more is taken away."""
    place = tmp_path / "auth-service"
    hand_out(vault.bundles()["auth-service"], place)
    first = {file: (file.read_bytes(), file.stat()) for file in place.rglob("*") if file.is_file()}
    (place / "left-behind").write_text("x")
    hand_out(Vault(tmp_path / "vault").bundles()["auth-service"], place)
    second = {file: file.read_bytes() for file in place.rglob("*") if file.is_file()}

    assert second == {file: content for file, (content, _) in first.items()}
    assert {stat.S_IMODE(status.st_mode) for _, status in first.values()} == {0o440}
    assert stat.S_IMODE(place.stat().st_mode) == 0o750


def test_each_gets_only_its_own(vault):
    """No service can read another's database, nor the private key of the authority."""
    bundles = vault.bundles()
    owners = {
        name: urlsplit(bundle["database.url"].read_text()).username
        for name, bundle in bundles.items()
        if "database.url" in bundle
    }

    assert owners == {name: name.replace("-", "_") for name in owners}
    assert len(owners) == 3
    assert not [name for name, bundle in bundles.items() if "ca.key" in map_names(bundle)]


def map_names(bundle):
    return {path.name for path in bundle.values()}


def test_prometheus_scrapes_every_service(repository, services):
    """By the names that Compose gives to their replicas, where their side server listens."""
    text = (repository / "deploy" / "compose" / "prometheus.yml").read_text()
    [discovery] = yaml.safe_load(text)["scrape_configs"][0]["dns_sd_configs"]
    names = set(services) | {
        alias
        for service in services.values()
        if isinstance(service.get("networks"), dict)
        for alias in service["networks"]["backend"]["aliases"]
    }

    assert set(discovery["names"]) == {module.replace("_", "-") for module in MODULES.values()}
    assert set(discovery["names"]) <= names
    assert discovery["port"] == 9100


def test_dashboard_shows_metrics_that_exist(repository):
    """Every metric of a panel is written down in the sources of a service."""
    made = "".join(
        path.read_text()
        for path in repository.glob("*/src/**/*.py")
        if "prometheus_client" in path.read_text()
    )
    # Prometheus's own, and those of its client.
    elsewhere = {"up", "process_cpu_seconds_total", "process_resident_memory_bytes"}
    # The kit makes these names of a side and a suffix.
    sides = {
        f"grpc_{side}_{what}"
        for side in ("server", "client")
        for what in ("handled_total", "handling_seconds")
    }

    unknown = {
        metric
        for query in queries(
            repository / "deploy" / "compose" / "grafana" / "dashboards" / "overview.json"
        )
        for metric in query.metrics - elsewhere
        if metric.removesuffix("_bucket") not in sides
        and f'"{metric.removesuffix("_bucket")}"' not in made
    }

    assert unknown == set()


def test_check_runs_what_the_file_names(services):
    """`make compose-check` brings up all but Grafana and the GPU worker."""
    kept_running = services.keys() - ONE_SHOT
    foreign = {s["image"] for s in services.values() if not s["image"].startswith("weir/")}

    assert set(RUNNING) == kept_running - {"grafana", "gpu-worker-gpu"}
    assert {image for image in foreign if "grafana" not in image} <= set(BASE_IMAGES)


def test_base_images_have_stand_ins(repository, dockerfiles):
    """A machine without a registry can build every image that the check needs."""
    script = (repository / "deploy" / "containers" / "stand-ins.sh").read_text()
    used = {
        base for text in dockerfiles.values() for base in re.findall(r"^FROM (\S+:\S+)", text, re.M)
    }

    assert used <= set(BASE_IMAGES)
    assert [image for image in BASE_IMAGES if f"={image}" not in script] == []


def test_both_dockerfiles_begin_alike(dockerfiles):
    """The libraries of gpu-worker's image are those of the others, built once."""

    def libraries(name):
        text = dockerfiles[f"deploy/docker/{name}.Dockerfile"]
        return text[text.index("FROM ") : text.index("\nFROM ", text.index("FROM ") + 1)]

    assert libraries("service") == libraries("gpu-worker")
