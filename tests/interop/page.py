"""What the brokers' page on get_short_interest shows as the output of its samples, and what is compared with it.

Typed from https://openapi.futunn.com/futu-api-doc/en/quote/get-short-interest.html; `//...` stands there for lines left
out.
"""

import re
from typing import Any

TABLE = """\
timestamp timestamp_str aggregated_short aggregated_short_ratio close_price last_close_price
0 1777478400 2026-04-30 51480638 0.56 467.8 479.2
1 1776960000 2026-04-24 51888755 0.56 493.4 495.2
2 1776355200 2026-04-17 47974208 0.52 510.5 517.0
3 1775750400 2026-04-10 48424833 0.53 504.5 508.5
4 1775059200 2026-04-02 49982828 0.54 489.2 496.6
5 1774540800 2026-03-27 52744147 0.57 493.4 495.6
6 1773936000 2026-03-20 51710854 0.56 508.0 513.0
7 1773331200 2026-03-13 48105325 0.52 547.5 546.5
8 1772726400 2026-03-06 42404275 0.46 519.0 502.0
9 1772121600 2026-02-27 36037870 0.39 518.0 512.0
"""

_REPLY = """\
retType: 0
retMsg: ""
errCode: 0
s2c {
hkItemList {
timestamp: 1777478400
timestampStr: "2026-04-30"
closePrice: 467.8
lastClosePrice: 479.2
aggregatedShort: 51480638
aggregatedShortRatio: 0.56
}
hkItemList {
//...
}
nextKey: "1772121600"
}
"""

CPP = f"""\
onInitConnect: ret=0 desc=Succeed!
Send Qot_GetShortInterest seqNo=3
{_REPLY}"""

# The page's output is not what the page's class prints: that has no "_" in the name, `%b` makes "true" of any number,
# and the reply is printed as JSON. The beginning is given here as the class prints it; the reply is the page's.
JAVA = f"""\
Qot onInitConnect: ret=true desc= connID=7459212718233353666
Send QotGetShortInterest: 2
Receive QotGetShortInterest: {_REPLY}"""

JAVASCRIPT = """\
GetShortInterest: errCode 0, retMsg , retType 0
{
"hkItemList": [{
"timestamp": "1777478400",
"timestampStr": "2026-04-30",
"closePrice": 467.8,
"lastClosePrice": 479.2,
"aggregatedShort": "51480638",
"aggregatedShortRatio": 0.56
//...
}],
"nextKey": "1772121600"
}
stop
"""

Row = tuple[int, str, int, float, float, float]


def rows_of_table(text: str) -> list[Row]:
    """The rows of a frame as it was printed."""
    rows = [line.split()[1:] for line in text.splitlines()[1:]]
    return [(int(moment), day, int(short), *map(float, rest)) for moment, day, short, *rest in rows]  # type: ignore[misc]


def rows_of_reply(reply: Any) -> list[Row]:
    """The rows of a `Qot_GetShortInterest.Response` of a Hong Kong symbol, in the order of the table's columns."""
    return [
        (
            *(item.timestamp, item.timestampStr, item.aggregatedShort),
            *(item.aggregatedShortRatio, item.closePrice, item.lastClosePrice),
        )
        for item in reply.s2c.hkItemList
    ]


ROWS = rows_of_table(TABLE)


def shows(page: str, printed: str) -> bool:
    """Whether what was printed is, line by line, what the page shows; white space counts once."""
    lines = [re.escape(line) for line in _plain(page)]
    pattern = "".join(r"(?:.*\n)*?" if line == re.escape("//...") else f"{line}\n" for line in lines)
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in _plain(printed))) is not None


def _plain(text: str) -> list[str]:
    # Which connection it is differs each time; the page's stands for all.
    text = re.sub(r"connID=\d+", "connID=7459212718233353666", text)
    return [" ".join(line.split()) for line in text.splitlines()]
