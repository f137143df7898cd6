"""How far the record of each symbol was reported: places, and the file that keeps them."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any, NamedTuple

from opend_si.errors import CacheError, InvalidArgument
from opend_si.pages import OPEND
from opend_si.system.locks import lock
from opend_si.system.sharing import how_to_share, make_file, make_folder


class Unreported(Exception):
    """A line could not be reported; it is tried again."""


class Mark(NamedTuple):
    """A revision: when it was seen (`""`: not known), and the day of its row (`""`: none, the moment alone)."""

    seen_at: str
    day: str

    @classmethod
    def of(cls, day: Any, seen_at: Any) -> Mark:
        return cls("" if seen_at != seen_at else seen_at.isoformat(), f"{day:%Y-%m-%d}")  # NaT is not itself

    def is_same(self, other: Mark) -> bool:
        """Whether it is another, noted before: a clock may since have been found to have been ahead."""
        return self.day == other.day and self.seen_at in ("", other.seen_at)

    def is_later(self, other: Mark) -> bool:
        """Whether it was seen after another. What is seen at once is listed from the newest row down."""
        if not self.seen_at:
            return False
        mine, others = (datetime.fromisoformat(mark.seen_at) for mark in (self, other))
        return mine > others or (mine == others and self.day < other.day)


class Place(NamedTuple):
    """How far the record of a symbol was reported: up to the row of this day (`""`: none), and up to this revision.

    In older files the second is a number: so many values had been revised.
    """

    newest: str
    last: Mark | int

    @classmethod
    def read(cls, newest: str, last: Any) -> Place:
        """A place as it is kept in JSON."""
        date.fromisoformat(newest or "2000-01-01")
        if isinstance(last, int):
            return cls(newest, last)
        mark = Mark(*last)
        datetime.fromisoformat(mark.seen_at or "2000-01-01")
        date.fromisoformat(mark.day or "2000-01-01")
        return cls(newest, mark)


class State:
    """The file that keeps the places. One look at a time uses it; the places are read again for each."""

    def __init__(self, path: Path, kind: str) -> None:
        self._path, self._kind = path, kind
        self._places: dict[str, Any] = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Keep other watches out."""
        with _translated(self._path):
            make_folder(self._path.parent)
            mark = self._path.with_name(f".{self._path.name}.lock")
            with suppress(FileExistsError):
                make_file(mark)
            file = mark.open("r+b")
        with file:
            try:
                lock(file.fileno(), 0)
            except OSError:
                raise Unreported(
                    f"another watch is at work with {self._path}: it reports; name another with --state"
                ) from None
            self._places = self._read()
            yield

    def place(self, code: str, origin: str) -> Place | None:
        """How far a symbol's rows of an origin were reported; None: they have not been met."""
        found = self._places.get(self._name(code, origin))
        return None if found is None else Place.read(*found)

    def keep(self, code: str, origin: str, place: Place) -> None:
        """Note a place."""
        with self.moving(code, origin, place) as move:
            move()

    def _name(self, code: str, origin: str) -> str:
        """Under what a place is kept. In older files no origin is named: it is OpenD's."""
        return " ".join((self._kind, code, *(() if origin == OPEND else (origin,))))

    @contextmanager
    def moving(self, code: str, origin: str, place: Place) -> Iterator[Callable[[], None]]:
        """A function that notes a place, by no more than a renaming. What is raised inside takes the note back."""
        before, after = self._places, {**self._places, self._name(code, origin): place}
        half = self._written(after)

        def move() -> None:
            with _translated(self._path):
                half.replace(self._path)
            self._places = after

        try:
            yield move
        except BaseException:
            if self._places is after:
                self._places = before
                with _translated(self._path):
                    self._written(before).replace(self._path)
            raise

    def _written(self, places: dict[str, Any]) -> Path:
        half = self._path.with_name(f".{self._path.name}.new")
        with _translated(self._path):
            half.unlink(missing_ok=True)
            make_file(half)
            half.write_text(json.dumps(places, indent=0), encoding="utf-8")
        return half

    def _read(self) -> dict[str, Any]:
        with _translated(self._path):
            try:
                text = self._path.read_text(encoding="utf-8")
            except FileNotFoundError:
                return {}
        try:
            places: dict[str, Any] = json.loads(text)
            for newest, last in places.values():
                Place.read(newest, last)
        except (ValueError, TypeError, AttributeError):
            raise InvalidArgument(
                f"{self._path} does not hold what a watch keeps. Name another file with --state."
            ) from None
        return places


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise CacheError(
            f"The state of the watch cannot be kept in {path}: {error.strerror}.{how_to_share(path)}"
        ) from None
