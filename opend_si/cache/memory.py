"""Decoded pages that were used lately, so that a repeated question costs one look-up."""

from __future__ import annotations

import threading
from collections import OrderedDict

from opend_si.pages import Content

# About 20 KB each when they have 50 rows.
MAX_PAGES = 512


class Memory:
    """Content by the checksum of the recorded page, which stands for its key, its version and its bytes."""

    def __init__(self, max_pages: int = MAX_PAGES) -> None:
        self._max_pages = max_pages
        self._pages: OrderedDict[bytes, Content] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, checksum: bytes) -> Content | None:
        with self._lock:
            content = self._pages.get(checksum)
            if content is not None:
                self._pages.move_to_end(checksum)
            return content

    def keep(self, checksum: bytes, content: Content) -> None:
        with self._lock:
            self._pages[checksum] = content
            if len(self._pages) > self._max_pages:
                self._pages.popitem(last=False)
