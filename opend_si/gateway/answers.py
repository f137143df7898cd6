"""A request for a page, and the reply to it: by the engine, from the record or from OpenD."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
from weakref import WeakKeyDictionary

from opend_si.client.aio import AsyncioClient
from opend_si.client.doctor import Status
from opend_si.client.steps import Account, Sleep, Step
from opend_si.errors import (
    CacheMiss,
    ConnectionFailed,
    InvalidArgument,
    OpenDError,
    ProtocolError,
    RequestTimeout,
    ShortInterestError,
)
from opend_si.gateway.recent import Recent
from opend_si.pages import END, MAX_CURSOR_LENGTH, Page, PageKey
from opend_si.pages.replies import write_refusal
from opend_si.server.refusals import rate_text
from opend_si.settings import Mode, Settings
from opend_si.wire.errors import Crowded, was_sent
from opend_si.wire.session import Greeting
from opend_si_schema import common
from opend_si_schema.calls import CALLS
from opend_si_schema.definitions import Call, Rate

_FAILED = common.RetType.FAILED
# Pages that are being fetched at a time, by all clients: more wait for the budget than it has room for in minutes, and
# each looks at its file four times a second. What exceeds it is refused at once, unless the record has it.
MOST_FETCHES = 100
# Those that look into the record at a time. A thread does that; a look that has not begun can be given up at once.
MOST_LOOKS = 16


class PageAnswers:
    """Answers requests for pages. Requests for one page that overlap share one answer.

    Args:
        settings: How OpenD is reached, and what is made of the record.
        patience: Seconds after which a client is refused; the page is fetched and recorded all the same.
        log: Takes lines for the machine's operator.

    Attributes:
        given: How many requests for pages were answered.

    """

    def __init__(self, settings: Settings, patience: float, log: Callable[[str], object]) -> None:
        self._settings, self._patience, self._log = settings, patience, log
        self._engine = _Engine(settings)
        self._recent = Recent(settings)
        self._asked: dict[PageKey, asyncio.Task[bytes]] = {}
        self.given = 0

    @property
    def spent(self) -> int:
        """How many requests were sent to OpenD."""
        return self._engine.spent

    async def close(self) -> None:
        """Give up what is being fetched, and close the files."""
        for task in self._asked.values():
            task.cancel()
        await asyncio.gather(*self._asked.values(), return_exceptions=True)
        await self._engine.close()
        self._recent.close()

    async def greeting(self) -> Greeting:
        """What OpenD says to the engine, whose own link is opened if need be."""
        return await self._engine.greeting()

    async def status(self) -> Status:
        """Where the engine stands."""
        return await self._engine.status()

    def known(self, call: Call, body: bytes) -> bytes | None:
        """The body of the reply to a request's body, if it is known without looking into the record."""
        found = self._recent.get(call.proto_id, body)
        self.given += found is not None
        return found

    async def reply(self, call: Call, body: bytes, most_seconds: float = math.inf) -> bytes:
        """The body of the reply to a request's body: rows or a refusal, within the patience, and so many seconds."""
        patience = min(self._patience, most_seconds)
        self.given += 1
        try:
            key = _checked(PageKey.of_request(call, body))
        except ProtocolError:
            return _refused(common.RetType.INVALID, "")
        except InvalidArgument as error:
            return _refused(_FAILED, str(error))
        task = self._asked.get(key)
        if task is None:
            task = self._asked[key] = asyncio.create_task(self._fetch(key, body))
            task.add_done_callback(lambda _: self._asked.pop(key))
        done, _ = await asyncio.wait([task], timeout=patience)
        return task.result() if done else _refused(_FAILED, self._impatience(key, task, patience))

    async def _fetch(self, key: PageKey, request: bytes) -> bytes:
        stamp = self._recent.stamp()
        try:
            page = await self._engine.page(key)
            self._recent.keep(key.call.proto_id, request, page, stamp)
            return page.body
        except OpenDError as error:
            return self._engine.said() or _refused(error.ret_type, error.message, error.err_code)
        except Crowded:
            return _refused(_FAILED, self._rate_text(key))
        except Exception as error:
            if not isinstance(error, (CacheMiss, ConnectionFailed, RequestTimeout)):
                self._log(f"{key}: {type(error).__name__}: {error}")
            return _refused(_FAILED, f"{key}: {self._reason(error)}")

    def _reason(self, error: Exception) -> str:
        """Why there is no page, without what is this machine's business: errors name files."""
        if isinstance(error, (CacheMiss, ConnectionFailed, RequestTimeout)):
            away = "the gateway is offline" if self._settings.mode is Mode.OFFLINE else "OpenD is away"
            return f"not recorded, and {away}"
        if isinstance(error, ProtocolError):
            return "OpenD's reply cannot be read"
        if isinstance(error, ShortInterestError):
            return "the gateway's files cannot be used; its log says why"
        return "the gateway failed; its log says why"

    def _impatience(self, key: PageKey, task: asyncio.Task[bytes], patience: float) -> str:
        if not self._engine.is_limited(task):
            return f"{key}: OpenD did not answer in {patience:g} seconds"
        return self._rate_text(key)

    def _rate_text(self, key: PageKey) -> str:
        rate = self._settings.rate
        return rate_text(key.call, rate if isinstance(rate, Rate) else key.call.rate)


def _checked(asked: PageKey) -> PageKey:
    """What a client asks for; `InvalidArgument` where that cannot be right, so that it costs no request.

    Its cursor may be one that only OpenD knows: clients have them from before this gateway was started.
    """
    key = PageKey.check(asked.call, str(asked.symbol), None, asked.num)
    cursor = asked.next_key
    if cursor == END or len(cursor) > MAX_CURSOR_LENGTH or not cursor.isprintable():
        raise InvalidArgument(f"next_key {cursor[:40]!r} leads to no page: pass the previous page's as it came")
    return replace(key, next_key=cursor)


def _refused(ret_type: int, text: str, err_code: int = 0) -> bytes:
    return bytes(write_refusal(ret_type, text, err_code).SerializeToString())


@dataclass(slots=True, weakref_slot=True)
class _Asking:
    """How far a task has come with its page."""

    is_looking: bool = True  # takes one of the places of those that look into the record
    is_fetching: bool = False
    is_limited: bool = False  # the budget has made it wait, and it has not sent anything since
    said: bytes | None = None  # the body that OpenD last sent for it


class _Engine(AsyncioClient):
    """The client that asks OpenD, which notes what it does."""

    def __init__(self, settings: Settings) -> None:
        # Waits are no news here: the clients that wait are answered, or refused, by the gateway's own rules.
        super().__init__(replace(settings, on_wait=settings.on_wait or bool))
        self.spent = self._fetching = 0
        self._places = asyncio.Semaphore(MOST_LOOKS)
        self._asking: WeakKeyDictionary[asyncio.Task[Any], _Asking] = WeakKeyDictionary()

    async def page(self, key: PageKey) -> Page:
        await self._places.acquire()
        asking = self._asking[_this_task()] = _Asking()
        try:
            return await self._drive(self._ask.page_of(key))
        finally:
            self._stop_looking(asking)
            self._fetching -= asking.is_fetching

    def is_limited(self, task: asyncio.Task[bytes]) -> bool:
        """Whether a task's page waits for the budget."""
        return task in self._asking and self._asking[task].is_limited

    def said(self) -> bytes | None:
        """The body that OpenD last sent for this task's page, as it came; None: it has not answered."""
        return self._asking[_this_task()].said

    async def greeting(self) -> Greeting:
        return await self._connection.greeting()

    async def status(self) -> Status:
        return await self._drive(self._ask.status(CALLS[0]))

    async def _perform(self, step: Step) -> object:
        asking = self._asking.get(_this_task())
        if asking is None:
            return await super()._perform(step)
        if isinstance(step, Account):
            return await self._account(step, asking)
        self._fetch(asking)
        if isinstance(step, Sleep):
            asking.is_limited |= step.budget is not None
            return await super()._perform(step)
        asking.is_limited, asking.said = False, None
        self.spent += 1
        try:
            answer: Any = await super()._perform(step)
        except BaseException as error:
            self.spent -= not was_sent(error)
            raise
        asking.said = answer[0]
        return answer

    async def _account(self, step: Account, asking: _Asking) -> object:
        """Who answers; to connect takes time, in which others look. What is recorded may still be what is asked for."""
        was_looking = asking.is_looking
        self._stop_looking(asking)
        account = await super()._perform(step)
        if was_looking:
            await self._places.acquire()
            asking.is_looking = True
        return account

    def _fetch(self, asking: _Asking) -> None:
        """The record has no answer: the page is fetched, if there are not too many."""
        if asking.is_fetching:
            return
        if self._fetching >= MOST_FETCHES:
            raise Crowded
        self._stop_looking(asking)
        asking.is_fetching = True
        self._fetching += 1

    def _stop_looking(self, asking: _Asking) -> None:
        if asking.is_looking:
            asking.is_looking = False
            self._places.release()


def _this_task() -> asyncio.Task[Any]:
    task = asyncio.current_task()
    assert task is not None
    return task
