"""The blocking client that the faces render on: it drives the steps of `Questions` over one connection."""

from __future__ import annotations

import atexit
import time
from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

from opend_si.client.steps import Account, Exchange, Sleep, Step, Steps, Waits
from opend_si.client.sync import Patience, Progress, SyncReport, read_progress, watching
from opend_si.dates import AsOf
from opend_si.pages import Page
from opend_si.settings import MaxAge, NotGiven, Settings, WaitCallback
from opend_si.system import forks
from opend_si.wire.errors import TooLate
from opend_si_schema.definitions import Call

if TYPE_CHECKING:
    from opend_si.client.pagewalk import PageWalk
    from opend_si.client.questions import HistoryRows

_P = ParamSpec("_P")
_T = TypeVar("_T")
_C = TypeVar("_C", bound="BlockingClient")


class BlockingClient:
    """Answers from one OpenD, or from the record. Threads may share it."""

    _is_view = False

    def __init__(self, settings: Settings) -> None:
        # The record and the wire are half of what there is to import: who imports a face may not need them yet.
        from opend_si.client.questions import Questions
        from opend_si.wire.blocking import BlockingConnection

        self._settings = settings
        self._ask, self._waits = Questions(settings), Waits(settings.on_wait)
        self._connection = BlockingConnection(settings.host, settings.port, settings.timeout, settings.rsa_key)

    def close(self) -> None:
        """Close the connection and the files. The client stays usable: the next call opens them again.

        Of a view (`with_options`) nothing is closed: all is the client's.
        """
        if self._is_view:
            return
        self._connection.close()
        self._ask.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

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

    def _page(self, call: Call, code: object, next_key: object, num: object) -> Page:
        """One page of any call."""
        return self._drive(self._ask.page(call, code, next_key, num))

    def _run(self, ask: Callable[_P, _T], *arguments: _P.args, **named: _P.kwargs) -> _T:
        """Ask what is answered at once."""
        return ask(*arguments, **named)

    def _pages(self, walk: PageWalk) -> Iterator[Page]:
        while (page := self._drive(walk.advance())) is not None:
            yield page

    def _sync(self, call: Call, codes: Iterable[str], progress: Progress | bool | None) -> SyncReport:
        progress = read_progress(progress)
        symbols = self._ask.symbols(codes)
        report, patience = SyncReport(cache=self._settings.cache, kind=call.name), Patience()
        with watching(progress, len(symbols)) as view:
            for symbol in symbols:
                report.symbols.append(self._drive(self._ask.symbol(call, symbol, patience), view.waiting))
                if view.advance is not None:
                    view.advance(report.symbols[-1], len(report), len(symbols))
        self._run(self._ask.synced, call, report)
        return report

    def _drive(self, steps: Steps[_T], shown: WaitCallback | None = None) -> _T:
        """Carry out the steps of an answer. `shown`: what shows waits to the user."""
        try:
            step = next(steps)
            while True:
                try:
                    self._waits.say_of(step, shown)
                    result = self._perform(step)
                except BaseException as error:
                    step = steps.throw(error)
                else:
                    step = steps.send(result)
        except StopIteration as done:
            return done.value  # type: ignore[no-any-return]
        finally:
            # An interrupt between two steps: what they hold (a slot, a right to fetch) is given back now, not when
            # nothing refers to the traceback any more.
            steps.close()

    def _perform(self, step: Step) -> object:
        match step:
            case Exchange(key, seconds, begin_by):
                # Where no time at all is left that is an error of its own: it would be too late for ever.
                if seconds > 0 and time.monotonic() > begin_by:
                    raise TooLate
                return self._connection.ask(key.call.proto_id, key.request(), key.told, seconds, step.check)
            case Account():
                return self._connection.greet(self._settings.timeout).account
            case Sleep(seconds):
                time.sleep(seconds)
                return None


def _made(kind: type[_C], settings: Settings) -> _C:
    client = kind.__new__(kind)
    BlockingClient.__init__(client, settings)  # not the face's: it would look into another environment
    return client


def history_rows(
    client: BlockingClient, call: Call, code: object, start: object, end: object, as_of: AsOf
) -> HistoryRows:
    """What a history is made of, without pandas."""
    return client._drive(client._ask.history_rows(call, code, start, end, as_of))


class Default(Generic[_C]):
    """The client behind a face's module-level functions: made at first use, closed at exit."""

    def __init__(self, make: Callable[..., _C]) -> None:
        self._make = make
        self._settings: dict[str, Any] = {}
        self._client: _C | None = None
        self._lock = forks.new_lock()
        atexit.register(self.close)

    def get(self) -> _C:
        """The client, made now if it was not."""
        with self._lock:
            if self._client is None:
                self._client = self._make(**self._settings)
            return self._client

    def configure(self, settings: dict[str, Any]) -> None:
        """Use these settings, with those given before, from the next call on. A wrong setting changes nothing."""
        with self._lock:
            merged = {**self._settings, **settings}
            client = self._make(**merged)
            old, self._client, self._settings = self._client, client, merged
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the client, if there is one."""
        client = self._client
        if client is not None:
            client.close()
