# Rendered by codegen from templates/brand/__main__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The console: `futu-si`, or `python -m futu_si`."""

import sys

import futu_si
from opend_si.cli import run


def main() -> None:
    """Run the console and leave with its exit code."""
    sys.exit(run("futu-si", futu_si))


if __name__ == "__main__":
    main()
