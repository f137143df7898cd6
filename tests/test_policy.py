"""The modes, as one table: what is done about a page, given when it was last checked."""

import pytest

from opend_si.cache.policy import Decision, Mode, decide

SERVE, FETCH, MISS = Decision.SERVE, Decision.FETCH, Decision.MISS
NOW = 1_000_000_000
ASKED = NOW - 50
HOUR = 3600.0
FRESH, EXPIRED, JUST_NOW, FUTURE = NOW - 1000, NOW - 3_600_001, NOW - 10, NOW + 1


@pytest.mark.parametrize(
    ("mode", "checked_at", "max_age", "decision"),
    [
        # mode, when the page was checked, max_age in seconds, what is done
        ("online", None, HOUR, FETCH),
        ("online", FRESH, HOUR, SERVE),
        ("online", NOW - 3_600_000, HOUR, FETCH),  # exactly max_age old is expired
        ("online", NOW - 3_599_999, HOUR, SERVE),
        ("online", EXPIRED, HOUR, FETCH),
        ("online", EXPIRED, None, SERVE),  # None: pages do not expire
        ("online", FRESH, 0, FETCH),  # 0: always asked again …
        ("online", JUST_NOW, 0, SERVE),  # … but another thread's answer to the same question will do
        ("online", FUTURE, HOUR, FETCH),  # a clock was set back: the age is not known
        ("online", FUTURE, None, FETCH),
        ("refresh", None, None, FETCH),
        ("refresh", FRESH, None, FETCH),
        ("refresh", ASKED, None, FETCH),
        ("refresh", JUST_NOW, None, SERVE),
        ("offline", None, HOUR, MISS),
        ("offline", FRESH, HOUR, SERVE),
        ("offline", EXPIRED, 0, SERVE),
        ("offline", FUTURE, 0, SERVE),
        ("bypass", None, HOUR, FETCH),
        ("bypass", JUST_NOW, None, FETCH),
    ],
)
def test_every_mode_does_what_it_says(
    mode: str, checked_at: int | None, max_age: float | None, decision: Decision
) -> None:
    assert decide(Mode(mode), checked_at, ASKED, NOW, max_age) is decision
