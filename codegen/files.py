"""The input files: which of a folder are any, and TOML that is held against what is read of it."""

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from codegen.errors import CodegenError

_T = TypeVar("_T")


def visible(folder: Path, pattern: str) -> list[Path]:
    """The files of a folder that a pattern finds, sorted.

    What is hidden is no input: it is an editor's (`.#x.toml`, `.x.j2.swp`) or the system's (`._x.proto`).
    """
    found = (path for path in folder.glob(pattern) if not path.is_dir())
    return sorted(path for path in found if not any(part[0] == "." for part in path.relative_to(folder).parts))


class Toml:
    """One table of a TOML file that insists on what it is asked for and knows what nobody asked for."""

    def __init__(self, path: Path, values: Mapping[str, Any], where: str = "") -> None:
        self.path, self._values, self._where = path, values, where
        self._asked: set[str] = set()

    @classmethod
    def load(cls, path: Path) -> "Toml":
        try:
            return cls(path, tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise CodegenError(f"{path}: no such file") from None
        except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
            raise CodegenError(f"{path}: {error}") from None

    def get(self, key: str, kind: type[_T]) -> _T:
        self._asked.add(key)
        if key not in self._values:
            raise self.error(f"`{key}` is missing")
        value = self._values[key]
        if type(value) is not kind:
            raise self.error(f"`{key}` is {value!r}: it takes a {kind.__name__}")
        return value

    def has(self, key: str) -> bool:
        """Whether a key that may be left out is there."""
        self._asked.add(key)
        return key in self._values

    def tables(self, key: str) -> list["Toml"]:
        listed = self.get(key, list)
        for values in listed:
            if not isinstance(values, dict):
                raise self.error(f"`{key}` has {values!r}: it takes tables")
        return [Toml(self.path, values, f"{self._where}{key}[{index}] ") for index, values in enumerate(listed)]

    def table(self, key: str) -> "Toml":
        return Toml(self.path, self.get(key, dict), f"{self._where}{key} ")

    def strings(self, key: str) -> dict[str, str]:
        table = self.table(key)
        return {name: table.get(name, str) for name in table._values}

    def done(self) -> None:
        """Refuse keys that nobody read: most often a misspelling."""
        for key in self._values:
            if key not in self._asked:
                raise self.error(f"`{key}` is not a key that is read here; it reads {', '.join(sorted(self._asked))}")

    def error(self, text: str) -> CodegenError:
        return CodegenError(f"{self.path}: {self._where}{text}")
