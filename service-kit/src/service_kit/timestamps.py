"""Moments as protobuf carries them."""

from __future__ import annotations

from datetime import datetime
from typing import overload

from google.protobuf import timestamp_pb2


@overload
def timestamp(moment: datetime) -> timestamp_pb2.Timestamp: ...


@overload
def timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None: ...


def timestamp(moment: datetime | None) -> timestamp_pb2.Timestamp | None:
    """Return a moment to the microsecond; `None`, which leaves a field out, for none."""
    if moment is None:
        return None
    message = timestamp_pb2.Timestamp()
    message.FromDatetime(moment)
    return message
