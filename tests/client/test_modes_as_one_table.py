"""The modes, as one table: whether a recorded page answers, given when it was said and last checked."""

import time
from pathlib import Path
from types import ModuleType

import pytest

from opend_si.cache.versions import Clock, Event
from opend_si.client.standing import Freshness
from opend_si.history.record import Asked
from opend_si.history.statements import Statement
from opend_si.settings import Mode
from opend_si.simulator import Simulator

ASKED = Asked(seq=10, at=1_000_000_000, mono=10**18)
HOUR, MILLISECOND = 3600.0, 10**6


def said(seq: int, age: int, sent: int) -> Statement:
    """A page last checked as the event `seq`, so many milliseconds before the question, by the clock and really."""
    sent_at = ASKED.mono - sent * MILLISECOND
    return Statement("", 50, 0, (), None, first_seq=1, checked_seq=seq, checked_at=ASKED.at - age, sent=sent_at)


@pytest.mark.parametrize(
    ("mode", "seq", "age", "sent", "max_age", "answers"),
    [
        # mode; the number of its event; its age by the clock, and by the monotonic clock; max_age; whether it answers
        ("online", 5, 1000, 1000, HOUR, True),
        ("online", 5, 3_600_000, 3_600_000, HOUR, False),  # exactly max_age old is expired
        ("online", 5, 3_599_999, 3_599_999, HOUR, True),
        ("online", 5, 3_600_001, 3_600_001, None, True),  # None: pages do not expire
        ("online", 5, 10**9, 10**9, None, True),
        ("online", 5, 1000, 3_600_001, HOUR, False),  # the clock was set back since: the other one knows it
        ("online", 5, 3_600_001, 1000, HOUR, False),  # it was set ahead: then it is asked again once
        ("online", 5, -1, 1000, HOUR, False),  # of no age that is known
        ("online", 10, 0, 0, 0, False),  # 0: always asked again …
        ("online", 11, 0, -1, 0, True),  # … but another's answer to the same question will do
        ("online", 11, 0, 1, 0, False),  # not one that OpenD gave before it was asked, and that was recorded after
        ("online", 11, -5, 5, HOUR, True),  # it was on its way then, and is fresh
        ("online", 11, -5, 3_600_000, HOUR, False),
        ("refresh", 5, 1000, 1000, None, False),
        ("refresh", 11, 0, -1, None, True),
        ("refresh", 11, 0, 1, None, False),
        ("offline", 5, 1000, 1000, HOUR, True),
        ("offline", 5, -(10**9), 10**9, 0, True),
        ("bypass", 5, 0, 0, None, False),
    ],
)
def test_every_mode_does_what_it_says(
    mode: str, seq: int, age: int, sent: int, max_age: float | None, answers: bool
) -> None:
    assert Freshness(Mode(mode), ASKED, max_age, Clock())(said(seq, age, sent)) is answers


def test_what_a_clock_dated_that_was_ahead_is_of_no_age() -> None:
    page = said(5, 1000, 1000)
    clocks = Clock(Event(9, ASKED.at), (Event(7, page.checked_at - 1),)), Clock(Event(9, ASKED.at), (Event(4, 0),))
    assert [Freshness(Mode.ONLINE, ASKED, HOUR, clock)(page) for clock in clocks] == [False, True]


def test_a_new_client_knows_that_the_clock_was_set_back(
    one_face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was recorded ten hours ahead is of no age, even when the clock shows a later time than it did then."""
    begun, shown = time.time(), 0.0
    monkeypatch.setattr(time, "time", lambda: begun + shown)

    def requests(hours: float, code: str) -> int:
        nonlocal shown
        shown = hours * 3600
        opend.requests.clear()
        with one_face.Client(opend.host, opend.port, mode="online", cache=tmp_path / "a", max_age=7200) as client:
            assert len(client.get_page(code)) == 10
        return len(opend.requests)

    assert requests(10, "HK.00700") == 1
    assert requests(10.5, "HK.00700") == 0
    assert requests(0, "US.GME") == 1  # the clock is right again
    assert requests(11, "HK.00700") == 1
    assert requests(11, "HK.00700") == 0
