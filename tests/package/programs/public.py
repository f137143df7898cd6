"""The public names of a face, with what they take and give, as text: what `public.txt` keeps.

    python -m tests.package.programs.public

writes it anew. Do that when a name or an argument is meant to change, and say so in the changelog.
"""

import ast
import inspect
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import futu_si
from opend_si_schema import records

KEPT = Path(__file__).with_name("public.txt")
PACKAGES = ("futu_si", "moomoo_si", "opend_si")


def describe(face: ModuleType) -> str:
    """A line for each name, and one for each public method, property and field of a class."""
    lines: list[str] = []
    for name in sorted([*face.__all__, *face._OTHERS], key=str.casefold):
        member = getattr(face, name)
        if inspect.isclass(member):
            lines.append(
                f"class {name}({', '.join(base.__name__ for base in member.__mro__[1:-1] if is_public(base))})"
            )
            # The fields of rows are the schema's.
            lines += [] if member.__module__ == records.__name__ else sorted(set(members(member)))
        elif inspect.isfunction(member):
            node = tree(member)
            assert isinstance(node, ast.FunctionDef)
            lines.append(signature(node))
        else:
            lines.append(f"{name}: {type(member).__name__}")
    return "\n".join(lines) + "\n"


def is_public(base: type) -> bool:
    return base.__module__ == "builtins" or base.__name__ in (*futu_si.__all__, *futu_si._OTHERS)


def members(member: type) -> Iterator[str]:
    """What a class has, its bases' too."""
    seen: set[str] = set()
    for base in member.__mro__:
        if base.__module__.partition(".")[0] not in PACKAGES:
            continue
        for node in tree(base).body:
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name not in seen:
                if any(ast.unparse(each) == "overload" for each in node.decorator_list):
                    continue
                seen.add(node.name)
                if not node.name.startswith("_") or node.name == "__init__":
                    is_property = any(ast.unparse(each) == "property" for each in node.decorator_list)
                    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
                    yield f"    {node.name}{returns}" if is_property else f"    {signature(node)}"
            elif isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_"):
                yield f"    {ast.unparse(node)}"


def tree(member: object) -> ast.FunctionDef | ast.ClassDef:
    (node,) = ast.parse(textwrap.dedent(inspect.getsource(member))).body  # type: ignore[arg-type]
    assert isinstance(node, ast.FunctionDef | ast.ClassDef)
    return node


def signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    kind = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
    returns = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    return f"{kind} {node.name}({ast.unparse(node.args)}){returns}"


if __name__ == "__main__":
    KEPT.write_text(describe(futu_si), encoding="utf-8")
    sys.stdout.write(f"{KEPT}\n")
