"""The options of the commands that open a WebSocket port, and the port that they describe."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from opend_si.cli.output import note
from opend_si.errors import InvalidArgument

if TYPE_CHECKING:
    from opend_si.server.websocket import Bridge

# A key is a line; more is another file.
_LONGEST_KEY = 1024


def websocket_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """The options; the command hands what they give on to `bridge`."""
    for option in (
        click.option("--tls-key", type=click.Path(), help="Private key of --tls-cert, PEM, without a passphrase."),
        click.option(
            "--tls-cert",
            type=click.Path(),
            help="Certificate, PEM: the WebSocket port is wss://, as other machines need it.",
        ),
        click.option(
            "--websocket-key-file",
            type=click.Path(),
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


def bridge(
    host: str,
    *,
    websocket_port: int | None,
    websocket_key_file: str | None,
    tls_cert: str | None,
    tls_key: str | None,
    rsa_key: str | os.PathLike[str] | None = None,
    **more: Any,
) -> Bridge | None:
    """The WebSocket port that the options describe, if they name one. `more` are arguments of `Bridge`.

    Raises:
        InvalidArgument: options that do not go together, or a file without what it should hold.
        MissingExtra: `websockets` is not installed.

    """
    if (tls_cert is None) != (tls_key is None):
        raise InvalidArgument("--tls-cert and --tls-key go together: a certificate and its private key")
    if websocket_port is None:
        if websocket_key_file is not None or tls_cert is not None:
            raise InvalidArgument("--websocket-key-file, --tls-cert and --tls-key go with --websocket-port")
        return None
    from opend_si.server.websocket import Bridge, tls_context

    tls = None if tls_cert is None or tls_key is None else tls_context(Path(tls_cert), Path(tls_key))
    key = None if websocket_key_file is None else _read_key(Path(websocket_key_file))
    rsa = None if rsa_key is None else Path(rsa_key)
    return Bridge(host, websocket_port, key=key, tls=tls, rsa_key=rsa, **{"log": note, **more})


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
