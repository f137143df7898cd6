"""A ledger that grew reply by reply is the one that is made of all of them at once, and overlooks no contradiction."""

from hypothesis import given
from hypothesis import strategies as st

from opend_si.history.ledger import Ledger
from opend_si.history.statements import Statement, contradicts
from opend_si.pages import Row

DAYS = st.integers(1, 12)


@st.composite
def statements(draw: st.DrawFn, number: int) -> Statement:
    """A reply as an OpenD, or a faulty one, could send it: rows newest first, some with another value."""
    days = sorted(draw(st.sets(DAYS, max_size=6)), reverse=True)
    rows = tuple(Row(day * 86_400, (day, draw(st.sampled_from([0, 0, 0, 1])))) for day in days)
    is_head = draw(st.booleans())
    next_key = "" if is_head else draw(st.sampled_from(["50", "100", str(draw(DAYS) * 86_400)]))
    following = draw(st.sampled_from([None, "50", "100", str(rows[-1].at)])) if rows else None
    after = 0 if is_head else draw(st.sampled_from([0, 0, (days[0] + 1 if days else 9) * 86_400, 9 * 86_400]))
    first = draw(st.integers(max(number - 2, 1), number))
    return Statement(next_key, draw(st.sampled_from([10, 50])), after, rows, following, first, number)


@st.composite
def runs(draw: st.DrawFn) -> list[tuple[Statement, int, int]]:
    """Replies in the order in which they came; for each when the question began, and when the request was sent."""
    found = []
    for number in range(1, draw(st.integers(1, 12)) + 1):
        asked, sent = sorted((draw(st.integers(0, number - 1)), draw(st.integers(0, number - 1))))
        found.append((draw(statements(number)), asked, sent))
    return found


@given(run=runs())
def test_grown_reply_by_reply_it_is_what_all_of_them_make(run: list[tuple[Statement, int, int]]) -> None:
    ledger = Ledger()
    for said, asked, sent in run:
        speak_of_it = ledger._overlapping(said)
        assert [other for other in ledger._trusted if contradicts(said, other) and other not in speak_of_it] == []
        ledger = ledger.grown(said, ledger.judge(said, asked, sent))
        current = [(other.next_key, other.num) for other in ledger.statements if other.is_current]
        assert len(set(current)) == len(current)
        assert vars(ledger) == vars(Ledger(ledger.statements, is_whole=ledger.is_whole, epoch=ledger.epoch))


@given(run=runs())
def test_where_something_was_lost_it_grows_alike(run: list[tuple[Statement, int, int]]) -> None:
    ledger = Ledger(is_whole=False, epoch=3)
    for said, asked, sent in run:
        ledger = ledger.grown(said, ledger.judge(said, asked, sent))
        assert vars(ledger) == vars(Ledger(ledger.statements, is_whole=False, epoch=ledger.epoch))
