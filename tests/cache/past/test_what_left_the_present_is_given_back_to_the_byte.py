"""What leaves the present of a record is given back to the byte, with all that was known of it, whatever it was.

Programs of random replies are recorded; what is expected is a list of what was told to leave. Damage to a block loses
what is in it, and what is made from that; never anything else, and nothing comes back other than it was.
"""

import sqlite3
from contextlib import closing
from pathlib import Path
from random import Random

import pytest

from opend_si.cache.past.pieces import cut, join
from opend_si.cache.runs import pack_runs
from opend_si.cache.store import Ruling, Store
from opend_si.cache.versions import Event, Version, Versions

PROTOCOL, SYMBOL = 3249, "HK.00700"
OWNER = PROTOCOL, SYMBOL
Identity = tuple[str, int, int]
# Of each version all but when its request was sent, which the past does not keep, and its own checksum.
Told = dict[Identity, tuple[Version, Event]]
CURSORS = "", "1713153600", "1647316800", "007", "-5", "\N{GREEK SMALL LETTER ALPHA}1", "9" * 19, "7" * 5000


def test_replies_that_left_are_there_as_they_came(tmp_path: Path) -> None:
    for seed in range(5):
        cache = tmp_path / f"pages-{seed}.sqlite3"
        expected = record_at_random(cache, seed)
        assert read(cache) == (expected, 0), seed


def test_pruned_and_copied_versions_are_there_as_they_came(tmp_path: Path) -> None:
    for seed in range(3):
        chance, cache, copy = Random(seed), tmp_path / f"pages-{seed}.sqlite3", tmp_path / f"copy-{seed}.sqlite3"
        expected = record_at_random(cache, seed)
        with closing(Store(cache)) as store, closing(Store(copy)) as other:
            from_seq = chance.choice(sorted(left.seq for _, left in expected.values()))
            store.prune(lambda left, _clock, first=from_seq: left.seq < first)  # type: ignore[misc]
            other.add(store.symbol(*OWNER), of_past=store.blocks(*OWNER), clock=store.clock())
        expected = {name: told for name, told in expected.items() if told[1].seq >= from_seq}
        assert read(cache) == read(copy) == (expected, 0), seed
        expected |= record_at_random(copy, seed + 100)
        assert read(copy) == (expected, 0), seed


def test_damage_loses_no_more_than_is_made_from_it(tmp_path: Path) -> None:
    lost = 0
    for seed in range(4):
        cache = tmp_path / f"pages-{seed}.sqlite3"
        expected = record_at_random(cache, seed)
        with closing(sqlite3.connect(cache)) as connection:
            numbers = [number for (number,) in connection.execute("SELECT block FROM past ORDER BY block")]
            broken = Random(seed).choice(numbers)
            (body,) = connection.execute("SELECT body FROM past WHERE block = ?", (broken,)).fetchone()
            spoiled = bytearray(body)
            spoiled[Random(seed).randrange(len(body))] ^= 1 << Random(seed).randrange(8)
            connection.execute("UPDATE past SET body = ? WHERE block = ?", (bytes(spoiled), broken))
            connection.commit()
        found, faults = read(cache)
        assert found.items() <= expected.items()
        assert faults
        lost += len(found) < len(expected)
        # What comes later is kept beside it.
        more = record_at_random(cache, seed + 100)
        assert found.items() <= read(cache)[0].items() <= {**expected, **more}.items()
        assert more.items() <= read(cache)[0].items()
    assert lost == 4


@pytest.mark.parametrize("body", [b"", b"\x0a", b"\xff" * 12, b"\x22\x80\x00", b"\x22\x03\x12\x01a", bytes(range(256))])
def test_bodies_that_are_no_pages_are_put_together_again(body: bytes) -> None:
    assert join(*cut(body)) == body


def test_bodies_of_all_kinds_are_put_together_again() -> None:
    chance = Random(1)
    sizes = set()
    for _ in range(3000):
        body = make_body(chance, make_pool(chance))
        spoiled = bytearray(body)
        for _ in range(chance.randrange(4) if body else 0):
            spoiled[chance.randrange(len(body))] = chance.randrange(256)
        for each in (body, bytes(spoiled), body[: chance.randrange(len(body) + 1)], body * 2):
            pieces = cut(each)
            assert join(*pieces) == each
            sizes.add(len(pieces.rows))
    assert {0, 1, 20} <= sizes


def record_at_random(cache: Path, seed: int, steps: int = 90) -> Told:
    """Record replies; gives what left the present, and when."""
    chance = Random(seed)
    pool = make_pool(chance)
    gone: Told = {}
    with closing(Store(cache)) as store:
        for _ in range(steps):
            if chance.random() < 0.3:
                pool.insert(0, make_row(chance))
            if chance.random() < 0.1:
                pool[chance.randrange(len(pool))] = make_row(chance)
            next_key, num = chance.choice(CURSORS) if chance.random() < 0.5 else "", chance.choice((50, 50, 50, 10))
            body = make_body(chance, pool)
            gone |= record_one(store, chance, (PROTOCOL, SYMBOL, next_key, num), body)
    return gone


def record_one(store: Store, chance: Random, identity: tuple[int, str, str, int], body: bytes) -> Told:
    left: list[Version] = []

    def judge(known: Versions | None, event: Event, number: int) -> Ruling:
        assert known is not None
        present = [row for row in known.rows if row.is_current or chance.random() < 0.3]
        chosen = [row for row in present if row.identity == identity or chance.random() < 0.05]
        left.extend(at_its_end(chance, row, event) for row in chosen)
        reply = Version.reply(identity, body, event, after=chance.choice((0, 1713153600, 5)), origin="opend")
        seen = make_seen(chance, event, len(cut(body).rows))
        reply = reply._replace(version=number, seen=seen, checked_at=event.at + chance.choice((0, 0, 7)))
        return Ruling(reply, True, (), tuple(left))

    event = store.record(identity, None, judge).clock.last
    return {name_of(row): (bare(row), event) for row in left}


def at_its_end(chance: Random, row: Version, event: Event) -> Version:
    return row._replace(
        superseded_seq=event.seq,
        superseded_at=event.at - chance.choice((0, 0, 3)),
        void_seq=chance.choice((0, event.seq)),
        void_at=chance.choice((0, event.at)),
        origin=chance.choice(("opend", "opend", "simulator")),
    ).signed()


def make_pool(chance: Random) -> list[bytes]:
    return [make_row(chance) for _ in range(chance.choice((1, 3, 40)))]


def make_row(chance: Random) -> bytes:
    return b"".join((b"\x08", chance.randbytes(chance.choice((1, 40, 40, 40, 150)))))


def make_body(chance: Random, pool: list[bytes]) -> bytes:
    """A page of some rows that follow on each other; now and then anything."""
    if chance.random() < 0.1:
        return chance.choice((b"", chance.randbytes(chance.randrange(60)), pool[0] * 3))
    begin = chance.randrange(len(pool))
    rows = pool[begin : begin + chance.choice((0, 1, 20, 20))] * chance.choice((1, 1, 1, 1, 2))
    cursor = chance.choice((b"-1", b"1713153600", b"0", b"007", b"x1y22z", b"9" * 40))
    inner = b"".join([*(field(0x12, row) for row in rows), field(0x1A, cursor)])
    return b"".join(
        (chance.choice((b"\x08\x00\x12\x00\x18\x00", b"")), field(0x22, inner), chance.choice((b"", b"\x28\x01")))
    )


def field(tag: int, value: bytes) -> bytes:
    parts, size = bytearray([tag]), len(value)
    while size >= 0x80:
        parts.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([*parts, size]) + value


def make_seen(chance: Random, event: Event, count: int) -> bytes:
    """When the rows came: with the page, one by one, or something that is no answer at all."""
    kind = chance.random()
    if kind < 0.3 or not count:
        return b""
    if kind < 0.4:
        return chance.randbytes(chance.randrange(1, 9))
    moments = [event, *(Event(max(event.seq - step, 1), event.at - 60 * step) for step in range(1, count))]
    chosen = moments if kind < 0.8 else [chance.choice(moments) for _ in range(count)]
    return pack_runs(tuple((1, *moment) for moment in chosen), event)


def read(cache: Path) -> tuple[Told, int]:
    with closing(Store(cache, may_write=False)) as store:
        present = store.symbol(*OWNER)
        assert present.is_whole
        past, faults = store.past(*OWNER, present)
    assert all(version.is_sound for version, _ in past)
    return {name_of(version): (bare(version), left) for version, left in past}, faults


def name_of(version: Version) -> Identity:
    return version.next_key, version.num, version.version


def bare(version: Version) -> Version:
    return version._replace(sent=0, checksum=b"")
