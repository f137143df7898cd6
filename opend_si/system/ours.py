"""A file that this package makes, and what can be wrong with it, in words: what happened, to which file, what to do."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from opend_si.errors import CacheBusy, CacheCorrupt, CacheError, CacheVersionMismatch
from opend_si.system.sharing import how_to_share

# Seconds for which a call waits for a file that others use: threads of this process and other processes together.
BUSY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class OurFile:
    """What a file is, as in "the rate budget"; its usual name, what can name another, what to do if it is damaged."""

    what: str
    name: str
    named_by: tuple[str, ...] = ("OPEND_SI_HOME",)
    if_damaged: str = ""

    def busy(self, path: Path, *, waited: bool = True) -> CacheBusy:
        how_long = (
            f"was locked by another process for {BUSY_SECONDS:g} s" if waited else "is still locked by another process"
        )
        return CacheBusy(f"{self._at(path)} {how_long}. Try again, or see what holds it.")

    def lockless(self, path: Path, *, waited: bool) -> CacheBusy:
        how_long = f" ({BUSY_SECONDS:g} s were waited for one)" if waited else ""
        return CacheBusy(
            f"{self._at(path)} cannot be used: it lies on a file system without locks{how_long}. Name another place with "
            f"{self._variables}."
        )

    def unusable(self, path: Path, told: object) -> CacheError:
        if os.path.isdir(path):  # noqa: PTH112  # pathlib's raises where the folder may not be looked into
            return CacheError(
                f"{self._at(path)} cannot be used: that is a folder. Name a file, such as {path / self.name}."
            )
        advice = how_to_share(path) or " See its folder, its permissions and the free space on its disk."
        return CacheError(f"{self._at(path)} cannot be used ({told}).{advice}")

    def not_created(self, path: Path, error: OSError) -> CacheError:
        advice = how_to_share(path) or " See its folder and permissions."
        return CacheError(
            f"{self._at(path)} cannot be created ({error.strerror}).{advice} Or name another place with {self._variables}."
        )

    def dangling(self, path: Path) -> CacheError:
        return CacheError(
            f"{self._at(path)} is a link to {path.readlink()}, where no file is. Make the link lead to a file, or remove it."
        )

    def damaged(self, path: Path, told: object) -> CacheCorrupt:
        return CacheCorrupt(f"{self._at(path)} is damaged ({told}).{self.if_damaged}")

    def strange(self, path: Path, told: object) -> CacheError:
        return CacheError(
            f"{self._at(path)} cannot be used ({told}). It was left as it is; if it stays so, name another place with "
            f"{self._variables}."
        )

    def foreign(self, path: Path) -> CacheVersionMismatch:
        return CacheVersionMismatch(
            f"{path} is a file of another program, or too damaged to tell; it was left as it is. Name another file for the "
            f"{self.what}."
        )

    def too_new(self, path: Path, version: int, known: int) -> CacheVersionMismatch:
        return CacheVersionMismatch(
            f"{self._at(path)} was written by another release (version {version}, this one knows {known}); it was left as it "
            "is. Update this package, or name another file."
        )

    def _at(self, path: Path) -> str:
        return f"The {self.what} {path}"

    @property
    def _variables(self) -> str:
        return " or ".join(self.named_by)
