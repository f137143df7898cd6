"""Render everything that the protos, the bindings and the templates make; or say what would change.

python -m codegen                        from codegen/protos
python -m codegen --check                write nothing; is the tree as rendered, are the protos those of the manifest?
python -m codegen diff --protos DIR      in words: what would change with the protos of DIR
python -m codegen --protos DIR           copy the protos that are needed from DIR, and render
python -m codegen --protos DIR --accept  also if something that is in use is taken away or retyped

DIR is a folder of .proto files, such as futu/common/pb or moomoo/common/pb in site-packages.
Exit code 0: the tree is (now) as rendered, nothing would change; 1: it is not, something would, or an input is wrong
(the error is on stderr and nothing was changed); 2: the command line is wrong.
"""

import argparse
import io
import os
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.protobuf.message import DecodeError

from codegen.binding import proto_of, read_brands, read_calendars, read_calls, read_docs, read_markets
from codegen.compile import check_loads, compile_protos, strip
from codegen.diff import Change, TableUse, compare_sets, counted, in_words, otherwise_different
from codegen.errors import CodegenError
from codegen.files import visible
from codegen.guard import leftovers, refuse_leftovers, refuse_losses, tables_in_use
from codegen.model import Protos, read_protos
from codegen.origin import MANIFEST, follow, mismatches, read_manifest, read_protos_of, render_manifest, trace
from codegen.plan import PROTOS, Plan, compare, outputs, report, write
from codegen.render import SCHEMA, Inputs, plain, render

SESSION_PROTOS = ("InitConnect.proto", "GetGlobalState.proto", "KeepAlive.proto")
# The npm packages have it, the Python packages have not: a folder without it leaves the repository's.
WEBSOCKET_PROTO = "InitWebSocket.proto"


@dataclass(frozen=True)
class Source:
    """The protos that a plan is made from: those of the repository below `root`, or those of another folder."""

    root: Path
    protos: Path | None = None

    @property
    def own(self) -> Path:
        return self.root / PROTOS

    @property
    def folder(self) -> Path:
        return self.protos or self.own

    @property
    def is_foreign(self) -> bool:
        return self.folder.resolve() != self.own.resolve()

    @cached_property
    def bindings(self) -> list[Path]:
        bindings = visible(self.root / "codegen/bindings", "*.toml")
        if not bindings:
            raise CodegenError(f"{self.root / 'codegen/bindings'}: no binding, so there is nothing to make")
        return bindings

    @cached_property
    def needed(self) -> list[str]:
        """The protos that are compiled; what they import is compiled with them."""
        return [*SESSION_PROTOS, WEBSOCKET_PROTO, *(proto_of(path) for path in self.bindings)]

    @cached_property
    def lent(self) -> dict[str, bytes]:
        """Protos that the repository's folder gives, because this one has them not."""
        missing = not (self.folder / WEBSOCKET_PROTO).is_file() and (self.own / WEBSOCKET_PROTO).is_file()
        return {WEBSOCKET_PROTO: (self.own / WEBSOCKET_PROTO).read_bytes()} if missing else {}

    def compile(self) -> FileDescriptorSet:
        return compile_protos(self.folder, self.needed, self.lent)

    def rendered(self) -> FileDescriptorSet:
        """What the tree was rendered from: the committed set; if it is damaged, the repository's protos."""
        try:
            return FileDescriptorSet.FromString((self.root / SCHEMA / "descriptors.binpb").read_bytes())
        except (OSError, DecodeError):
            return compile_protos(self.own, self.needed)

    def changes(self, before: FileDescriptorSet, after: FileDescriptorSet, tables: Sequence[TableUse]) -> list[Change]:
        return compare_sets(before, after, [name.removesuffix(".proto") for name in self.needed], tables)

    def copies(self, after: FileDescriptorSet) -> Plan:
        """The repository's protos and their manifest, as they will be."""
        manifest = read_manifest(self.own)
        own = read_protos_of(self.own)
        names = [file.name for file in after.file if self.is_foreign and file.name not in self.lent]
        copied = {name: (self.folder / name).read_bytes() for name in names}
        # What the manifest knows can be had again, but for what is lent; a file that it does not know is somebody's
        # work.
        gone = manifest.keys() - self.lent.keys() if self.is_foreign else set()
        kept = {name: data for name, data in own.items() if name not in gone and name not in copied}
        entries = [*follow(manifest, kept), *(trace(manifest, self.folder, copied) if copied else ())]
        files = {**kept, **copied, MANIFEST: render_manifest(entries)}
        return {PROTOS / name: data for name, data in files.items()}


def make_plan(root: Path, protos: Path | None = None, accept: bool = False) -> Plan:
    """Everything that the inputs below `root` make, or would make with the protos of another folder; reads only."""
    source = Source(root, protos)
    bindings, after = source.bindings, source.compile()
    model = read_protos(after, read_docs(bindings))
    before = source.rendered()
    if not accept:
        refuse_losses(source.folder, source.changes(before, after, tables_in_use(bindings, before, after)))
    refuse_leftovers(leftovers(bindings, before, after))
    rendered = render(root / "templates", read_inputs(source, after, model), root / "codegen/format.toml")
    return {**rendered, **source.copies(after)}


def read_inputs(source: Source, after: FileDescriptorSet, model: Protos) -> Inputs:
    """All that is rendered from, held against the protos: what cannot work is refused here."""
    inputs = source.root / "codegen"
    markets = read_markets(inputs / "markets.toml", model)
    made = Inputs(
        protos=model,
        descriptors=strip(after),
        markets=markets,
        calendars=read_calendars(inputs / "calendars", markets),
        calls=read_calls(inputs / "bindings", inputs / "brands.toml", model, markets),
        brands=read_brands(inputs / "brands.toml"),
    )
    check_loads(after, source.folder)
    return made


def tell(root: Path, protos: Path) -> int:
    """Say what would change with the protos of a folder."""
    source = Source(root, protos)
    before, after = source.rendered(), source.compile()
    tables = tables_in_use(source.bindings, before, after)
    changes = source.changes(before, after, tables)
    others = otherwise_different(before, after, changes)
    told = [in_words(changes)] if changes else []
    if others:
        told.append(f"Options, imports or the order of declarations differ: {', '.join(others)}.")
    docs = read_docs(source.bindings)
    commented = read_protos(compile_protos(source.own, source.needed), docs)
    model = read_protos(after, docs)
    told += _documentation(commented, model, tables)
    gone = leftovers(source.bindings, before, after)
    if gone:
        told += ["To be taken out of the bindings before --accept:", *(f"  {line}" for line in gone)]
    else:
        try:
            read_inputs(source, after, model)
        except CodegenError as error:
            told.append(f"Taking these protos would be refused: {error}")
    print("\n".join(told) or f"codegen: nothing would change with the protos of {protos}")
    return 1 if told else 0


def _documentation(old: Protos, new: Protos, tables: Sequence[TableUse]) -> list[str]:
    """Whose documentation becomes another; what a binding documents keeps the binding's words."""
    differ = [name for name, doc in old.docs.items() if plain(new.docs.get(name, doc)) != plain(doc)]
    if not differ:
        return []
    columns = [name for name in differ if any(table.holds(*name.rpartition(".")[::2]) for table in tables)]
    also = f", and of these columns: {', '.join(columns)}" if columns else ". That of the columns stays as it is"
    return [
        f"Comments differ in {counted(len(differ), 'place')}, and with them the documentation in modules and stubs{also}."
    ]


def main(arguments: list[str] | None = None) -> int:
    """Do what the command line says; the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m codegen", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("command", nargs="?", choices=["diff"], help="say what would change, and write nothing")
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the tree is not as rendered")
    parser.add_argument("--protos", type=Path, metavar="DIR", help="take the protos from this folder")
    parser.add_argument("--accept", action="store_true", help="let something go that is in use")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the repository")
    options = parser.parse_args(arguments)
    if options.command and (options.check or options.accept or not options.protos):
        parser.error("diff takes --protos DIR, and neither --check nor --accept")
    try:
        if options.command:
            return tell(options.root, options.protos)
        plan = make_plan(options.root, options.protos, options.accept)
        if not options.check:
            return regenerate(options.root, plan)
        return check(options.root, plan, f" --protos {options.protos}" if options.protos else "")
    except BrokenPipeError:  # who reads has enough
        raise
    except (CodegenError, OSError) as error:
        # What cannot be written without a name is on its way from protoc or to ruff.
        unnamed = isinstance(error, OSError) and error.filename is None
        warn(f"codegen: {error}" + (f": in {tempfile.gettempdir()}; nothing was changed" if unnamed else ""))
        return 1


def check(root: Path, plan: Plan, option: str) -> int:
    """Hold the tree against the plan, and the protos against their manifest."""
    drift = compare(root, plan)
    if not drift:
        print(f"codegen: {len(outputs(plan))} files are as rendered")
        return 0
    told = mismatches(root / PROTOS, read_manifest(root / PROTOS))
    warn("\n".join([report(root, plan, drift), *told]))
    warn(f'codegen: the tree is not as rendered; run "python -m codegen{option}"')
    return 1


def regenerate(root: Path, plan: Plan) -> int:
    """Make the tree equal to the plan."""
    drift = write(root, plan)
    for kind, paths in (("wrote", [*drift.differs, *drift.missing]), ("removed", drift.orphaned)):
        for path in paths:
            print(f"{kind} {path}")
    print(f"codegen: {len(outputs(plan))} files are as rendered")
    return 0


def warn(text: str) -> None:
    """Print on stderr, if there is one: `print` would take stdout for it."""
    if sys.stderr is not None:
        print(text, file=sys.stderr)


def run() -> int:
    """`main` for a terminal or a pipe of any encoding, which may be closed, now or soon."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        code = main()
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:  # the reader has left, and Python would say so at the end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return code


if __name__ == "__main__":
    sys.exit(run())
