# Rendered by codegen from templates/brand/__main__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The console: `moomoo-si`, or `python -m moomoo_si`."""

import sys

import moomoo_si
from opend_si.cli import run


def main() -> None:
    """Run the console and leave with its exit code."""
    sys.exit(run("moomoo-si", moomoo_si))


if __name__ == "__main__":
    main()
