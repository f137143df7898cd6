"""The console, given a brand. Data goes to stdout, everything else to stderr.

app         the commands in one, how errors end, and get, doctor, simulate, demo
history     history, revisions
sync        sync, with its progress
cache       cache path, info, verify, prune, export
options     the brand, and the options that commands share
output      pages and frames as table, CSV or JSON; notices
exits       exit codes
"""


def run(command: str, package: str) -> int:
    """Run the console under a brand's command name; gives the exit code."""
    try:
        from opend_si.cli.app import run_app

        return run_app(command, package)
    except KeyboardInterrupt:  # while it was loaded
        return 130
