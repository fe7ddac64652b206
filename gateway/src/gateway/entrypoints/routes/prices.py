"""The price book."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Response

from gateway.entrypoints import convert_costs
from gateway.entrypoints.dependencies import (
    SECURITY,
    CurrentCaller,
    EdgeParts,
    IdempotencyKey,
)
from gateway.entrypoints.schemas.prices import (
    AddedPriceVersionView,
    AddPriceVersionBody,
    PriceVersionsView,
    PriceVersionView,
)
from gateway.entrypoints.strict_json import StrictJsonRoute
from service_kit.ids import new_id

router = APIRouter(
    prefix="/api/v1/costs/prices",
    tags=["prices"],
    route_class=StrictJsonRoute,
    dependencies=list(SECURITY),
)


@router.get("")
async def get_prices(edge: EdgeParts, _: CurrentCaller) -> PriceVersionView:
    """Return the prices that new work is priced with."""
    return convert_costs.price_version_view(await edge.prices.get_version(""))


@router.get("/versions")
async def list_price_versions(
    edge: EdgeParts,
    _: CurrentCaller,
    page_size: Annotated[int, Query(ge=1, le=100)] = 50,
    page_token: Annotated[str, Query(max_length=512)] = "",
) -> PriceVersionsView:
    """List the versions of the price book, latest `valid_from` first."""
    page = await edge.prices.list_versions(page_size, page_token)
    return PriceVersionsView(
        price_versions=[
            convert_costs.price_version_summary_view(version) for version in page.price_versions
        ],
        next_page_token=page.next_page_token,
    )


@router.get("/versions/{price_version}")
async def get_price_version(
    price_version: str, edge: EdgeParts, _: CurrentCaller
) -> PriceVersionView:
    """Return one version with its prices."""
    return convert_costs.price_version_view(await edge.prices.get_version(price_version))


@router.post("/versions", status_code=201)
async def add_price_version(
    body: AddPriceVersionBody,
    response: Response,
    edge: EdgeParts,
    _: CurrentCaller,
    request_id: IdempotencyKey,
) -> AddedPriceVersionView:
    """Add a version; for administrators, in person. What was agreed before keeps its prices."""
    # Without a key a repetition is refused, since the name is taken.
    added = await edge.prices.add_version(
        convert_costs.add_price_version_request(body, request_id or new_id())
    )
    response.headers["Location"] = f"{router.prefix}/versions/{added.price_version.price_version}"
    return convert_costs.added_price_version_view(added)
