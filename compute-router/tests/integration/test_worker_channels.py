"""Channels to workers: kept, bounded, never closed under a prompt."""

import grpc
import pytest

from compute_router.adapters.worker_channels import WorkerChannels, WorkerUnreachable
from service_kit.metrics import new_registry
from service_kit.testing.rpc import serving_loopback


@pytest.fixture
async def servers(pki):
    """Two servers that show a worker's certificate."""
    files = {**pki, "gpu-worker": pki["gpu-worker/w1"]}

    def nothing(server) -> None:
        return None

    async with (
        serving_loopback(files, "gpu-worker", nothing, {}) as one,
        serving_loopback(files, "gpu-worker", nothing, {}) as two,
    ):
        yield one.address, two.address


@pytest.fixture
async def channels(pki):
    opened = WorkerChannels(pki["compute-router"], new_registry("compute-router"), max_channels=1)
    yield opened
    await opened.close()


async def test_channel_is_used_again(channels, servers):
    """One address, one connection."""
    one, _ = servers
    async with channels.connected(one, 10) as first:
        pass
    async with channels.connected(one, 10) as again:
        assert again is first


async def test_surplus_is_closed_when_nobody_uses_it(channels, servers):
    """Workers that came and went leave no connection, and nothing that runs is cut."""
    one, two = servers
    async with channels.connected(one, 10) as first:
        async with channels.connected(two, 10) as second:
            assert first.get_state() is grpc.ChannelConnectivity.READY
        assert first.get_state() is grpc.ChannelConnectivity.READY
        assert second.get_state() is grpc.ChannelConnectivity.SHUTDOWN

    async with channels.connected(one, 10) as again:
        assert again is first


async def test_nobody_there(channels, unused_port):
    """An address without a worker is found out within the time given."""
    with pytest.raises(WorkerUnreachable):
        async with channels.connected(f"127.0.0.1:{unused_port}", 0.3):
            pass


async def test_other_service_is_no_worker(channels, pki):
    """A server with another service's certificate gets nothing."""

    def nothing(server) -> None:
        return None

    async with serving_loopback(pki, "gateway", nothing, {}) as impostor:
        with pytest.raises(WorkerUnreachable):
            async with channels.connected(impostor.address, 0.5):
                pass
