"""Users of one machine: children that give up the rights of root, and a folder in which they ask an OpenD."""

import os
import stat
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import pytest

from opend_si.errors import CacheError
from opend_si.simulator import Simulator
from tests.cache.processes import Process, told, write_half

several_users = pytest.mark.needs("several users")

GROUP = 65500
FILES = {"pages.sqlite3", "pages.claims", "budget.slots"}
CODES = ("HK.00700", "US.AAPL", "US.GME", "US.TSLA")


class User(NamedTuple):
    """A user: a number, the group that new files get, the other groups, and a umask."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()
    umask: int = 0o022

    def enter(self) -> None:
        os.setgroups(self.groups)
        os.setgid(self.gid)
        os.setuid(self.uid)
        os.umask(self.umask)


ALICE, BOB = User(65501, 65501, (GROUP,)), User(65502, 65502, (GROUP,))
STRANGER = User(65503, 65503)


def work(link: Any, user: User, act: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    user.enter()
    with told() as texts:
        try:
            answer = act(*arguments)
        except CacheError as error:
            answer = error
    link.send((answer, texts))


def as_user(user: User, act: Callable[..., Any], *arguments: Any) -> Any:
    """What something gives or raises when a user does it; it warns of nothing."""
    with Process(work, user, act, arguments) as process:
        answer, texts = process.hear()
    assert texts == []
    return answer


class Desk:
    """A folder, and an OpenD that counts: what users ask for there."""

    def __init__(self, face: ModuleType, opend: Simulator, folder: Path) -> None:
        self.face, self.opend, self.folder = face, opend, folder
        self.cache, self.budget = folder / "pages.sqlite3", folder / "budget.slots"

    def set_up(self, mode: int, owner: User = ALICE, group: int = GROUP) -> "Desk":
        os.chown(self.folder, owner.uid, group)
        self.folder.chmod(mode)
        return self

    def ask(self, *codes: str, mode: str = "online", **settings: Any) -> list[str]:
        with self.face.Client(
            self.opend.host, self.opend.port, mode=mode, cache=self.cache, **{"timeout": 5, **settings}
        ) as client:
            return [str(client.get_page(code, num=50).source) for code in codes]

    def modes(self) -> dict[str, tuple[int, int]]:
        """Group and mode of each file that is there."""
        found = {path.name: path.stat() for path in self.folder.iterdir()}
        return {name: (status.st_gid, stat.S_IMODE(status.st_mode)) for name, status in found.items()}

    def assert_shared(self, *more: str) -> None:
        assert self.modes() == dict.fromkeys((*FILES, *more), (GROUP, 0o660))

    def content(self) -> dict[str, bytes]:
        return {path.name: path.read_bytes() for path in self.folder.iterdir()}


def write_half_as(link: Any, user: User, cache: Path) -> None:
    user.enter()
    write_half(link, cache)
