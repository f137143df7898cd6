"""A quote context's answers as plain data, and a process that gives those of a published client.

    python client.py futu

Each line on stdin is a job: `{"host": …, "port": …, "call": "walk", "arguments": {…}}`, a call by its name in `CALLS`.
It runs on a context of its own, encrypted if `rsa_key` is among the arguments; the answer goes out as a line of JSON.
The calls take any quote context: the tests run them on ours too.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import traceback
from contextlib import closing
from typing import Any

MAX_PAGES = 1000


def state(context: Any) -> Any:
    """What `get_global_state` gives."""
    return context.get_global_state()


def page(context: Any, *arguments: Any, kind: str = "short_interest", **named: Any) -> dict[str, Any]:
    """One call of `get_short_interest`, or of another kind's."""
    ret, us, hk = getattr(context, f"get_{kind}")(*arguments, **named)
    if ret != 0:
        return {"ret": ret, "text": us, "third": hk}
    frames = {"us": us, "hk": hk}
    dtypes = {market: {name: str(dtype) for name, dtype in frame.dtypes.items()} for market, frame in frames.items()}
    return {"ret": ret, **{market: _plain(frame) for market, frame in frames.items()}, "dtypes": dtypes}


def walk(context: Any, code: str, **named: Any) -> list[dict[str, Any]]:
    """The pages from the newest to the end, by the cursors that the frames carry."""
    pages: list[dict[str, Any]] = []
    next_key = ""
    while next_key != "-1":
        assert len(pages) < MAX_PAGES, "the walk does not end"
        answer = page(context, code, next_key, **named)
        assert answer["ret"] == 0, answer
        pages.append(answer)
        next_key = answer["hk"]["attrs"]["next_key"]
    return pages


CALLS = {call.__name__: call for call in (state, page, walk)}


def _plain(frame: Any) -> dict[str, Any]:
    """A frame without pandas; what is missing is None, whatever stands for it in its column."""
    columns = [
        [None if missing else value for value, missing in zip(column.tolist(), column.isna(), strict=True)]
        for _, column in frame.items()
    ]
    return {
        "columns": list(frame.columns),
        "rows": [list(row) for row in zip(*columns, strict=True)],
        "attrs": frame.attrs,
    }


def main(brand: str) -> None:
    """Answer jobs until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # the published clients log on stdout
    client = importlib.import_module(brand)
    for line in sys.stdin:
        job = json.loads(line)
        rsa_key = job["arguments"].pop("rsa_key", "")
        # For all contexts of the process; while a file is named, InitConnect is encrypted whatever `is_encrypt` says.
        client.SysConfig.set_init_rsa_file(rsa_key)
        with closing(client.OpenQuoteContext(job["host"], job["port"], is_encrypt=bool(rsa_key))) as context:
            answer = CALLS[job["call"]](context, **job["arguments"])
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    code = 0
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # the client's threads would keep the process
