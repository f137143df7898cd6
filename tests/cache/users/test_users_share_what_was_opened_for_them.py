"""Users of one machine share a record and a budget where the folder's owner opened it for a group.

What is made in such a folder is the group's, whoever makes it, whatever the umask. Together they send no request twice
and never more than the limit. The users are real: children give up the rights of root. So are OpenD's answers, files,
folders and modes.
"""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from opend_si.client.watch.places import Place, State
from opend_si.history import upkeep
from opend_si.history.joining import import_record
from opend_si.history.upkeep import prune
from opend_si.pages import OPEND
from opend_si.simulator import Simulator
from opend_si.system.sharing import make_file
from opend_si_schema.definitions import Rate
from tests.cache.processes import Process, assert_sound, beside, record_some
from tests.cache.users.desk import (
    ALICE,
    BOB,
    CODES,
    FILES,
    GROUP,
    Desk,
    User,
    as_user,
    several_users,
    work,
    write_half_as,
)
from tests.processes import ROOT, Run, at

# The simulator's thread does nothing in the children.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.needs("permissions"),
    pytest.mark.needs("fork"),
]


CONTAINERS = (User(65501, GROUP), User(65502, GROUP))


@several_users
@pytest.mark.parametrize("umasks", [(0o077, 0o002), (0o002, 0o077), (0o022, 0o000)])
@pytest.mark.parametrize(
    ("mode", "users"),
    [
        pytest.param(0o2770, (ALICE, BOB), id="the folder hands its group on"),
        pytest.param(0o2775, (BOB, ALICE), id="the second user begins"),
        pytest.param(0o770, CONTAINERS, id="containers with a common group"),
        pytest.param(0o770, (BOB, ALICE), id="the folder does not hand its group on"),
        pytest.param(0o2770, (User(0, 0), BOB), id="root begins"),
    ],
)
def test_what_one_user_records_answers_the_other(
    desk: Desk, mode: int, users: tuple[User, User], umasks: tuple[int, int]
) -> None:
    desk.set_up(mode)
    first, second = (user._replace(umask=umask) for user, umask in zip(users, umasks, strict=True))
    assert as_user(first, desk.ask, "HK.00700") == ["opend"]
    desk.assert_shared()
    assert as_user(second, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    assert as_user(first, desk.ask, "US.AAPL", "HK.00700") == ["cache", "cache"]
    assert as_user(second, lambda: desk.ask("HK.00700", "US.AAPL", mode="offline")) == ["cache", "cache"]
    desk.assert_shared()
    assert len(desk.opend.requests) == 2
    assert_sound(desk.cache)


@several_users
def test_users_who_make_the_files_at_once_make_one(desk: Desk) -> None:
    desk.set_up(0o2770)
    for _ in range(5):
        with ExitStack() as stack:
            both = [
                stack.enter_context(Process(work, user, desk.ask, (code,)))
                for user, code in ((ALICE, "HK.00700"), (BOB, "US.AAPL")) * 2
            ]
            assert [process.hear()[1] for process in both] == [[]] * 4
        desk.assert_shared()
        assert as_user(BOB, desk.ask, "HK.00700", "US.AAPL") == ["cache", "cache"]
        for name in FILES:
            (desk.folder / name).unlink()


def make_again_and_again(link: Any, path: Path) -> None:
    ALICE._replace(umask=0o077).enter()
    for _ in range(200):
        make_file(path)
        path.unlink()
    link.send("made")


def look_again_and_again(link: Any, path: Path) -> None:
    BOB.enter()
    seen: set[type[OSError] | None] = set()
    while not link.poll():
        try:
            os.close(os.open(path, os.O_RDWR))
            seen.add(None)
        except OSError as error:
            seen.add(type(error))
    link.send(seen)


@several_users
def test_no_user_ever_sees_a_file_that_is_not_open_yet(desk: Desk) -> None:
    path = desk.set_up(0o2770).folder / "some.sqlite3"
    with Process(look_again_and_again, path) as bob, Process(make_again_and_again, path) as alice:
        assert alice.hear() == "made"
        bob.tell("enough")
        seen = bob.hear()
    assert seen <= {None, FileNotFoundError}
    assert desk.modes() == {}


@several_users
@pytest.mark.parametrize("users", [(ALICE, BOB), CONTAINERS])
def test_two_users_together_never_meet_the_limit(
    desk: Desk, users: tuple[User, User], start: Callable[..., Simulator], monkeypatch: pytest.MonkeyPatch
) -> None:
    desk.set_up(0o2770 if users[0] is ALICE else 0o770)
    monkeypatch.setenv("OPEND_SI_RATE", "4/0.5")
    desk.opend = start(rate=Rate(4, 0.5))
    with ExitStack() as stack:
        each = [
            stack.enter_context(Process(work, user, lambda: desk.ask(*CODES, *CODES, mode="bypass"), ()))
            for user in (*users, *users)
        ]
        assert [process.hear() for process in each] == [(["opend"] * 8, [])] * 4
    assert [request.accepted for request in desk.opend.requests] == [True] * 32


def prune_all(cache: Path) -> None:
    prune(cache, datetime.now(UTC))


def export_to(cache: Path, target: Path) -> int:
    return upkeep.export(cache, target)


def age(desk: Desk) -> None:
    """Put a record of an earlier release in the place of this one."""
    shutil.copyfile(ROOT / "tests/data/cache/pages-v1.sqlite3", desk.cache)


def damage(desk: Desk) -> None:
    desk.cache.write_bytes(b"no database" * 1000)


@several_users
@pytest.mark.parametrize("after", ["prune", "import", "export", "damage", "migration"])
def test_after_upkeep_of_one_user_the_other_goes_on(desk: Desk, after: str, tmp_path: Path) -> None:
    desk.set_up(0o2770)
    as_user(ALICE, desk.ask, "HK.00700")
    more = []
    if after == "prune":
        desk.opend.universe.revise("HK.00700", 3, aggregatedShort=7)
        as_user(ALICE, lambda: desk.ask("HK.00700", mode="refresh"))
        as_user(BOB._replace(umask=0o077), prune_all, desk.cache)
    elif after == "import":
        other = desk.folder.parent / "other.sqlite3"
        record_some(desk.opend, other)
        other.chmod(0o644)
        desk.cache.unlink()
        as_user(BOB._replace(umask=0o077), import_record, desk.cache, other)
        other.unlink()
    elif after == "export":
        assert as_user(BOB, export_to, desk.cache, desk.folder / "handed-on.sqlite3") == 1
        (desk.folder / "handed-on.sqlite3").unlink()  # that is a file of BOB's: it follows the umask
    elif after == "damage":
        damage(desk)
        with Process(work, BOB._replace(umask=0o077), desk.ask, ("HK.00700",)) as process:
            answer, [text] = process.hear()
        assert answer == ["opend"]
        assert "It was moved to" in text
        more = [name for name in beside(desk.cache) if "corrupt" in name]
        assert len(more) == 1
    else:
        age(desk)
        assert as_user(BOB._replace(umask=0o077), lambda: desk.ask("HK.00700", mode="refresh")) == ["opend"]
    desk.assert_shared(*more)
    assert as_user(BOB, desk.ask, "US.GME") == ["opend"]
    assert as_user(ALICE, desk.ask, "HK.00700", "US.GME", "US.TSLA") == ["cache", "cache", "opend"]
    desk.assert_shared(*more)
    assert_sound(desk.cache)


@several_users
def test_what_a_killed_user_left_half_written_the_other_undoes(desk: Desk) -> None:
    desk.set_up(0o2770)
    as_user(ALICE, desk.ask, "HK.00700")
    with Process(write_half_as, BOB._replace(umask=0o077), desk.cache) as writer:
        writer.hear()
        writer.kill()
    assert desk.modes()["pages.sqlite3-journal"] == (GROUP, 0o660)
    assert as_user(ALICE, desk.ask, "HK.00700") == ["cache"]
    desk.assert_shared()
    assert_sound(desk.cache)


def keep_places(path: Path, *codes: str) -> None:
    state = State(path, "short_interest")
    with state.held():
        for code in codes:
            state.keep(code, OPEND, Place("2026-01-02", 1))


@several_users
def test_a_watch_of_the_record_goes_on_where_the_one_of_another_user_ended(desk: Desk) -> None:
    desk.set_up(0o2770)
    state = desk.folder / "watch.json"
    for user, code in ((ALICE._replace(umask=0o077), "HK.00700"), (BOB, "US.AAPL"), (ALICE, "US.GME")):
        assert as_user(user, keep_places, state, code) is None
    assert desk.modes() == dict.fromkeys(("watch.json", ".watch.json.lock"), (GROUP, 0o660))
    assert all(code in state.read_text() for code in ("HK.00700", "US.AAPL", "US.GME"))


@several_users
def test_a_folder_that_is_made_in_an_open_one_is_open_too(desk: Desk) -> None:
    desk.set_up(0o2770)
    desk.cache = desk.folder / "a" / "b" / "pages.sqlite3"
    assert as_user(ALICE._replace(umask=0o077), desk.ask, "HK.00700") == ["opend"]
    assert as_user(BOB, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    assert [stat.S_IMODE(path.stat().st_mode) for path in desk.cache.parents[:2]] == [0o2770] * 2


@several_users
@pytest.mark.parametrize("mode", [0o666, 0o660, 0o664])
def test_a_file_that_is_there_keeps_its_mode(desk: Desk, mode: int) -> None:
    desk.set_up(0o2770)
    third = User(65504, GROUP)
    as_user(third, desk.ask, "HK.00700")
    for name in FILES:
        (desk.folder / name).chmod(mode)
    assert as_user(BOB, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    assert as_user(ALICE, desk.ask, "US.AAPL", "US.GME") == ["cache", "opend"]
    assert desk.modes() == dict.fromkeys(FILES, (GROUP, mode))


def test_what_is_made_in_an_open_folder_of_ones_own_is_the_groups_and_the_console_says_so(
    face: ModuleType, opend: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, console: Run
) -> None:
    """This needs no second user: it runs where the tests are not root's."""
    home = tmp_path / "open"
    home.mkdir()
    os.chown(home, -1, os.getegid())
    home.chmod(0o2770)
    kept = {"OPEND_SI_HOME": str(home), "OPEND_SI_RATE": "30/30", "OPEND_SI_MODE": "online", **at(opend)}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    before = os.umask(0o077)
    try:
        with face.Client() as client:
            client.get_page("HK.00700")
    finally:
        os.umask(before)
    assert {path.name: stat.S_IMODE(path.stat().st_mode) for path in home.iterdir()} == dict.fromkeys(FILES, 0o660)
    import grp  # not on every system

    group = grp.getgrgid(os.getegid()).gr_name
    assert f"shared   with the group {group}\n" in console("cache", "info").stdout
    assert json.loads(console("cache", "info", "--json").stdout)["shared_with"] == group
    assert f"budget.slots is shared with the group {group}\n" in console("doctor").stdout
    home.chmod(0o700)
    assert "shared" not in console("cache", "info").stdout + console("doctor").stdout
    assert json.loads(console("cache", "info", "--json").stdout)["shared_with"] is None


@several_users
def test_the_commands_of_the_guide_open_a_folder_and_a_record_that_is_there(desk: Desk) -> None:
    guide = (ROOT / "docs/sharing.md").read_text(encoding="utf-8")
    made, opened, contained = re.findall(r"<!-- not run: [^>]*-->\n```sh\n(.*?)```", guide, re.DOTALL)

    def run(text: str, user: User) -> None:
        for name, other in (("/srv/opend-si", str(desk.folder)), ("quants", str(GROUP)), ("alice", str(ALICE.uid))):
            text = text.replace(name, other)
        subprocess.run(["sh", "-ec", text], check=True, user=user.uid, group=user.gid, extra_groups=user.groups)

    desk.set_up(0o700)
    as_user(ALICE, desk.ask, "HK.00700")
    run(opened, ALICE)
    assert as_user(BOB, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    desk.assert_shared()
    containers = [User(int(uid), int(gid)) for uid, gid in re.findall(r"--user (\d+):(\d+)", contained)]
    for block, (first, second) in ((made, (ALICE, BOB)), (contained, containers)):
        shutil.rmtree(desk.folder)
        [install] = re.findall(r"^sudo (install .*)$", block, re.MULTILINE)
        run(install, User(0, 0))
        assert as_user(first, desk.ask, "HK.00700") == ["opend"]
        assert as_user(second, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
        assert {mode for _, mode in desk.modes().values()} == {0o660}
