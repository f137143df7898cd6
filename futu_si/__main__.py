# Rendered by codegen from templates/brand/__main__.py.j2. Do not edit: change the template, then run "python -m codegen".
"""The console: `futu-si`, or `python -m futu_si`."""

import sys

from futu_si._client import Client
from opend_si.cli import run


def main() -> None:
    """Run the console and leave with its exit code."""
    sys.exit(run("futu-si", Client))


if __name__ == "__main__":
    main()
