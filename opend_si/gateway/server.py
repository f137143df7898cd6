"""The gateway: a port in front of OpenD, its limits and its status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

from opend_si.errors import ProtocolError, ShortInterestError
from opend_si.gateway import DEFAULT_MOST_CLIENTS, DEFAULT_PATIENCE, DEFAULT_PORT, policy
from opend_si.gateway.answers import PageAnswers
from opend_si.gateway.links import GREETING_SECONDS, Link
from opend_si.server.descriptors import room_for
from opend_si.server.listener import Listener
from opend_si.server.peers import is_loopback
from opend_si.server.websocket import Bridge
from opend_si.settings import Mode, Settings
from opend_si.wire.aio import AsyncioConnection
from opend_si.wire.ciphers import Rsa
from opend_si.wire.dial import CONNECT_TIMEOUT
from opend_si.wire.errors import LinkCut, connect_failed
from opend_si.wire.keyfile import read_key
from opend_si.wire.session import CLIENT_VERSION, Greeting

# Of an OpenD that nobody has met yet: what a detached client is told.
_UNKNOWN = Greeting(CLIENT_VERSION, 0, 0, 10)
# Seconds between two looks whether OpenD is back, and between two equal lines of the log.
_LOOK_SECONDS, _LOG_SECONDS = 1.0, 60.0
# Different lines that are written within that time: strangers can cause any number.
_MOST_LINES = 30


class Gateway(Listener):
    """A gateway on a TCP port. Use it with `with` (a thread serves) or `await serve()`.

    Args:
        settings: How OpenD is reached, and what is made of the record. Mode offline: OpenD is never asked.
        host, port: Where it listens; port 0 takes a free one.
        patience: Seconds after which a request for a page is refused; the page is fetched and recorded all the same.
        most_clients: How many clients are served at a time; more are turned away.
        pass_trade: Whether trade protocols pass: for clients of this machine, and for others if their link is
        encrypted.
        websocket: A WebSocket port to be opened beside it, by the rules of this one.
        log: Takes lines for the machine's operator.

    Attributes:
        greeting: What OpenD last said of itself.

    """

    def __init__(
        self,
        settings: Settings,
        *,
        host: str = "127.0.0.1",
        port: int = DEFAULT_PORT,
        patience: float = DEFAULT_PATIENCE,
        most_clients: int = DEFAULT_MOST_CLIENTS,
        pass_trade: bool = False,
        websocket: Bridge | None = None,
        log: Callable[[str], object] = lambda _: None,
    ) -> None:
        super().__init__(host, port, websocket)
        self.answers = PageAnswers(settings, patience, self.log)
        self.pass_trade = pass_trade
        self.greeting = _UNKNOWN
        self._settings, self._most_clients, self._write = settings, most_clients, log
        self._logged: dict[str, float] = {}
        self._links: set[Link] = set()
        self._is_away: bool | None = None
        self._look: asyncio.Task[bool] | None = None
        self._looked_at = 0.0
        self._begun = time.monotonic()
        if websocket is not None:
            self.ruled(websocket)

    def ruled(self, websocket: Bridge) -> Bridge:
        websocket.refuse = policy.websocket_refusal(self.pass_trade)
        websocket.most_clients = self._most_clients
        websocket.log = self.log  # a client that is turned away comes again every second
        return websocket

    @property
    def is_loopback(self) -> bool:
        """Whether only programs of this machine can connect."""
        return is_loopback(self.host)

    async def serve(self, started: Callable[[], object] = lambda: None) -> None:
        """Serve until cancelled. `started` is called when the port is open.

        Raises:
            ShortInterestError: OpenD is there and does not let the gateway in, or the RSA key cannot be used.

        """
        try:
            await self._meet()
            self._make_room()
            await super().serve(started)
        finally:
            await self.answers.close()

    async def converse(self, number: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        del number
        if len(self._links) >= self._most_clients:
            self.log(f"a client was turned away: {self._most_clients} are there (--max-clients)")
            return
        link = Link(self, reader, writer)
        self._links.add(link)
        try:
            await link.run()
        finally:
            self._links.discard(link)

    # What links find around them --------------------------------------------------------------------------------------

    def log(self, text: str) -> None:
        """Write a line for the operator; the same line again only after a while, and not too many."""
        now = time.monotonic()
        self._logged = {old: at for old, at in self._logged.items() if now - at < _LOG_SECONDS}
        if text in self._logged or len(self._logged) > _MOST_LINES:
            return
        self._logged[text] = now
        self._write(text if len(self._logged) <= _MOST_LINES else "more than that is not written for a minute")

    def key(self) -> Rsa | None:
        """OpenD's RSA key. It is read for each link and then forgotten."""
        return None if self._settings.rsa_key is None else read_key(self._settings.rsa_key)

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter] | None:
        """A new connection to OpenD; None: it is away.

        The engine's own link comes first: OpenD takes so many and no more, and without it no client gets a new page.
        """
        settings = self._settings
        if settings.mode is Mode.OFFLINE:
            return None
        try:
            async with asyncio.timeout(GREETING_SECONDS):
                self.greeting = await self.answers.greeting()
            async with asyncio.timeout(CONNECT_TIMEOUT):
                return await self._connect()
        except ShortInterestError as error:
            self._note_away(str(error))
        except (UnicodeError, OSError) as error:  # TimeoutError is one
            self._note_away(str(connect_failed(settings.address, error)))
        return None

    def greeted(self, greeting: Greeting | None) -> None:
        """OpenD has let a link in; None: it has not."""
        if greeting is None:
            self._note_away(f"OpenD at {self._settings.address} lets no more links in, or does not answer.")
            return
        self.greeting = greeting
        if self._is_away is not False:
            self._write(f"OpenD {greeting.version_text} answers at {self._settings.address}")
        self._is_away = False

    async def is_back(self) -> bool:
        """Whether OpenD lets a new link in. It is looked at once a second at most."""
        if self._settings.mode is Mode.OFFLINE:
            return False
        now = time.monotonic()
        if self._look is None or (self._look.done() and now - self._looked_at > _LOOK_SECONDS):
            self._looked_at = now
            self._look = asyncio.create_task(self._is_there())
        return await asyncio.shield(self._look)

    async def status(self, asking: Link) -> dict[str, object]:
        """The status, as JSON takes it. The client that asks is not counted."""
        clients = [link.is_attached for link in self._links if link is not asking]
        engine = await self.answers.status()
        return {
            "address": self.address,
            "opend": self._settings.address,
            "opend_version": None if self.greeting is _UNKNOWN else self.greeting.version_text,
            "is_connected": engine.is_connected,
            "mode": engine.mode,
            "symbols": engine.symbols,
            "clients": len(clients),
            "attached": clients.count(True),
            "detached": clients.count(False),
            "pages": self.answers.given,
            "requests": self.answers.spent,
            "requests_left": engine.requests_left,
            "wait": engine.wait,
            "seconds": round(time.monotonic() - self._begun),
        }

    # OpenD ------------------------------------------------------------------------------------------------------------

    def _make_room(self) -> None:
        """Let in no more clients than there are descriptors for: without one, nobody else's page can be had either."""
        wanted = self._most_clients
        # Each has its own link to OpenD. One of the WebSocket port is a client of the TCP port besides.
        room = self._most_clients = room_for(wanted, 2 if self.websocket is None else 4)
        if self.websocket is not None:
            self.websocket.most_clients = room
        if room < wanted:
            self.log(
                f"the system lets this process have too few files open for {wanted} clients (--max-clients): {room} are "
                "served at a time. `ulimit -n`, or LimitNOFILE= in a unit of systemd, says how many it may have"
            )

    async def _meet(self) -> None:
        """The first look at OpenD: one that is there must let us in."""
        self.key()
        if self._settings.mode is Mode.OFFLINE:
            return
        try:
            self.greeted(await self.answers.greeting())
        except ShortInterestError as error:
            if isinstance(error, ProtocolError) or isinstance(error.__cause__, LinkCut):
                raise
            self._note_away(str(error))

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A connection that does not outlive a waiter who gave up at the very moment it was made."""
        connecting = asyncio.create_task(asyncio.open_connection(self._settings.host, self._settings.port))
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            if not connecting.cancel() and connecting.exception() is None:
                connecting.result()[1].transport.abort()
            raise

    async def _is_there(self) -> bool:
        """Whether OpenD lets a link in that is opened for the purpose."""
        settings = self._settings
        connection = AsyncioConnection(settings.host, settings.port, GREETING_SECONDS, settings.rsa_key)
        try:
            self.greeted(await connection.greeting())
        except ShortInterestError:
            return False
        finally:
            await connection.close()
        return True

    def _note_away(self, why: str) -> None:
        if not self._is_away:
            self._write(f"OpenD is away, pages come from the record: {why}")
        self._is_away = True
