"""Between the protos' and the domain's words for prices."""

from __future__ import annotations

from datetime import UTC, datetime

from google.protobuf import timestamp_pb2
from weir.cost.v1 import price_book_service_pb2 as pb
from weir.cost.v1 import price_service_pb2 as price_pb

from cost_service.domain.prices import NewPriceVersion, Price, PriceVersion
from cost_service.entrypoints.convert import price_to_proto
from cost_service.usecases.add_price_version import AddedPriceVersion
from service_kit.errors import InvalidArgument
from service_kit.timestamps import timestamp


def version_from_proto(request: pb.AddPriceVersionRequest) -> NewPriceVersion:
    return NewPriceVersion(
        price_version=request.price_version,
        valid_from=_moment(request.valid_from) if request.HasField("valid_from") else None,
        note=request.note,
        prices=tuple(_price(price) for price in request.prices),
    )


def version_to_proto(version: PriceVersion) -> pb.PriceVersion:
    return pb.PriceVersion(
        price_version=version.price_version,
        valid_from=timestamp(version.valid_from),
        note=version.note,
        prices=[price_to_proto(price) for price in version.prices],
        is_current=version.is_current,
    )


def added_to_proto(added: AddedPriceVersion) -> pb.AddPriceVersionResponse:
    return pb.AddPriceVersionResponse(
        price_version=version_to_proto(added.version),
        lost_prices=[price_to_proto(price) for price in added.lost],
    )


def _price(price: price_pb.Price) -> Price:
    return Price(
        price.target,
        price.model,
        price.input_nanousd_per_million,
        price.output_nanousd_per_million,
    )


def _moment(moment: timestamp_pb2.Timestamp) -> datetime:
    try:
        return moment.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError) as error:
        raise InvalidArgument("valid_from", "This is no moment.") from error
