"""What was measured: rows of figures, as a table for people, as JSON that is committed, and against an earlier run."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Collection, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
COMMITTED = Path(__file__).with_name("figures.json")
PAGE = ROOT / "docs" / "performance.md"
README = ROOT / "README.md"
_BEGIN, _END = "<!-- written by python -m benchmarks --write -->", "<!-- end -->"
# Columns of the pages' text.
_WIDTH = 118
# How much worse a share of the floor may be before it is called so: machines and moments differ.
TOLERANCE = 0.25
# What the README quotes.
_QUOTED = ("import", "live page of 50 rows", "recorded history of 713 rows")


@dataclass(frozen=True)
class Figure:
    """One row: what was measured, of the published client, of this package, and the least that it takes.

    Small is good.
    """

    name: str
    unit: str
    published: float | None
    ours: float
    floor: float | None

    @property
    def ratio(self) -> float | None:
        """Our share of what the published client takes."""
        return None if not self.published else self.ours / self.published

    @property
    def distance(self) -> float | None:
        """How many times the floor it takes."""
        return None if not self.floor else self.ours / self.floor

    def cells(self) -> list[str]:
        values = (self.published, self.ours, self.floor)
        shown = ["" if value is None else f"{_number(value)} {self.unit}".strip() for value in values]
        shares = ["" if share is None else f"{share:.3f}" for share in (self.ratio, self.distance)]
        return [self.name, *shown[:2], shares[0], shown[2], shares[1]]


def times(name: str, published: float | None, ours: float, floor: float | None) -> Figure:
    """A row of seconds, in milliseconds."""
    shown = [None if seconds is None else seconds * 1e3 for seconds in (published, ours, floor)]
    assert shown[1] is not None
    return Figure(name, "ms", shown[0], shown[1], shown[2])


@dataclass(frozen=True)
class Run:
    """Figures of one run, and where and when it was."""

    machine: str
    versions: str
    day: str
    figures: list[Figure]
    notes: list[str]

    def save(self, path: Path = COMMITTED) -> None:
        path.write_text(json.dumps(asdict(self), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path = COMMITTED) -> Run:
        told = json.loads(path.read_text(encoding="utf-8"))
        return cls(**{**told, "figures": [Figure(**figure) for figure in told["figures"]]})

    def figure(self, name: str) -> Figure:
        return next(figure for figure in self.figures if figure.name == name)

    def page(self) -> str:
        """The part of docs/performance.md that is written."""
        head = ["", "published client", "this package", "ratio", "floor", "times the floor"]
        rows = [head, ["---", *["---:"] * (len(head) - 1)], *(figure.cells() for figure in self.figures)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
        notes = "\n".join(_wrapped(f"- {note}", indent="  ") for note in self.notes)
        measured = _wrapped(f"Measured {self.day} on {self.machine}, with {self.versions}.")
        return f"{measured}\n\n{table}\n\n{notes}"

    def quotes(self) -> str:
        """The part of README.md that is written."""
        told = (f"{name} {self.figure(name).ratio:.2g}" for name in _QUOTED)
        return _wrapped(
            f"Time against the published client's, on the same server in the same run: {', '.join(told)} "
            "([all figures](docs/performance.md))."
        )


def table(figures: Iterable[Figure]) -> Iterator[str]:
    """The rows for a terminal, each as soon as it is there."""
    widths = (38, 14, 14, 7, 14, 7)
    head = ["", "published", "this package", "ratio", "floor", "times"]
    for cells in (head, *(figure.cells() for figure in figures)):
        name, *rest = (f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True))
        yield f"{name.strip():<{widths[0]}}{' '.join(rest)}".rstrip()


def written(run: Run) -> dict[Path, str]:
    """The two pages as they are to stand."""
    parts = {PAGE: run.page(), README: run.quotes()}
    return {path: _between(path.read_text(encoding="utf-8"), part) for path, part in parts.items()}


def _wrapped(text: str, indent: str = "") -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def _between(text: str, part: str) -> str:
    before, begin, rest = text.partition(_BEGIN)
    _, end, after = rest.partition(_END)
    if not begin or not end:
        raise ValueError(f"no place for the figures: {_BEGIN} and {_END} are not both there")
    return f"{before}{begin}\n{part}\n{end}{after}"


def compare(now: Run, then: Run, excused: Collection[str] = ()) -> Iterator[tuple[str, bool]]:
    """Each figure against the committed one, as a share of its floor: it means the same on another machine.

    A line, and whether it is worse by more than `TOLERANCE`. `excused`: what cannot be measured here.
    """
    earlier = {figure.name: figure for figure in then.figures}
    for figure in now.figures:
        before = earlier.pop(figure.name, None)
        if before is None or before.distance is None or figure.distance is None:
            yield f"{figure.name:<38} {'not to be compared':>24}", False
            continue
        change = figure.distance / before.distance
        is_worse = change > 1 + TOLERANCE
        word = "worse" if is_worse else "better" if change < 1 / (1 + TOLERANCE) else "as before"
        yield f"{figure.name:<38} {before.distance:>9.2f} -> {figure.distance:>7.2f} times the floor: {word}", is_worse
    for name in earlier:
        is_excused = name in excused
        yield f"{name:<38} {'cannot be measured here' if is_excused else 'is not measured any more'}", not is_excused


def _number(value: float) -> str:
    """Three digits that mean something."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.1f}" if value >= 10 else f"{value:.2f}"
