"""The page cache: nothing is asked of OpenD twice, versions are kept, and what was recorded replays without OpenD."""

import pickle
import sqlite3
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import futu_si
import moomoo_si
from opend_si.cache.store import Store
from opend_si.history import overview, upkeep
from opend_si.history.upkeep import prune
from opend_si.simulator import Simulator, faults
from opend_si_schema.calls import SHORT_INTEREST
from tests.cache.processes import OpenD

CODES = ("HK.00700", "US.AAPL", "HK.02840")


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "pages.sqlite3"


@pytest.fixture
def recording(face: ModuleType, opend: Simulator, cache: Path) -> Iterator[Any]:
    """A client that records, of each face in turn."""
    with face.Client(opend.host, opend.port, mode="online", cache=cache, timeout=5) as client:
        yield client


@contextmanager
def no_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


def same(first: Any, second: Any) -> None:
    assert (first.symbol, first.next_key, first.num, first.next, first.body) == (
        second.symbol,
        second.next_key,
        second.num,
        second.next,
        second.body,
    )
    pd.testing.assert_frame_equal(first.us, second.us)
    pd.testing.assert_frame_equal(first.hk, second.hk)
    answered = {"source": second.source, "checked_at": second.us.attrs["checked_at"]}  # how, and not what
    assert {**first.us.attrs, **answered} == second.us.attrs
    assert first.records == second.records


@pytest.mark.parametrize("code", CODES)
def test_a_recorded_page_is_asked_for_once(recording: Any, opend: Simulator, code: str) -> None:
    live = recording.get_page(code, num=50)
    again = recording.get_page(code, num=50)
    assert (live.source, again.source) == ("opend", "cache")
    assert (again.fetched_at, again.checked_at) == (live.fetched_at, live.checked_at)
    same(live, again)
    assert len(opend.requests) == 1


def test_next_key_and_num_are_part_of_what_is_asked(
    face: ModuleType, start: Callable[..., Simulator], cache: Path
) -> None:
    opend = start(cursor="offset")  # cursors that say nothing: every page is asked for exactly
    with face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        first = client.get_page("HK.00700", num=50)
        for num in (10, 11):
            assert len(client.get_page("HK.00700", num=num)) == num
        second = client.get_page("HK.00700", first.next, num=50)
        assert len(opend.requests) == 4
        for page in (first, second):
            same(client.get_page("HK.00700", page.next_key or None, num=50), page)
        assert client.get_page("HK.00700", "10", num=10).hk["timestamp"].max() < first.hk["timestamp"][9]
        assert len(opend.requests) == 5


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
def test_with_anchored_cursors_smaller_pages_are_cut_from_recorded_ones(
    face: ModuleType, opend: Simulator, recording: Any, code: str
) -> None:
    with face.Client(opend.host, opend.port, mode="bypass") as live:
        for num in (10, 37, 50, 1):
            cursor = None
            for _ in range(4):
                page, sent = recording.get_page(code, cursor, num), live.get_page(code, cursor, num)
                same(page, sent)
                cursor = sent.next
    # 200 rows were looked at in all; the other client asked for 16 pages.
    assert len(opend.requests) == 16 + 4


def test_the_end_is_cut_as_opend_sends_it(face: ModuleType, opend: Simulator, cache: Path) -> None:
    rows = opend.universe.rows("US.AAPL") or ()
    at = {"host": opend.host, "port": opend.port}
    with face.Client(**at, mode="online", cache=cache) as client, face.Client(**at, mode="bypass") as live:
        assert len(list(client.pages("US.AAPL"))) == -(-len(rows) // 50)
        before = len(opend.requests)
        for left in (1, 2, 7, 49):
            cursor = str(rows[-left - 1].timestamp)
            for num in (left - 1 or 1, left, left + 1 if left < 50 else 50):
                same(client.get_page("US.AAPL", cursor, num), live.get_page("US.AAPL", cursor, num))
        assert len(opend.requests) == before + 12  # all of them the other client's


def test_both_brands_share_one_record(opend: Simulator, cache: Path) -> None:
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": cache}
    with futu_si.Client(**at) as first, moomoo_si.Client(**at) as second:  # type: ignore[arg-type]
        same(first.get_page("US.AAPL"), second.get_page("US.AAPL"))
    assert len(opend.requests) == 1


def test_what_was_recorded_replays_when_opend_is_gone(
    face: ModuleType, start: Callable[..., Simulator], cache: Path
) -> None:
    with Simulator() as opend, face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        live = {code: client.get_page(code, num=50) for code in CODES}
        port = opend.port
    with no_warning(), face.Client("127.0.0.1", port, mode="offline", cache=cache) as client:
        for code, page in live.items():
            replayed = client.get_page(code, num=50)
            assert replayed.source == "cache"
            same(replayed, page)


def test_offline_opens_no_socket_and_no_budget(face: ModuleType, opend: Simulator, recording: Any, cache: Path) -> None:
    recording.get_page("HK.00700")
    budget = cache.with_name("home") / "budget.slots"
    assert not budget.exists()
    connections = opend.connections
    with face.Client(opend.host, opend.port, mode="offline", cache=cache) as client:
        client.get_page("HK.00700")
        with pytest.raises(face.CacheMiss):
            client.get_page("US.AAPL")
    assert opend.connections == connections
    assert not budget.exists()


def test_an_offline_miss_says_what_is_recorded_and_how_to_record_the_rest(
    face: ModuleType, recording: Any, cache: Path
) -> None:
    with face.Client(mode="offline", cache=cache) as client:
        with pytest.raises(face.CacheMiss, match=r"no page cache at .*pages\.sqlite3.*mode online"):
            client.get_page("HK.00700")
        recording.get_page("HK.00700", num=50)
        with pytest.raises(face.CacheMiss, match=r"next_key '' with num 50.*mode online"):
            client.get_page("HK.00700", "5", num=10)
        with pytest.raises(face.CacheMiss, match=r"No short interest of US\.AAPL is recorded"):
            client.get_page("US.AAPL")
    assert not cache.with_name("home").exists()


def test_the_mode_reaches_the_drop_in_calls(
    face: ModuleType, opend: Simulator, recording: Any, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded = recording.get_page("HK.00700").hk
    with face.OpenQuoteContext("127.0.0.1", 1, mode="offline", cache=cache) as context:
        ret, _, frame = context.get_short_interest("HK.00700")
        assert ret == face.RET_OK
        pd.testing.assert_frame_equal(frame, recorded)
        ret, text, nothing = context.get_short_interest("US.AAPL")
        assert (ret, nothing) == (face.RET_ERROR, None)
        assert "is recorded" in text
    monkeypatch.setenv("OPEND_SI_MODE", "offline")
    monkeypatch.setenv("OPEND_SI_CACHE", str(cache))
    with face.OpenQuoteContext() as context:
        assert context.get_short_interest("HK.00700")[0] == face.RET_OK
    face.configure(host="127.0.0.1", port=1, mode="offline", cache=cache)
    assert face.get_short_interest("HK.00700")[0] == face.RET_OK
    face.configure(mode="bypass")
    assert face.get_short_interest("HK.00700")[0] == face.RET_ERROR


def test_bypass_reads_and_records_nothing(face: ModuleType, opend: Simulator, recording: Any, cache: Path) -> None:
    recording.get_page("HK.00700")
    before = cache.read_bytes()
    with face.Client(opend.host, opend.port, mode="bypass", cache=cache) as client:
        assert client.get_page("HK.00700").source == "opend"
        assert client.get_page("US.AAPL").source == "opend"
    assert cache.read_bytes() == before
    assert len(opend.requests) == 3


def versions(cache: Path) -> list[tuple[int, bool, bytes]]:
    store = Store(cache, may_write=False)
    try:
        names = [name for market in ("HK", "US") for name in store.symbols(SHORT_INTEREST.proto_id, market)]
        found = [store.symbol_and_past(SHORT_INTEREST.proto_id, name) for name in names]
        rows = [[*(version for version, _ in past), *record.rows] for record, past, _ in found]
        return [
            (row.version, row.is_current, row.body)
            for own in rows
            for row in sorted(own, key=lambda row: row.first_seq)
        ]
    finally:
        store.close()


def test_an_equal_reply_moves_checked_at_and_another_one_is_a_new_version(
    face: ModuleType, opend: Simulator, cache: Path
) -> None:
    with face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        first = client.get_page("HK.00700", num=50)
        second = client.get_page("HK.00700", num=50)
        assert second.source == "opend"
        assert second.fetched_at == first.fetched_at
        assert second.checked_at >= first.checked_at
        opend.universe.publish("HK.00700")
        third = client.get_page("HK.00700", num=50)
        opend.universe.revise("HK.00700", 3, aggregatedShort=7)
        fourth = client.get_page("HK.00700", num=50)
    assert versions(cache) == [(1, False, first.body), (2, False, third.body), (3, True, fourth.body)]
    with face.Client(mode="offline", cache=cache) as client:
        same(client.get_page("HK.00700", num=50), fourth)
    assert list(upkeep.verify(cache)) == []


def test_an_expired_page_is_asked_for_again(face: ModuleType, opend: Simulator, cache: Path) -> None:
    at = {"host": opend.host, "port": opend.port, "mode": "online", "cache": cache}
    with face.Client(**at) as client:
        client.get_page("HK.00700")
    opend.universe.publish("HK.00700")
    for max_age, requests in ((None, 1), (timedelta(days=1), 1), (3600, 1), (0, 2), (timedelta(0), 3)):
        with face.Client(**at, max_age=max_age) as client:
            client.get_page("HK.00700")
        assert len(opend.requests) == requests, max_age


@pytest.fixture
def real() -> Iterator[OpenD]:
    """An OpenD: what a simulator made up does not answer for one that is gone."""
    with OpenD() as opend:
        yield opend


def test_when_opend_is_gone_an_expired_page_answers_with_its_age(face: ModuleType, real: OpenD, cache: Path) -> None:
    with face.Client(real.host, real.port, mode="online", cache=cache) as recording:
        live = recording.get_page("HK.00700")
    gone = {"host": "127.0.0.1", "port": 1, "cache": cache}
    with (
        face.Client(**gone, mode="online", max_age=0) as client,
        pytest.warns(face.ShortInterestWarning, match=r"HK\.00700 is answered from the record of \d+ s ago"),
    ):
        page = client.get_page("HK.00700")
    assert page.source == "cache"
    same(page, live)
    with face.Client(**gone, mode="refresh") as client, pytest.raises(face.ConnectionFailed):
        client.get_page("HK.00700")
    with face.Client(**gone, mode="online") as client, pytest.raises(face.ConnectionFailed):
        client.get_page("US.AAPL")
    real.faults.append(faults.silence())
    with (
        face.Client(real.host, real.port, mode="online", cache=cache, max_age=0, timeout=0.2) as client,
        pytest.warns(face.ShortInterestWarning, match="did not answer in time"),
    ):
        same(client.get_page("HK.00700"), live)


def test_a_refusal_is_not_recorded_and_not_covered_up(face: ModuleType, opend: Simulator, cache: Path) -> None:
    with face.Client(opend.host, opend.port, mode="online", cache=cache, max_age=0) as client:
        client.get_page("HK.00700")
        opend.faults.append(faults.refuse("无权限"))
        with pytest.raises(face.NotPermitted):
            client.get_page("HK.00700")
        with pytest.raises(face.UnknownSymbol):
            client.get_page("HK.99999")
        assert client.get_page("HK.00700").source == "opend"
    assert len(versions(cache)) == 1


def test_an_undecodable_reply_is_not_recorded(face: ModuleType, recording: Any, opend: Simulator, cache: Path) -> None:
    opend.faults.append(faults.undecodable())
    with pytest.raises(face.ProtocolError):
        recording.get_page("HK.00700")
    assert versions(cache) == []
    assert recording.get_page("HK.00700").source == "opend"


def test_kept_frames_are_never_aliases(recording: Any) -> None:
    kept = recording.get_page("HK.00700")
    expected = recording.get_page("HK.00700").hk
    for page in (kept, recording.get_page("HK.00700"), recording.get_page("HK.00700")):
        frame = page.hk
        frame.loc[:, "close_price"] = -1.0
        with suppress(ValueError):  # pandas 3 gives arrays that cannot be written to
            frame["aggregated_short"].to_numpy()[:] = 0
        frame.iloc[0, 0] = 0
        frame.attrs["next_key"] = "changed"
        del frame["timestamp_str"]
        frame.index = frame.index + 5
        again = recording.get_page("HK.00700").hk
        pd.testing.assert_frame_equal(again, expected)
        assert again.attrs == expected.attrs


def test_pages_can_be_pickled(recording: Any) -> None:
    recording.get_page("US.AAPL")
    page = recording.get_page("US.AAPL")
    copy = pickle.loads(pickle.dumps(page))
    same(copy, page)
    assert (copy.source, copy.fetched_at, copy.checked_at) == (page.source, page.fetched_at, page.checked_at)


def test_the_file_is_ours_and_a_rollback_journal(recording: Any, cache: Path) -> None:
    recording.get_page("HK.00700")
    with closing(sqlite3.connect(cache)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0x4F505349,)
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
        assert connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)


def test_a_copy_of_a_file_in_use_replays(face: ModuleType, recording: Any, cache: Path, tmp_path: Path) -> None:
    page = recording.get_page("HK.00700")
    copy = tmp_path / "copy.sqlite3"
    copy.write_bytes(cache.read_bytes())
    with face.Client(mode="offline", cache=copy) as client:
        same(client.get_page("HK.00700"), page)


def test_an_export_replays_what_was_chosen_and_nothing_else(
    face: ModuleType, recording: Any, cache: Path, tmp_path: Path
) -> None:
    pages = {code: recording.get_page(code) for code in CODES}
    target = tmp_path / "handed-on.sqlite3"
    assert upkeep.export(cache, target, ["HK.00700", "US.AAPL"]) == 2
    with face.Client(mode="offline", cache=target) as client:
        for code in ("HK.00700", "US.AAPL"):
            same(client.get_page(code), pages[code])
        with pytest.raises(face.CacheMiss):
            client.get_page("HK.02840")
    with pytest.raises(face.InvalidArgument, match="exists already"):
        upkeep.export(cache, target)
    with pytest.raises(face.CacheMiss, match=r"US\.MSFT"):
        upkeep.export(cache, tmp_path / "other.sqlite3", ["US.MSFT"])
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        *("handed-on.sqlite3", "pages.claims", "pages.sqlite3")
    ]


def test_pruning_takes_superseded_versions_only_and_no_row_with_them(
    face: ModuleType, opend: Simulator, cache: Path
) -> None:
    with face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        for _ in range(5):
            last = client.get_page("HK.00700")
            opend.universe.publish("HK.00700")
        other = client.get_page("US.AAPL")
    assert prune(cache, last.fetched_at - timedelta(days=1)) == 0
    assert prune(cache, last.fetched_at + timedelta(days=1)) == 3
    # The first one holds the rows that were pushed off the page since, and touches the newest.
    assert [version for version, _, _ in versions(cache)] == [1, 5, 1]
    with face.Client(mode="offline", cache=cache) as client:
        same(client.get_page("HK.00700"), last)
        same(client.get_page("US.AAPL"), other)
    assert list(upkeep.verify(cache)) == []


def test_info_counts_what_is_there(face: ModuleType, opend: Simulator, cache: Path) -> None:
    with face.Client(opend.host, opend.port, mode="refresh", cache=cache) as client:
        first = client.get_page("HK.00700", num=50)
        client.get_page("HK.00700", first.next, num=50)
        cursor = first.records[24].timestamp
        client.get_page("HK.00700", str(cursor), num=50)  # 25 rows of each of the pages before
        client.get_page("US.AAPL", num=50)
        opend.universe.publish("US.AAPL")
        last = client.get_page("US.AAPL", num=50)
    told = overview.info(cache)
    assert (told.symbols, told.pages, told.versions, told.rows) == (2, 4, 5, 151)
    assert (told.path, told.bytes) == (cache, cache.stat().st_size)
    assert (told.oldest, told.newest) == (first.fetched_at, last.fetched_at)


def test_a_cursor_of_another_kind_of_text_is_the_same_cursor(face: ModuleType, opend: Simulator, cache: Path) -> None:
    class Text(str):
        def __repr__(self) -> str:
            return "?"

    with face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        following = client.get_page("HK.00700", num=50).next
        pages = [client.get_page("HK.00700", kind(following), num=50) for kind in (np.str_, Text, str)]
    assert [page.source for page in pages] == ["opend", "cache", "cache"]
    assert len(opend.requests) == 2
    assert list(upkeep.verify(cache)) == []


def test_a_cursor_that_nobody_sent_costs_one_request(face: ModuleType, opend: Simulator, cache: Path) -> None:
    with face.Client(opend.host, opend.port, mode="online", cache=cache) as client:
        client.sync(["HK.00700"])
        opend.requests.clear()
        client.get_page("HK.00700", "1700000000", num=10)
    assert [(request.next_key, request.num) for request in opend.requests] == [("1700000000", 10)]
