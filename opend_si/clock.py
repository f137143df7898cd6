"""The wall clock in the record's unit: milliseconds since 1970, UTC."""

import time
from datetime import UTC, datetime


def now() -> int:
    """This moment."""
    return int(time.time() * 1000)


def moment(milliseconds: int) -> datetime:
    """A moment of the record, as users get it."""
    return datetime.fromtimestamp(milliseconds / 1000, UTC)


def milliseconds(moment: datetime) -> int:
    """A user's moment, as the record keeps it."""
    return round(moment.timestamp() * 1000)
