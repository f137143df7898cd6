"""Damaged page caches: `python -m tests.stress.damage [copies]`.

Copies of a recorded cache are damaged at random: bits flipped, ranges emptied, blocks swapped or brought back from an
earlier state, the end cut off or something added to it. Every page is then asked of each copy, offline and online. What
comes must be the page as it was recorded last: an error is an answer, another page or a superseded version is not. The
exit code is 1 if any was wrong.
"""

import os
import random
import sys
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import futu_si
from opend_si.cache.layout import LAYOUT
from opend_si.errors import CacheError, CacheVersionMismatch, ShortInterestWarning
from opend_si.simulator import Simulator

COPIES = 1000
_SYMBOLS = ("HK.00700", "HK.00001", "HK.09988", "US.AAPL", "US.GME", "US.BRK.B")
_REVISED = _SYMBOLS[:4]
# Disks write blocks of these sizes; SQLite's own pages are in between.
_BLOCKS = (512, 4096)
# Where SQLite keeps them in the file's first bytes.
_USER_VERSION, _APPLICATION_ID = slice(60, 64), slice(68, 72)

Question = tuple[str, str | None, int]
MakeClient = Callable[..., Any]


class Outcome(StrEnum):
    """What became of one question."""

    RECORDED = "answered from the record"
    FETCHED = "fetched again"
    REFUSED = "refused"
    WRONG = "wrong"


@dataclass(frozen=True)
class Recording:
    """A cache file, an earlier state of it, and what each page must be."""

    data: bytes
    earlier: bytes
    pages: dict[Question, bytes]


@dataclass(frozen=True)
class Finding:
    """What became of one question to one copy."""

    mode: str
    outcome: Outcome
    text: str


def record(opend: Simulator, folder: Path, make_client: MakeClient = futu_si.Client) -> Recording:
    """Record pages, most of them in three versions. The simulator then holds what is recorded last.

    After the first version a row was published, after the second one was revised.
    """
    cache = folder / "recorded.sqlite3"
    at = {"host": opend.host, "port": opend.port, "cache": cache}
    questions: list[Question] = []
    with make_client(**at, mode="refresh") as client:
        for code in _SYMBOLS:
            client.get_page(code, num=50)
        for code in _REVISED:
            opend.universe.publish(code)
            client.get_page(code, num=50)
        earlier = cache.read_bytes()
        for code in _REVISED:
            opend.universe.revise(code, 8, closePrice=1.0)
            client.get_page(code, num=50)
        for code in _SYMBOLS:
            rows = opend.universe.rows(code) or ()
            second = str(rows[49].timestamp)
            client.get_page(code, second, 50)
            # Some are as they were recorded, the others are cut from those.
            questions += [(code, None, 50), (code, second, 50), (code, None, 10)]
            questions += [(code, str(rows[index].timestamp), num) for index, num in ((4, 10), (29, 50))]
    with make_client(**at, mode="bypass") as live, make_client(**at, mode="offline") as recorded:
        pages = {question: live.get_page(*question).body for question in questions}
        lost = [question for question in questions if recorded.get_page(*question).body != pages[question]]
    if lost:
        raise RuntimeError(f"the undamaged cache does not hold {lost}")
    return Recording(cache.read_bytes(), earlier, pages)


def damage(recording: Recording, chance: random.Random) -> bytes:
    """A copy of the file with one to three faults. It differs from the file."""
    data = bytearray(recording.data)
    while data == recording.data:
        for _ in range(chance.choice((1, 1, 2, 3))):
            chance.choice(_FAULTS)(data, chance)
        if chance.random() < 0.1:
            _bring_back(data, recording.earlier, chance)
    return bytes(data)


def _place(data: bytearray, chance: random.Random) -> int:
    """Somewhere in the file.

    A third of all faults meet its first bytes, where SQLite keeps what it knows of the rest.
    """
    if not data:
        return 0
    if chance.random() < 0.33:
        return chance.randrange(min(len(data), chance.choice((108, 2048))))
    return chance.randrange(len(data))


def _length(chance: random.Random, longest: int) -> int:
    """Short and long ones equally often."""
    return int(longest ** chance.random())


def _flip(data: bytearray, chance: random.Random) -> None:
    for _ in range(_length(chance, 16)):
        if data:
            data[_place(data, chance)] ^= 1 << chance.randrange(8)


def _overwrite(data: bytearray, chance: random.Random) -> None:
    begin = _place(data, chance)
    end = min(begin + _length(chance, 64), len(data))
    data[begin:end] = chance.randbytes(end - begin)


def _empty(data: bytearray, chance: random.Random) -> None:
    begin = _place(data, chance)
    end = min(begin + _length(chance, 8192), len(data))
    data[begin:end] = bytes([chance.choice((0x00, 0xFF))]) * (end - begin)


def _swap(data: bytearray, chance: random.Random) -> None:
    size = chance.choice(_BLOCKS)
    if len(data) < 2 * size:
        return
    first, second = (size * place for place in chance.sample(range(len(data) // size), 2))
    data[first : first + size], data[second : second + size] = (
        data[second : second + size],
        data[first : first + size],
    )


def _truncate(data: bytearray, chance: random.Random) -> None:
    del data[_place(data, chance) :]


def _append(data: bytearray, chance: random.Random) -> None:
    data += chance.randbytes(_length(chance, 10_000))


_FAULTS = (_flip, _overwrite, _empty, _swap, _truncate, _append)


def _bring_back(data: bytearray, earlier: bytes, chance: random.Random) -> None:
    """A block is what it was before the last writes, which the disk lost."""
    size = chance.choice(_BLOCKS)
    begin = size * chance.randrange(len(earlier) // size)
    if begin < len(data):
        data[begin : begin + size] = earlier[begin : begin + size]


def ask_of_copy(
    seed: int, recording: Recording, opend: Simulator, folder: Path, make_client: MakeClient = futu_si.Client
) -> Iterator[Finding]:
    """Damage a copy in the way that `seed` stands for, and ask for every page of it, offline and online."""
    chance = random.Random(seed)
    data = damage(recording, chance)
    questions = list(recording.pages)
    for mode in ("offline", "online"):
        with tempfile.TemporaryDirectory(dir=folder) as name, warnings.catch_warnings():
            warnings.simplefilter("ignore", ShortInterestWarning)
            cache = Path(name, "pages.sqlite3")
            cache.write_bytes(data)
            chance.shuffle(questions)
            # What is recorded counts as fresh, so that an old version would be answered and not asked for again.
            with make_client(opend.host, opend.port, mode=mode, cache=cache, max_age=None, timeout=30) as client:
                for question in questions:
                    outcome, text = _ask(client, question, recording.pages[question], mode, data)
                    yield Finding(mode, outcome, f"copy {seed}, {mode}, {question}: {text}")
            if mode == "offline" and cache.read_bytes() != data:
                yield Finding(mode, Outcome.WRONG, f"copy {seed}, {mode}: the file was changed")


def _ask(client: Any, question: Question, expected: bytes, mode: str, data: bytes) -> tuple[Outcome, str]:
    try:
        page = client.get_page(*question)
    except CacheVersionMismatch as error:
        # Online too, a file that does not say that it is ours is refused. It must really not say so.
        refused = mode == "offline" or not _says_that_it_is_ours(data)
        return Outcome.REFUSED if refused else Outcome.WRONG, str(error)
    except CacheError as error:
        return Outcome.REFUSED if mode == "offline" else Outcome.WRONG, f"{type(error).__name__}: {error}"
    except Exception as error:
        return Outcome.WRONG, f"{type(error).__name__}: {error}"
    if page.body != expected or len(page) != question[2] or page.symbol != question[0]:
        return Outcome.WRONG, f"another page came, from {page.source}"
    return Outcome.RECORDED if page.source == "cache" else Outcome.FETCHED, ""


def _says_that_it_is_ours(data: bytes) -> bool:
    marks = int.from_bytes(data[_APPLICATION_ID]), int.from_bytes(data[_USER_VERSION])
    return marks == (LAYOUT.application_id, LAYOUT.version)


def main() -> int:
    """Print what became of the questions."""
    copies = int(sys.argv[1]) if len(sys.argv) > 1 else COPIES
    counts: Counter[tuple[str, Outcome]] = Counter()
    with tempfile.TemporaryDirectory() as name, Simulator() as opend:
        os.environ.update(OPEND_SI_HOME=name, OPEND_SI_RATE="off")
        recording = record(opend, Path(name))
        for seed in range(copies):
            wrong = []
            for finding in ask_of_copy(seed, recording, opend, Path(name)):
                counts[finding.mode, finding.outcome] += 1
                if finding.outcome is Outcome.WRONG:
                    wrong.append(finding.text)
            if wrong:
                print(f"{wrong[0]} (one of {len(wrong)})", flush=True)
    size, pages = len(recording.data), len(recording.pages)
    print(f"{copies:,} damaged copies of a cache of {size:,} bytes, each asked for its {pages} pages")
    print(f"{'':<26}{'offline':>10}{'online':>10}")
    for outcome in (Outcome.RECORDED, Outcome.FETCHED, Outcome.REFUSED):
        print(f"{outcome:<26}{counts['offline', outcome]:>10,}{counts['online', outcome]:>10,}")
    total = counts["offline", Outcome.WRONG] + counts["online", Outcome.WRONG]
    print(f"wrong: {total:,}")
    return 1 if total else 0


if __name__ == "__main__":
    sys.exit(main())
