"""The examples print what the brokers' page shows, in every language whose tools are here.

    make interop                                     against each server that this project has
    make interop ARGS="--opend 127.0.0.1:11110 --websocket ws://127.0.0.1:33333"

A table says at the end what ran, with which tools, and what did not, and why. These tests need compilers, Node and the
npm registry: the name of this file keeps them out of `make test`.
"""

from dataclasses import astuple

import pytest

from futu_si import Client
from tests.interop.conftest import Example
from tests.interop.languages import CPP
from tests.interop.page import ROWS, rows_of_reply, shows
from tests.interop.servers import Server


def test_its_output_is_what_the_page_shows(example: Example, printed: str) -> None:
    assert shows(example.language.shown, example.language.as_shown(printed)), printed


def test_it_prints_the_ten_rows_of_the_page(example: Example, printed: str) -> None:
    assert example.language.rows(printed) == ROWS


@pytest.mark.parametrize("example", [CPP], indirect=True, ids=["C++"])
@pytest.mark.parametrize("num", [10, 50])
def test_a_walk_in_another_language_gives_the_rows_that_this_package_gives(
    example: Example, server: Server, num: int
) -> None:
    printed = CPP.walk(server, example.folder, num)
    rows = [row for reply in CPP.replies(printed) for row in rows_of_reply(reply)]
    with Client(server.host, server.port, mode="bypass") as client:
        ours = [astuple(record) for page in client.pages("HK.00700") for record in page.records]
    assert rows == ours
    assert len(rows) > 10 * len(ROWS)
