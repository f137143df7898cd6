"""`python -m benchmarks`: measure and print."""

import importlib.metadata
import platform
import sys
import tempfile
from pathlib import Path

import futu_si
from benchmarks.harness import Contender, import_seconds, simulator, surroundings, take_turns
from opend_si.cache import upkeep
from opend_si.simulator import Simulator

_ROW = "{:<34} {:>12} {:>12} {:>9} {:>9}"
_PAGE_ROUNDS, _PAGE_CALLS = 20, 50
_IMPORT_ROUNDS = 10
_WALK_ROUNDS, _WALK_CALLS = 10, 5


def main() -> int:
    """Print one row a case: both contenders' medians, our share of the published client's, and the floor's."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("futu-api", "protobuf", "pandas"))
    print(f"Python {platform.python_version()}, {versions}, {platform.system()} {platform.machine()}; medians\n")
    print(_ROW.format("", "published", "this package", "ratio", "floor"))
    with surroundings() as environ:
        _imports(environ)
        _pages(environ)
    print()
    _storage()
    return 0


def _imports(environ: dict[str, str]) -> None:
    imports = import_seconds(("futu", "futu_si"), _IMPORT_ROUNDS, environ)
    _report("import", imports["futu"], imports["futu_si"])


def _pages(environ: dict[str, str]) -> None:
    with simulator(environ) as (host, port):
        published, ours, floor = (Contender(name, host, port, environ) for name in ("published", "ours", "floor"))
        try:
            for num in (10, 50):
                case = f"page-{num}"
                medians = take_turns({published: case, ours: case, floor: case}, _PAGE_ROUNDS, _PAGE_CALLS)
                _report(f"live page of {num} rows, loopback", medians[published], medians[ours], medians[floor])
            medians = take_turns({published: "page-50", ours: "recorded-50"}, _PAGE_ROUNDS, _PAGE_CALLS)
            _report("recorded page of 50 rows", medians[published], medians[ours])
            for name, case in (("history, live", "walk"), ("history, recorded", "recorded-walk")):
                medians = take_turns({published: "walk", ours: case}, _WALK_ROUNDS, _WALK_CALLS)
                _report(f"{name}, 713 rows", medians[published], medians[ours])
        finally:
            for contender in (published, ours, floor):
                contender.close()


def _report(case: str, published: float, ours: float, floor: float | None = None) -> None:
    least = "" if floor is None else f"{floor * 1e3:.2f} ms"
    print(_ROW.format(case, f"{published * 1e3:.2f} ms", f"{ours * 1e3:.2f} ms", f"{ours / published:.3f}", least))


def _storage() -> None:
    """Every page of the simulated market, recorded: the file against the replies as they came."""
    with Simulator() as opend, tempfile.TemporaryDirectory() as folder:
        cache = Path(folder, "pages.sqlite3")
        with futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client:
            for code in opend.universe.symbols:
                cursor = None
                while True:
                    page = client.get_page(code, cursor, 50)
                    cursor = page.next
                    if cursor is None:
                        break
        told = upkeep.info(cache)
    print(
        f"page cache: {told.pages} pages with {told.rows} rows, {told.bytes} bytes for {told.body_bytes} bytes of replies: "
        f"{told.bytes / told.body_bytes:.3f}"
    )


if __name__ == "__main__":
    sys.exit(main())
