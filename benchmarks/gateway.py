"""`python -m benchmarks.gateway`: what a gateway costs and what it saves, against the same server in the same run.

The gateways are processes of their own (`futu-si gateway`), whose processor time, memory and descriptors are read from
/proc: it runs on Linux. The servers and the raw clients are in this process; one case has a published client, in its
own. Each line says what was reached and what it must not exceed; the exit code is 1 if one does.
"""

from __future__ import annotations

import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from opend_si.pages import PageKey
from opend_si.simulator import Simulator, Universe
from opend_si.wire.framing import Frame, encode_frame
from opend_si_schema.calls import SHORT_INTEREST
from tests.gateway import test_published_clients_notice_nothing as real
from tests.gateway.raw import Asker, HeldOpenD

CODE = "HK.00700"
PAGE = SHORT_INTEREST.proto_id
MB = 1 << 20
_CLIENTS, _MANY, _WALKS = 50, 200, 5
_ROUNDS, _TURNS = 300, 5
_FRAMES, _FRAME_BYTES = 400_000, 1000
_FLOOD_BYTES = 60 * 1000 * 1000
_TICKS = os.sysconf("SC_CLK_TCK")


# An OpenD that has its only page in memory: nothing answers quicker in Python.
_FROM_MEMORY = f"""
import asyncio
from opend_si.pages import PageKey
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST

opend = Simulator()
opend.account = 7_654_321  # an OpenD's: what is made up is not kept in a gateway's memory
key = PageKey.check(SHORT_INTEREST, {CODE!r}, None, 50)
body = bytes(opend.answer(key.call.proto_id, key.request()).SerializeToString())
opend.others[key.call.proto_id] = lambda _: body
asyncio.run(opend.serve(lambda: print(opend.host, opend.port, sep=":", flush=True)))
"""


class Case:
    """What was measured of one law, and whether it holds."""

    def __init__(self, name: str, reached: str, holds: bool) -> None:
        self.name, self.reached, self.holds = name, reached, holds

    def __str__(self) -> str:
        return f"{'ok  ' if self.holds else 'FAIL'}  {self.name}: {self.reached}"


class Process:
    """A server at work, which has printed its address."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        self._folder = Path("/proc") / str(process.pid)
        self.host, _, port = process.stdout.readline().strip().partition(":")
        self.port = int(port)

    @property
    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = (self._folder / "stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS

    @property
    def memory(self) -> float:
        """MB that are resident."""
        status = (self._folder / "status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    @property
    def descriptors(self) -> int:
        return len(list((self._folder / "fd").iterdir()))


@contextmanager
def gateways(opend: Simulator | HeldOpenD | Process, count: int = 1) -> Iterator[list[Process]]:
    """Gateways of one home in front of a server."""
    with tempfile.TemporaryDirectory() as home, ExitStack() as stack:
        environ = {**os.environ, "OPEND_SI_HOME": home, "OPEND_SI_RATE": "off"}
        script = str(Path(sys.executable).with_name("futu-si"))
        command = [script, "gateway", "--port", "0", "--opend", f"{opend.host}:{opend.port}", "--max-clients", "1000"]
        started = []
        for _ in range(count):
            process = subprocess.Popen(
                command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environ
            )
            stack.callback(process.wait)
            stack.callback(process.terminate)
            started.append(Process(process))
        yield started


def walk(server: Process | Simulator) -> list[bytes]:
    """The bodies of a symbol's pages of 50, from the newest to the end."""
    with Asker(server.host, server.port) as asker:
        return walk_on(asker)


def walk_on(asker: Asker) -> list[bytes]:
    key, bodies = PageKey.check(SHORT_INTEREST, CODE, None, 50), list[bytes]()
    while True:
        asker.ask(PAGE, key.request())
        bodies.append(asker.reply().body)
        next_key = SHORT_INTEREST.response.FromString(bodies[-1]).s2c.nextKey
        if next_key == "-1":
            return bodies
        key = replace(key, next_key=next_key)


def cold(count: int) -> list[Case]:
    """Many clients on one cold symbol: requests at OpenD, and byte parity."""
    with Simulator(Universe(symbols=(CODE,), most_rows=700)) as opend, gateways(opend, count) as started:
        with ThreadPoolExecutor(_CLIENTS) as pool:
            walks = list(pool.map(walk, (started * _CLIENTS)[:_CLIENTS]))
        requests = len(opend.requests)
        direct = walk(opend)
    same = sum(bodies == direct for bodies in walks)
    reached = f"{requests} requests for {len(direct)} pages; {same} of {_CLIENTS} walks byte for byte as direct"
    return [
        Case(
            f"{_CLIENTS} clients, a cold symbol, {count} gateway(s)",
            reached,
            requests == len(direct) and same == _CLIENTS,
        )
    ]


def round_trips() -> list[Case]:
    """A recorded page through the gateway against the same page from a server that has it in memory, each a process."""
    key = PageKey.check(SHORT_INTEREST, CODE, None, 50)
    with ExitStack() as stack:
        server = subprocess.Popen([sys.executable, "-c", _FROM_MEMORY], stdout=subprocess.PIPE, text=True)
        stack.callback(server.wait)
        stack.callback(server.terminate)
        opend = Process(server)
        [gateway] = stack.enter_context(gateways(opend))
        taken: dict[Asker, list[float]] = {
            stack.enter_context(Asker(place.host, place.port)): [] for place in (opend, gateway)
        }
        for _ in range(_TURNS):
            for asker, times in taken.items():
                for _ in range(_ROUNDS):
                    begun = time.perf_counter()
                    asker.ask(PAGE, key.request())
                    asker.reply()
                    times.append((time.perf_counter() - begun) * 1000)
    there, here = (statistics.median(times) for times in taken.values())
    reached = f"{here:.2f} ms, direct {there:.2f}: {here / there:.2f} times"
    return [Case("a recorded page of 50 rows", reached, here < 2 * there)]


def _send(link: socket.socket, block: bytes, times: int) -> None:
    for _ in range(times):
        link.sendall(block)


def passing() -> list[Case]:
    """Pushes of 1 KB: frames a second, and the gateway's processor time for each."""
    with closing(HeldOpenD()) as opend, gateways(opend) as [gateway], Asker(gateway.host, gateway.port) as asker:
        link, _ = opend.held()
        frame = encode_frame(Frame(3005, 0, bytes(_FRAME_BYTES - 44)))
        block = frame * 1000
        before, begun = gateway.cpu, time.perf_counter()
        flood = threading.Thread(target=_send, args=(link, block, _FRAMES // 1000), daemon=True)
        flood.start()
        left, buffer = len(frame) * _FRAMES, bytearray(1 << 20)
        while left:
            left -= asker.link.recv_into(buffer)
        seconds, cpu = time.perf_counter() - begun, gateway.cpu - before
        flood.join()
    rate, each = _FRAMES / seconds, cpu / _FRAMES * 1e6
    return [Case("passed frames of 1 KB", f"{rate:,.0f} a second, {each:.2f} us each", rate > 100_000 and each < 3)]


def many() -> list[Case]:
    """Many clients that walk several times: no error, and nothing left behind."""
    with Simulator(Universe(symbols=(CODE,), most_rows=700)) as opend, gateways(opend) as [gateway]:
        direct = walk(opend)
        walk(gateway)
        before, memory = gateway.descriptors, gateway.memory
        askers = [Asker(gateway.host, gateway.port) for _ in range(_MANY)]
        at_work, begun = gateway.descriptors, time.perf_counter()
        with ThreadPoolExecutor(_MANY) as pool:
            walks = [bodies for _ in range(_WALKS) for bodies in pool.map(walk_on, askers)]
        seconds, after = time.perf_counter() - begun, gateway.memory
        for asker in askers:
            asker.link.close()
        until = time.monotonic() + 10
        while gateway.descriptors > before and time.monotonic() < until:
            time.sleep(0.05)
        left = gateway.descriptors
    right = sum(bodies == direct for bodies in walks)
    reached = (
        f"{right} of {len(walks)} right in {seconds:.1f} s; descriptors {before}, {at_work}, {left}; "
        f"memory {memory:.0f} to {after:.0f} MB"
    )
    return [Case(f"{_MANY} clients x {_WALKS} walks", reached, right == len(walks) and left <= before)]


def unread() -> list[Case]:
    """A flood that a client does not read, and then does."""
    with closing(HeldOpenD()) as opend, gateways(opend) as [gateway], Asker(gateway.host, gateway.port) as asker:
        link, _ = opend.held()
        count = _FLOOD_BYTES // _FRAME_BYTES
        frames = [encode_frame(Frame(3005, number, bytes(_FRAME_BYTES - 44))) for number in range(count)]
        before = gateway.memory
        flood = threading.Thread(target=link.sendall, args=(b"".join(frames),), daemon=True)
        flood.start()
        flood.join(3)
        grown = gateway.memory - before
        is_held = flood.is_alive()
        in_order = all(asker.reply().serial == number for number in range(count))
        flood.join()
    reached = f"+{grown:.1f} MB, {'held back' if is_held else 'swallowed'}, order {'kept' if in_order else 'lost'}"
    return [Case(f"an unread flood of {_FLOOD_BYTES // 1_000_000} MB", reached, grown < 8 and is_held and in_order)]


def death() -> list[Case]:
    """OpenD dies under a published client, and comes back."""
    with tempfile.TemporaryDirectory() as home, real.process("futu", Path(home)) as ask:
        made = ask("make", price=1.5)
        with ExitStack() as stack:
            with Simulator() as opend:
                real.teach(opend, made)
                [gateway] = stack.enter_context(gateways(opend))
                ask("open", host=gateway.host, port=gateway.port)
                ask("subscribe")
                walked = ask("walk", code=CODE, num=50)
            again, seconds = ask("walk_patiently", code=CODE, num=50)
            with Simulator(port=opend.port) as back:
                real.teach(back, made)
                push: Callable[[bytes], bytes] = back.others[real.SUB]

                def subscribed(body: bytes) -> bytes:
                    back.push(real.QUOTE, bytes.fromhex(made[str(real.QUOTE)]))
                    return push(body)

                back.others[real.SUB] = subscribed
                begun = time.perf_counter()
                pushed = ask("pushed", count=1) == [1.5]
                silence = time.perf_counter() - begun
    return [
        Case("from the record after OpenD's death", f"{seconds:.1f} s", again == walked and seconds <= 8),
        Case("pushes after OpenD's return", f"{silence:.1f} s", pushed and silence <= 16),
    ]


def main() -> int:
    """Print a line a case; exit code 1 if one does not hold."""
    holds = True
    measures: list[Callable[[], list[Case]]] = [partial(cold, 1), partial(cold, 2), round_trips, passing, many, unread]
    for measure in (*measures, death):
        for case in measure():
            print(case, flush=True)
            holds &= case.holds
    return 0 if holds else 1


if __name__ == "__main__":
    sys.exit(main())
