"""A published client at work, in a process of its own: a line of JSON on stdin is a job, its answer a line on stdout.

    python published.py futu

The first job opens a quote context, which stays for those that follow. `make` gives the bodies that an OpenD would send
for calls and pushes which the simulator does not know, written with the client's own messages.
"""

from __future__ import annotations

import importlib
import json
import os
import queue
import sys
import time
import traceback
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[2]))

from tests.simulator.published import page, state, walk

SYMBOL = {"market": 1, "code": "00700"}
DAYS = ["2026-11-24", "2026-11-25"]
# Seconds until a push counts as lost.
PATIENCE = 40


class Client:
    """A quote context, and the pushes that came to it."""

    def __init__(self, brand: str) -> None:
        self.brand = brand
        self.module = importlib.import_module(brand)
        self.pushes: queue.Queue[Any] = queue.Queue()
        self.context: Any = None

    def open(self, host: str, port: int, rsa_key: str = "", is_json: bool = False) -> bool:
        module = self.module
        module.SysConfig.set_init_rsa_file(rsa_key)
        if is_json:
            module.SysConfig.set_proto_fmt(module.ProtoFMT.Json)
        pushes = self.pushes

        class Quotes(module.StockQuoteHandlerBase):  # type: ignore[name-defined, misc]
            def on_recv_rsp(self, response: Any) -> Any:
                ret, rows = super().on_recv_rsp(response)
                pushes.put(float(rows["last_price"].iloc[0]) if ret == 0 else str(rows))
                return ret, rows

        self.context = module.OpenQuoteContext(host, port, is_encrypt=bool(rsa_key))
        self.context.set_handler(Quotes())
        return True

    def close(self) -> bool:
        self.context.close()
        return True

    def state(self) -> Any:
        return state(self.context)

    def page(self, **named: Any) -> Any:
        return page(self.context, **named)

    def walk(self, **named: Any) -> Any:
        return walk(self.context, **named)

    def walk_patiently(self, **named: Any) -> Any:
        """A walk that begins again until it comes to its end, and the seconds that took."""
        begun = time.monotonic()
        while time.monotonic() - begun < PATIENCE:
            try:
                return [walk(self.context, **named), time.monotonic() - begun]
            except AssertionError:
                time.sleep(0.1)
        return [None, time.monotonic() - begun]

    def subscribe(self) -> Any:
        ret, text = self.context.subscribe(["HK.00700"], [self.module.SubType.QUOTE])
        return [ret, text]

    def pushed(self, count: int) -> list[Any]:
        """The prices of so many pushes."""
        return [self.pushes.get(timeout=PATIENCE) for _ in range(count)]

    def trading_days(self) -> Any:
        ret, days = self.context.request_trading_days("HK", start=DAYS[0], end=DAYS[1])
        return [ret, days if ret else [day["time"] for day in days]]

    def trade(self, host: str, port: int) -> Any:
        """What a trade context is told."""
        context = self.module.OpenSecTradeContext(host=host, port=port)
        try:
            ret, text = context.get_acc_list()
            return [ret, text if ret else "accounts"]
        finally:
            context.close()

    def make(self, price: float, is_json: bool = False) -> dict[str, str]:
        """Bodies as hexadecimal digits: replies to Sub and RequestTradeDate, a quote that is pushed."""
        pb = f"{self.brand}.common.pb"
        sub = importlib.import_module(f"{pb}.Qot_Sub_pb2").Response(retType=0, retMsg="", errCode=0)
        days = importlib.import_module(f"{pb}.Qot_RequestTradeDate_pb2").Response(retType=0, retMsg="", errCode=0)
        for day in DAYS:
            days.s2c.tradeDateList.add(time=day, timestamp=0.0, tradeDateType=0)
        quote = importlib.import_module(f"{pb}.Qot_UpdateBasicQot_pb2").Response(retType=0, retMsg="", errCode=0)
        row = quote.s2c.basicQotList.add()
        row.security.market, row.security.code = 1, "00700"
        row.isSuspended, row.listTime, row.updateTime = False, "2004-06-16", "2026-11-25 16:08:00"
        for name in ("priceSpread", "highPrice", "openPrice", "lowPrice", "lastClosePrice"):
            setattr(row, name, 1.0)
        row.curPrice, row.volume = price, 1
        row.turnover = row.turnoverRate = row.amplitude = 1.0
        made = {"3001": sub, "3219": days, "3005": quote}
        return {name: self._body(message, is_json).hex() for name, message in made.items()}

    def _body(self, message: Any, is_json: bool) -> bytes:
        if not is_json:
            return bytes(message.SerializeToString())
        from google.protobuf.json_format import MessageToJson

        return MessageToJson(message).encode()


def main(brand: str) -> None:
    """Do jobs until stdin ends."""
    answers, sys.stdout = sys.stdout, sys.stderr  # the published clients log on stdout
    client = Client(brand)
    for line in sys.stdin:
        name, named = json.loads(line)
        print(json.dumps(getattr(client, name)(**named)), file=answers, flush=True)


if __name__ == "__main__":
    code = 0
    try:
        main(*sys.argv[1:])
    except BaseException:
        traceback.print_exc()
        code = 1
    sys.stderr.flush()
    os._exit(code)  # the client's threads would keep the process
