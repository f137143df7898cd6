"""Runs what this guide shows, as it stands, on the simulator: the examples of pages, and the notebook.

    python -m docs.examples docs/index.md          runs the page's examples in their order
    python -m docs.examples docs/research.ipynb    executes the notebook, and writes its outputs into it

Of a page these blocks run, in an empty folder that the page has for itself:

    python     in one namespace
    console    the lines behind `$`, in a shell
    text       is what the block before it printed; of a console block the lines without `$` are

A comment in front of a block, `<!-- not run: why -->` or `<!-- needs module -->`, keeps it from being run, the latter
where the module is not installed. In the notebook a cell may be tagged `a week later`: the simulator publishes and
revises before it is run; or `moment`: its output tells the time and is never the same.
"""

import io
import os
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import chdir, contextmanager, redirect_stdout
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from markdown_it import MarkdownIt

from opend_si.simulator import Simulator

if TYPE_CHECKING:
    import nbformat

FOLDER = Path(__file__).parent
# Those whose examples run here. Those for developers tell how to change the code: tests of their own follow them.
GUIDE = (
    *("index", "concepts", "offline", "engines", "backtests", "recipes", "console", "sharing"),
    *("moving", "errors", "troubleshooting", "reference"),
)
NOTEBOOK = FOLDER / "research.ipynb"
A_WEEK_LATER, MOMENT = "a week later", "moment"  # tags of cells
_METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python", "pygments_lexer": "ipython3"},
}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page.

    Attributes:
        line: Where its content begins, counted from 0.
        kind: What stands behind the fence.
        comment: What stands in front of it, such as `not run: why`.

    """

    line: int
    kind: str
    text: str
    comment: str

    @property
    def is_run(self) -> bool:
        """Whether it is run here."""
        module = self.comment.removeprefix("needs ")
        is_there = module == self.comment or find_spec(module) is not None
        return is_there and not self.comment.startswith("not run: ")


def read_page(path: Path) -> list[Block]:
    """The fenced blocks of a page."""
    blocks, comment = [], ""
    for token in MarkdownIt("commonmark").parse(path.read_text(encoding="utf-8")):
        if token.type == "fence" and token.map is not None:
            blocks.append(Block(token.map[0] + 1, token.info, token.content, comment))
        comment = token.content.strip().removeprefix("<!-- ").removesuffix(" -->") if token.type == "html_block" else ""
    return blocks


def run_page(path: Path) -> None:
    """Run the blocks of a page. `SystemExit` names the line of one that prints something else."""
    names: dict[str, Any] = {"__name__": "__main__"}
    printed: str | None = None
    for block in read_page(path):
        if not block.is_run:
            printed = None
        elif block.kind == "python":
            printed = _run_python(path, block, names)
        elif block.kind == "console":
            _run_console(path, block)
        elif block.kind == "text" and printed is not None:
            _compare(path, block.line, block.text, printed)


def _run_python(path: Path, block: Block, names: dict[str, Any]) -> str:
    code = compile("\n" * block.line + block.text, path, "exec")  # a traceback names the page's line
    with redirect_stdout(io.StringIO()) as output:
        exec(code, names)  # noqa: S102
    return output.getvalue()


def _run_console(path: Path, block: Block) -> None:
    lines = block.text.splitlines()
    places = [place for place, line in enumerate(lines) if line.startswith("$ ")]
    for place, end in zip(places, [*places[1:], len(lines)], strict=True):
        command = ["bash", "-euo", "pipefail", "-c", lines[place].removeprefix("$ ")]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            sys.exit(f"{path}:{block.line + place + 1}: exit code {done.returncode}\n{done.stderr}")
        if shown := lines[place + 1 : end]:
            _compare(path, block.line + place + 2, "\n".join(shown), done.stdout)


def _compare(path: Path, line: int, shown: str, printed: str) -> None:
    if _trimmed(shown) != _trimmed(printed):
        sys.exit(f"{path}:{line}: shown is\n{shown}\nprinted was\n{printed}")


def _trimmed(text: str) -> list[str]:
    """The lines, without the blanks that editors take off."""
    return [line.rstrip() for line in text.strip("\n").splitlines()]


def execute(path: Path) -> "nbformat.NotebookNode":
    """The notebook with the outputs of now."""
    import nbformat  # most examples are pages, and this takes long to load
    from nbclient import NotebookClient

    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    with simulated() as opend:

        def pass_time(cell: "nbformat.NotebookNode", **_: object) -> None:
            if A_WEEK_LATER in cell.metadata.get("tags", ()):
                for symbol in opend.universe.symbols:
                    if symbol.startswith("HK.") and opend.universe.rows(symbol):
                        opend.universe.publish(symbol)
                opend.universe.revise("HK.00700", 3, aggregatedShort=48_374_208)

        quiet = ["--log-level=ERROR"]  # that it listens on this machine is no news
        NotebookClient(
            notebook, timeout=60, kernel_name="python3", extra_arguments=quiet, on_cell_start=pass_time
        ).execute()
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when it ran
    notebook.metadata = _METADATA  # without the version that ran it
    return notebook


@contextmanager
def simulated() -> Iterator[Simulator]:
    """A simulator without a limit, an environment that leads to it, and an empty folder to be in."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(("OPEND_", "JUPYTER_", "IPYTHON"))}
    # The consoles of this environment go first.
    path = os.pathsep.join([str(Path(sys.executable).parent), ours.get("PATH", os.defpath)])
    with Simulator() as opend, TemporaryDirectory() as folder:
        home, here = Path(folder, "home"), Path(folder, "here")
        home.mkdir()
        here.mkdir()
        at = {
            "OPEND_HOST": opend.host,
            "OPEND_PORT": str(opend.port),
            "OPEND_SI_HOME": str(home),
            "OPEND_SI_RATE": "off",
        }
        before = dict(os.environ)
        os.environ.clear()
        os.environ.update(ours, PATH=path, HOME=str(home), **at)
        try:
            with chdir(here):
                yield opend
        finally:
            os.environ.clear()
            os.environ.update(before)


def main(arguments: list[str]) -> None:
    """Run the pages and the notebooks that are named."""
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", module="dask")  # it still uses what pandas is about to drop
    for path in map(Path.absolute, map(Path, arguments)):
        if path.suffix == ".ipynb":
            import nbformat

            nbformat.write(execute(path), path)  # type: ignore[no-untyped-call]
        else:
            with simulated():
                run_page(path)


if __name__ == "__main__":
    main(sys.argv[1:])
