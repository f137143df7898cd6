"""A symbol's pages one after the other, as they are asked for."""

from __future__ import annotations

from opend_si.client.answers import Answers
from opend_si.client.standing import may_join
from opend_si.client.steps import Steps
from opend_si.errors import ConnectionFailed, ProtocolError
from opend_si.history.record import Asked
from opend_si.history.statements import BOTTOM, TOP, check_page
from opend_si.history.symbol import without_rows_from
from opend_si.history.walk import MAX_RESTARTS, Cursors
from opend_si.pages import Page, PageKey
from opend_si.wire.errors import naming


class PageWalk:
    """The pages of a symbol one after the other. Every row comes once, also while rows are published.

    The newest page is as fresh as the mode asks for; what is recorded below it is as good as a walk would give.
    """

    def __init__(self, source: Answers, key: PageKey) -> None:
        self._source, self._key = source, key
        self._asked: Asked | None = None
        self._behind: float = TOP
        self._origin: str | None = None
        self._cursors = Cursors()
        self._is_over = False

    def advance(self) -> Steps[Page | None]:
        """The next page; None at the end."""
        try:
            return (yield from self._advance())
        except ProtocolError as error:
            raise naming(self._key, error) from None

    def _advance(self) -> Steps[Page | None]:
        passed_by = 0
        while not self._is_over:
            page = yield from self._next()
            before, self._origin = self._origin, page.origin
            if not may_join(before, self._origin):
                raise ConnectionFailed(f"{self._key}: another server answers than the one whose pages came before.")
            rows = page.content.rows(self._key.table)
            check_page(rows, page.next, str(self._key))
            left = without_rows_from(page, self._key, self._behind)
            self._behind = min(self._behind, rows[-1].at if rows else BOTTOM)
            self._turn_to(page)
            # Every row of it has come before: a whole page was published since the one before it.
            if len(page) and not len(left) and page.next is not None:
                passed_by += 1
                if passed_by > MAX_RESTARTS:
                    raise ProtocolError("the cursors do not lead further; the walk would not end")
                continue
            return left
        return None

    def _next(self) -> Steps[Page]:
        if self._asked is None:
            self._asked = self._source.asked()
            yield from self._source.meet_for_walk(self._key)
            return (yield from self._source.page(self._key))
        # What is recorded below the newest page is as good as a walk would give; to refresh is to ask again.
        fresh = self._source.lasting(self._asked)
        return (yield from self._source.page_after(self._key, self._asked, fresh, int(self._behind)))

    def _turn_to(self, page: Page) -> None:
        """The next page is the one behind this."""
        if page.next is None:
            self._is_over = True
            return
        if page.source == "opend":
            self._cursors.follow(page.next)
        self._key = self._key.at(page.next)
