"""The blocking client that the faces render on: arguments in, pages out."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Generic, TypeVar

from opend_si.pages import Page, PageKey
from opend_si.settings import Settings
from opend_si.wire.blocking import BlockingConnection, LinkCut
from opend_si_schema.definitions import Call


class BlockingClient:
    """Pages from one OpenD. Threads may share it."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._connection = BlockingConnection(settings.host, settings.port, settings.timeout)

    def close(self) -> None:
        """Close the connection. The client stays usable: the next call opens a new one."""
        self._connection.close()

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._settings.address})"

    def _page(self, call: Call, code: object, next_key: object, num: object) -> Page:
        key = PageKey.check(call, code, next_key, num)
        body = self._fetch(key)
        return Page.read(key, body, "opend", datetime.now(UTC))

    def _fetch(self, key: PageKey) -> bytes:
        request = key.request()
        try:
            return self._connection.request(key.call.proto_id, request)
        except LinkCut:  # once more on a new link: the call only reads
            return self._connection.request(key.call.proto_id, request)


_C = TypeVar("_C", bound=BlockingClient)


class Default(Generic[_C]):
    """The client behind a face's module-level functions: made at first use, closed at exit."""

    def __init__(self, make: Callable[..., _C]) -> None:
        self._make = make
        self._settings: dict[str, Any] = {}
        self._client: _C | None = None
        self._lock = threading.Lock()
        atexit.register(self.close)

    def get(self) -> _C:
        """The client, made now if it was not."""
        with self._lock:
            if self._client is None:
                self._client = self._make(**self._settings)
            return self._client

    def configure(self, **settings: Any) -> None:
        """Use these settings (None: not given) from the next call on. A setting that is wrong changes nothing."""
        merged = {**self._settings, **{name: value for name, value in settings.items() if value is not None}}
        client = self._make(**merged)
        with self._lock:
            old, self._client, self._settings = self._client, client, merged
        if old is not None:
            old.close()

    def close(self) -> None:
        """Close the client, if there is one."""
        with self._lock:
            if self._client is not None:
                self._client.close()
