"""The recipes that the guide does not run by itself run here, as they stand on the page."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_string
from pathlib import Path

import pytest

from docs.examples import FOLDER, read_page
from opend_si.simulator import Simulator, Universe
from tests.processes import ROOT, at


def recipe(words: str) -> str:
    """The code of the recipe that holds these words."""
    (found,) = [block.text for block in read_page(FOLDER / "recipes.md") if words in block.text]
    return found


@contextmanager
def mail_server() -> Iterator[tuple[int, list[str]]]:
    """A port that takes mails, and the mails that came."""
    mails: list[str] = []
    is_ready = threading.Event()
    found: list[tuple[int, asyncio.AbstractEventLoop, asyncio.Event]] = []

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            if line.upper() == "DATA":
                writer.write(b"354 go on\r\n")
                mails.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            writer.write(b"221 bye\r\n" if line.upper() == "QUIT" else b"250 fine\r\n")
        writer.close()

    async def serve() -> None:
        done = asyncio.Event()
        server = await asyncio.start_server(take, "127.0.0.1", 0, limit=1 << 26)
        found.append((server.sockets[0].getsockname()[1], asyncio.get_running_loop(), done))
        is_ready.set()
        async with server:
            await done.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    is_ready.wait()
    ((port, loop, done),) = found
    try:
        yield port, mails
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


def test_the_nightly_script_mails_what_changed_of_two_hundred_names(tmp_path: Path) -> None:
    symbols = [f"US.T{number}" for number in range(150)] + [f"HK.{number:05}" for number in range(1, 51)]
    script = recipe("import smtplib")
    assert len([line for line in script.splitlines() if line]) <= 15
    (tmp_path / "names.txt").write_text("\n".join([*symbols, "US.NONE"]))
    with Simulator(Universe(symbols=symbols, most_rows=3)) as opend, mail_server() as (port, mails):
        environ = {**os.environ, **at(opend), "OPEND_SI_HOME": str(tmp_path / "home"), "OPEND_SI_MODE": "online"}
        night = script.replace('SMTP("localhost")', f'SMTP("localhost", {port})')

        def pass_a_night() -> str:
            before = len(mails)
            done = subprocess.run(
                [sys.executable, "-c", night], capture_output=True, text=True, timeout=120, env=environ, cwd=tmp_path
            )
            assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
            return "".join(mails[before:])

        assert "603 rows" not in pass_a_night()
        (tmp_path / "names.txt").write_text("\n".join(symbols))
        assert pass_a_night() == ""  # nothing new: no mail
        spent = len(opend.requests)
        opend.universe.publish("US.T7")
        opend.universe.revise("HK.00009", 1, aggregatedShort=123_456)
        mail = message_from_string(pass_a_night())
        assert len(opend.requests) == spent + len(symbols)
    assert "200 symbols: 601 rows, 1 new, 1 revised" in re.sub(r"\s+", " ", str(mail["Subject"]))
    text = mail.get_payload()
    assert isinstance(text, str)
    lines = [line for line in text.splitlines() if re.search(r"(US|HK)\.", line)]
    assert [line.split()[1] for line in lines] == ["HK.00009", "US.T7"]
    assert "revised" in lines[0]
    assert "123456" in lines[0]
    assert "new" in lines[1]


def test_the_fixture_of_the_guide_works(tmp_path: Path) -> None:
    (tmp_path / "test_mine.py").write_text(recipe("@pytest.fixture"))
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("OPEND_", "PYTEST_"))}
    here = ("-p", "no:cacheprovider", "-c", os.devnull, "--basetemp", str(tmp_path / "temporary"))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", *here, str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**environ, "HOME": str(tmp_path)},
        cwd=ROOT,
    )
    assert "2 passed" in done.stdout, done.stdout


def test_the_service_answers(tmp_path: Path) -> None:
    pytest.importorskip("fastapi")
    client = pytest.importorskip("fastapi.testclient")
    names: dict[str, object] = {}
    exec(recipe("from fastapi import"), names)
    with Simulator(Universe(most_rows=60)) as opend, pytest.MonkeyPatch.context() as environ:
        for name, value in {**at(opend), "OPEND_SI_HOME": str(tmp_path), "OPEND_SI_MODE": "online"}.items():
            environ.setenv(name, value)
        with client.TestClient(names["app"]) as service:
            rows = service.get("/short-interest/HK.00700?start=2026-04-24").json()
            assert [row["aggregated_short"] for row in rows] == [51888755, 51480638]
            assert service.get("/short-interest/HK.700").status_code == 404
