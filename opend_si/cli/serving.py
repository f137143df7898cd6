"""What the commands that serve share: the options of a WebSocket port, and serving until they are stopped."""

from __future__ import annotations

import signal
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, NamedTuple

import click

from opend_si.cli.options import FILE
from opend_si.errors import InvalidArgument

# A key is a line; more is another file.
_LONGEST_KEY = 1024


def websocket_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options; the command hands what they give on to `read_port`."""
    for option in (
        click.option("--tls-key", **FILE, help="Private key of --tls-cert, PEM, without a passphrase."),
        click.option(
            "--tls-cert",
            **FILE,
            help="Certificate, PEM: the WebSocket port is wss://, as other machines need it.",
        ),
        click.option(
            "--websocket-key-file",
            **FILE,
            help="File with the key that WebSocket clients must give; web pages are let in only with one.",
        ),
        click.option(
            "--websocket-port",
            type=click.IntRange(0, 65535),
            help="WebSocket port to open too, for JavaScript clients; 0 takes a free one.",
        ),
    ):
        command = option(command)
    return command


class Port(NamedTuple):
    """A WebSocket port: its number, the key of its clients, and the files of a certificate and its private key."""

    number: int
    key: str | None
    tls: tuple[Path, Path] | None


def read_port(
    *, websocket_port: int | None, websocket_key_file: str | None, tls_cert: str | None, tls_key: str | None
) -> Port | None:
    """The WebSocket port that the options describe, if they name one.

    Raises:
        InvalidArgument: options that do not go together, or a file without what it should hold.

    """
    if (tls_cert is None) != (tls_key is None):
        raise InvalidArgument("--tls-cert and --tls-key go together: a certificate and its private key")
    if websocket_port is None:
        if websocket_key_file is not None or tls_cert is not None:
            raise InvalidArgument("--websocket-key-file, --tls-cert and --tls-key go with --websocket-port")
        return None
    tls = None if tls_cert is None or tls_key is None else (Path(tls_cert), Path(tls_key))
    return Port(websocket_port, None if websocket_key_file is None else _read_key(Path(websocket_key_file)), tls)


def _read_key(path: Path) -> str:
    """The key in a file, without the white space around it."""
    try:
        with path.open("rb") as file:
            key = file.read(_LONGEST_KEY + 1).decode().strip()
    except UnicodeDecodeError:
        raise InvalidArgument(f"--websocket-key-file {path} holds no text") from None
    except OSError as error:
        raise InvalidArgument(f"--websocket-key-file {path} cannot be read ({error.strerror or error})") from None
    if not key or len(key) > _LONGEST_KEY or "\n" in key:
        raise InvalidArgument(f"--websocket-key-file {path} holds no key: it has one line, the key as clients give it")
    return key


def serve(
    serving: Callable[[Callable[[], object]], Coroutine[Any, Any, None]], started: Callable[[], object], address: str
) -> None:
    """Serve until it is interrupted or terminated. `started` is called when it listens; `address` is where it is to."""
    import asyncio

    is_listening = False

    def listening() -> None:
        nonlocal is_listening
        is_listening = True
        started()

    # A shell that starts it in the background has SIGINT ignored, and asyncio then leaves it so.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        asyncio.run(serving(listening))
    except (OSError, UnicodeError) as error:  # UnicodeError: no name of a machine can be such a text
        if is_listening:
            raise
        # The WebSocket port's error names its address.
        told, where = getattr(error, "strerror", None) or error, getattr(error, "filename", None) or address
        raise click.ClickException(f"cannot listen on {where}: {told}") from None
