"""The record in view: of each symbol how much there is, from when, and from whom.

What is noted beside a symbol's seal tells it without a page being read, where all of its history is there. Of the
others, which are short, the pages are read.
"""

from __future__ import annotations

import json
import sqlite3
from datetime import date, datetime
from pathlib import Path
from typing import NamedTuple

from opend_si.cache.store import Store
from opend_si.cache.upkeep import each_symbol, opened
from opend_si.dates import day_of, moment
from opend_si.errors import InvalidArgument, ShortInterestError
from opend_si.history.statements import BOTTOM
from opend_si.history.symbol import Symbols
from opend_si.history.walk import Walk, recorded_walk
from opend_si.pages import PageKey
from opend_si_schema.calls import CALLS

_COUNT_VERSIONS = """
    SELECT (SELECT count(*) FROM page WHERE protocol = ?1 AND symbol = ?2)
        + (SELECT COALESCE(SUM(entries), 0) FROM past WHERE protocol = ?1 AND symbol = ?2)
"""


class Recorded(NamedTuple):
    """What is recorded of a symbol: a row of the frame that `Client.recorded` describes."""

    symbol: str
    kind: str
    market: str
    first: date | None
    last: date | None
    rows: int
    complete: bool
    asked_at: datetime | None
    versions: int
    origin: str


def overview(path: Path, kind: str | None = None) -> list[Recorded]:
    """What is recorded of each symbol, by symbol and kind; of all kinds or of one."""
    with opened(path) as store:
        found = each_symbol(store, lambda *asked: _look(store, *asked))
        return sorted(one for one in found if kind in (None, one.kind))


def kind_of(protocol: int) -> str:
    """The kind of rows of a protocol."""
    return next((call.name for call in CALLS if call.proto_id == protocol), f"protocol {protocol}")


def _look(store: Store, connection: sqlite3.Connection, protocol: int, symbol: str) -> Recorded:
    call = next((call for call in CALLS if call.proto_id == protocol), None)
    if call is None:
        raise InvalidArgument(f"{symbol}: {kind_of(protocol)} is not bound in this release")
    key = PageKey.check(call, symbol, None, call.page_size.maximum)
    (versions,) = connection.execute(_COUNT_VERSIONS, (protocol, symbol)).fetchone()
    noted = json.loads(store.summary(protocol, symbol) or "{}")
    if noted.get("complete"):
        newest, oldest, rows = noted["newest"], noted["oldest"], noted["joined"]
        is_complete, origin = True, noted["origin"]
    else:
        newest, oldest, rows, is_complete, origin = _read(store, key)
    market, asked_at = key.symbol.market, store.seal(protocol, symbol).at
    first, last = (None if at is None else day_of(at, market) for at in (oldest, newest))
    asked = moment(asked_at) if asked_at else None
    return Recorded(symbol, call.name, market.prefix, first, last, rows, is_complete, asked, versions, origin)


def _read(store: Store, key: PageKey) -> tuple[int | None, int | None, int, bool, str]:
    """The newest and the oldest row of what its history has down to a gap, how many they are, whether there is none."""
    versions = store.symbol(key.call.proto_id, str(key.symbol))
    newest = max(versions.rows, key=lambda version: version.checked_seq, default=None)
    origin = "" if newest is None else newest.origin
    try:
        record = Symbols().read(key, versions)
    except ShortInterestError:  # a reply that this release cannot read
        return None, None, 0, False, origin
    ledger = record.ledger
    found, head = recorded_walk(ledger, BOTTOM), ledger.head()
    is_complete = isinstance(found, Walk) and record.odd is None
    above_gap = () if head is None else ledger.rows_down_to(head, BOTTOM)
    rows = found.rows if isinstance(found, Walk) else above_gap
    return rows[0].at if rows else None, rows[-1].at if rows else None, len(rows), is_complete, origin
