"""Where a user's files are: the folder, and what they are called unless the user names another."""

from __future__ import annotations

from pathlib import Path

from opend_si.errors import InvalidArgument

PAGES_FILE, BUDGET_FILE = "pages.sqlite3", "budget.slots"
_APPLICATION = "opend-short-interest"


def default_home() -> Path:
    """The folder that the system has for a program's data; `InvalidArgument` where it has none."""
    # Data, not cache: systems empty cache folders, and a recorded history cannot be had again.
    from platformdirs import user_data_path

    try:
        return user_data_path(_APPLICATION, appauthor=False)
    except RuntimeError as error:  # a user without a home, as in some containers
        raise InvalidArgument(f"there is no folder for the files ({error}): name one with OPEND_SI_HOME") from None
