"""One contender: a process that makes a call as often as it is told and answers with the seconds each took.

Run by `harness`, which writes `case count` lines to its standard input. `published` is the published client as its
documentation uses it, `ours` this package, `peers` other caches, `floor` the least that the same answer takes in
Python: bare sockets, bare SQLite, protobuf's own decoding, one DataFrame.
"""

from __future__ import annotations

import functools
import importlib
import io
import itertools
import json
import os
import resource
import socket
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import pandas as pd

    import futu_si
    from opend_si_schema.calls import Kind

CODE = "HK.00700"
DAILY: Final = "daily_short_volume"


def code_of(number: int) -> str:
    """The symbol of a number."""
    return f"HK.{number:05d}"


# Symbols of which all is recorded (`panel.make`), and such as nobody has asked for yet: each of those is asked for
# once.
MANY = tuple(code_of(number) for number in range(1000))
OTHERS = tuple(code_of(number) for number in range(1001, 1401))
# How many of them are asked for in turn: few, and more than a client of before remembered.
TURNS = (17, 100)
# The cache that `ours` records and `floor` reads, and the one that `floor` writes.
CACHE, FLOOR_CACHE = "bench.sqlite3", "floor.sqlite3"

Call = Callable[[], Any]


def published(host: str, port: int) -> dict[str, Call]:
    """The published client: each page is asked for, and whoever wants a history joins the frames."""
    import futu
    import pandas as pd

    context = futu.OpenQuoteContext(host=host, port=port)

    def page(num: int) -> None:
        ret, _, frame = context.get_short_interest(CODE, num=num)
        if ret != futu.RET_OK or len(frame) != num:
            raise RuntimeError(frame)

    def walk(ask: Callable[..., Any] = context.get_short_interest, **size: int) -> None:
        next_key, frames = None, []
        while next_key != "-1":
            ret, _, frame = ask(CODE, next_key=next_key, **size)
            if ret != futu.RET_OK:
                raise RuntimeError(frame)
            next_key = frame.attrs["next_key"]
            frames.append(frame)
        pd.concat(frames, ignore_index=True)

    return {
        "page-10": lambda: page(10),
        "page-50": lambda: page(50),
        "walk": lambda: walk(num=50),
        "daily-walk": lambda: walk(context.get_daily_short_volume, num=50),
        "loop": walk,
        "limit": lambda: context.get_short_interest(CODE, num=50),
    }


def ours(host: str, port: int) -> dict[str, Call]:
    """This package; pages by the call that the broker documents."""
    import futu_si

    cache = Path(os.environ["HOME"], CACHE)
    live = futu_si.OpenQuoteContext(host, port, mode="bypass")
    recorded = futu_si.OpenQuoteContext(host, port, cache=cache, max_age=None)
    live_client = futu_si.Client(host, port, mode="bypass")
    recorded_client = futu_si.Client(host, port, cache=cache, max_age=None)
    refreshing_client = futu_si.Client(host, port, cache=cache, max_age=0)
    others = iter(OTHERS)
    # Days before every row: each asks for all of them, and for what nobody has asked for yet.
    days = (date(1990, 1, 1) + timedelta(days) for days in itertools.count())

    def page(context: futu_si.OpenQuoteContext, num: int, code: str = CODE) -> None:
        ret, _, frame = context.get_short_interest(code, num=num)
        if ret != futu_si.RET_OK or frame is None or len(frame) != num:
            raise RuntimeError(frame)

    def anew() -> None:
        # What a new process finds: nothing is kept in memory.
        with futu_si.OpenQuoteContext(host, port, cache=cache, max_age=None) as context:
            page(context, 50)

    def history(client: futu_si.Client, code: str = CODE, kind: Kind = "short_interest") -> None:
        if client.history(code, kind=kind).empty:
            raise RuntimeError(code)

    def history_asked_first() -> None:
        if recorded_client.history(CODE, start=next(days)).empty:
            raise RuntimeError(CODE)

    def history_anew() -> None:
        with futu_si.Client(host, port, cache=cache, max_age=None) as client:
            history(client)

    def sync(code: str) -> None:
        report = refreshing_client.sync([code])
        if not report.ok or not report.requests:
            raise RuntimeError(report)

    def one_panel() -> None:
        if recorded_client.panel([CODE]).empty:
            raise RuntimeError(CODE)

    def loop() -> None:
        # The sample's loop, with its default page, on a cold record.
        path = Path(os.environ["HOME"], "loop.sqlite3")
        path.unlink(missing_ok=True)
        with futu_si.OpenQuoteContext(host, port, cache=path) as context:
            next_key = None
            while next_key != "-1":
                ret, _, frame = context.get_short_interest(CODE, next_key=next_key)
                if ret != futu_si.RET_OK or frame is None:
                    raise RuntimeError(frame)
                next_key = frame.attrs["next_key"]

    return {
        "page-10": lambda: page(live, 10),
        "page-50": lambda: page(live, 50),
        "recorded-page": lambda: page(recorded, 50),
        "recorded-page-anew": anew,
        "walk": lambda: history(live_client),
        "recorded-walk": lambda: history(recorded_client),
        "recorded-walk-first": history_asked_first,
        "recorded-walk-anew": history_anew,
        "refresh": lambda: history(refreshing_client),
        "daily-walk": lambda: history(live_client, kind=DAILY),
        "daily-recorded-walk": lambda: history(recorded_client, kind=DAILY),
        "daily-refresh": lambda: history(refreshing_client, kind=DAILY),
        "fetched-page": lambda: page(recorded, 50, next(others)),
        "fetched-walk": lambda: history(recorded_client, next(others)),
        "sync": lambda: sync(CODE),
        "sync-next": lambda: sync(next(others)),
        "panel": one_panel,
        "loop": loop,
        **_ours_of_many(recorded_client, cache),
    }


def _ours_of_many(client: futu_si.Client, cache: Path) -> dict[str, Call]:
    """Calls on a record of many symbols."""
    from opend_si.history import overview

    def turn(codes: Iterator[str]) -> None:
        if client.history(next(codes)).empty:
            raise RuntimeError("no rows")

    def sync() -> None:
        report = client.sync(MANY)
        if not report.ok or report.requests or len(report) != len(MANY):
            raise RuntimeError(report)

    def screen() -> None:
        if len(client.screen(market="HK", top=len(MANY))) != len(MANY):
            raise RuntimeError("not every symbol has a latest row")

    turns = {count: itertools.cycle(MANY[:count]) for count in TURNS}
    return {
        **{f"turn-{count}": functools.partial(turn, codes) for count, codes in turns.items()},
        "sync-many": sync,
        "screen": screen,
        "info": lambda: overview.info(cache),
    }


def floor(host: str, port: int) -> dict[str, Call]:
    """The same answers with nothing looked at twice: no checks, no errors, no versions, one table."""
    import pandas as pd

    from opend_si.pages import PageKey
    from opend_si.wire.framing import HEADER, Frame, encode_frame
    from opend_si.wire.session import Session
    from opend_si_schema.calls import SHORT_INTEREST

    table = PageKey.check(SHORT_INTEREST, CODE).table
    link = socket.create_connection((host, port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    select_all = "SELECT bytes FROM page JOIN body ON id = body WHERE protocol = ? AND symbol = ? AND superseded_at = 0"
    select_page = f"{select_all} AND next_key = '' AND num = 50"
    owner = (SHORT_INTEREST.proto_id, CODE)
    others = iter(OTHERS)

    def exchange(request: bytes) -> bytes:
        link.sendall(request)
        reply = link.recv(1 << 16)
        while len(reply) < HEADER.size + HEADER.unpack_from(reply)[5]:
            reply += link.recv(1 << 16)
        return reply[HEADER.size :]

    def ask(num: int, cursor: str | None = None, code: str = CODE) -> bytes:
        key = PageKey.check(SHORT_INTEREST, code, cursor, num)
        return exchange(encode_frame(Frame(SHORT_INTEREST.proto_id, 2, key.request())))

    @functools.cache
    def record() -> sqlite3.Connection:
        return sqlite3.connect(f"file:{Path(os.environ['HOME'], CACHE)}?mode=ro", uri=True, isolation_level=None)

    @functools.cache
    def own_record() -> sqlite3.Connection:
        connection = sqlite3.connect(Path(os.environ["HOME"], FLOOR_CACHE), isolation_level=None)
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE IF NOT EXISTS page (body BLOB)")
        return connection

    def keep(body: bytes) -> bytes:
        own_record().execute("INSERT INTO page VALUES (?)", (body,))  # a transaction
        return body

    def build(bodies: Sequence[bytes]) -> str:
        items: list[Any] = []
        for body in bodies:
            s2c = SHORT_INTEREST.response.FromString(body).s2c
            items += getattr(s2c, table.list_field)
        pd.DataFrame({column.name: [getattr(item, column.field) for item in items] for column in table.columns})
        return str(s2c.nextKey)

    def walk(code: str = CODE, done: Callable[[bytes], bytes] = bytes) -> None:
        bodies, cursor = [], None
        while cursor != "-1":
            bodies.append(done(ask(50, cursor, code)))
            cursor = SHORT_INTEREST.response.FromString(bodies[-1]).s2c.nextKey
        build(bodies)

    exchange(Session().hello()[1])
    return {
        "page-10": lambda: build([ask(10)]),
        "page-50": lambda: build([ask(50)]),
        "recorded-page": lambda: build([record().execute(select_page, owner).fetchone()[0]]),
        "walk": walk,
        "fetched-page": lambda: build([keep(ask(50, code=next(others)))]),
        "fetched-walk": lambda: walk(next(others), keep),
        "recorded-walk": lambda: build([body for (body,) in record().execute(select_all, owner)]),
        "refresh": lambda: build([ask(50), *(body for (body,) in record().execute(select_all, owner))]),
        **_floor_of_many(record, build),
    }


def _floor_of_many(
    record: Callable[[], sqlite3.Connection], build: Callable[[Sequence[bytes]], str]
) -> dict[str, Call]:
    from opend_si_schema.calls import SHORT_INTEREST

    select_all = "SELECT bytes FROM page JOIN body ON id = body WHERE protocol = ? AND symbol = ? AND superseded_at = 0"
    select_heads = "SELECT bytes FROM page JOIN body ON id = body WHERE next_key = '' AND superseded_at = 0"
    select_seal = "SELECT digest FROM seal WHERE protocol = ? AND symbol = ?"
    select_sums = "SELECT count(*), count(DISTINCT symbol), sum(size), min(fetched_at), max(fetched_at) FROM page"

    def bodies(code: str) -> list[bytes]:
        return [body for (body,) in record().execute(select_all, (SHORT_INTEREST.proto_id, code))]

    def turn(codes: Iterator[str]) -> None:
        build(bodies(next(codes)))

    def sync() -> None:
        for code in MANY:
            record().execute(select_seal, (SHORT_INTEREST.proto_id, code)).fetchone()

    def screen() -> None:
        build([body for (body,) in record().execute(select_heads)])

    turns = {count: itertools.cycle(MANY[:count]) for count in TURNS}
    return {
        **{f"turn-{count}": functools.partial(turn, codes) for count, codes in turns.items()},
        "sync-many": sync,
        "screen": screen,
        "info": lambda: record().execute(select_sums).fetchone(),
    }


def is_installed(name: str) -> bool:
    """Whether a peer can be imported."""
    from importlib.util import find_spec

    return find_spec(name.replace("-", "_")) is not None


def peers(host: str, port: int) -> dict[str, Call]:
    """A hit of each installed peer's cache, which has the page already."""
    import futu_si

    with futu_si.OpenQuoteContext(host, port, mode="bypass") as context:
        ret, _, frame = context.get_short_interest(CODE, num=50)
    if ret != futu_si.RET_OK or frame is None:
        raise RuntimeError(frame)
    home = Path(os.environ["HOME"])
    return {name: make(home / name, frame) for name, make in PEERS.items() if is_installed(name)}


def _diskcache(folder: Path, frame: pd.DataFrame) -> Call:
    diskcache = importlib.import_module("diskcache")

    cache = diskcache.Cache(str(folder))
    cache.set(CODE, frame)
    return functools.partial(cache.get, CODE)


def _joblib(folder: Path, frame: pd.DataFrame) -> Call:
    joblib = importlib.import_module("joblib")

    def page(code: str, num: int) -> pd.DataFrame:
        if (code, num) != (CODE, 50):
            raise RuntimeError(code)
        return frame

    return functools.partial(joblib.Memory(str(folder), verbose=0).cache(page), CODE, 50)


def _requests_cache(folder: Path, frame: pd.DataFrame) -> Call:
    import http.server  # here, for the other contenders' imports are measured
    import threading

    import pandas as pd

    requests_cache = importlib.import_module("requests_cache")

    body = frame.to_json(orient="records").encode()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    session = requests_cache.CachedSession(str(folder), backend="sqlite")
    url = f"http://127.0.0.1:{server.server_port}/{CODE}"
    session.get(url)
    server.shutdown()  # whatever is answered now comes from the cache

    def page() -> pd.DataFrame:
        return pd.read_json(io.StringIO(session.get(url).text), orient="records")

    return page


def _arcticdb(folder: Path, frame: pd.DataFrame) -> Call:
    library = arctic_library(folder)
    library.write(CODE, frame)
    return lambda: library.read(CODE).data


def arctic_library(folder: Path) -> Any:
    """A library of ArcticDB's in a folder; it wants a pandas before 3."""
    arctic = importlib.import_module("arcticdb").Arctic(f"lmdb://{folder}")
    return arctic.get_library("bench", create_if_missing=True)


PEERS: Mapping[str, Callable[[Path, Any], Call]] = {
    "arcticdb": _arcticdb,
    "diskcache": _diskcache,
    "joblib": _joblib,
    "requests-cache": _requests_cache,
}


def main() -> None:
    """Serve `case count` lines until the input ends."""
    name, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers, sys.stdout = sys.stdout, sys.stderr  # the published client prints to stdout
    makers = {"published": published, "ours": ours, "floor": floor, "peers": peers}
    calls = makers[name](host, port)
    for line in sys.stdin:
        case, count = line.split()
        seconds = []
        if case == "peak":
            seconds.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
        else:
            call = calls[case]
            for _ in range(int(count)):
                begin = time.perf_counter()
                call()
                seconds.append(time.perf_counter() - begin)
        print(json.dumps(seconds), file=answers, flush=True)
    os._exit(0)  # the published client's threads would keep the process


if __name__ == "__main__":
    main()
