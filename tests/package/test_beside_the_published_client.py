"""A face in one file with the published client: a star of the broker's names alone, a context that explains itself."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from docs.examples import FOLDER, read_page
from opend_si.simulator import Simulator

PUBLISHED = {"futu_si": "futu", "moomoo_si": "moomoo"}
# What the broker's page uses.
STAR = {"RET_OK", "RET_ERROR", "OpenQuoteContext", "get_short_interest", "get_daily_short_volume"}


def test_the_star_brings_the_names_that_the_broker_documents(face: ModuleType) -> None:
    names: dict[str, object] = {}
    exec(f"from {face.__name__} import *", names)
    assert names.keys() - {"__builtins__"} == STAR
    assert {"Client", "AsyncClient", "history", "changes_since"} <= set(dir(face))


def test_the_star_takes_nothing_else_from_the_published_one(face: ModuleType) -> None:
    names: dict[str, object] = {}
    exec(f"from {PUBLISHED[face.__name__]} import *", names)
    before = dict(names)
    exec(f"from {face.__name__} import *", names)
    replaced = {name for name in before if names[name] is not before[name]}
    assert replaced <= STAR
    assert names["RET_OK"] == before["RET_OK"]


def test_the_star_does_not_import_asyncio(face: ModuleType) -> None:
    script = f"import sys\nfrom {face.__name__} import *\nsys.exit('asyncio' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", script], timeout=30).returncode == 0


def test_both_work_in_one_file_as_the_guide_shows(opend: Simulator, tmp_path: Path) -> None:
    blocks = read_page(FOLDER / "moving.md")
    place = next(place for place, block in enumerate(blocks) if "import futu\n" in block.text)
    example, shown = blocks[place].text, blocks[place + 1].text
    script = example.replace("11111", str(opend.port))
    environ = {**os.environ, "OPEND_SI_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, env=environ)
    assert done.returncode == 0, done.stderr
    assert shown.strip() in done.stdout.splitlines()  # beside what the published client prints
    assert str(opend.port) in script


def test_the_context_says_where_quotes_are(face: ModuleType) -> None:
    context = face.OpenQuoteContext()
    with pytest.raises(AttributeError, match=rf"{PUBLISHED[face.__name__]}\.OpenQuoteContext") as caught:
        context.get_market_snapshot(["HK.00700"])
    assert "get_market_snapshot is not here" in str(caught.value)
    assert "get_short_interest" in str(caught.value)
    assert not hasattr(context, "subscribe")
    # One that was not made, as `copy` makes them, does not look for itself for ever.
    with pytest.raises(AttributeError):
        face.OpenQuoteContext.__new__(face.OpenQuoteContext).close()
