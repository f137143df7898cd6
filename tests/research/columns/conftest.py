"""A record with its file of columns, and a copy of it for each test."""

import shutil
from pathlib import Path

import pytest

from tests.research.columns import record


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    cache = tmp_path_factory.mktemp("recorded") / "pages.sqlite3"
    record(cache)
    return cache


@pytest.fixture
def cache(recorded: Path, tmp_path: Path) -> Path:
    folder = tmp_path / "record"
    shutil.copytree(recorded.parent, folder)
    return folder / recorded.name
