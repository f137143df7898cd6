"""`watch --once` ends with a code that a script can tell by how the look went, whatever it could report.

Each case is one of the table in `futu-si --help`; what is printed and what is said on stderr fits it.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from opend_si.simulator import Simulator, Universe
from opend_si_schema.definitions import Rate
from tests.cache.processes import OpenD
from tests.client.watch.conftest import NotLoggedIn
from tests.processes import Run, at, running

CODES = ("US.AAPL", "HK.00005")
ONCE = ("watch", *CODES, "--once", "--poll", "0.01")


@pytest.fixture
def opend(start: Callable[..., Simulator]) -> Simulator:
    return start(universe=Universe(symbols=CODES, most_rows=5))


@pytest.fixture
def environ(opend: Simulator, tmp_path: Path, console: Run) -> dict[str, str]:
    """Of a watch that has met its symbols."""
    environ = {"OPEND_SI_HOME": str(tmp_path / "kept"), **at(opend)}
    done = console(*ONCE, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    return environ


def days(text: str) -> list[str]:
    return [json.loads(line)["date"] for line in text.splitlines()]


def published(opend: Simulator, code: str) -> str:
    opend.universe.publish(code)
    return str((opend.universe.rows(code) or ())[0].timestampStr)


def test_nothing_new_and_new_rows(opend: Simulator, environ: dict[str, str], console: Run) -> None:
    rows = [published(opend, code) for code in CODES]
    done = console(*ONCE, **environ)
    assert (done.returncode, days(done.stdout), done.stderr) == (0, rows, "")
    done = console(*ONCE, **environ)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_opend_away(opend: Simulator, environ: dict[str, str], console: Run, nobody: int) -> None:
    """What others recorded is reported all the same."""
    away = {**environ, "OPEND_HOST": "127.0.0.1", "OPEND_PORT": str(nobody)}
    done = console(*ONCE, **away)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (4, "", 1)
    assert f"127.0.0.1:{nobody}" in done.stderr
    row = published(opend, CODES[0])
    assert console("sync", CODES[0], OPEND_SI_MODE="refresh", **environ).returncode == 0
    done = console(*ONCE, **away)
    assert (done.returncode, days(done.stdout)) == (4, [row])


def test_a_refused_symbol_is_named_and_stops_no_other(opend: Simulator, environ: dict[str, str], console: Run) -> None:
    row = published(opend, CODES[1])
    done = console("watch", "US.NONE", *CODES, "--once", "--poll", "0.01", **environ)
    assert (done.returncode, days(done.stdout), done.stderr.count("\n")) == (0, [row], 1)
    assert "US.NONE" in done.stderr


@pytest.mark.parametrize(("kind", "rate", "code"), [(NotLoggedIn, None, 6), (OpenD, Rate(1, 600.0), 5)])
def test_what_opend_refuses_for_now(
    environ: dict[str, str], console: Run, kind: type[OpenD], rate: Rate | None, code: int
) -> None:
    with kind(Universe(symbols=CODES, most_rows=5), rate=rate) as refusing:
        done = console(*ONCE, **{**environ, **at(refusing)})
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)


def test_another_watch_at_work(opend: Simulator, environ: dict[str, str], console: Run, tmp_path: Path) -> None:
    row = published(opend, CODES[0])
    folder = shlex.quote(str(tmp_path))
    command = f"touch {folder}/begun; while [ ! -e {folder}/over ]; do sleep 0.05; done"
    with running("futu-si", *ONCE, "--run", command, **environ) as first:
        while not (tmp_path / "begun").exists():
            assert first.poll() is None
        done = console(*ONCE, **environ)
        assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
        assert "another watch is at work" in done.stderr
        (tmp_path / "over").touch()
        assert first.wait(30) == 0
    own = console(*ONCE, "--state", str(tmp_path / "own.json"), **environ)
    assert (own.returncode, own.stdout) == (0, "")
    assert row not in days(console(*ONCE, **environ).stdout)


def test_a_command_that_fails(opend: Simulator, environ: dict[str, str], console: Run) -> None:
    published(opend, CODES[0])
    done = console(*ONCE, "--run", "exit 7", **environ)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    assert "exit code 7" in done.stderr


UNREADABLE = ["no JSON", "[1, 2]", '{"some": "thing"}', '{"short_interest US.AAPL": ["x", 0]}']


@pytest.mark.parametrize(("text", "once"), list(zip(UNREADABLE, (True, False, True, False), strict=True)))
def test_a_state_that_cannot_be_read(
    environ: dict[str, str], console: Run, tmp_path: Path, text: str, once: bool
) -> None:
    state = tmp_path / "notes.json"
    state.write_text(text)
    words = ONCE if once else tuple(word for word in ONCE if word != "--once")
    done = console(*words, "--state", str(state), **environ)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert f"{state} does not hold what a watch keeps" in done.stderr
    assert state.read_text() == text


@pytest.mark.needs("proc")
def test_a_state_that_cannot_be_kept(environ: dict[str, str], console: Run) -> None:
    done = console(*ONCE, "--state", "/proc/none/x.json", **environ)
    assert (done.returncode, done.stdout) == (3, "")
    assert "/proc/none/x.json" in done.stderr


def test_wrong_words(environ: dict[str, str], console: Run) -> None:
    for words in (("watch", "--once"), ("watch", "HK.700", "--once")):
        done = console(*words, **environ)
        assert (done.returncode, done.stdout) == (2, "")


def test_what_keeps_all_symbols_from_being_asked_is_said_once(
    environ: dict[str, str], console: Run, tmp_path: Path
) -> None:
    done = console(*ONCE, "--rsa-key", str(tmp_path / "none.pem"), **environ)
    assert (done.returncode, done.stdout, done.stderr.count("none.pem")) == (2, "", 1)
