"""How many event streams a caller may have open."""

import pytest
from prometheus_client import CollectorRegistry

from gateway.entrypoints.errors import EdgeError
from gateway.entrypoints.event_streams import EventStreams


def test_streams_are_counted_by_caller():
    """Each has their own number, and what ends makes room."""
    registry = CollectorRegistry()
    streams = EventStreams(2, registry)

    with streams.opened("ada"), streams.opened("bob"):
        with streams.opened("ada"):
            with pytest.raises(EdgeError) as caught, streams.opened("ada"):
                pass
            assert registry.get_sample_value("gateway_event_streams") == 3
        with streams.opened("ada"):
            pass

    assert caught.value.reason == "TOO_MANY_EVENT_STREAMS"
    assert registry.get_sample_value("gateway_event_streams") == 0


async def test_drain_reaches_everybody():
    """Those who wait already, and those who come later."""
    streams = EventStreams(1, CollectorRegistry())
    streams.drain()

    assert (await streams.until_drained()).reason == "DRAINING"
