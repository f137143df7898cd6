"""How Sphinx builds this guide: Markdown pages, the notebook as it was executed, and the reference from docstrings.

All of it comes from Python packages; nothing is fetched when the pages are built or read. `make check` builds with
warnings as errors: a link, a heading, a page or a name that is not there ends it.
"""

import re
from collections.abc import Iterator
from inspect import isclass
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.docutils import SphinxDirective
from sphinx.util.logging import getLogger

import futu_si
from docs import console
from opend_si import __version__
from opend_si_schema.calls import CALLS

project = "opend-short-interest"
author = "The opend-short-interest developers"
version = release = __version__

extensions = ["sphinx.ext.autodoc", "myst_nb"]
exclude_patterns = ["*.py", "__pycache__"]

html_theme = "furo"
html_title = f"{project} {version}"
html_static_path = ["static"]
html_css_files = ["guide.css"]
html_copy_source = False
html_show_copyright = False
html_show_sphinx = False
html_use_index = False

# Pages link to each other's headings.
myst_heading_anchors = 3
# The notebook is shown as it was committed; `make notebook` executes it.
nb_execution_mode = "off"
nb_merge_streams = True
nb_mime_priority_overrides = [("html", "text/html", 0), ("html", "image/png", 1)]

autodoc_default_options = {"members": True}
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = True
python_maximum_signature_line_length = 88
# A name in backticks is a link where the reference has it, else code. Only pages' own links have to lead somewhere.
default_role = "py:obj"

PUBLIC = sorted([*futu_si.__all__, *futu_si._OTHERS])
_SECTION = re.compile(r"(Args|Attributes|Returns|Warns|Raises|Warns, raises):")
_ENTRY = re.compile(r"(\w+(?:, \w+)*): (.+)")
_TITLES = {"Args": "Parameters", "Warns, raises": "Warns and raises"}
_INDENT = "    "


def convert_docstring(
    _app: Sphinx, _kind: str, _name: str, _object: object, _options: object, lines: list[str]
) -> None:
    """Docstrings are written for editors and `help()`: their sections become reStructuredText's."""
    lines[:] = _convert(lines)


def _convert(lines: list[str]) -> Iterator[str]:
    section = ""
    for line in lines:
        header = _SECTION.fullmatch(line)
        if header:
            section = header[1]
            yield from ("", f":{_TITLES.get(section, section)}:")
        elif line and not line.startswith(_INDENT):
            section = ""
            yield line
        elif section in ("", "Returns"):
            yield line
        else:
            yield from _convert_entry(line, as_code=section in ("Warns", "Raises"))


def _convert_entry(line: str, *, as_code: bool) -> Iterator[str]:
    """`name: text` as an item of a list; what is none, and stands as deep, as a paragraph behind the list."""
    text = line.removeprefix(_INDENT)
    entry = _ENTRY.fullmatch(text)
    if entry:
        names = ", ".join(f"`{name}`" if as_code else f"**{name}**" for name in entry[1].split(", "))
        yield f"{_INDENT}- {names} – {entry[2]}"
    elif text.startswith(_INDENT):
        yield f"{_INDENT}  {text.strip()}"
    else:
        yield from ("", line, "") if text else ("",)


class Columns(SphinxDirective):
    """The columns of all kinds and markets as tables, from the schema: what is new there is new here."""

    def run(self) -> list[nodes.Node]:
        """A table a market."""
        lines: list[str] = []
        for call, table in ((each, table) for each in CALLS for table in each.tables):
            title = f"{call.title[0].upper()}{call.title[1:]}, {table.market.prefix}"
            lines += ["", f"**{title}**", "", "| column | dtype | unit | |", "|---|---|---|---|"]
            names = [*(column.name for column in table.columns), *(f'attrs["{column.name}"]' for column in table.attrs)]
            for name, column in zip(names, [*table.columns, *table.attrs], strict=True):
                lines.append(f"| `{name}` | {column.dtype} | {column.unit} | {column.doc} |")
        made = self.parse_text_to_nodes("\n".join(lines))
        for node in made:
            if isinstance(node, nodes.table):
                node["classes"].append("columns")
        return made


class Console(SphinxDirective):
    """The commands and options of the console."""

    def run(self) -> list[nodes.Node]:
        """A section a command."""
        return self.parse_text_to_nodes("\n".join(console.lines()), allow_section_headings=True)


class Public(SphinxDirective):
    """The face's public names that a module defines. Rendered modules grow with each call; their pages grow along."""

    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        """What autodoc makes of them."""
        members = ((name, getattr(futu_si, name)) for name in PUBLIC)
        lines = [
            f".. {'autoclass' if isclass(member) else 'autofunction'}:: {name}"
            for name, member in members
            if getattr(member, "__module__", None) == self.arguments[0]
        ]
        return self.parse_text_to_nodes("\n".join(lines))


def check_names(_app: Sphinx, env: BuildEnvironment) -> None:
    """Every public name of the face has its place in the reference."""
    for name in PUBLIC:
        if f"futu_si.{name}" not in env.domains.python_domain.objects:
            getLogger(__name__).warning("futu_si.%s is not in the reference", name, location="reference")


def setup(app: Sphinx) -> dict[str, Any]:
    """What Sphinx calls first."""
    app.connect("autodoc-process-docstring", convert_docstring)
    app.connect("env-check-consistency", check_names)
    app.add_directive("columns", Columns)
    app.add_directive("console", Console)
    app.add_directive("public", Public)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
