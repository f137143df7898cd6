"""What was not opened for a group stays its maker's alone, and who is kept out is told what to do.

The error names the file, whose it is, and what its owner runs; nothing is sent. What another keeps to himself is left
as it is. The users are real: children give up the rights of root. So are OpenD's answers, files, folders and modes.
"""

import os
import re
import stat
import subprocess
from contextlib import closing

import pytest

from opend_si.cache.store import Store
from opend_si.client.doctor import examine
from opend_si.errors import CacheCorrupt, CacheError
from opend_si.settings import Settings
from opend_si_schema.calls import SHORT_INTEREST
from tests.cache.processes import Process
from tests.cache.users.desk import ALICE, BOB, FILES, GROUP, STRANGER, Desk, as_user, several_users, work, write_half_as

# The simulator's thread does nothing in the children.
pytestmark = [
    pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning"),
    pytest.mark.needs("permissions"),
    pytest.mark.needs("fork"),
]


PRIVATE = dict.fromkeys(FILES, 0o600)


@several_users
@pytest.mark.parametrize(
    ("mode", "why"),
    [
        (0o700, "chmod 2770"),
        (0o750, "chmod 2770"),
        (0o2750, "chmod 2770"),
        (0o777, "open to everybody"),
        (0o1777, "open to everybody"),
        (0o2777, "open to everybody"),
        (0o3770, "chmod 2770"),
    ],
)
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_in_any_other_folder_files_are_their_makers_alone(desk: Desk, mode: int, why: str, umask: int) -> None:
    desk.set_up(mode)
    assert as_user(ALICE._replace(umask=umask), desk.ask, "HK.00700") == ["opend"]
    assert {name: mode for name, (_, mode) in desk.modes().items()} == PRIVATE
    before = desk.content()
    for user in (BOB, STRANGER):
        error = as_user(user, lambda: desk.ask("HK.00700", mode="bypass"))
        assert isinstance(error, CacheError)
        assert not isinstance(error, CacheCorrupt)
        assert str(desk.budget) in str(error)
        assert "rate budget" in str(error)
        if mode & 0o010 or user is BOB:
            assert why in str(error)
    assert len(desk.opend.requests) == 1
    assert desk.content() == before


@several_users
def test_a_user_who_is_not_in_the_group_is_told_so(desk: Desk) -> None:
    desk.set_up(0o2775)
    as_user(ALICE, desk.ask, "HK.00700")
    error = as_user(STRANGER, lambda: desk.ask("US.AAPL", mode="bypass"))
    assert isinstance(error, CacheError)
    assert f"shared with the group {GROUP}" in str(error)
    assert "usermod -aG" in str(error)
    assert len(desk.opend.requests) == 1


@several_users
@pytest.mark.parametrize("groups", [(GROUP,), (GROUP, 65510)])
@pytest.mark.parametrize(
    ("folder", "files", "group"),
    [(0o2750, 0o640, GROUP), (0o750, 0o640, 65510), (0o2770, 0o640, GROUP), (0o2770, 0o660, 65501), (0o755, 0o644, 0)],
)
def test_a_user_who_may_only_read_is_told_once_what_to_do_and_that_helps(
    desk: Desk, folder: int, files: int, group: int, groups: tuple[int, ...]
) -> None:
    """The commands that the error names are run as they stand, by the owner: then it works."""
    desk.set_up(0o700)
    as_user(ALICE, desk.ask, "HK.00700")
    desk.set_up(folder, group=GROUP if folder & 0o2000 else group)
    for name in FILES:
        os.chown(desk.folder / name, ALICE.uid, group)
        (desk.folder / name).chmod(files)
    bob = BOB._replace(groups=groups)
    may_read = files & 0o004 or group in groups
    if may_read and folder & (0o005 if group not in groups else 0o050):
        assert as_user(bob, lambda: desk.ask("HK.00700", mode="offline")) == ["cache"]
        assert as_user(bob, desk.ask, "HK.00700") == ["cache"]
    # What is not in the record is not asked for: no budget, no request.
    with Process(work, bob, desk.ask, ("US.AAPL",)) as process:
        error, texts = process.hear()
    assert isinstance(error, CacheError)
    assert len(texts) <= 1
    assert len(desk.opend.requests) == 1
    said = re.search(r"its owner runs: (.*?)(?: \(GROUP: [^)]*\))?\.(?: Or .*)?$", str(error))
    assert said is not None, str(error)
    assert str(desk.folder) in said[1]
    subprocess.run(
        ["sh", "-ec", said[1].replace("GROUP", str(GROUP))],
        check=True,
        user=ALICE.uid,
        group=ALICE.gid,
        extra_groups=[*ALICE.groups, 65510],
    )
    assert as_user(bob, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    assert as_user(ALICE, desk.ask, "US.AAPL", "US.GME") == ["cache", "opend"]


@several_users
@pytest.mark.parametrize("name", sorted(FILES))
def test_a_file_that_a_third_keeps_to_himself_is_left_as_it_is(desk: Desk, name: str) -> None:
    desk.set_up(0o2770)
    as_user(ALICE, desk.ask, "HK.00700")
    file = desk.folder / name
    os.chown(file, 65504, 65504)
    file.chmod(0o600)
    before = file.read_bytes()
    with Process(work, BOB, desk.ask, ("US.AAPL",)) as process:
        answer, texts = process.hear()
    if name == "budget.slots":
        assert isinstance(answer, CacheError)
        assert "user 65504" in str(answer)
        assert len(desk.opend.requests) == 1
    else:
        assert answer == ["opend"]
        assert len(texts) == (name == "pages.sqlite3")
        assert all("user 65504" in text for text in texts)
    assert file.read_bytes() == before
    assert desk.modes()[name] == (65504, 0o600)


@several_users
def test_a_link_leads_to_the_modes_of_its_target(desk: Desk) -> None:
    desk.set_up(0o2770)
    own = desk.folder.parent / "own"
    own.mkdir()
    os.chown(own, ALICE.uid, GROUP)
    own.chmod(0o700)
    desk.cache.symlink_to(own / "pages.sqlite3")
    with closing(Store(own / "pages.sqlite3")) as store:
        store.database.touch()
    os.chown(own / "pages.sqlite3", ALICE.uid, ALICE.gid)
    assert as_user(ALICE, desk.ask, "HK.00700") == ["opend"]
    assert stat.S_IMODE((own / "pages.sqlite3").stat().st_mode) == 0o600
    with Process(work, BOB, desk.ask, ("HK.00700",)) as process:
        answer, [text] = process.hear()
    assert answer == ["opend"]
    assert str(own) in text
    assert "belongs to user 65501" in text
    own.chmod(0o2770)
    os.chown(own / "pages.sqlite3", ALICE.uid, GROUP)
    (own / "pages.sqlite3").chmod(0o660)
    assert as_user(BOB, desk.ask, "HK.00700", "US.AAPL") == ["cache", "opend"]
    assert {path.name for path in own.iterdir()} == {"pages.sqlite3"}


@several_users
def test_the_journal_of_a_killed_user_that_others_may_not_read_is_named(desk: Desk) -> None:
    desk.set_up(0o770)  # it does not hand its group on
    as_user(ALICE, desk.ask, "HK.00700")
    with Process(write_half_as, BOB, desk.cache) as writer:
        writer.hear()
        writer.kill()
    with Process(work, ALICE, desk.ask, ("HK.00700",)) as process:
        answer, [text] = process.hear()
    assert answer == ["opend"]
    assert "pages.sqlite3-journal belongs to user 65502" in text
    assert f"chmod 2770 {desk.folder}" in text
    assert as_user(BOB, desk.ask, "HK.00700") == ["cache"]  # who can undo it
    assert as_user(ALICE, desk.ask, "HK.00700") == ["cache"]


@several_users
def test_doctor_says_what_keeps_a_user_out(desk: Desk) -> None:
    desk.set_up(0o750)
    as_user(ALICE, desk.ask, "HK.00700")
    settings = Settings.resolve(host=desk.opend.host, port=desk.opend.port, mode="online")
    findings = as_user(BOB, lambda: list(examine(settings, SHORT_INTEREST)))
    failed = [finding for finding in findings if not finding.ok]
    assert [str(path) in finding.text for finding, path in zip(failed, (desk.cache, desk.budget), strict=True)] == [
        True
    ] * 2
    for finding in failed:
        assert isinstance(finding.error, CacheError)
        assert f"chmod 2770 {desk.folder}" in finding.advice
    assert all(finding.ok for finding in as_user(ALICE, lambda: list(examine(settings, SHORT_INTEREST))))
