"""Channels to workers, one per address, kept open between prompts."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import grpc
from prometheus_client import CollectorRegistry

from service_kit.grpc_client import open_channel
from service_kit.tls import TlsFiles

MAX_CHANNELS: Final = 256


class WorkerUnreachable(Exception):
    """No connection to the worker: it was given nothing."""


@dataclass(slots=True)
class _Kept:
    channel: grpc.aio.Channel
    users: int = 0


class WorkerChannels:
    """Opens a channel at first use; too many, and the one used longest ago is closed.

    A worker must present a certificate of the service gpu-worker.
    """

    def __init__(
        self, tls: TlsFiles, registry: CollectorRegistry, max_channels: int = MAX_CHANNELS
    ) -> None:
        self._tls = tls
        self._registry = registry
        self._max_channels = max_channels
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    @asynccontextmanager
    async def connected(self, address: str, seconds: float) -> AsyncIterator[grpc.aio.Channel]:
        """Give a channel whose connection stands.

        Raises:
            WorkerUnreachable: It could not be connected in that time.
        """
        kept = self._kept.get(address)
        if kept is None:
            kept = self._kept[address] = _Kept(self._open(address))
        self._kept.move_to_end(address)
        kept.users += 1
        try:
            await _connect(kept.channel, seconds)
            yield kept.channel
        finally:
            kept.users -= 1
            await self._close_surplus()

    async def close(self) -> None:
        """Close every channel, and cancel what runs over it."""
        while self._kept:
            _, kept = self._kept.popitem()
            await kept.channel.close()

    def _open(self, address: str) -> grpc.aio.Channel:
        return open_channel(address, service="gpu-worker", tls=self._tls, registry=self._registry)

    async def _close_surplus(self) -> None:
        surplus = len(self._kept) - self._max_channels
        if surplus <= 0:
            return
        unused = [address for address, kept in self._kept.items() if kept.users == 0]
        for address in unused[:surplus]:
            await self._kept.pop(address).channel.close()


async def _connect(channel: grpc.aio.Channel, seconds: float) -> None:
    if channel.get_state() is grpc.ChannelConnectivity.READY:
        return
    try:
        async with asyncio.timeout(seconds):
            await channel.channel_ready()
    except TimeoutError as error:
        raise WorkerUnreachable from error
