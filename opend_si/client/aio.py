"""The asyncio client that the faces render on: it drives the same steps as the blocking one.

What a step does between two waits reads and writes files, so it runs on a thread of the event loop's own pool.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextvars import copy_context
from functools import partial
from types import TracebackType
from typing import Any, ParamSpec, TypeVar

from opend_si.client.pagewalk import PageWalk
from opend_si.client.questions import Questions
from opend_si.client.steps import Account, Exchange, Sleep, Step, Steps, Waits
from opend_si.client.sync import Patience, Progress, SyncReport, read_progress, watching
from opend_si.pages import Page
from opend_si.settings import MaxAge, NotGiven, Settings, WaitCallback
from opend_si.wire.aio import AsyncioConnection
from opend_si_schema.definitions import Call

_P = ParamSpec("_P")
_T = TypeVar("_T")
_C = TypeVar("_C", bound="AsyncioClient")


class AsyncioClient:
    """Answers from one OpenD, or from the record. Tasks may share it."""

    _is_view = False

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._ask, self._waits = Questions(settings), Waits(settings.on_wait)
        self._connection = AsyncioConnection(settings.host, settings.port, settings.timeout, settings.rsa_key)

    async def close(self) -> None:
        """Close the connection and the files. The client stays usable: the next call opens them again.

        Of a view (`with_options`) nothing is closed: all is the client's.
        """
        if self._is_view:
            return
        await self._connection.close()
        self._ask.close()

    async def __aenter__(self) -> Any:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """A client travels as its settings: on the other side it opens files and links of its own."""
        return _made, (type(self), self._settings)

    def _view(self: _C, mode: str | None, timeout: float | None, max_age: MaxAge | NotGiven) -> _C:
        """A client with other settings over the same connection and the same files."""
        view = type(self).__new__(type(self))
        view._settings = self._settings.with_options(mode, timeout, max_age)
        view._ask, view._connection = self._ask.by(view._settings), self._connection
        view._waits, view._is_view = self._waits, True
        return view

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address}, mode={str(self._settings.mode)!r})"

    async def _run(self, ask: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Ask what is answered at once, on a thread."""
        return await asyncio.to_thread(ask, *arguments, **named)

    async def _pages(self, walk: PageWalk) -> AsyncIterator[Page]:
        while (page := await self._drive(walk.advance())) is not None:
            yield page

    async def _sync(self, call: Call, codes: Iterable[str], progress: Progress | bool | None) -> SyncReport:
        progress = read_progress(progress)
        symbols = await self._run(self._ask.symbols, codes)
        report, patience = SyncReport(cache=self._settings.cache, kind=call.name), Patience()
        with watching(progress, len(symbols)) as view:
            for symbol in symbols:
                report.symbols.append(await self._drive(self._ask.symbol(call, symbol, patience), view.waiting))
                if view.advance is not None:
                    view.advance(report.symbols[-1], len(report), len(symbols))
        await self._run(self._ask.synced, call, report)
        return report

    async def _drive(self, steps: Steps[_T], shown: WaitCallback | None = None) -> _T:
        """Carry out the steps of an answer. `shown`: what shows waits to the user."""
        turn = await _advance(steps, partial(steps.send, None))
        while not turn.is_done:
            try:
                self._waits.say_of(turn.step, shown)
                result = await self._perform(turn.step)
            except BaseException as error:
                turn = await _advance(steps, partial(steps.throw, error))
            else:
                turn = await _advance(steps, partial(steps.send, result))
        value: _T = turn.value
        return value

    async def _perform(self, step: Step) -> object:
        match step:
            case Exchange(key, seconds, begin_by):
                body = key.request()
                return await self._connection.ask(key.call.proto_id, body, key.told, seconds, step.check, begin_by)
            case Account():
                return (await self._connection.greeting(self._settings.timeout)).account
            case Sleep(seconds):
                await asyncio.sleep(seconds)
                return None


def _made(kind: type[_C], settings: Settings) -> _C:
    client = kind.__new__(kind)
    AsyncioClient.__init__(client, settings)  # not the face's: it would look into another environment
    return client


class _Turn:
    """Where steps stand: at one that is to be carried out, at their end, or at an error."""

    def __init__(self, go: Callable[[], Step]) -> None:
        self.is_done = False
        self.error: BaseException | None = None
        self.step: Any = None
        self.value: Any = None
        try:
            self.step = go()
        except StopIteration as done:  # no future can carry it
            self.is_done, self.value = True, done.value
        except BaseException as error:
            self.error = error


async def _advance(steps: Steps[Any], go: Callable[[], Step]) -> _Turn:
    """Go on to the next step, on a thread, in the task's own context.

    It cannot be interrupted there: a cancelled task waits, and then tells it.
    """
    working = asyncio.get_running_loop().run_in_executor(None, copy_context().run, _Turn, go)
    cancelled: asyncio.CancelledError | None = None
    while not working.done():
        try:
            await asyncio.shield(working)
        except asyncio.CancelledError as error:
            cancelled = error
    turn = working.result()
    if cancelled is not None:
        if turn.error is None and not turn.is_done:
            # Its last words are short: a slot settled, a right given back.
            await asyncio.get_running_loop().run_in_executor(None, _Turn, partial(steps.throw, cancelled))
        raise cancelled
    if turn.error is not None:
        raise turn.error
    return turn
