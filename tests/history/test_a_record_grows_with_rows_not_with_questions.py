"""A record grows with rows and revisions, not with questions: whatever is asked, and however often.

What an answer of now needs is little more than the rows; all else is packed away, and still given back to the byte.
"""

from collections.abc import Callable
from contextlib import closing
from math import ceil
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import futu_si
from opend_si.cache.store import Store
from opend_si.pages import Content, PageKey
from opend_si.simulator import Simulator
from opend_si_schema.calls import SHORT_INTEREST

CODE = "HK.02840"
OTHERS = (10, 37)  # the sizes of a page that are asked for beside the longest
Question = Callable[[Any], None]


def loop(client: futu_si.Client, num: int = 10) -> None:
    """The broker's loop: each page by the cursor of the one before."""
    following: str | None = None
    while True:
        page = client.get_page(CODE, following, num)
        if page.next is None:
            return
        following = page.next


QUESTIONS: dict[str, Question] = {
    "history": lambda client: client.history(CODE),
    "sync": lambda client: client.sync([CODE]),
    "default pages": loop,
    "pages of 37": lambda client: loop(client, 37),
    "the newest page": lambda client: client.get_page(CODE, num=10),
    "two pages": lambda client: client.get_page(CODE, client.get_page(CODE).next),
}


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(60, 160),
    weeks=st.lists(
        st.tuples(st.sampled_from([*QUESTIONS]), st.sampled_from(("online", "refresh")), st.booleans(), st.booleans()),
        min_size=15,
        max_size=25,
    ),
)
def test_what_is_needed_now_stays_as_small_as_the_rows(
    tmp_path_factory: pytest.TempPathFactory,
    rows: int,
    weeks: list[tuple[str, Literal["online", "refresh"], bool, bool]],
) -> None:
    cache = tmp_path_factory.mktemp("record") / "pages.sqlite3"
    told: dict[tuple[str, int], set[bytes]] = {}
    with Simulator() as opend:
        opend.universe.publish(CODE, rows)
        for question, mode, has_news, is_revised in weeks:
            if is_revised:
                at = len(opend.universe.rows(CODE) or ()) // 2
                closing_price = (opend.universe.rows(CODE) or ())[at].closePrice
                opend.universe.revise(CODE, at, closePrice=closing_price + 1)
            opend.universe.publish(CODE, int(has_news))
            with futu_si.Client(opend.host, opend.port, cache=cache, mode=mode, max_age=0) as client:
                QUESTIONS[question](client)
            for request in opend.requests:
                key = PageKey.check(SHORT_INTEREST, CODE, request.next_key or None, request.num)
                told.setdefault((request.next_key, request.num), set()).add(body_of(opend, key))
            opend.requests.clear()
        held = len(opend.universe.rows(CODE) or ())
        with futu_si.Client(opend.host, opend.port, cache=cache, mode="refresh") as client:
            client.history(CODE)
    with closing(Store(cache, may_write=False)) as store:
        present, past, _ = store.symbol_and_past(SHORT_INTEREST.proto_id, CODE)
        packed = sum(len(body) for _, _, _, body in store.blocks(SHORT_INTEREST.proto_id, CODE))
    # A walk of now, and a newest page of each size that was asked for.
    assert len(present.rows) <= ceil(held / 50) + 1 + len(OTHERS)
    assert packed <= 1500 + 300 * len(past)  # a page of 50 rows has 2,700 bytes
    kept: dict[tuple[str, int], set[bytes]] = {}
    for version in (*present.rows, *(version for version, _ in past)):
        kept.setdefault((version.next_key, version.num), set()).add(version.body)
    for question_of, bodies in told.items():
        assert kept[question_of] >= bodies
    check_that_every_cursor_answers(cache, told)


def body_of(opend: Simulator, key: PageKey) -> bytes:
    """What the server has just answered: nothing has changed since."""
    twin = Simulator(opend.universe)
    return bytes(twin.answer(key.call.proto_id, key.request()).SerializeToString())


def check_that_every_cursor_answers(cache: Path, told: dict[tuple[str, int], set[bytes]]) -> None:
    """Offline each page that was ever asked for is answered, with the rows that were told last."""
    with futu_si.Client(cache=cache, mode="offline") as client:
        for next_key, num in told:
            page = client.get_page(CODE, next_key or None, num)
            key = PageKey.check(SHORT_INTEREST, CODE, next_key or None, num)
            had = [len(Content.read(key, body).rows(key.table)) for body in told[next_key, num]]
            assert len(page.hk) >= max(had)
