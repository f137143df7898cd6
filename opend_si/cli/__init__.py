"""The console, given a brand. Data goes to stdout, everything else to stderr.

app         the commands and their options
output      pages as table, CSV or JSON
exits       exit codes
"""


def run(command: str, package: str) -> int:
    """Run the console under a brand's command name; gives the exit code."""
    from opend_si.cli.app import run_app

    return run_app(command, package)
