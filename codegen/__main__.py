"""`python -m codegen`: render everything; with `--check`, only say what would change."""

import argparse
import sys
from pathlib import Path

from codegen.binding import proto_of, read_brands, read_calls, read_docs, read_markets
from codegen.compile import compile_protos, strip
from codegen.errors import CodegenError
from codegen.model import read_protos
from codegen.plan import Plan, compare, report, write
from codegen.render import Inputs, render

SESSION_PROTOS = ("InitConnect.proto", "GetGlobalState.proto", "KeepAlive.proto")


def make_plan(root: Path) -> Plan:
    """Everything that the inputs below `root` make; reads only."""
    inputs = root / "codegen"
    bindings = sorted((inputs / "bindings").glob("*.toml"))
    if not bindings:
        raise CodegenError(f"{inputs / 'bindings'}: no binding, so there is nothing to make")
    names = [*SESSION_PROTOS, *(proto_of(path) for path in bindings)]
    descriptors = compile_protos(inputs / "protos", names)
    protos = read_protos(descriptors, read_docs(bindings))
    markets = read_markets(inputs / "markets.toml", protos)
    return render(
        root / "templates",
        Inputs(
            protos=protos,
            descriptors=strip(descriptors),
            markets=markets,
            calls=read_calls(inputs / "bindings", inputs / "brands.toml", protos, markets),
            brands=read_brands(inputs / "brands.toml"),
        ),
        inputs / "format.toml",
    )


def main(arguments: list[str] | None = None) -> int:
    """Exit code 0: the tree is (now) as rendered; 1: it is not, or an input is wrong."""
    parser = argparse.ArgumentParser(prog="python -m codegen", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 if the tree is not as rendered")
    parser.add_argument("--root", type=Path, default=Path(__file__).parent.parent, help="the repository")
    options = parser.parse_args(arguments)
    try:
        plan = make_plan(options.root)
    except CodegenError as error:
        print(f"codegen: {error}", file=sys.stderr)
        return 1
    if options.check:
        drift = compare(options.root, plan)
        if drift:
            print(report(options.root, plan, drift), file=sys.stderr)
            print('codegen: the tree is not as rendered; run "python -m codegen"', file=sys.stderr)
            return 1
        print(f"codegen: {len(plan)} files are as rendered")
        return 0
    drift = write(options.root, plan)
    for kind, paths in (("wrote", [*drift.differs, *drift.missing]), ("removed", drift.orphaned)):
        for path in paths:
            print(f"{kind} {path}")
    print(f"codegen: {len(plan)} files are as rendered")
    return 0


if __name__ == "__main__":
    sys.exit(main())
