"""Builds each example once, starts each server once, and says at the end what ran, what did not, and why."""

import contextlib
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.interop.languages import LANGUAGES, Language
from tests.interop.servers import SERVERS, Missing, Server

Outcomes = dict[tuple[Language, str], set[str]]
OUTCOMES = pytest.StashKey[Outcomes]()


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--opend", metavar="HOST:PORT", help="run the examples against this server; it gives a simulator's rows"
    )
    parser.addoption("--websocket", metavar="URL", default="", help="its WebSocket port, as ws://HOST:PORT")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OUTCOMES] = {}


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "server" in metafunc.fixturenames:
        named = metafunc.config.getoption("--opend")
        metafunc.parametrize("server", [named] if named else list(SERVERS), indirect=True, scope="session")


@pytest.fixture(scope="session")
def server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Each server in turn."""
    named = request.config.getoption("--opend")
    if named:
        yield Server.at(named, request.config.getoption("--websocket"), "--websocket names none")
        return
    with contextlib.ExitStack() as stack:
        with skipping():
            started = stack.enter_context(SERVERS[request.param](tmp_path_factory.mktemp("server")))
        yield started


@dataclass(frozen=True)
class Example:
    """An example that was built."""

    language: Language
    folder: Path


@pytest.fixture(scope="session", params=LANGUAGES, ids=lambda language: language.name)
def example(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Example:
    """Each example in turn, where its tools are."""
    language, folder = request.param, tmp_path_factory.mktemp("example")
    with skipping():
        language.tools()
        language.build(folder)
    return Example(language, folder)


@pytest.fixture(scope="session")
def printed(example: Example, server: Server) -> str:
    """What an example prints, run once against a server."""
    with skipping():
        return example.language.run(server, example.folder)


@contextlib.contextmanager
def skipping() -> Iterator[None]:
    """A test is skipped for what is missing."""
    try:
        yield
    except Missing as missing:
        pytest.skip(str(missing))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Function) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if "example" not in item.fixturenames:
        return report
    if report.when == "call" or not report.passed:
        language, name = item.callspec.params["example"], str(item.callspec.params["server"])
        assert isinstance(language, Language)
        item.config.stash[OUTCOMES].setdefault((language, name), set()).add(_outcome(report))
    return report


def _outcome(report: pytest.TestReport) -> str:
    if report.skipped and isinstance(report.longrepr, tuple):  # where, on which line, why
        return report.longrepr[2].replace("Skipped: ", "not run: ", 1)
    return "ran" if report.passed else "FAILED"


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    outcomes = config.stash[OUTCOMES]
    if not outcomes:  # other tests were run
        return
    lines = [("language", "tools", "server", "")]
    for (of, name), said in sorted(outcomes.items(), key=lambda outcome: LANGUAGES.index(outcome[0][0])):
        lines.append((of.name, _tools(of), name, "FAILED" if "FAILED" in said else "; ".join(sorted(said))))
    widths = [max(len(line[column]) for line in lines) for column in range(4)]
    terminalreporter.section("examples")
    for line in lines:
        cells = [cell.ljust(width) for cell, width in zip(line, widths, strict=True)]
        terminalreporter.line("  ".join(cells).rstrip())


def _tools(language: Language) -> str:
    try:
        return language.tools()
    except Missing:
        return "-"
