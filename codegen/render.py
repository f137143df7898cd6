"""From the model to text: Jinja templates, then ruff.

A template's path is its output's path: `templates/schema/X.j2` becomes `generated/opend_si_schema/X`,
`templates/brand/X.j2` becomes `futu_si/X` and `moomoo_si/X`, `templates/examples/X.j2` becomes `examples/X`, `%proto`
stands for each proto's module. Templates substitute, loop and include; what they print is a property of the model.
"""

import subprocess
import sys
import tempfile
import textwrap
import traceback
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import jinja2

from codegen.binding import Brand, Calendar, Call, Market
from codegen.columns import ADDED, DTYPES
from codegen.errors import CodegenError
from codegen.files import visible
from codegen.model import Protos

SCHEMA = PurePosixPath("generated/opend_si_schema")
EXAMPLES = PurePosixPath("examples")  # here what is rendered stands beside what is written by hand
WIDTH = 120
_PROTO_MARK = "%proto"


@dataclass(frozen=True)
class Inputs:
    """All that is rendered from."""

    protos: Protos
    descriptors: bytes
    markets: tuple[Market, ...]
    calendars: tuple[Calendar, ...]
    calls: tuple[Call, ...]
    brands: tuple[Brand, ...]


def render(templates: Path, inputs: Inputs, ruff_config: Path) -> dict[PurePosixPath, bytes]:
    """Every output file by its path in the repository, formatted."""
    environment = _environment(templates)
    files: dict[PurePosixPath, bytes] = {SCHEMA / "descriptors.binpb": inputs.descriptors}
    for out, template, context in _jobs(templates, inputs):
        try:
            text = environment.get_template(template).render(template=template, **context)
        except Exception as error:  # a filter or a property may raise anything
            raise CodegenError(f"{_place(error, templates, template)}: {error}") from error
        files[out] = text.encode()
    return _formatted(files, ruff_config)


def _place(error: Exception, templates: Path, template: str) -> str:
    """The template and the line that an error comes from: often a partial of `template`."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return f"templates/{error.name}, line {error.lineno}"
    places = [
        f"templates/{Path(frame.filename).relative_to(templates).as_posix()}, line {frame.lineno}"
        for frame in traceback.extract_tb(error.__traceback__)
        if Path(frame.filename).is_relative_to(templates)
    ]
    return places[-1] if places else f"templates/{template}"


def _jobs(templates: Path, inputs: Inputs) -> Iterator[tuple[PurePosixPath, str, dict[str, Any]]]:
    """(output path, template, its variables) for every output file."""
    shared = {"markets": inputs.markets, "calls": inputs.calls, "default_call": inputs.calls[0]}
    modules = sorted({call.module for call in inputs.calls})
    of_schema = {
        **shared,
        "protos": inputs.protos,
        "modules": modules,
        "calendars": inputs.calendars,
        "dtypes": DTYPES.values(),
        "added": ADDED,
    }
    for name in _names(templates / "schema"):
        out, template = SCHEMA / name.removesuffix(".j2"), f"schema/{name}"
        if _PROTO_MARK not in name:
            yield out, template, of_schema
            continue
        for file in inputs.protos.files:
            if templates.joinpath("schema", f"{file.module}.py.j2").exists():
                raise CodegenError(
                    f"{file.name}: the schema has a module `{file.module}` of its own; name the proto otherwise"
                )
            yield PurePosixPath(str(out).replace(_PROTO_MARK, file.module)), template, {**of_schema, "file": file}
    for brand in inputs.brands:
        for name in _names(templates / "brand"):
            yield PurePosixPath(brand.package, name.removesuffix(".j2")), f"brand/{name}", {**shared, "brand": brand}
    for name in _names(templates / "examples"):
        yield EXAMPLES / name.removesuffix(".j2"), f"examples/{name}", {**shared, "protos": inputs.protos}


def _names(folder: Path) -> list[str]:
    """Templates of one package, partials left out."""
    names = [path.relative_to(folder).as_posix() for path in visible(folder, "**/*.j2")]
    if not names:
        raise CodegenError(f"{folder}: no template, so there is nothing to make")
    return [name for name in names if not _is_partial(name)]


def _is_partial(name: str) -> bool:
    """`_columns.j2` is for including: it has no suffix of an output."""
    return PurePosixPath(name).suffixes == [".j2"]


def _environment(templates: Path) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(templates),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    environment.filters.update(docstring=docstring, comment=comment, literal=literal)
    return environment


def docstring(text: str, indent: int, room: int = 0) -> str:
    """`text` as it may stand inside a triple-quoted docstring, wrapped, continued at `indent`.

    `room` is left free on each line, for text that will be indented further.
    """
    one_line = plain(text)
    body = one_line.rstrip('"')
    safe = body.replace("\\", "\\\\").replace('"""', '\\"\\"\\"') + '\\"' * (len(one_line) - len(body))
    # Room for the quotes of a docstring that ends on its first line.
    lines = textwrap.wrap(safe, WIDTH - indent - room - 6, break_long_words=False, break_on_hyphens=False)
    return f"\n{' ' * indent}".join(lines)


def comment(text: str, indent: int) -> str:
    """`text` as comment lines before the code at `indent`; nothing for no text."""
    lines = textwrap.wrap(plain(text), WIDTH - indent - 2, break_long_words=False, break_on_hyphens=False)
    return "".join(f"# {line}\n{' ' * indent}" for line in lines)


def literal(value: str) -> str:
    """`value` as a Python literal."""
    return repr(value)


def plain(text: str) -> str:
    """One line of printable text: whatever a proto's comment holds, no line break or control character is left."""
    return " ".join("".join(char if char.isprintable() else " " for char in text).split())


def _formatted(files: Mapping[PurePosixPath, bytes], config: Path) -> dict[PurePosixPath, bytes]:
    """The files with all Python put into form by the ruff that the group `codegen` pins."""
    python = [path for path in files if path.suffix in (".py", ".pyi")]
    own = sorted({path.parent.name for path in python} | {"opend_si"})
    result = dict(files)
    with tempfile.TemporaryDirectory() as scratch:
        for path in python:
            target = Path(scratch, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(files[path])
        for command in (["check", "--fix", "--quiet"], ["format", "--quiet"]):
            options = ("--config", str(config), "--config", f"lint.isort.known-first-party = {own}")
            _ruff([*command, "--no-cache", *options, scratch], scratch)
        for path in python:
            result[path] = Path(scratch, path).read_bytes()
    return result


def _ruff(arguments: Sequence[str], scratch: str) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "ruff", *arguments], capture_output=True, encoding="utf-8", errors="replace"
    )
    if run.returncode == 0:
        return
    if "No module named" in run.stderr:
        raise CodegenError("ruff is missing: install the dependency group `codegen`")
    report = (run.stdout + run.stderr).replace(scratch, "").strip()
    raise CodegenError(f"what the templates gave is not valid Python, or has two things of one name:\n{report}")
