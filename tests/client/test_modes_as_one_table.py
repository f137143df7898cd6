"""The modes, as one table: whether a recorded page answers, given when it was last checked."""

import pytest

from opend_si.client.freshness import fresh_since
from opend_si.settings import Mode

ASKED = 1_000_000_000
HOUR = 3600.0


@pytest.mark.parametrize(
    ("mode", "checked_at", "max_age", "answers"),
    [
        # mode, when the page was checked, max_age in seconds, whether it answers
        ("online", ASKED - 1000, HOUR, True),
        ("online", ASKED - 3_600_000, HOUR, False),  # exactly max_age old is expired
        ("online", ASKED - 3_599_999, HOUR, True),
        ("online", ASKED - 3_600_001, HOUR, False),
        ("online", ASKED - 3_600_001, None, True),  # None: pages do not expire
        ("online", 0, None, True),
        ("online", ASKED, 0, False),  # 0: always asked again …
        ("online", ASKED + 1, 0, True),  # … but another thread's answer to the same question will do
        ("refresh", ASKED - 1000, None, False),
        ("refresh", ASKED, None, False),
        ("refresh", ASKED + 1, None, True),
        ("offline", ASKED - 1000, HOUR, True),
        ("offline", 0, 0, True),
        ("bypass", ASKED, None, False),
    ],
)
def test_every_mode_does_what_it_says(mode: str, checked_at: int, max_age: float | None, answers: bool) -> None:
    assert (checked_at >= fresh_since(Mode(mode), ASKED, max_age)) is answers
