"""The plan: every output file and its bytes. Writing and checking share it.

The protos and their manifest are planned like outputs, so that they change together with what is rendered from them.
"""

import difflib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from codegen.errors import CodegenError
from codegen.files import visible
from codegen.render import EXAMPLES

PROTOS = PurePosixPath("codegen/protos")
DIFF_LINES = 40
# How every rendered file begins, behind the sign of a comment, see templates/_header.j2.
RENDERED_MARK = b" Rendered by codegen from templates/"

Plan = Mapping[PurePosixPath, bytes]


@dataclass
class Drift:
    """How the tree differs from the plan."""

    differs: list[PurePosixPath] = field(default_factory=list)
    missing: list[PurePosixPath] = field(default_factory=list)
    orphaned: list[PurePosixPath] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.differs or self.missing or self.orphaned)


def compare(root: Path, plan: Plan) -> Drift:
    """Hold the tree under `root` against the plan.

    Folders that hold a planned package, or the protos, hold no others; the examples hold no others that are rendered.
    """
    drift = Drift()
    for path, wanted in sorted(plan.items()):
        target = root / path
        if not target.is_file():
            drift.missing.append(path)
        elif target.read_bytes() != wanted:
            drift.differs.append(path)
    drift.orphaned = [path for path in _present(root, plan) if path not in plan]
    return drift


def _present(root: Path, plan: Plan) -> list[PurePosixPath]:
    for package in sorted({path.parent for path in outputs(plan) if path.name == "__init__.py"}):
        _refuse_strangers(root, package, plan)
    owned = sorted({path.parts[0] for path in outputs(plan)} - {EXAMPLES.name} | _rendered_packages(root))
    present = [path for folder in owned for path in _files(root, PurePosixPath(folder))]
    present += [path for path in _files(root, EXAMPLES) if _is_rendered(root / path)]
    if any(path.parent == PROTOS for path in plan):
        present += [PROTOS / path.name for path in visible(root / PROTOS, "*.proto") if path.is_file()]
    return present


def _files(root: Path, folder: PurePosixPath) -> list[PurePosixPath]:
    """The files below a folder, bytecode left out."""
    files = (path for path in (root / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return sorted(PurePosixPath(path.relative_to(root).as_posix()) for path in files)


def _refuse_strangers(root: Path, package: PurePosixPath, plan: Plan) -> None:
    """Refuse a folder that was never rendered and holds files: a brand may be called like `tests` by mistake."""
    strangers = [path for path in _files(root, package) if path not in plan]
    if strangers and not any(_is_rendered(path) for path in (root / package).glob("*") if path.is_file()):
        raise CodegenError(
            f"{root / package}: codegen has rendered nothing of what is there, and would remove {strangers[0].name} and "
            "the like. Give the brand another `package` in codegen/brands.toml, or empty the folder"
        )


def outputs(plan: Plan) -> list[PurePosixPath]:
    """What is rendered, the protos left out."""
    return [path for path in plan if path.parent != PROTOS]


def _rendered_packages(root: Path) -> set[str]:
    """Packages at the top that were rendered once, for a brand that is no longer named, say."""
    return {path.parent.name for path in root.glob("*/__init__.py") if _is_rendered(path)}


def _is_rendered(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(len("//") + len(RENDERED_MARK)).lstrip(b"#/").startswith(RENDERED_MARK)


def report(root: Path, plan: Plan, drift: Drift) -> str:
    """The drift in words, with the beginning of each difference."""
    parts = [f"differs: {path}\n{_difference(root, plan, path)}" for path in drift.differs]
    parts += [f"missing: {path}" for path in drift.missing]
    parts += [f"orphaned: {path} (no template makes it)" for path in drift.orphaned]
    return "\n".join(parts)


def _difference(root: Path, plan: Plan, path: PurePosixPath) -> str:
    try:
        now, wanted = (root / path).read_text(encoding="utf-8"), plan[path].decode()
    except UnicodeDecodeError:
        return "  (binary)"
    lines = list(
        difflib.unified_diff(now.splitlines(), wanted.splitlines(), "in the tree", "as rendered", lineterm="", n=1)
    )
    shown: Sequence[str] = lines[:DIFF_LINES]
    rest = f"\n  … {len(lines) - DIFF_LINES} more lines" if len(lines) > DIFF_LINES else ""
    return "\n".join(f"  {line}" for line in shown) + rest


def write(root: Path, plan: Plan) -> Drift:
    """Make the tree equal to the plan and say what was changed. All of it changes, or nothing does."""
    drift = compare(root, plan)
    if not drift:
        return drift
    written = [*drift.differs, *drift.missing]
    with _together(root) as tree:
        for path in written:
            tree.stage(path, plan[path])
        for path in written:
            tree.put(path)
        for path in drift.orphaned:
            tree.remove(path)
    return drift


@contextmanager
def _together(root: Path) -> Iterator["_Tree"]:
    """A tree whose changes are all undone if one of them fails, or the program is interrupted between them."""
    try:
        aside = Path(tempfile.mkdtemp(prefix=".codegen-", dir=root))
    except OSError as error:
        raise CodegenError(f"{root}: {error.strerror}; nothing was changed") from None
    tree = _Tree(root, aside)
    try:
        yield tree
    except BaseException as error:
        lost = tree.undo()
        if lost:
            names = ", ".join(map(str, lost))
            raise CodegenError(
                f"{tree.at}: {error}; then these could not be put back: {names}. What was there before is in {aside}"
            ) from error
        shutil.rmtree(aside, ignore_errors=True)
        if isinstance(error, OSError):
            raise CodegenError(f"{tree.at}: {error.strerror or error}; nothing was changed") from None
        raise
    shutil.rmtree(aside, ignore_errors=True)


class _Tree:
    """Files of a tree that are replaced with what was staged, and what was there before.

    All that takes room is written before the first file is replaced; from then on files are only renamed. Each step
    is noted before it is taken, so that an interruption in between is undone as well.
    """

    def __init__(self, root: Path, aside: Path) -> None:
        self.at = PurePosixPath()  # the file that is being worked on
        self._root, self._aside = root, aside
        self._undo: list[tuple[PurePosixPath, Callable[[], object]]] = []

    def stage(self, path: PurePosixPath, data: bytes) -> None:
        self.at = path
        staged = self._aside / "new" / path
        staged.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(data)

    def put(self, path: PurePosixPath) -> None:
        self.at = path
        target, staged = self._root / path, self._aside / "new" / path
        if target.is_file() or target.is_symlink():
            self.remove(path)
        for folder in reversed(path.parents):
            if not (self._root / folder).exists():
                self._undo.append((folder, partial(_take_away, self._root / folder)))
                (self._root / folder).mkdir()
        self._undo.append((path, partial(_move_back, target, staged)))
        staged.rename(target)

    def remove(self, path: PurePosixPath) -> None:
        self.at = path
        target, old = self._root / path, self._aside / "old" / path
        old.parent.mkdir(parents=True, exist_ok=True)
        self._undo.append((path, partial(_move_back, old, target)))
        target.rename(old)

    def undo(self) -> list[PurePosixPath]:
        """Put everything back; what could not be."""
        lost = []
        for path, step in reversed(self._undo):
            try:
                step()
            except OSError:
                lost.append(path)
        return lost


def _move_back(there: Path, here: Path) -> None:
    """Undo `here.rename(there)`, if it was done."""
    if not (here.exists() or here.is_symlink()):
        there.rename(here)


def _take_away(folder: Path) -> None:
    if folder.exists():
        folder.rmdir()
