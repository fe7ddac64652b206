"""The whole process: it starts, says what it does, keeps secrets, and stops."""

import asyncio
import json
import os
import signal
import socket
import sys
import time

import grpc
import httpx
import pytest
from prometheus_client import CollectorRegistry
from weir.auth.v1 import auth_service_pb2 as pb
from weir.auth.v1 import auth_service_pb2_grpc as pb_grpc

from service_kit.grpc_client import open_channel

SECRET = "a refresh secret of the process test 0123"
ADMIN_PASSWORD = "the administrator's first password"
PASSWORD = "correct horse battery canary"


@pytest.fixture
def environment(database_url, pki, signing_keys_dir, tmp_path):
    """The variables of an installation whose ports are free."""
    password_file = tmp_path / "admin-password"
    password_file.write_text(ADMIN_PASSWORD + "\n")
    tls = pki["auth-service"]
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return kept | {
        "ENVIRONMENT": "test",
        "DATABASE_URL": database_url,
        "SIGNING_KEYS_DIR": str(signing_keys_dir),
        "REFRESH_TOKEN_SECRET": SECRET,
        "BOOTSTRAP_ADMIN_PASSWORD_FILE": str(password_file),
        "TLS_CA_FILE": str(tls.ca_file),
        "TLS_CERT_FILE": str(tls.cert_file),
        "TLS_KEY_FILE": str(tls.key_file),
        "GRPC_ADDRESS": f"127.0.0.1:{free_port()}",
        "HTTP_ADDRESS": f"127.0.0.1:{free_port()}",
    }


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def started(environment):
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "auth_service",
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip


async def ready(environment, process):
    """Wait until the service says that it is ready."""
    url = f"http://{environment['HTTP_ADDRESS']}/health/ready"
    async with asyncio.timeout(30), httpx.AsyncClient(trust_env=False) as client:
        while True:
            assert process.returncode is None, (await process.communicate())[1].decode()
            try:
                if (await client.get(url)).status_code == 200:
                    return
            except httpx.TransportError:
                pass  # It does not listen yet.
            await asyncio.sleep(0.05)


async def metrics_after_archiving(http, environment):
    """Return the metrics once the daily task has run, which is due at the first start."""
    archived = 'scheduled_task_runs_total{outcome="succeeded",task="archive_logs"} 1.0'
    async with asyncio.timeout(30):
        while True:
            metrics = (await http.get(f"http://{environment['HTTP_ADDRESS']}/metrics")).text
            if archived in metrics:
                return metrics
            await asyncio.sleep(0.05)


async def test_a_process_serves_and_stops(environment, pki):
    """People use it, metrics count, scheduled work is done, logs are JSON without secrets."""
    process = await started(environment)
    try:
        await ready(environment, process)
        channel = open_channel(
            environment["GRPC_ADDRESS"],
            service="auth-service",
            tls=pki["gateway"],
            registry=CollectorRegistry(),
        )
        async with channel, httpx.AsyncClient(trust_env=False) as http:
            stub = pb_grpc.AuthServiceStub(channel)
            ann = await stub.Register(pb.RegisterRequest(email="ann@x.org", password=PASSWORD))
            bearer = (("authorization", f"Bearer {ann.tokens.access_token}"),)
            request = pb.RefreshTokensRequest(refresh_token=ann.tokens.refresh_token)
            refreshed = await stub.RefreshTokens(request)
            admin = await stub.Login(pb.LoginRequest(identifier="admin", password=ADMIN_PASSWORD))
            with pytest.raises(grpc.aio.AioRpcError):
                await stub.Login(pb.LoginRequest(identifier="ann", password=PASSWORD + "!"))
            me = await stub.GetCurrentUser(pb.GetCurrentUserRequest(), metadata=bearer)
            metrics = await metrics_after_archiving(http, environment)
        assert me.user.user_id == ann.user.user_id
        assert admin.user.role == pb.USER_ROLE_SUPER_ADMIN
        assert 'grpc_method="Register"' in metrics
        assert "ann@x.org" not in metrics
    finally:
        if process.returncode is None:
            process.send_signal(signal.SIGTERM)
        output, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    lines = (output + errors).decode().splitlines()
    events = [json.loads(line)["event"] for line in lines]
    assert {"service.started", "administrator.bootstrapped", "service.stopped"} <= set(events)
    secrets = [PASSWORD, ADMIN_PASSWORD, SECRET, environment["DATABASE_URL"]]
    for tokens in (ann.tokens, refreshed.tokens, admin.tokens):
        secrets += [tokens.access_token, tokens.refresh_token]
    assert not [secret for secret in secrets if any(secret in line for line in lines)]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("REFRESH_TOKEN_SECRET", None),
        ("REFRESH_TOKEN_SECRET", "changeme"),
        ("DATABASE_URL", None),
        ("SIGNING_KEYS_DIR", "/no/such/directory"),
        ("TLS_KEY_FILE", None),
    ],
)
async def test_a_bad_setting_stops_it_at_once(environment, variable, value):
    """X-A9: it ends with an error that names the variable, before it does anything."""
    environment.pop(variable)
    if value is not None:
        environment[variable] = value
    begun = time.monotonic()

    process = await started(environment)
    _, errors = await process.communicate()

    assert process.returncode == 2
    assert errors.decode().startswith(f"{variable}:")
    # The figure is 2 s on a quiet machine.
    assert time.monotonic() - begun < 10


async def test_an_empty_key_directory_stops_it(environment, tmp_path):
    """Without a signing key there is no service."""
    empty = tmp_path / "empty"
    empty.mkdir()

    process = await started(environment | {"SIGNING_KEYS_DIR": str(empty)})
    output, errors = await process.communicate()

    assert process.returncode == 1
    assert b"SIGNING_KEYS_DIR" in output + errors
