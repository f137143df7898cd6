"""Where the protos of codegen/protos come from: the manifest that stands beside them.

`python -m codegen --protos DIR` copies protos and writes down, for each, the distribution that its folder was installed
by and its SHA-256. Without `--protos` the manifest follows the files: one that was changed by hand no longer claims to
be a distribution's. Nothing of the machine gets in: a folder that no distribution installed is "a local folder".
"""

import base64
import hashlib
import json
import os
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, fields
from importlib.metadata import Distribution, distributions
from pathlib import Path

from codegen.errors import CodegenError
from codegen.files import visible

MANIFEST = "manifest.toml"
DOCUMENTED = "written out from the documented interface"
BY_HAND = "put here by hand"
LOCAL_FOLDER = "a local folder"
EDITED = ", edited by hand"

_HEAD = """\
# Where the protos of this folder come from. "python -m codegen --protos DIR" copies protos and writes this file;
# "python -m codegen --check" holds the protos against it.
"""


@dataclass(frozen=True)
class Entry:
    """What the manifest says of one proto. `version` is that of the origin, `""` if it has none."""

    file: str
    origin: str
    version: str
    sha256: str

    @property
    def named(self) -> str:
        """`futu-api 10.11.7108`."""
        return f"{self.origin} {self.version}".rstrip()

    def after_an_edit(self, sha256: str) -> "Entry":
        by_people = self.origin in (DOCUMENTED, BY_HAND) or self.origin.endswith(EDITED)
        return Entry(self.file, self.origin if by_people else f"{self.origin}{EDITED}", self.version, sha256)


Manifest = Mapping[str, Entry]


def read_manifest(folder: Path) -> Manifest:
    """The entries by file name; none if there is no manifest yet."""
    path = folder / MANIFEST
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError) as error:
        raise CodegenError(f"{path}: {error}") from None
    try:
        values = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise CodegenError(f"{path}: {error}") from None
    entries = {}
    listed = values.get("proto")
    if not isinstance(listed, list) or values.keys() != {"proto"} or not all(isinstance(each, dict) for each in listed):
        raise CodegenError(f"{path}: it holds [[proto]] tables and nothing else")
    for index, table in enumerate(listed):
        for field in fields(Entry):
            if not isinstance(table.get(field.name), str):
                raise CodegenError(f"{path}: proto[{index}] `{field.name}` is missing or no text")
        entry = Entry(**{field.name: table[field.name] for field in fields(Entry)})
        if entry.file in entries:
            raise CodegenError(f"{path}: proto[{index}] {entry.file} is there before")
        entries[entry.file] = entry
    return entries


def render_manifest(entries: Iterable[Entry]) -> bytes:
    """The manifest's bytes, sorted by file."""
    tables = [_HEAD]
    for entry in sorted(entries, key=lambda entry: entry.file):
        values = zip((field.name for field in fields(Entry)), astuple(entry), strict=True)
        tables.append("[[proto]]\n" + "".join(f"{name} = {_toml(value)}\n" for name, value in values))
    return "\n".join(tables).encode()


def _toml(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def follow(manifest: Manifest, protos: Mapping[str, bytes]) -> list[Entry]:
    """What is to be said of these files if they were changed by hand since the manifest was written."""
    entries = []
    for name, data in protos.items():
        sha256, known = _sha256(data), manifest.get(name)
        if known is None:
            entries.append(Entry(name, BY_HAND, "", sha256))
        else:
            entries.append(known if known.sha256 == sha256 else known.after_an_edit(sha256))
    return entries


def trace(manifest: Manifest, folder: Path, protos: Mapping[str, bytes]) -> list[Entry]:
    """What is to be said of these files of `folder`, from which they are copied."""
    origin = _Installed.find(folder, next(iter(protos)))
    entries = []
    for name, data in protos.items():
        known = manifest.get(name)
        entry = origin.entry(name, data) if origin else Entry(name, LOCAL_FOLDER, "", _sha256(data))
        # What is known of these very bytes is more than that they were found in some folder.
        entries.append(known if not origin and known and known.sha256 == entry.sha256 else entry)
    return entries


def read_protos_of(folder: Path) -> dict[str, bytes]:
    """The protos of a folder by name."""
    return {path.name: path.read_bytes() for path in visible(folder, "*.proto") if path.is_file()}


def mismatches(folder: Path, manifest: Manifest) -> list[str]:
    """In which way the protos of a folder are not those that the manifest describes."""
    there = {name: _sha256(data) for name, data in read_protos_of(folder).items()}
    told = [f"{folder / name}: not in {MANIFEST}" for name in there if name not in manifest]
    for name, entry in sorted(manifest.items()):
        if name not in there:
            told.append(f"{folder / name}: gone, though {MANIFEST} has it ({entry.named})")
        elif there[name] != entry.sha256:
            told.append(f"{folder / name}: not the file that {MANIFEST} describes ({entry.named})")
    return told


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@dataclass(frozen=True)
class _Installed:
    """A folder that a distribution installed."""

    name: str
    version: str
    hashes: Mapping[str, str]  # of the folder's files, as the distribution's RECORD has them

    @classmethod
    def find(cls, folder: Path, name: str) -> "_Installed | None":
        """The distribution that installed the file `name` of a folder, in whatever environment the folder is."""
        for place in dict.fromkeys((Path(os.path.abspath(folder)), folder.resolve())):  # noqa: PTH100  # keeps links
            for parent in place.parents:
                inside = place.relative_to(parent).as_posix()
                for distribution in distributions(path=[str(parent)]):
                    if f"\n{inside}/{name}," in f"\n{distribution.read_text('RECORD')}":
                        return cls._of(distribution, inside)
        return None

    @classmethod
    def _of(cls, distribution: Distribution, inside: str) -> "_Installed":
        hashes = {
            path.name: path.hash.value
            for path in distribution.files or ()
            if path.parent.as_posix() == inside and path.hash is not None and path.hash.mode == "sha256"
        }
        return cls(re.sub(r"[-_.]+", "-", distribution.name).lower(), distribution.version, hashes)

    def entry(self, name: str, data: bytes) -> Entry:
        digest = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).rstrip(b"=").decode()
        entry = Entry(name, self.name, self.version, _sha256(data))
        return entry if self.hashes.get(name) == digest else entry.after_an_edit(entry.sha256)
