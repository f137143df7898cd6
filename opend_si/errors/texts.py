"""Texts from outside on their way to people.

One line, nothing that a terminal obeys, nothing that a spreadsheet runs.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

# A server's text may have any length; an error is one that a person reads.
_LONGEST = 1000
# How many names of many a text shows.
_SHOWN = 5
# What makes a spreadsheet take a cell for a formula (OWASP, "CSV Injection"); the wide forms are what Chinese keyboards
# give, and spreadsheets take them alike.
RUNS_IN_SPREADSHEETS = "^[=+@\t\r\n\uff0b\uff0d\uff1d\uff20-]"
_RUNS = re.compile(RUNS_IN_SPREADSHEETS)


def one_line(text: str) -> str:
    r"""A text with its control characters written out: `\n`, `\x1b`, `\u202e`. What can be shown stays as it is."""
    return text if text.isprintable() else "".join(map(_shown, text))


def _shown(character: str) -> str:
    is_shown = character.isprintable() or unicodedata.category(character) == "Zs"  # as the wide blank of Chinese texts
    return character if is_shown else character.encode("unicode_escape").decode("ascii")


def quoted(text: str) -> str:
    """A server's text as an error quotes it: one line, not without an end."""
    shown = one_line(text[: _LONGEST + 1])
    return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}…"


def address_text(host: str, port: int) -> str:
    """`127.0.0.1:11111` or `[::1]:11111`."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def some(names: Sequence[str]) -> str:
    """Names as a sentence has them: the first few, and how many more there are."""
    left = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {left:,} more" if left > 0 else "")


def csv_text(text: str) -> str:
    """A text as a cell of CSV: one line, and with `'` in front where a spreadsheet would run it."""
    return one_line(f"'{text}" if _RUNS.match(text) else text)
