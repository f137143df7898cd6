"""The plan: every output file and its bytes. Writing and checking share it."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

DIFF_LINES = 40
# How every rendered Python file begins, see templates/_header.j2.
RENDERED_MARK = "# Rendered by codegen from templates/"

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
    """Hold the tree under `root` against the plan. Folders that hold a planned package hold nothing else."""
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
    owned = sorted({path.parts[0] for path in plan} | _rendered_packages(root))
    return [
        PurePosixPath(path.relative_to(root).as_posix())
        for folder in owned
        for path in sorted((root / folder).rglob("*"))
        if path.is_file() and "__pycache__" not in path.parts
    ]


def _rendered_packages(root: Path) -> set[str]:
    """Packages at the top that were rendered once, for a brand that is no longer named, say."""
    return {
        path.parent.name for path in root.glob("*/__init__.py") if path.read_bytes().startswith(RENDERED_MARK.encode())
    }


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
    """Make the tree equal to the plan and say what was changed. A file is replaced whole or not at all."""
    drift = compare(root, plan)
    for path in (*drift.differs, *drift.missing):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        scratch = target.with_name(f".{target.name}.new")
        scratch.write_bytes(plan[path])
        scratch.replace(target)
    for path in drift.orphaned:
        (root / path).unlink()
    return drift
