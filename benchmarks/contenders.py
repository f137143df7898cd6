"""One contender: a process that makes a call as often as it is told and answers with the seconds each took.

Run by `harness`, which writes `case count` lines to its standard input.
"""

import json
import os
import socket
import sys
import time
from collections.abc import Callable
from typing import Any

CODE = "HK.00700"

Call = Callable[[], Any]


def published(host: str, port: int) -> dict[str, Call]:
    """The published client, as its documentation uses it."""
    import futu

    context = futu.OpenQuoteContext(host=host, port=port)

    def page(num: int) -> None:
        ret, _, frame = context.get_short_interest(CODE, num=num)
        if ret != futu.RET_OK or len(frame) != num:
            raise RuntimeError(frame)

    def walk() -> None:
        next_key = None
        while next_key != "-1":
            ret, _, frame = context.get_short_interest(CODE, next_key=next_key, num=50)
            if ret != futu.RET_OK:
                raise RuntimeError(frame)
            next_key = frame.attrs["next_key"]

    return {"page-10": lambda: page(10), "page-50": lambda: page(50), "walk": walk}


def ours(host: str, port: int) -> dict[str, Call]:
    """This package's drop-in call, frames made."""
    import futu_si

    live = futu_si.OpenQuoteContext(host, port, mode="bypass")
    recorded = futu_si.OpenQuoteContext(host, port, mode="online", max_age=None)

    live_client = futu_si.Client(host, port, mode="bypass")
    recorded_client = futu_si.Client(host, port, mode="online", max_age=None)

    def history(client: futu_si.Client) -> None:
        if client.history(CODE).empty:
            raise RuntimeError(CODE)

    def page(context: futu_si.OpenQuoteContext, num: int) -> None:
        ret, _, frame = context.get_short_interest(CODE, num=num)
        if ret != futu_si.RET_OK or frame is None or len(frame) != num:
            raise RuntimeError(frame)

    return {
        "page-10": lambda: page(live, 10),
        "page-50": lambda: page(live, 50),
        "recorded-50": lambda: page(recorded, 50),
        "walk": lambda: history(live_client),
        "recorded-walk": lambda: history(recorded_client),
    }


def floor(host: str, port: int) -> dict[str, Call]:
    """What no Python client can go below: the same bytes over a bare blocking socket, nothing decoded."""
    from opend_si.pages import PageKey
    from opend_si.wire.framing import HEADER, Frame, encode_frame
    from opend_si.wire.session import Session
    from opend_si_schema.calls import SHORT_INTEREST

    link = socket.create_connection((host, port))
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def exchange(request: bytes) -> None:
        link.sendall(request)
        reply = link.recv(1 << 16)
        while len(reply) < HEADER.size + HEADER.unpack_from(reply)[5]:
            reply += link.recv(1 << 16)

    exchange(Session().hello()[1])
    requests = {
        f"page-{num}": encode_frame(
            Frame(SHORT_INTEREST.proto_id, 2, PageKey.check(SHORT_INTEREST, CODE, num=num).request())
        )
        for num in (10, 50)
    }
    return {case: lambda request=request: exchange(request) for case, request in requests.items()}  # type: ignore[misc]


def main() -> None:
    """Serve `case count` lines until the input ends."""
    name, host, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
    answers, sys.stdout = sys.stdout, sys.stderr  # the published client prints to stdout
    calls = {"published": published, "ours": ours, "floor": floor}[name](host, port)
    for line in sys.stdin:
        case, count = line.split()
        call = calls[case]
        seconds = []
        for _ in range(int(count)):
            begin = time.perf_counter()
            call()
            seconds.append(time.perf_counter() - begin)
        print(json.dumps(seconds), file=answers, flush=True)
    os._exit(0)  # the published client's threads would keep the process


if __name__ == "__main__":
    main()
