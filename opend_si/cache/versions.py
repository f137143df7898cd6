"""What a record holds of a symbol: every version of every page, and the order in which it came to know them.

Order is the record's own sequence, counted under the write lock: each reply that is recorded is an event, and takes the
next number. Clocks tell moments and ages, and nothing is ordered by them.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any, NamedTuple, TypeAlias

DIGEST_BYTES = 16
# A checksum, and the comma behind it.
_CHECKSUM = f"{DIGEST_BYTES}sx"


class Event(NamedTuple):
    """Something that was recorded: its number, and the moment that the clock showed, in milliseconds."""

    seq: int
    at: int


NEVER = Event(0, 0)


class Version(NamedTuple):
    """One recorded version of a page.

    Each of its events is a number of the sequence (0: it has not happened) and a moment in milliseconds since 1970,
    UTC: it came (`first_seq`, `fetched_at`), OpenD last sent the same (`checked_…`), OpenD sent other bytes to the
    same question (`superseded_…`), another reply showed that it may not be joined to others any more (`void_…`).

    `behind` is the timestamp of the row that stood right before the page when it was walked, 0 where that is not
    known: it is what joins pages whose cursors say nothing. `sent` is when the request was sent that the last of its
    replies answered, in nanoseconds of the machine's monotonic clock. `seen` is for the room of histories to read.
    """

    protocol: int
    symbol: str
    next_key: str
    num: int
    version: int
    origin: str
    behind: int
    first_seq: int
    fetched_at: int
    checked_seq: int
    checked_at: int
    superseded_seq: int
    superseded_at: int
    void_seq: int
    void_at: int
    sent: int
    seen: bytes
    checksum: bytes
    body: bytes

    @classmethod
    def reply(
        cls,
        identity: tuple[int, str, str, int],
        body: bytes,
        event: Event,
        *,
        after: int = 0,
        sent: int = 0,
        origin: str,
    ) -> Version:
        """A reply, not yet kept."""
        return cls(*identity, 0, origin, after, *event, *event, *NEVER, *NEVER, sent, b"", b"", body)

    @property
    def identity(self) -> tuple[int, str, str, int]:
        """Which page it is a version of."""
        return self.protocol, self.symbol, self.next_key, self.num

    @property
    def is_current(self) -> bool:
        """Whether OpenD has not sent other bytes since."""
        return self.superseded_seq == 0

    @property
    def is_void(self) -> bool:
        return self.void_seq != 0

    @property
    def is_sound(self) -> bool:
        """Whether the row is what was written."""
        return is_sound(self)

    def signed(self) -> Version:
        """The same row with its checksum."""
        return self._replace(checksum=_digest(self))


# A row as SQLite gives it: what `Version` is made of.
RawVersion: TypeAlias = tuple[Any, ...]
# Where a row has its symbol, its checksum, which covers all before it and the body, and its body.
SYMBOL, CHECKSUM, BODY = map(Version._fields.index, ("symbol", "checksum", "body"))


def is_sound(row: RawVersion) -> bool:
    """Whether a row is what was written."""
    return bool(row[CHECKSUM] == _digest(row))


def _digest(row: RawVersion) -> bytes:
    # repr separates fields and types without ambiguity, whatever a damaged row holds.
    digest = hashlib.blake2b(repr(row[:CHECKSUM]).encode(errors="surrogatepass"), digest_size=DIGEST_BYTES)
    digest.update(row[BODY] if isinstance(row[BODY], bytes) else b"")
    return digest.digest()


class Seal(NamedTuple):
    """What stands for all that is recorded of a symbol.

    Attributes:
        seq, at: The last event.
        floor: What came up to this event is joined to nothing: something of that time was lost.
        is_judged: Whether it was seen to at recording which versions are void; not so in files of earlier releases.
        past: A digest of the past's blocks.
        summary: What the room of histories notes, so that it need not read the pages.
        digest: Over all of this, and the checksums of the versions.

    """

    seq: int
    at: int
    floor: int
    is_judged: int
    past: bytes
    summary: str
    digest: bytes = b""

    @classmethod
    def read(cls, fields: Sequence[Any]) -> Seal:
        """A seal as it stands in a file; that of nothing where damage made a field something else than it is."""
        return cls._make(fields) if [*map(type, fields)] == _OF_SEAL else UNSEALED

    def over(self, checksums: Iterable[bytes]) -> Seal:
        """The seal with its digest."""
        return self._replace(digest=self._over(b"".join(sorted(checksums))))

    def fits(self, checksums: bytes) -> bool:
        """Whether it is the seal over these checksums, in any order, with commas between: so SQLite joins them."""
        count, rest = divmod(len(checksums) + 1, DIGEST_BYTES + 1)
        each = () if rest else struct.unpack(count * _CHECKSUM, checksums + b",")
        return self.digest == self._over(b"".join(sorted(each)))

    def _over(self, checksums: bytes) -> bytes:
        told = repr(self[:-1]).encode(errors="surrogatepass") + checksums
        return hashlib.blake2b(told, digest_size=DIGEST_BYTES).digest()


_OF_SEAL = [int, int, int, int, bytes, str, bytes]
# The seal of a symbol of which nothing is recorded.
UNSEALED = Seal(0, 0, 0, 1, b"", "").over(())


@dataclass(frozen=True, slots=True)
class Versions:
    """What is recorded of a symbol: the present, which is what histories of now need.

    Attributes:
        sound: Its sound versions, as the file has them. Plain tuples, for there can be very many: the garbage collector
            soon leaves them alone, named ones never.
        damaged: Those that are not what was written: cursor, size and number of each.
        seal: The symbol's seal.
        is_whole: Whether nothing has been lost since the seal's `floor`: the seal fits.

    """

    sound: tuple[RawVersion, ...] = ()
    damaged: tuple[tuple[str, int, int], ...] = ()
    seal: Seal = UNSEALED
    is_whole: bool = True

    @property
    def rows(self) -> tuple[Version, ...]:
        """The sound versions."""
        return tuple(map(Version._make, self.sound))


class PastVersion(NamedTuple):
    """A version that the present does not need, and the event since which that is so."""

    version: Version
    left: Event


@dataclass(frozen=True)
class Clock:
    """How the machine's clock ran while the record was written.

    Attributes:
        last: The last event.
        steps: The events at which the clock showed less than at the one before.

    """

    last: Event = NEVER
    steps: tuple[Event, ...] = ()

    def has_been(self, event: Event | tuple[int, int], moment: int) -> bool:
        """Whether an event was recorded when the clock last showed this moment, or before.

        Everything that came before the clock was set back to this moment or less did, whatever its own clock said.
        """
        seq, at = event
        begun = next((step.seq for step in reversed(self.steps) if step.at <= moment), 0)
        return seq < begun or at <= moment

    def was_ahead(self, event: Event | tuple[int, int], now: int) -> bool:
        """Whether a later event, or `now`, shows that the clock of an event was ahead."""
        seq, at = event
        place = bisect_right(self._seqs, seq)
        return at > now or (place < len(self.steps) and self.least[place] < at)

    def up_to(self, moment: int) -> Clock:
        """As much of it as was known at a moment."""
        return Clock(self.last, tuple(step for step in self.steps if self.has_been(step, moment)))

    @cached_property
    def _seqs(self) -> list[int]:
        return [step.seq for step in self.steps]

    @cached_property
    def least(self) -> list[int]:
        """The least moment of a step and of all after it."""
        return list(accumulate((step.at for step in reversed(self.steps)), min))[::-1]


def as_of(versions: Versions, past: Iterable[PastVersion], clock: Clock, moment: int) -> Versions:
    """The present as it stood when the clock showed a moment: what mode offline had to answer from.

    When a page was last checked is not known of an earlier moment, and no answer depends on it.
    """
    told = [
        *((version, NEVER) for version in versions.rows),
        *((version, left) for version, left in past),
    ]
    rows = []
    for version, left in told:
        if not clock.has_been((version.first_seq, version.fetched_at), moment):
            continue
        if left.seq and clock.has_been(left, moment):
            continue
        row = version
        if row.superseded_seq and not clock.has_been((row.superseded_seq, row.superseded_at), moment):
            row = row._replace(superseded_seq=0, superseded_at=0)
        if row.void_seq and not clock.has_been((row.void_seq, row.void_at), moment):
            row = row._replace(void_seq=0, void_at=0)
        rows.append(row)
    return Versions(tuple(rows), (), versions.seal, versions.is_whole)
