"""Settings and days are read as people and platforms write them; a mode reads what it needs; nothing looks ahead."""

import warnings
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import ModuleType
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from opend_si.dates import AsOf, day_of, midnight, now, read_as_of, read_day, span_text
from opend_si.errors import InvalidArgument, ShortInterestWarning
from opend_si.settings import Settings
from opend_si.simulator import Simulator
from opend_si_schema.calls import MARKETS
from opend_si_schema.definitions import Market, Rate
from tests.processes import Run, at

EVERY_MARKET = pytest.mark.parametrize("market", MARKETS, ids=lambda market: market.prefix)


def resolved(**environ: str) -> Settings:
    return Settings.resolve(environ={"OPEND_SI_HOME": "/nowhere", **environ})


AGES = [
    *(("0", 0.0), ("3600", 3600.0), ("1.5", 1.5), ("30s", 30.0), ("90m", 5400.0), ("12h", 43200.0), ("7d", 604800.0)),
    *(("2w", 1209600.0), ("1.5 H", 5400.0), ("never", None), ("Never", None), ("publication", "publication")),
]


@pytest.mark.parametrize(("text", "age"), AGES)
def test_an_age_is_written_alike_everywhere(text: str, age: Any) -> None:
    assert resolved(OPEND_SI_MAX_AGE=text).max_age == age
    if not text[-1].isdigit():
        assert Settings.resolve(max_age=text).max_age == age


def test_numpys_length_of_time_is_none() -> None:
    with pytest.raises(InvalidArgument, match=r"^max_age is np.timedelta64.*12h"):
        Settings.resolve(max_age=np.timedelta64(7, "D"))  # type: ignore[arg-type]  # NumPy takes it for a number


@pytest.mark.parametrize("host", ["::1", "[::1]", " [::1] ", "fe80::1%eth0", "opend", "127.0.0.1", "ä.example"])
def test_a_host_is_a_name_or_an_address(host: str) -> None:
    of = Settings.resolve(host=host, port=5)
    assert of.host == host.strip().strip("[]")
    assert of.address == (f"[{of.host}]:5" if ":" in host else f"{host}:5")


@pytest.mark.parametrize(
    "host", ["127.0.0.1:11111", "[::1]:11111", "opend:x", "http://opend", "a b", "a/b", "a\0", " "]
)
def test_what_is_no_host_is_refused_and_a_port_is_named_apart(host: str) -> None:
    for name, refused in (("host", {"host": host}), ("OPEND_HOST", {"environ": {"OPEND_HOST": host}})):
        if name == "OPEND_HOST" and not host.strip():
            continue  # not given
        with pytest.raises(InvalidArgument, match=f"^{name} is .*the machine that runs OpenD") as caught:
            Settings.resolve(**refused)
        assert ("port (or OPEND_PORT)" in str(caught.value)) is (":" in host)


def test_the_console_takes_the_same_ages(console: Run, opend: Simulator, tmp_path: Path) -> None:
    home = {"OPEND_SI_MODE": "online", "OPEND_SI_HOME": str(tmp_path), **at(opend)}
    for age in ("12h", "never", "publication", "3600"):
        assert console("get", "US.AAPL", "--max-age", age, **home).returncode == 0
    assert len(opend.requests) == 1
    for wrong in ("None", "-1", "1y", "h", "nan", "1e99"):
        refused = console("get", "US.AAPL", "--max-age", wrong, **home)
        assert refused.returncode == 2
        assert f": --max-age is {wrong!r}" in refused.stderr
        assert "12h" in refused.stderr
        assert "never" in refused.stderr
    with pytest.raises(InvalidArgument, match=r"OPEND_SI_MAX_AGE is 'None': .*12h.*never"):
        resolved(OPEND_SI_MAX_AGE="None")


@pytest.mark.parametrize(
    ("link", "address"),
    [
        ("tcp://10.43.161.118:11111", ("10.43.161.118", 11111)),
        ("tcp://[fd00::7]:22222", ("fd00::7", 22222)),
        ("11112", ("127.0.0.1", 11112)),
    ],
)
def test_the_address_that_a_container_platform_sets_is_understood(link: str, address: tuple[str, int]) -> None:
    of = resolved(OPEND_PORT=link)
    assert (of.host, of.port) == address
    assert resolved(OPEND_PORT=link, OPEND_HOST="opend").host == "opend"
    # Who names half of an address does not mean the other half of the platform's.
    given = Settings.resolve(port=5, environ={"OPEND_PORT": link})
    assert (given.host, given.port) == ("127.0.0.1", 5)
    given = Settings.resolve(host="here", environ={"OPEND_PORT": link})
    assert (given.host, given.port) == ("here", address[1])


@pytest.mark.parametrize(
    "link", ["tcp://10.43.161.118", "tcp://x:y", "udp://10.43.161.118:11111", "tcp://1.1.1.1:99999"]
)
def test_another_address_is_explained(link: str) -> None:
    with pytest.raises(InvalidArgument, match=f"^OPEND_PORT is '{link}'.*enableServiceLinks"):
        resolved(OPEND_PORT=link)


@pytest.mark.parametrize(
    "rate", ["10001/2", "9999999999999999999999/1", "30/86401", "30/1e308", "30/inf", "30/nan", "0/30", "30/0", "30"]
)
def test_a_limit_that_would_hold_everybody_up_is_refused(rate: str) -> None:
    with pytest.raises(
        InvalidArgument, match=f"^OPEND_SI_RATE is '{rate}'.*at most 10,000 requests and 86,400 seconds"
    ):
        resolved(OPEND_SI_RATE=rate)


def test_a_limit_may_be_as_large_as_the_largest() -> None:
    assert resolved(OPEND_SI_RATE="10000/86400").rate == Rate(10_000, 86_400.0)
    assert resolved(OPEND_SI_RATE="1000/0.01").rate == Rate(1000, 0.01)
    assert resolved(OPEND_SI_RATE="off").rate is None


WRONG = {"OPEND_PORT": "eleven", "OPEND_RSA_KEY": "-----BEGIN", "OPEND_SI_RATE": "soon", "OPEND_SI_MAX_AGE": "old"}


def test_what_a_mode_does_not_need_is_not_read_in_it(console: Run, face: ModuleType, monkeypatch: Any) -> None:
    for name, value in WRONG.items():
        monkeypatch.setenv(name, value)
    assert face.Client(mode="offline").status().symbols == 0
    for mode in ("refresh", "bypass"):
        with pytest.raises(InvalidArgument, match="OPEND_PORT"):
            face.Client(mode=mode)
    assert console("cache", "path").returncode == 0
    assert console("get", "US.AAPL", "--offline").returncode == 3
    assert Settings.resolve(mode="bypass", environ={"OPEND_SI_MAX_AGE": "old"}).mode == "bypass"


@EVERY_MARKET
def test_a_day_is_read_from_whatever_holds_one(market: Market) -> None:
    day = date(2026, 4, 1)
    stamp = pd.Timestamp(day)
    frame = pd.DataFrame({"date": pd.DatetimeIndex([stamp])})
    for given in (
        *("2026-04-01", "2026/04/01", "2026/4/1", " 2026-04-01 ", "20260401"),
        *(day, datetime(2026, 4, 1, 23), stamp, frame["date"].iloc[0], frame["date"].to_numpy()[0]),
        *(np.datetime64("2026-04-01"), np.datetime64("2026-04-01", "s"), np.datetime64("2026-04-01", "ns")),
    ):
        assert read_day("start", given, market) == day, repr(given)
    for wrong in (
        *("2026-04", "04/01/2026", "1/4/26", "2026/13/1", "today", "30d", "", 20260401, None, pd.NaT),
        *(np.datetime64("2026-04"), np.datetime64("NaT"), np.array(["2026-04-01"], "M8[D]")),
    ):
        with pytest.raises(InvalidArgument, match=r"^start is .*2026-04-30"):
            read_day("start", wrong, market)


@EVERY_MARKET
def test_no_moment_means_one_that_is_still_to_come(market: Market) -> None:
    for ahead in (timedelta(seconds=5), timedelta(hours=12), timedelta(days=900)):
        for given in (datetime.now(UTC) + ahead, (datetime.now(UTC) + ahead).isoformat()):
            with pytest.warns(ShortInterestWarning, match="lies in the future"):
                assert read_as_of(given, market) <= now()
    days: list[Any] = ["2099-01-01", date.today() + timedelta(days=5)]
    for day in days:
        with pytest.warns(ShortInterestWarning, match="lies in the future"):
            assert read_as_of(day, market) <= now()
        with pytest.warns(ShortInterestWarning, match="lies in the future"):
            public = AsOf(day, "publication").public(market)
        assert public is not None
        assert public < datetime.now(ZoneInfo(market.timezone)).date()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for given in (
            datetime.now(UTC),
            datetime.now(UTC).isoformat(timespec="seconds"),
            "2026-04-01",
            datetime(2026, 1, 1),
        ):
            read_as_of(given, market)
        # Today means its end, and is no question about the future.
        today = day_of(now() // 1000, market)
        assert read_as_of(today, market) == (midnight(today + timedelta(days=1), market)) * 1000 - 1


@pytest.mark.parametrize("zone", ["Asia/Hong_Kong", "Europe/London", "America/New_York", "Pacific/Kiritimati"])
def test_a_moment_without_a_zone_never_means_more_than_the_callers_now(
    zone: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    import time

    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            for market in MARKETS:
                assert read_as_of(datetime.now(), market) <= now()
        for warning in caught:
            assert "without a time zone it is a time in" in str(warning.message)
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (59, "59 s"),
        (60, "1 min"),
        (3599, "59 min"),
        (3600, "1 h 0 min"),
        (12_000, "3 h 20 min"),
        (172_799, "47 h 59 min"),
        (172_800, "2 days"),
        (864_000, "10 days"),
    ],
)
def test_an_age_is_said_in_the_units_that_people_use(seconds: int, text: str) -> None:
    assert span_text(seconds) == text


@EVERY_MARKET
@pytest.mark.parametrize("by", ["record", "publication"])
def test_at_the_ends_of_the_calendar_there_is_an_answer_or_a_named_error(market: Market, by: Any) -> None:
    ends: list[Any] = [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, 23, 59, tzinfo=UTC), date.min, date.max]
    for given in (*ends, *map(str, ends)):
        with warnings.catch_warnings(), suppress(InvalidArgument):
            warnings.simplefilter("ignore")
            AsOf(given, by).public(market)
            AsOf(given, by).recorded(market)
        with suppress(InvalidArgument):
            read_day("since", given, market)
