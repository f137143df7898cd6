"""A user's program, for type checkers: mypy --strict and pyright strict find nothing to say about it. It is never run.

The first part is the broker's own sample with its import changed.
"""

from datetime import date
from typing import assert_type

import numpy as np
import pandas as pd

from futu_si import *  # noqa: F403
from futu_si import (
    RET_OK,
    AsyncClient,
    Client,
    HkDailyShortVolume,
    HkShortInterest,
    OpenQuoteContext,
    Page,
    ShortInterestError,
    SyncReport,
    UsDailyShortVolume,
    UsShortInterest,
    get_short_interest,
)

quote_ctx = OpenQuoteContext(host="127.0.0.1", port=11111)
ret, us_df, hk_df = quote_ctx.get_short_interest("HK.00700")
if ret == RET_OK:
    print(hk_df)
    print(hk_df["close_price"][0])
    print(us_df["shares_short"].values.tolist())
else:
    print("error:", us_df)
quote_ctx.close()

answer = get_short_interest("US.AAPL", num=50)
if answer[0] == RET_OK:
    assert_type(answer[1], pd.DataFrame)
    assert_type(answer[2], pd.DataFrame)


def print_page(page: Page) -> None:
    """A page of any kind."""
    print(page.symbol, page.records[0].close_price)


def newest(code: str) -> float | None:
    """One value of a page of each kind."""
    try:
        with Client(mode="offline") as client:
            assert_type(client, Client)
            page = client.get_page(code)
            assert_type(page, Page[UsShortInterest | HkShortInterest])
            for record in page.records:
                if isinstance(record, UsShortInterest):
                    return record.short_percent
                assert_type(record, HkShortInterest)
            for other in client.pages(code, kind="daily_short_volume"):
                assert_type(other.records, tuple[UsDailyShortVolume | HkDailyShortVolume, ...])
            print_page(page)
            assert_type(client.history(code), pd.DataFrame)
            client.history(code, np.datetime64("2020-01-01"), date(2021, 1, 1), as_of=pd.Timestamp("2026-01-01"))
            assert_type(client.sync([code]), SyncReport)
    except ShortInterestError:
        pass
    return None


async def newest_async(code: str) -> str | None:
    """The cursor of the next page."""
    async with AsyncClient() as client:
        assert_type(await client.history(code), pd.DataFrame)
        page = await client.get_page(code, kind="daily_short_volume")
        assert_type(page, Page[UsDailyShortVolume | HkDailyShortVolume])
        return page.next
