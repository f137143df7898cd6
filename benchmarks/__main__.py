"""`python -m benchmarks`: measure and print."""

import importlib.metadata
import platform
import sys

from benchmarks.harness import Contender, import_seconds, simulator, surroundings, take_turns

_ROW = "{:<34} {:>12} {:>12} {:>9} {:>9}"
_PAGE_ROUNDS, _PAGE_CALLS = 20, 50
_IMPORT_ROUNDS = 10


def main() -> int:
    """Print one row a case: both contenders' medians, our share of the published client's, and the floor's."""
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("futu-api", "protobuf", "pandas"))
    print(f"Python {platform.python_version()}, {versions}, {platform.system()} {platform.machine()}; medians\n")
    print(_ROW.format("", "published", "this package", "ratio", "floor"))
    with surroundings() as environ:
        imports = import_seconds(("futu", "futu_si"), _IMPORT_ROUNDS, environ)
        _report("import", {"published": imports["futu"], "ours": imports["futu_si"]})
        with simulator(environ) as (host, port):
            contenders = [Contender(name, host, port, environ) for name in ("published", "ours", "floor")]
            try:
                for num in (10, 50):
                    case = f"page-{num}"
                    medians = take_turns(contenders, case, _PAGE_ROUNDS, _PAGE_CALLS)
                    _report(f"live page of {num} rows, loopback", medians)
            finally:
                for contender in contenders:
                    contender.close()
    return 0


def _report(case: str, medians: dict[str, float]) -> None:
    published, ours = medians["published"], medians["ours"]
    floor = f"{medians['floor'] * 1e3:.2f} ms" if "floor" in medians else ""
    print(_ROW.format(case, f"{published * 1e3:.2f} ms", f"{ours * 1e3:.2f} ms", f"{ours / published:.3f}", floor))


if __name__ == "__main__":
    sys.exit(main())
