"""Held against the published clients: what futu-api and moomoo-api give on the simulator, our faces give too.

The real clients connect to the simulator. A walk asks the same of OpenD and gives the same values, columns and cursors
page by page; refusals come back alike, ours with advice beside OpenD's text; the broker's documented sample prints the
documented rows. Dtypes are the published client's where its rows are complete, and stay so where they are not and where
there are none.
"""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Timer
from types import ModuleType
from typing import Any

import pandas as pd
import pytest

from opend_si.pages.named import call_of
from opend_si.simulator import Fault, Simulator, Universe, faults
from opend_si.simulator.server import CursorStyle
from opend_si.simulator.universe import WITHOUT_ROWS
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Rate
from tests.conftest import FACES
from tests.simulator import published as client

# Seconds until a process counts as stuck: a published client that cannot connect never gives up.
LIMIT = 60

# The sample and its output, as the broker's page has them but for the import and the port.
SAMPLE = """\
from {face} import *
quote_ctx = OpenQuoteContext(host='127.0.0.1', port={port})
ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")
if ret == RET_OK:
    print(hk_df)
else:
    print('error:', hk_df)
quote_ctx.close()
"""
SAMPLE_OUTPUT = """\
timestamp timestamp_str aggregated_short aggregated_short_ratio close_price last_close_price
0 1777478400 2026-04-30 51480638 0.56 467.8 479.2
1 1776960000 2026-04-24 51888755 0.56 493.4 495.2
2 1776355200 2026-04-17 47974208 0.52 510.5 517.0
3 1775750400 2026-04-10 48424833 0.53 504.5 508.5
4 1775059200 2026-04-02 49982828 0.54 489.2 496.6
5 1774540800 2026-03-27 52744147 0.57 493.4 495.6
6 1773936000 2026-03-20 51710854 0.56 508.0 513.0
7 1773331200 2026-03-13 48105325 0.52 547.5 546.5
8 1772726400 2026-03-06 42404275 0.46 519.0 502.0
9 1772121600 2026-02-27 36037870 0.39 518.0 512.0
"""

# How pandas calls texts: 2 has no type for them by default.
TEXT = "str" if pd.__version__ >= "3" else "object"
# The documented columns in the published client's order: dtype, and field of the proto.
COLUMNS = {
    "us": {
        "timestamp": ("int64", "timestamp"),
        "timestamp_str": (TEXT, "timestampStr"),
        "shares_short": ("int64", "sharesShort"),
        "short_percent": ("float64", "shortPercent"),
        "avg_daily_share_volume": ("int64", "avgDailyShareVolume"),
        "days_to_cover": ("float64", "daysToCover"),
        "close_price": ("float64", "closePrice"),
        "last_close_price": ("float64", "lastClosePrice"),
    },
    "hk": {
        "timestamp": ("int64", "timestamp"),
        "timestamp_str": (TEXT, "timestampStr"),
        "aggregated_short": ("int64", "aggregatedShort"),
        "aggregated_short_ratio": ("float64", "aggregatedShortRatio"),
        "close_price": ("float64", "closePrice"),
        "last_close_price": ("float64", "lastClosePrice"),
    },
}
DTYPES = {market: {name: dtype for name, (dtype, _) in columns.items()} for market, columns in COLUMNS.items()}

KINDS = [call.name for call in CALLS]

Answer = dict[str, Any]


class Published:
    """A published client in a process of its own."""

    def __init__(self, process: subprocess.Popen[str], log: Path) -> None:
        self._process, self._log = process, log

    def ask(self, opend: Simulator, call: Callable[..., Any], **arguments: Any) -> Any:
        """What a call of `tests.published.client` gives with this client."""
        job = {"host": opend.host, "port": opend.port, "call": call.__name__, "arguments": arguments}
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with time_limit(self._process):
            with suppress(BrokenPipeError):
                print(json.dumps(job), file=self._process.stdin, flush=True)
            answer = self._process.stdout.readline()
        assert answer, f"the published client has ended:\n{self._log.read_text()[-2000:]}"
        return json.loads(answer)

    def end(self) -> None:
        assert self._process.stdin is not None
        with time_limit(self._process), suppress(BrokenPipeError):
            self._process.stdin.close()
            self._process.wait()


@contextmanager
def time_limit(process: subprocess.Popen[str]) -> Iterator[None]:
    timer = Timer(LIMIT, process.kill)
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.fixture(scope="module", params=FACES)
def face(request: pytest.FixtureRequest) -> ModuleType:
    """Each of the two packages in turn, for the whole file: each published client is started once."""
    return importlib.import_module(request.param)


@pytest.fixture(scope="module")
def published(face: ModuleType, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Published]:
    """The client that `face` stands in for."""
    home = tmp_path_factory.mktemp("home")  # the clients log there
    log = home / "stderr"
    with (
        log.open("w") as stderr,
        subprocess.Popen(
            [sys.executable, client.__file__, face.__name__.removesuffix("_si")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=stderr,
            cwd=home,
            env={**os.environ, "HOME": str(home)},
            encoding="utf-8",
        ) as process,
    ):
        published = Published(process, log)
        yield published
        published.end()


def ask(face: ModuleType, opend: Simulator, call: Callable[..., Any], **arguments: Any) -> Any:
    """What a call of `tests.published.client` gives with our context."""
    with face.OpenQuoteContext(host=opend.host, port=opend.port) as context:
        return call(context, **arguments)


# What frames of ours say besides; the rest of `attrs` is the published client's.
SAID = ("symbol", "market", "kind", "units", "source", "origin", "checked_at")


def values(answer: Answer) -> Answer:
    """All of an answer but its dtypes, and what its frames say of themselves."""
    found = {part: value for part, value in answer.items() if part != "dtypes"}
    for market in COLUMNS:
        if market in found:
            attrs = {name: value for name, value in found[market]["attrs"].items() if name not in SAID}
            found[market] = {**found[market], "attrs": attrs}
    return found


def all_values(answers: list[Answer]) -> list[Answer]:
    return [values(answer) for answer in answers]


def rows(answers: list[Answer]) -> list[list[Any]]:
    return [row for answer in answers for market in COLUMNS for row in answer[market]["rows"]]


def assert_same_refusal(ours: Answer, theirs: Answer) -> None:
    assert (ours["ret"], ours["third"]) == (theirs["ret"], theirs["third"]) == (-1, None)
    assert theirs["text"]
    assert theirs["text"] in ours["text"]


def make_gaps(opend: Simulator, code: str) -> int:
    """Let each of the newest rows lack another field, and one row all but its date. Gives the number of these rows."""
    fields = [field for _, field in COLUMNS[code[:2].lower()].values()]
    lacking = [[field] for field in fields] + [fields[1:]]
    for index, missing in enumerate(lacking):
        nothing: dict[str, Any] = dict.fromkeys(missing)
        opend.universe.revise(code, index, **nothing)
    return len(lacking)


def test_published_client_works_on_the_simulator(published: Published, opend: Simulator) -> None:
    ret, state = published.ask(opend, client.state)
    assert (ret, state["qot_logined"], state["server_ver"]) == (0, True, str(opend.version))
    page = published.ask(opend, client.page, code="HK.00700")
    assert [str(row[0]) for row in page["hk"]["rows"]] == [line.split()[1] for line in SAMPLE_OUTPUT.splitlines()[1:]]
    assert [(seen.symbol, seen.accepted) for seen in opend.requests] == [("HK.00700", True)]


@pytest.mark.parametrize("cursor", ["timestamp", "offset"])
@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
@pytest.mark.parametrize("size", [{}, {"num": 37}, {"num": 50}], ids=["default", "37", "50"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_walk_asks_and_gives_what_the_published_clients_does(
    face: ModuleType,
    published: Published,
    start: Callable[..., Simulator],
    cursor: CursorStyle,
    code: str,
    size: dict[str, int],
    kind: str,
) -> None:
    # A history of trading days is long; a part of it shows the same.
    opend = start(cursor=cursor, universe=None if kind == "short_interest" else Universe(most_rows=120))
    theirs = published.ask(opend, client.walk, code=code, kind=kind, **size)
    ours = ask(face, opend, client.walk, code=code, kind=kind, **size)
    assert len(rows(theirs)) == len(opend.universe.rows(code, call_of(kind)) or ())
    assert all_values(ours) == all_values(theirs)
    asked = [(seen.symbol, seen.next_key, seen.num) for seen in opend.requests]
    assert asked[len(theirs) :] == asked[: len(theirs)]


@pytest.mark.parametrize("cursor", ["timestamp", "offset"])
@pytest.mark.parametrize("code", WITHOUT_ROWS)
@pytest.mark.parametrize("num", [1, 5, 12])
def test_a_page_size_cuts_a_history_as_it_does_for_the_published_client(
    face: ModuleType,
    published: Published,
    start: Callable[..., Simulator],
    cursor: CursorStyle,
    code: str,
    num: int,
) -> None:
    opend = start(cursor=cursor)
    opend.universe.publish(code, 12)
    theirs = published.ask(opend, client.walk, code=code, num=num)
    assert [len(rows([page])) for page in theirs] == {1: [1] * 12, 5: [5, 5, 2], 12: [12]}[num]
    assert all_values(ask(face, opend, client.walk, code=code, num=num)) == all_values(theirs)


@pytest.mark.parametrize("code", ["HK.00700", "US.BRK.B"])
@pytest.mark.parametrize("next_key", [None, "", "1700000000"])
def test_a_cursor_means_what_it_means_to_the_published_client(
    face: ModuleType, published: Published, opend: Simulator, code: str, next_key: str | None
) -> None:
    arguments = {"code": code, "next_key": next_key, "num": 3}
    theirs = published.ask(opend, client.page, **arguments)
    assert len(rows([theirs])) == 3
    assert values(ask(face, opend, client.page, **arguments)) == values(theirs)


def test_a_reply_without_a_cursor_ends_the_walk_as_it_does_for_the_published_client(
    face: ModuleType, published: Published, opend: Simulator
) -> None:
    opend.faults.extend([faults.next_key(None), faults.next_key(None)])
    theirs = published.ask(opend, client.walk, code="HK.00700")
    assert len(theirs) == 1
    assert all_values(ask(face, opend, client.walk, code="HK.00700")) == all_values(theirs)


@pytest.mark.parametrize("code", WITHOUT_ROWS)
@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_are_the_published_clients_empty_frames(
    face: ModuleType, published: Published, opend: Simulator, code: str, kind: str
) -> None:
    theirs = published.ask(opend, client.page, code=code, kind=kind)
    assert (theirs["ret"], rows([theirs]), theirs["hk"]["attrs"]["next_key"]) == (0, [], "-1")
    assert values(ask(face, opend, client.page, code=code, kind=kind)) == values(theirs)


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
@pytest.mark.parametrize(
    "lacking", [[], ["aggregatedShort"], ["aggregatedShort", "aggregatedShortRatio", "newTimeStr"]]
)
def test_values_beside_the_rows_are_the_published_clients_attrs(
    face: ModuleType, published: Published, opend: Simulator, code: str, lacking: list[str]
) -> None:
    def leave_out(reply: Any) -> None:
        for field in lacking:
            reply.s2c.ClearField(field)

    opend.faults.extend([Fault(alter=leave_out)] * 2)
    theirs = published.ask(opend, client.page, code=code, kind="daily_short_volume")
    assert list(theirs["hk"]["attrs"]) == ["next_key", "aggregated_short", "aggregated_short_ratio", "new_time_str"]
    told = [value for name, value in theirs["hk"]["attrs"].items() if name != "next_key" and value is not None]
    assert len(told) == (3 - len(lacking) if code.startswith("HK") else 0)
    assert values(ask(face, opend, client.page, code=code, kind="daily_short_volume")) == values(theirs)


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
@pytest.mark.parametrize("kind", KINDS)
def test_pages_cut_from_the_record_are_the_published_clients(
    face: ModuleType, published: Published, start: Callable[..., Simulator], tmp_path: Path, code: str, kind: str
) -> None:
    opend = start(universe=Universe(most_rows=120))
    theirs = published.ask(opend, client.walk, code=code, kind=kind)
    opend.requests.clear()
    at = {"mode": "online", "cache": tmp_path / "pages.sqlite3"}
    for again in (True, False):
        with face.OpenQuoteContext(host=opend.host, port=opend.port, **at) as context:
            assert all_values(client.walk(context, code, kind=kind)) == all_values(theirs)
        assert (len(theirs), len(opend.requests)) == (12, 3), again
    with face.OpenQuoteContext(mode="offline", cache=at["cache"]) as context:
        assert all_values(client.walk(context, code, kind=kind)) == all_values(theirs)


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_column_of_every_kind_is_the_published_clients(
    face: ModuleType, published: Published, opend: Simulator, code: str, kind: str
) -> None:
    theirs, ours = (
        published.ask(opend, client.page, code=code, kind=kind),
        ask(face, opend, client.page, code=code, kind=kind),
    )
    for market in ("us", "hk"):
        table = next(table for table in call_of(kind).tables if table.market.prefix == market.upper())
        dtypes = {column.name: TEXT if column.dtype == "str" else column.dtype for column in table.columns}
        assert ours[market]["columns"] == theirs[market]["columns"] == list(dtypes)
        assert ours["dtypes"][market] == dtypes
    assert theirs["dtypes"][code[:2].lower()] == ours["dtypes"][code[:2].lower()]


@pytest.mark.parametrize("code", WITHOUT_ROWS)
@pytest.mark.parametrize("num", [1, 5, 12])
def test_a_value_that_was_not_sent_is_missing_as_in_the_published_clients_frames(
    face: ModuleType, published: Published, start: Callable[..., Simulator], code: str, num: int
) -> None:
    opend = start(cursor="offset")  # a row without a timestamp gives no other cursor
    opend.universe.publish(code, 12)
    gaps = make_gaps(opend, code)
    theirs = published.ask(opend, client.walk, code=code, num=num)
    assert sum(None in row for row in rows(theirs)) == gaps
    assert all_values(ask(face, opend, client.walk, code=code, num=num)) == all_values(theirs)


def test_a_zero_that_was_sent_is_a_zero_as_in_the_published_clients_frames(
    face: ModuleType, published: Published, opend: Simulator
) -> None:
    opend.universe.revise("HK.00700", 0, timestamp=0, timestampStr="", aggregatedShort=0, aggregatedShortRatio=0.0)
    theirs = published.ask(opend, client.page, code="HK.00700")
    assert rows([theirs])[0][:4] == [0, "", 0, 0.0]
    assert values(ask(face, opend, client.page, code="HK.00700")) == values(theirs)


@pytest.mark.parametrize(("code", "market"), [("HK.00700", "hk"), ("US.AAPL", "us")])
def test_complete_rows_have_the_published_clients_dtypes(
    face: ModuleType, published: Published, opend: Simulator, code: str, market: str
) -> None:
    theirs = published.ask(opend, client.page, code=code)
    ours = ask(face, opend, client.page, code=code)
    assert ours["dtypes"][market] == theirs["dtypes"][market] == DTYPES[market]


@pytest.mark.parametrize("code", ["HK.00700", "US.AAPL", *WITHOUT_ROWS])
def test_an_empty_frame_is_typed_like_a_full_one(face: ModuleType, opend: Simulator, code: str) -> None:
    assert ask(face, opend, client.page, code=code)["dtypes"] == DTYPES


@pytest.mark.parametrize(("code", "market"), [("HK.00700", "hk"), ("US.AAPL", "us")])
@pytest.mark.parametrize("num", [1, 3, 10])
def test_a_missing_integer_makes_its_column_nullable_and_no_other(
    face: ModuleType, opend: Simulator, code: str, market: str, num: int
) -> None:
    make_gaps(opend, code)
    page = ask(face, opend, client.page, code=code, num=num)
    columns = zip(*page[market]["rows"], strict=True)
    expected = {
        name: "Int64" if dtype == "int64" and None in column else dtype
        for (name, dtype), column in zip(DTYPES[market].items(), columns, strict=True)
    }
    assert "Int64" in expected.values()
    assert page["dtypes"][market] == expected


def test_an_integer_beside_a_missing_one_stays_exact(face: ModuleType, opend: Simulator) -> None:
    opend.universe.revise("US.AAPL", 0, sharesShort=2**53 + 1)  # one more than a float64 can tell from 2**53
    opend.universe.revise("US.AAPL", 1, sharesShort=None)
    page = ask(face, opend, client.page, code="US.AAPL", num=2)
    assert [row[2] for row in rows([page])] == [2**53 + 1, None]


@pytest.mark.parametrize(
    "arguments",
    [{"code": "HK.99999"}, {"code": "US.NOSUCH"}],  # a malformed cursor is refused before it is sent
    ids=["HK.99999", "US.NOSUCH"],
)
def test_what_opend_refuses_is_refused_as_the_published_client_does(
    face: ModuleType, published: Published, opend: Simulator, arguments: dict[str, Any]
) -> None:
    theirs = published.ask(opend, client.page, **arguments)
    assert_same_refusal(ask(face, opend, client.page, **arguments), theirs)


@pytest.mark.parametrize(
    ("text", "ret_type"), [("无权限获取行情", -1), ("NN_ProtoRet_TimeOut", -100), ("Whatever it is", -400)]
)
def test_opends_text_is_in_ours_whatever_it_is(
    face: ModuleType, published: Published, opend: Simulator, text: str, ret_type: int
) -> None:
    opend.faults.extend([faults.refuse(text, ret_type), faults.refuse(text, ret_type)])
    theirs = published.ask(opend, client.page, code="HK.00700")
    assert theirs["text"] == text
    assert_same_refusal(ask(face, opend, client.page, code="HK.00700"), theirs)


def test_the_rate_limit_is_refused_as_the_published_client_does(
    face: ModuleType, published: Published, start: Callable[..., Simulator]
) -> None:
    opend = start(rate=Rate(2, 30.0))
    for _ in range(2):
        assert published.ask(opend, client.page, code="HK.00700")["ret"] == 0
    theirs = published.ask(opend, client.page, code="HK.00700")
    assert_same_refusal(ask(face, opend, client.page, code="HK.00700"), theirs)
    assert [seen.accepted for seen in opend.requests] == [True, True, False, False]


@pytest.mark.parametrize(
    "arguments",
    [
        {"code": None},
        {"code": "00700"},
        {"code": "HK."},
        {"code": "SH.600000"},
        {"code": "HK.00700", "num": 0},
        {"code": "HK.00700", "num": 51},
        {"code": "HK.00700", "next_key": "-1"},
    ],
    ids=lambda arguments: "-".join(map(str, arguments.values())),
)
def test_a_wrong_argument_is_an_error_as_with_the_published_client_and_costs_no_request(
    face: ModuleType, published: Published, opend: Simulator, arguments: dict[str, Any]
) -> None:
    theirs = published.ask(opend, client.page, **arguments)
    spent = len(opend.requests)
    ours = ask(face, opend, client.page, **arguments)
    assert (ours["ret"], ours["third"]) == (theirs["ret"], theirs["third"]) == (-1, None)
    assert len(opend.requests) == spent


def test_the_documented_sample_prints_the_documented_rows(
    face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "120")  # pandas leaves columns out where the terminal is narrow
    script = tmp_path / "sample.py"
    script.write_text(SAMPLE.format(face=face.__name__, port=opend.port), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, str(script)], cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=LIMIT, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert [line.split() for line in done.stdout.splitlines()] == [line.split() for line in SAMPLE_OUTPUT.splitlines()]
