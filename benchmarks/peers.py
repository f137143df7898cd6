"""Caches that people put in front of a call by hand, and readers of Parquet, where they are installed.

None is needed here.

A page of 50 rows from each cache, as a DataFrame, in turns with a recorded page of this package. What stands in the
column of the floor is the peer's.
"""

from __future__ import annotations

import functools
import http.server
import importlib
import importlib.util
import io
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.contenders import CODE, Call
from benchmarks.figures import Figure, times
from benchmarks.harness import OpenD, calls_in_turns, contenders, new_home

if TYPE_CHECKING:
    import pandas as pd

_ROUNDS, _CALLS = 20, 50


def peers(environ: Mapping[str, str], notes: list[str]) -> Iterator[Figure]:
    """A recorded page against each peer's; a note names those that are not installed."""
    with (
        OpenD() as opend,
        new_home(environ) as own,
        contenders(("ours", "peers"), opend.host, opend.port, own) as running,
    ):
        for name in PEERS:
            if is_installed(name):
                found = calls_in_turns(running, {"ours": "recorded-page", "peers": name}, _ROUNDS, _CALLS)
                yield times(figure_name(name), None, found["ours"], found["peers"])
    if missing := [name for name in PEERS if not is_installed(name)]:
        notes.append(f"Not installed, so not measured: {', '.join(missing)}.")


def figure_name(peer: str) -> str:
    """How a peer's figure is called."""
    return f"recorded page, against {peer}"


def is_installed(name: str) -> bool:
    """Whether a peer can be imported."""
    return importlib.util.find_spec(name.replace("-", "_")) is not None


def contender(host: str, port: int) -> dict[str, Call]:
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


PEERS: Mapping[str, Callable[[Path, Any], Call]] = {
    "diskcache": _diskcache,
    "joblib": _joblib,
    "requests-cache": _requests_cache,
}
