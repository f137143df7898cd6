"""A flood of pushes against a client that does not read.

What it costs a bridge that is a process of its own (Linux).

Both the test and the benchmark use it.
"""

import asyncio
import subprocess
import sys
import threading
from pathlib import Path

from opend_si.pages.replies import write_refusal
from opend_si.server.conversation import Conversation
from opend_si.server.listener import Listener
from opend_si.wire.session import INIT_CONNECT, Greeting
from tests.server.client import Client, Reply

PUSH, BEGIN, ECHO = 3005, 3001, 3002
OK = bytes(write_refusal(0, "").SerializeToString())
_BRIDGE = """
import asyncio, sys
from opend_si.server.websocket import Bridge

async def main():
    bridge = Bridge()
    async with bridge.open(sys.argv[1], int(sys.argv[2])):
        print(bridge.address, flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)

asyncio.run(main())
"""


class Flooding(Listener):
    """An OpenD that sends `count` pushes of `size` bytes to a client that asks, as fast as that one takes them.

    Attributes:
        sent: How many it has got rid of.

    """

    def __init__(self, count: int, size: int) -> None:
        super().__init__("127.0.0.1", 0)
        self.count, self.size, self.sent = count, size, 0

    def push(self, number: int) -> bytes:
        """The body of a push."""
        return number.to_bytes(4, "big") + bytes(self.size - 4)

    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        conversation = Conversation(Greeting(1011, number, 0, 10))
        while data := await reader.read(1 << 16):
            for asked in conversation.receive(data):
                is_hello = asked.proto_id == INIT_CONNECT
                writer.write(conversation.greet(asked) if is_hello else conversation.reply(asked, OK))
                if asked.proto_id == BEGIN:
                    for push in range(self.count):
                        writer.write(conversation.push(PUSH, self.push(push)))
                        await writer.drain()
                        self.sent = push + 1


def peak(pid: int) -> int:
    """The most memory that a process has had resident, in KiB."""
    [line] = [line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1])


def cost_of_a_slow_reader(count: int, size: int) -> int:
    """How many KiB more a bridge takes for a client that does not read a flood.

    It gets all of it afterwards, in order.
    """
    with (
        Flooding(count, size) as opend,
        subprocess.Popen(
            [sys.executable, "-c", _BRIDGE, opend.host, str(opend.port)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        with Client(url) as slow, Client(url) as other:
            for client in (slow, other):
                client.log_in()
                client.ask(ECHO, b"")
            before = peak(process.pid)
            section = slow.send(BEGIN, b"")
            _until_it_stands(opend)
            assert opend.sent < count
            assert other.ask(ECHO, b"").body == OK  # it does not notice
            assert slow.receive() == Reply(BEGIN, section, 0, "", OK)
            for number in range(count):
                assert slow.receive() == Reply(PUSH, 0, 0, "", opend.push(number))
            return peak(process.pid) - before


def _until_it_stands(opend: Flooding) -> None:
    """Return when the flood goes no further."""
    before = -1
    while opend.sent != before:
        before = opend.sent
        threading.Event().wait(0.5)
