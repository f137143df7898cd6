"""`simulate --websocket-port`: its address is the second line, and options that do not go together open nothing."""

import re
import socket
import ssl
from pathlib import Path

import pytest

from opend_si.cli.exits import UNFINISHED, USAGE
from tests.processes import COMMANDS, ROOT, Run, running, without
from tests.server.certificates import certificate
from tests.server.client import Client

KEY = "7522027ccf5a06b1"


@pytest.fixture
def key_file(tmp_path: Path) -> str:
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n", encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("has_tls", [False, True], ids=["ws", "wss"])
def test_both_addresses_are_on_stdout_and_the_key_is_that_of_the_file(
    command: str, has_tls: bool, key_file: str, tmp_path: Path
) -> None:
    cert, secret = certificate(tmp_path)
    tls = ["--tls-cert", str(cert), "--tls-key", str(secret)] if has_tls else []
    options = ["--port", "0", "--websocket-port", "0", "--websocket-key-file", key_file, *tls]
    with running(command, "simulate", *options) as process:
        assert process.stdout is not None
        address, url = process.stdout.readline().strip(), process.stdout.readline().strip()
        assert address.startswith("127.0.0.1:")
        assert url.startswith("wss://127.0.0.1:" if has_tls else "ws://127.0.0.1:")
        context = ssl.create_default_context(cafile=str(cert)) if has_tls else None
        for key, error in ((KEY, 0), ("another", -1)):
            with Client(url, context) as client:
                assert client.log_in(key).error == error
        process.terminate()
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "gave another key" in told
        assert "Traceback" not in told
        assert KEY not in told


def test_without_the_option_there_is_one_address() -> None:
    with running(COMMANDS[0], "simulate", "--port", "0") as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")
        process.terminate()
        assert process.communicate(timeout=30)[0] == ""


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--websocket-key-file", "{key}"], "go with --websocket-port"),
        (["--tls-cert", "{cert}", "--tls-key", "{secret}"], "go with --websocket-port"),
        (["--websocket-port", "0", "--tls-cert", "{cert}"], "go together"),
        (["--websocket-port", "0", "--tls-key", "{secret}"], "go together"),
        (["--websocket-port", "0", "--tls-cert", "{key}", "--tls-key", "{secret}"], "PEM"),
        (["--websocket-port", "0", "--tls-cert", "{gone}", "--tls-key", "{secret}"], "cannot be read"),
        (["--websocket-port", "0", "--websocket-key-file", "{gone}"], "cannot be read"),
        (["--websocket-port", "0", "--websocket-key-file", "{empty}"], "holds no key"),
        (["--websocket-port", "0", "--websocket-key-file", "{cert}"], "holds no key"),
        (["--websocket-port", "0", "--websocket-key-file", "{binary}"], "holds no text"),
        (["--websocket-port", "0", "--host", "0.0.0.0"], "needs TLS: --tls-cert and --tls-key"),
        (["--websocket-port", "65536"], "65536"),
    ],
)
def test_wrong_options_are_refused_and_nothing_listens(
    options: list[str], told: str, console: Run, key_file: str, tmp_path: Path
) -> None:
    cert, secret = certificate(tmp_path)
    files = {name: tmp_path / name for name in ("gone", "empty", "binary")}
    files["empty"].write_text(" \n", encoding="utf-8")
    files["binary"].write_bytes(b"\xff\xfe")
    given = [option.format(key=key_file, cert=cert, secret=secret, **files) for option in options]
    done = console("simulate", "--port", "0", *given)
    assert (done.returncode, done.stdout) == (USAGE, "")
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_that_is_taken_is_named(console: Run) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        done = console("simulate", "--port", "0", "--websocket-port", str(number))
    assert (done.returncode, done.stdout) == (UNFINISHED, "")
    assert f"cannot listen on 127.0.0.1:{number}" in done.stderr


def test_without_the_extra_the_error_names_it(console: Run, tmp_path: Path) -> None:
    done = console("simulate", "--port", "0", "--websocket-port", "0", **without(tmp_path, "websockets"))
    assert (done.returncode, done.stdout) == (UNFINISHED, "")
    assert "opend-short-interest[gateway]" in done.stderr
    with running(COMMANDS[0], "simulate", "--port", "0", **without(tmp_path, "websockets")) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("127.0.0.1:")  # nothing else needs it


def test_the_guide_names_options_that_are_there(console: Run) -> None:
    """docs/javascript.md is for users of Node: what it shows runs in `make interop`."""
    text = (ROOT / "docs/javascript.md").read_text(encoding="utf-8")
    named = set(re.findall(r"--[a-z]+(?:-[a-z]+)*", text)) - {"--import"}  # which is Node's
    assert "--websocket-port" in named
    assert [option for option in sorted(named) if option not in console("simulate", "--help").stdout] == []
