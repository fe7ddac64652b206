"""The price book as job-service keeps it."""

from __future__ import annotations

from weir.cost.v1 import price_service_pb2 as pb

from job_service.adapters.cost_client import KeptPrices
from service_kit.testing.clock import FixedClock


class Channel:
    """A channel to a cost-service whose current version can be changed."""

    def __init__(self) -> None:
        self.version = "1"

    def unary_unary(self, method, **_):
        async def answer(request):
            snapshot = pb.PriceSnapshot(price_version=self.version)
            snapshot.prices.add(target="local", model="*", input_nanousd_per_million=7)
            return pb.GetPriceSnapshotResponse(price_snapshot=snapshot)

        return answer


async def test_new_version_is_used_once_the_kept_one_is_old():
    """X-M6: a version that was added is agreed on within the time that a book is kept."""
    channel, clock = Channel(), FixedClock()
    prices = KeptPrices(channel, clock, keep_seconds=60)
    await prices.refresh()
    channel.version = "2"

    await prices.refresh()
    kept = prices.current().version
    clock.advance(60)
    await prices.refresh()

    assert (kept, prices.current().version) == ("1", "2")
    assert prices.current().find("local", "any").input_nanousd == 7
