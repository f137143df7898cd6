"""Tables of many symbols: both decoders against pages read one by one, and what a table holds against `history`.

All of it holds with ptars and without.
"""

import os
import sqlite3
import subprocess
import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime
from math import inf, nan
from pathlib import Path
from types import ModuleType
from typing import Any

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import futu_si
from opend_si.cache.store import Store
from opend_si.cache.versions import Event, Version
from opend_si.errors import ProtocolError
from opend_si.history.ledger import judged
from opend_si.history.symbol import make_statement
from opend_si.pages import END, Content, PageKey
from opend_si.research import arrow
from opend_si.research.arrow import decode
from opend_si.research.batch import resolve
from opend_si.simulator import Simulator, Universe
from opend_si.simulator.server import CursorStyle
from opend_si_schema import common
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Table
from tests.processes import without

# The decoders ---------------------------------------------------------------------------------------------------------


@pytest.fixture(params=["ptars", "protobuf"], autouse=True, scope="module")
def _decoder(request: pytest.FixtureRequest) -> Iterator[None]:
    """Where ptars is not installed, protobuf decodes."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "protobuf":
            patch.setitem(sys.modules, "ptars", None)
        arrow._handler.cache_clear()
        assert (arrow._handler(SHORT_INTEREST) is None) == (request.param == "protobuf")
        yield
        arrow._handler.cache_clear()


VALUES = {
    "int64": st.one_of(st.none(), st.integers(0, 2**63 - 1), st.sampled_from((0, 1, 2**63 - 1))),
    "float64": st.one_of(st.none(), st.floats(), st.sampled_from((0.0, -0.0, nan, inf))),
    "str": st.one_of(st.none(), st.text(max_size=12)),
}
TABLES = {table.market.prefix: table for table in SHORT_INTEREST.tables}


def rows_of(table: Table) -> Any:
    values = st.fixed_dictionaries({column.field: VALUES[column.dtype] for column in table.columns})
    return st.lists(values, max_size=5)


@st.composite
def bodies(draw: Any) -> bytes:
    """A reply with any rows, cursor and unknown fields, or one in two pieces, which protobuf puts together."""
    pieces = []
    for _ in range(draw(st.sampled_from((1, 1, 2)))):
        reply = SHORT_INTEREST.response(retType=common.RetType.SUCCEED)
        reply.s2c.SetInParent()  # a reply without content is none, and is not recorded
        for table in SHORT_INTEREST.tables:
            for values in draw(rows_of(table)):
                known = {name: value for name, value in values.items() if value is not None}
                getattr(reply.s2c, table.list_field).add(**known)
        cursor = draw(st.sampled_from((None, "", END, "50", "1745337600")))
        if cursor is not None:
            reply.s2c.nextKey = cursor
        pieces.append(bytes(reply.SerializeToString()))
    unknown = draw(st.sampled_from((b"", b"\x9a\x06\x02AB", b"\xa3\x06\xa4\x06", b"\xc0\x3e\x85\x80\x00")))
    return bytes(b"".join(pieces) + unknown)


@given(st.lists(bodies(), max_size=6), st.sampled_from(("HK", "US")))
def test_many_replies_are_decoded_as_each_is_by_itself(replies: list[bytes], market: str) -> None:
    table = TABLES[market]
    key = PageKey.check(SHORT_INTEREST, table.market.example, None, 50)
    decoded = decode(SHORT_INTEREST, table, replies)
    contents = [Content.read(key, body) for body in replies]
    assert decoded.leads_on.tolist() == [content.next is not None for content in contents]
    frames = [content.frame(market) for content in contents]
    assert decoded.counts.tolist() == [len(frame) for frame in frames]
    for place, column in enumerate(table.columns):
        told = decoded.columns[column.name].to_pylist()
        plain = [value for content in contents for value in content.columns(table)[place]]
        assert str(told) == str(plain)  # NaN equals itself, and -0.0 is not 0.0


def test_no_replies_are_decoded_to_no_rows() -> None:
    decoded = decode(SHORT_INTEREST, TABLES["HK"], [])
    assert (decoded.counts.size, decoded.leads_on.size, len(decoded.columns["timestamp"])) == (0, 0, 0)


# Pages in arrays ------------------------------------------------------------------------------------------------------


def recorded(next_key: str, rows: list[tuple[int, int]], leads_on: bool, after: int, fetched: int, checked: int) -> Any:
    """A page; its rows, its cursor and the row before it are numbers of days."""
    reply = SHORT_INTEREST.response(retType=common.RetType.SUCCEED)
    reply.s2c.SetInParent()
    for day, value in rows:
        reply.s2c.hkItemList.add(timestamp=day * DAY, timestampStr=str(day), aggregatedShort=value)
    reply.s2c.nextKey = str(rows[-1][0] * DAY) if leads_on and rows else END
    key = PageKey.check(SHORT_INTEREST, "HK.00700", str(int(next_key) * DAY) if next_key else None, 50)
    page = Version.reply(
        key.identity, bytes(reply.SerializeToString()), Event(fetched, fetched), after=after * DAY, origin="opend"
    )
    return page._replace(checked_seq=checked, checked_at=checked)


def judge(pages: list[Any]) -> list[Any]:
    """The pages as they are recorded one after the other.

    What is fit for no history, and what others contradict, is void.
    """
    key, said = PageKey.check(SHORT_INTEREST, "HK.00700", None, 50), {}
    pages = [
        page._replace(first_seq=10 * page.first_seq + place, checked_seq=10 * page.checked_seq + place)
        for place, page in enumerate(pages)
    ]
    for page in pages:
        with suppress(ProtocolError):
            said[page.first_seq] = make_statement(key, page, Content.read(key, page.body))
    void = {statement.first_seq: statement.void_seq for statement in judged(said.values())}
    return [page._replace(void_seq=void.get(page.first_seq, page.first_seq)) for page in pages]


DAY = 86400
HEAD = ("", [(30, 0), (20, 0)], True, 0, 10, 10)
TAIL = ("20", [(10, 0)], False, 20, 11, 11)


@pytest.mark.parametrize(
    ("pages", "is_plain"),
    [
        ([HEAD, TAIL], True),
        ([TAIL, HEAD], True),
        ([HEAD], False),  # the rest is not there
        ([TAIL], False),  # no newest page
        ([HEAD, ("20", [(10, 0)], False, 0, 11, 11)], False),  # nothing says that it stands right below
        ([HEAD, ("20", [(10, 0)], False, 25, 11, 11)], False),  # it was walked behind another row
        ([HEAD, ("20", [(20, 0), (10, 0)], False, 20, 11, 11)], True),  # a row was published: they overlap
        ([HEAD, ("20", [(20, 1), (10, 0)], False, 20, 11, 11)], False),  # and the value was revised
        ([HEAD, ("20", [], False, 20, 11, 11)], True),  # the end is an empty page
        ([HEAD, ("20", [], False, 30, 11, 11)], False),
        ([HEAD, ("20", [], False, 0, 11, 11)], False),
        ([HEAD, TAIL, ("", [(40, 0), (30, 0)], True, 0, 12, 12)], True),  # published since
        ([HEAD, TAIL, ("", [(40, 0), (30, 0)], True, 0, 12, 12), ("", [(30, 0)], True, 0, 9, 13)], False),  # taken back
        ([HEAD, TAIL, ("", [(50, 0), (40, 0)], True, 0, 12, 12)], False),  # a gap between
        ([HEAD, TAIL, ("", [(40, 0), (20, 0)], True, 0, 12, 12)], False),  # a row is gone
        ([HEAD, TAIL, ("", [(40, 0), (30, 0), (25, 0), (20, 0)], True, 0, 12, 12)], False),  # a row appeared
        ([HEAD, TAIL, ("", [(30, 0)], False, 0, 12, 12)], False),  # the end moved up
        ([("", [], False, 0, 10, 10)], True),  # no rows at all
        ([("", [], False, 0, 9, 9), HEAD, TAIL], True),  # none, then some
        ([HEAD, TAIL, ("", [], False, 0, 12, 12)], False),  # some, then none
        ([("", [(20, 0), (30, 0)], True, 0, 10, 10), TAIL], False),  # out of order
        ([("", [(30, 0), (30, 0), (20, 0)], True, 0, 10, 10), TAIL], False),  # doubled
        ([], False),
    ],
)
def test_a_symbol_is_plain_only_where_nothing_is_to_decide(pages: list[Any], is_plain: bool) -> None:
    rows = judge([recorded(*page) for page in pages])
    # Plain symbols on both sides: what is wrong with one does not touch the others.
    beside = [recorded(*HEAD), recorded(*TAIL)]
    all_pages = [*beside, *rows, *beside]
    owners = [0, 0, *([1] * len(rows)), 2, 2]
    decoded = decode(SHORT_INTEREST, TABLES["HK"], [page.body for page in all_pages])
    found = resolve(3, owners, all_pages, decoded)
    assert found.is_plain.tolist() == [True, is_plain, True]
    ats = decoded.columns["timestamp"].to_numpy()[found.rows] // DAY
    by_symbol = {number: ats[found.symbols == number].tolist() for number in range(3)}
    assert by_symbol[0] == by_symbol[2] == [10, 20, 30]
    assert by_symbol[1] == (sorted({at for page in pages for at, _ in page[1]}) if is_plain else [])


def test_a_value_is_known_since_the_first_page_that_it_came_with() -> None:
    pages = [recorded(*HEAD), recorded(*TAIL), recorded("", [(40, 0), (30, 0)], True, 0, 12, 20)]
    decoded = decode(SHORT_INTEREST, TABLES["HK"], [page.body for page in pages])
    found = resolve(1, [0, 0, 0], pages, decoded)
    assert found.seen_seq.tolist() == found.seen_at.tolist() == [11, 10, 10, 12]


# Tables ---------------------------------------------------------------------------------------------------------------


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture(params=["timestamp", "offset"])
def cursor(request: pytest.FixtureRequest) -> CursorStyle:
    style: CursorStyle = request.param
    return style


@pytest.fixture
def opend(start: Callable[..., Simulator], cursor: CursorStyle) -> Simulator:
    return start(universe=Universe(most_rows=120), cursor=cursor)


@pytest.fixture
def client(face: ModuleType, opend: Simulator, tmp_path: Path) -> Iterator[Any]:
    at = {"mode": "online", "max_age": 0, "cache": tmp_path / "pages.sqlite3"}
    with face.Client(opend.host, opend.port, **at) as opened:
        yield opened


HK = ("HK.00001", "HK.00005", "HK.00700", "HK.02840")
US = ("US.AAPL", "US.GME")


def make_awkward(client: Any, opend: Simulator) -> datetime:
    """Symbols whole, revised, published, without rows, without values, and one half recorded.

    Gives a moment between.
    """
    client.sync([*HK, *US])
    opend.universe.revise("HK.00001", 2, aggregatedShort=None, closePrice=nan)
    opend.universe.revise("HK.00005", 100, aggregatedShort=7)
    opend.universe.publish("HK.00005", 2)
    opend.universe.publish("US.AAPL", 60)
    between = datetime.now(UTC)
    client.sync(["HK.00001", "HK.00005", "US.AAPL"])
    client.get_page("HK.00388", num=50)
    opend.requests.clear()
    return between


def test_a_table_holds_the_histories_of_its_symbols(client: Any, opend: Simulator) -> None:
    between = make_awkward(client, opend)
    offline = type(client)(cache=client._settings.cache, mode="offline")
    for codes, as_of in (
        (HK, None),
        (US, None),
        (HK, between),
        (US[:1], between),
        (HK[::-1], None),
        ("HK.00700", None),
    ):
        names = [codes] if isinstance(codes, str) else sorted(codes)
        panel = client.panel(codes, as_of=as_of)
        histories = {name: offline.history(name, as_of=as_of) for name in names}
        whole = pd.concat(histories, names=["symbol"]).reset_index()
        whole["symbol"] = whole["symbol"].astype("str")
        pd.testing.assert_frame_equal(panel, whole)
        assert (panel.attrs["market"], panel.attrs["kind"]) == (names[0][:2], "short_interest")
        table = client.arrow_table(codes, as_of=as_of)
        assert table.num_rows == len(whole)
        assert table.column_names == list(panel.columns)
    assert opend.requests == []
    assert client.panel(HK).dtypes["aggregated_short"] == pd.Int64Dtype()


def test_what_is_not_complete_is_left_out_and_told_or_refused_where_it_was_named(
    client: Any, face: ModuleType, opend: Simulator
) -> None:
    make_awkward(client, opend)
    with pytest.warns(face.ShortInterestWarning, match=r"HK\.00388 is not completely recorded") as told:
        panel = client.panel(market="HK")
    assert told[0].filename == __file__
    assert panel["symbol"].unique().tolist() == [name for name in HK if name != "HK.02840"]
    for codes in (["HK.00388"], ["HK.00700", "HK.00388"], ["HK.09988"]):
        with pytest.raises(face.CacheMiss, match=codes[-1]):
            client.panel(codes)
    assert opend.requests == []


def test_a_damaged_page_is_no_part_of_a_table(client: Any, face: ModuleType, opend: Simulator) -> None:
    make_awkward(client, opend)
    path = client._settings.cache
    client.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "UPDATE body SET bytes = x'0800' WHERE id IN (SELECT body FROM page WHERE symbol = 'HK.00700' AND next_key != '')"
        )
    with pytest.warns(face.ShortInterestWarning, match=r"HK\.00388, HK\.00700"):
        panel = client.panel(market="HK")
    assert panel["symbol"].unique().tolist() == ["HK.00001", "HK.00005"]


def test_arguments_are_checked(client: Any, face: ModuleType, opend: Simulator) -> None:
    for wrong in ({"market": "XX"}, {"market": 1}):
        with pytest.raises(face.InvalidArgument, match="HK or US"):
            client.panel(**wrong)
    with pytest.raises(face.CacheMiss, match="sync"):
        client.panel()
    make_awkward(client, opend)
    with pytest.raises(face.InvalidArgument, match="name one market"):
        client.panel()
    with pytest.raises(face.InvalidArgument, match="HK and US"):
        client.panel(["HK.00700", "US.AAPL"])
    with pytest.raises(face.InvalidArgument, match="HK and US"):
        client.panel(["HK.00700"], market="US")
    with pytest.raises(face.InvalidArgument, match="no market is named"):
        client.panel([])
    with pytest.raises(face.InvalidArgument, match="700"):
        client.panel(["700"])
    with pytest.raises(face.InvalidArgument, match="as_of"):
        client.panel(["HK.00700"], as_of="soon")
    with face.Client(cache=client._settings.cache, mode="bypass") as bypass, pytest.raises(face.InvalidArgument):
        bypass.panel(["HK.00700"])
    empty = client.panel([], market="US")
    assert empty.empty
    assert empty.dtypes.astype(str).to_dict() == client.panel(["US.GME"]).dtypes.astype(str).to_dict()


def test_a_panel_is_its_owners_to_change(client: Any, opend: Simulator) -> None:
    make_awkward(client, opend)
    for codes in (["HK.00700"], HK, ["US.GME"]):
        panel, again = client.panel(codes), client.panel(codes)
        for name in panel.columns:
            panel.loc[1, name] = panel.loc[0, name]
            panel.iloc[2:5, panel.columns.get_loc(name)] = panel[name].iloc[0]
            assert (panel[name].iloc[1:5] == panel[name].iloc[0]).all()
        pd.testing.assert_frame_equal(client.panel(codes), again)


def test_the_schema_says_what_each_column_is(client: Any, opend: Simulator) -> None:
    make_awkward(client, opend)
    table = client.arrow_table(["HK.00700"])
    assert table.schema.metadata[b"market"] == b"HK"
    assert table.schema.metadata[b"source"] == b"OpenD protocol 3249"
    for column in TABLES["HK"].columns:
        field = table.schema.field(column.name)
        assert field.metadata[b"doc"].decode() == column.doc
        assert field.metadata.get(b"unit", b"").decode() == column.unit
    assert table.schema.field("symbol").type == pa.string()
    assert table.schema.field("date").type == pa.date32()


@pytest.mark.parametrize("pages", [1, 5, 20])
def test_symbols_stay_in_order_over_batches(
    client: Any, opend: Simulator, monkeypatch: pytest.MonkeyPatch, pages: int
) -> None:
    make_awkward(client, opend)
    at_once = client.panel(HK)
    monkeypatch.setattr("opend_si.research.columns._PAGES", pages)
    monkeypatch.setattr("opend_si.research.columns._BLOCK_PAGES", max(1, pages // 2))
    pd.testing.assert_frame_equal(client.panel(HK), at_once)
    assert at_once["symbol"].is_monotonic_increasing


def test_the_record_may_grow_while_a_table_is_made(client: Any, face: ModuleType, opend: Simulator) -> None:
    client.sync(HK)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for count in range(5):
            opend.universe.publish("HK.00700", count)
            client.sync(["HK.00700"])
            assert len(client.panel(["HK.00700"])) == len(opend.universe.rows("HK.00700") or ())
    assert Store(client._settings.cache, may_write=False).symbols(3249, "HK") == sorted(HK)


def test_without_the_extra_its_name_is_told_and_the_rest_works(tmp_path: Path) -> None:
    program = """
import futu_si
for ask in (futu_si.panel, futu_si.arrow_table, futu_si.screen, lambda: futu_si.export("x")):
    try:
        ask()
    except futu_si.MissingExtra as error:
        assert isinstance(error, ImportError)
        assert "pyarrow" in str(error) and "opend-short-interest[arrow]" in str(error), error
    else:
        raise AssertionError
from opend_si.simulator import Simulator
with Simulator() as opend, futu_si.Client(opend.host, opend.port, mode="bypass") as client:
    frame = client.history("HK.00700")
    assert (len(frame), str(frame.dtypes["aggregated_short"])) == (713, "int64")
"""
    environ = {**os.environ, **without(tmp_path, "pyarrow")}
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=environ)


def test_the_functions_of_the_face_are_those_of_its_client(opend: Simulator, tmp_path: Path) -> None:
    futu_si.configure(host=opend.host, port=opend.port, cache=tmp_path / "pages.sqlite3", mode="online")
    futu_si.sync(["US.GME", "US.AAPL"])
    assert futu_si.arrow_table(market="US").num_rows == 240
    assert len(futu_si.panel()) == 240
    assert len(futu_si.screen(top=1)) == 1
    assert futu_si.export(tmp_path / "data", "csv") == [str(tmp_path / "data" / "market=US" / "short_interest.csv")]
    assert futu_si.plot("US.GME").axes
