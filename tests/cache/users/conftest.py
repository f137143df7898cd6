"""A folder that several users can reach, and an OpenD."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from tests.cache.processes import OpenD
from tests.cache.users.desk import Desk


@pytest.fixture
def face(one_face: ModuleType) -> ModuleType:
    return one_face


@pytest.fixture
def desk(face: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Desk]:
    """In a folder that every user can reach: pytest's own are closed to all but theirs."""
    with tempfile.TemporaryDirectory() as name, OpenD() as opend:
        Path(name).chmod(0o755)
        folder = Path(name, "desk")
        folder.mkdir()
        desk = Desk(face, opend, folder)
        # Whatever is imported when it is used, is now: other users may not be able to read our files.
        with face.Client(opend.host, opend.port, mode="refresh", cache=tmp_path / "first.sqlite3") as client:
            client.history("HK.00700")
        opend.requests.clear()
        monkeypatch.setenv("OPEND_SI_HOME", str(folder))
        monkeypatch.setenv("OPEND_SI_RATE", "30/30")
        yield desk
