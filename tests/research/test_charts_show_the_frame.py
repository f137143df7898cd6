"""Charts by what they show.

The frame's values, breaks where rows are missing, units and dates; and by the files they make.
"""

import os
import pickle
import subprocess
import sys
from datetime import date, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from matplotlib import style
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.dates import date2num
from matplotlib.figure import Figure

import futu_si
from opend_si.errors import InvalidArgument, MissingExtra
from opend_si.research import chart
from opend_si.research.chart import draw, save
from opend_si.simulator import Simulator, Universe
from opend_si_schema.calls import SHORT_INTEREST
from opend_si_schema.definitions import Table

TABLES = {table.market.prefix: table for table in SHORT_INTEREST.tables}
SHOWN = {
    "HK.00700": ("aggregated_short", "close_price", "aggregated_short_ratio"),
    "US.AAPL": ("shares_short", "close_price", "days_to_cover"),
}
MAGIC = {"png": b"\x89PNG\r\n", "svg": b"<?xml", "pdf": b"%PDF-"}
codes = pytest.mark.parametrize("code", SHOWN)


@pytest.fixture(scope="module")
def frames() -> dict[str, pd.DataFrame]:
    """Whole histories, as a client gives them."""
    with (
        Simulator(Universe(symbols=[*SHOWN])) as opend,
        futu_si.Client(opend.host, opend.port, mode="bypass") as client,
    ):
        return {code: client.history(code) for code in (*SHOWN, "US.SPHY")}


def picture(frame: pd.DataFrame, code: str, **options: Any) -> Figure:
    return draw(frame, TABLES[code[:2]], code, **options)


def runs(values: Any) -> int:
    """How many lines a line with gaps is."""
    is_number = np.isfinite(np.asarray(values, dtype=float))
    return int(np.count_nonzero(np.diff(is_number.astype(int), prepend=0) == 1))


def drawn(figure: Figure, panel: int) -> dict[float, float]:
    """Value by date of what is drawn in one of the axes: of its line, or of the upper edge of its area and its bars."""
    axes = figure.axes[panel]
    if panel:
        points = np.column_stack([np.asarray(part, dtype=float) for part in axes.lines[0].get_data(orig=False)])
    else:
        paths = [path for collection in axes.collections for path in collection.get_paths()]
        points = np.concatenate([path.vertices for path in paths])
        points = points[points[:, 1] != 0]
    return {float(x): float(y) for x, y in points if np.isfinite(y)}


def pixels(figure: Figure, color: str) -> int:
    """How many pixels of the picture have a color."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()  # type: ignore[no-untyped-call]
    image = np.asarray(canvas.buffer_rgba())  # type: ignore[no-untyped-call]
    wanted = np.round(np.array(to_rgb(color)) * 255)
    return int((image[..., :3] == wanted).all(axis=-1).sum())


def tick_labels(figure: Figure, axis: Any) -> dict[float, str]:
    figure.draw_without_rendering()
    low, high = axis.get_view_interval()
    return {
        tick.get_loc(): tick.label1.get_text() or tick.label2.get_text()
        for tick in axis.get_major_ticks()
        if low <= tick.get_loc() <= high
    }


# What it shows


@codes
def test_what_is_drawn_is_what_the_frame_holds(frames: dict[str, pd.DataFrame], code: str) -> None:
    frame = frames[code]
    figure = picture(frame, code)
    for panel, name in enumerate(SHOWN[code]):
        wanted = dict(zip(date2num(frame.index), frame[name].astype(float), strict=True))  # type: ignore[no-untyped-call]
        assert drawn(figure, panel) == wanted
        assert figure.axes[panel].get_ylim()[1] > frame[name].max()
    assert figure.axes[0].get_ylim()[0] == figure.axes[2].get_ylim()[0] == 0


@codes
def test_start_and_end_bound_what_is_drawn(frames: dict[str, pd.DataFrame], code: str) -> None:
    figure = picture(frames[code], code, start="2024-03-15", end=date(2025, 5, 30))  # both have rows
    days = sorted(drawn(figure, 0))
    assert days == date2num(frames[code].loc["2024-03-15":"2025-05-30"].index).tolist()  # type: ignore[no-untyped-call]
    assert days[0] == date2num(date(2024, 3, 15))  # type: ignore[no-untyped-call]
    assert days[-1] == date2num(date(2025, 5, 30))  # type: ignore[no-untyped-call]
    assert "through 2025-05-30" in str(figure.get_supxlabel())
    before, after = figure.axes[0].get_xlim()
    assert days[0] - 31 < before < days[0] < days[-1] < after < days[-1] + 31


@pytest.mark.parametrize(
    ("code", "as_of", "hollow"),
    [
        ("US.AAPL", "2026-04-23", ["2026-04-15"]),  # public on 24 April, seven business days later
        ("US.AAPL", "2026-04-24", []),
        ("HK.00700", "2026-04-30 12:00", ["2026-04-24"]),  # the day has not ended: its row is none yet
        ("HK.00700", "2026-04-30", ["2026-04-24", "2026-04-30"]),
    ],
)
def test_what_was_not_public_yet_is_drawn_hollow(tmp_path: Path, code: str, as_of: str, hollow: list[str]) -> None:
    cache = tmp_path / "pages.sqlite3"
    with (
        Simulator(Universe(symbols=[code])) as opend,
        futu_si.Client(opend.host, opend.port, mode="online", cache=cache) as client,
    ):
        known = client.history(code, "2025-06-01", as_of=as_of, by="publication")
        whole = client.history(code, "2025-06-01")
        figure = client.plot(code, "2025-06-01", as_of=as_of, by="publication")
        cut = client.plot(code, "2025-06-01", "2026-04-14", as_of=as_of, by="publication")
    shown = date2num(pd.DatetimeIndex(hollow)).tolist()  # type: ignore[no-untyped-call]
    for panel, name in enumerate(SHOWN[code]):
        axes = figure.axes[panel]
        values = whole[name].astype(float)
        if panel:
            solid, *dotted = axes.lines
            joined, points = (drawn_points(line) for line in (solid, *dotted)) if dotted else (drawn_points(solid), {})
            assert [bool(line.get_markerfacecolor() == "white") for line in dotted] == [True] * bool(hollow)
        else:
            joined, *rest = (drawn_points(area) for area in axes.collections if area.get_paths())
            points = rest[0] if rest else {}
        assert joined == dict(zip(date2num(known.index), known[name].astype(float), strict=True))  # type: ignore[no-untyped-call]
        assert [at for at in points if at not in joined] == shown
        assert [points[at] for at in shown] == values.loc[hollow].tolist()
    told = legend_of(figure)
    public = "2026-04-29" if as_of.endswith("12:00") else as_of
    assert told[2:] == ([f"Not public yet on {public}"] if hollow else [])
    assert len(legend_of(cut)) == 2


def legend_of(figure: Figure) -> list[str]:
    legend = figure.axes[1].get_legend()
    assert legend is not None
    return [text.get_text() for text in legend.get_texts()]


def drawn_points(artist: Any) -> dict[float, float]:
    """Value by date of a line, or of the upper edge of an area."""
    points = artist.get_xydata() if hasattr(artist, "get_xydata") else artist.get_paths()[0].vertices
    return {float(x): float(y) for x, y in points if np.isfinite(y) and y != 0}


@codes
def test_lines_break_over_two_missing_rows_and_not_over_one(frames: dict[str, pd.DataFrame], code: str) -> None:
    frame = frames[code]
    for first in (5, 9, 12):  # so that holidays and months of all lengths have their turn
        ones = range(first, len(frame) - 5, 10)
        twos = range(first + 5, len(frame) - 5, 10)
        kept = frame.drop(frame.index[[*ones, *twos, *(place + 1 for place in twos)]])
        figure = picture(kept, code)
        assert len(figure.axes[0].collections[0].get_paths()) == len(twos) + 1
        assert [runs(figure.axes[panel].lines[0].get_ydata()) for panel in (1, 2)] == [len(twos) + 1] * 2
        assert [len(drawn(figure, panel)) for panel in range(3)] == [len(kept)] * 3


def test_one_missing_row_beside_a_holiday_breaks_nothing(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["HK.00700"][-10:]
    kept = frame.drop(pd.Timestamp("2026-04-10"))  # from Thursday, April 2, before Good Friday, to Friday, April 17
    assert len(picture(kept, "HK.00700").axes[0].collections[0].get_paths()) == 1


def test_a_missing_number_is_a_missing_row_of_its_line_alone(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["US.AAPL"][-40:].astype({"shares_short": "Int64"})
    frame.loc[frame.index[10:12], "shares_short"] = pd.NA
    frame.loc[frame.index[20:24], "close_price"] = np.nan
    frame.loc[frame.index[30:33], "days_to_cover"] = np.inf
    figure = picture(frame, "US.AAPL")
    assert [len(drawn(figure, panel)) for panel in range(3)] == [38, 36, 37]
    assert len(figure.axes[0].collections[0].get_paths()) == 2
    assert [runs(figure.axes[panel].lines[0].get_ydata()) for panel in (1, 2)] == [2, 2]


@codes
@pytest.mark.parametrize("rows", [1, 200])
def test_a_row_that_stands_alone_is_seen(frames: dict[str, pd.DataFrame], code: str, rows: int) -> None:
    frame = frames[code][-rows:]
    figure = picture(frame.drop(frame.index[90:100]).drop(frame.index[101:110]), code)
    for axes, color in zip(figure.axes, (chart._AREA, chart._PRICE, chart._RATIO), strict=True):
        before = pixels(figure, color)
        if axes.lines:
            axes.lines[0].set_marker("")
        else:
            axes.collections[1].remove()
        assert pixels(figure, color) < before - 3


def test_no_rows_give_a_picture_that_says_so(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    for figure, told in (
        (picture(frames["US.SPHY"], "US.SPHY"), "no rows"),
        (
            picture(frames["US.AAPL"], "US.AAPL", start="2030-01-01", end="2030-06-30"),
            "no rows from 2030-01-01 to 2030-06-30",
        ),
    ):
        save(figure, tmp_path / "empty.png")
        assert [text.get_text() for text in figure.axes[1].texts] == [told]
        assert [label for axes in figure.axes for label in tick_labels(figure, axes.yaxis)] == []
        assert figure.get_supxlabel() == "Source: OpenD get_short_interest"


@pytest.mark.parametrize("value", [0, 7.0])
def test_numbers_that_are_all_the_same_are_drawn(frames: dict[str, pd.DataFrame], value: float) -> None:
    frame = frames["HK.00700"][-20:].assign(**dict.fromkeys(SHOWN["HK.00700"], value))
    figure = picture(frame, "HK.00700")
    for axes in figure.axes:
        low, high = axes.get_ylim()
        assert low <= value < high
        assert len(set(tick_labels(figure, axes.yaxis).values())) > 1


# How it is told


@codes
def test_axes_have_units_and_things_have_names(frames: dict[str, pd.DataFrame], code: str) -> None:
    figure = picture(frames[code], code, name=r"Fish $\Chips$ Ltd", source="Our OpenD")
    is_us = code.startswith("US")
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "million shares",
        *(("USD", "days") if is_us else ("HKD", "%")),
    ]
    legends = [legend for axes in figure.axes if (legend := axes.get_legend()) is not None]
    assert [text.get_text() for legend in legends for text in legend.get_texts()] == [
        "Short interest",
        "Close price",
        "Days to cover" if is_us else "Aggregated short ratio",
    ]
    assert figure.get_suptitle() == rf"{code}  Fish $\Chips$ Ltd"
    assert figure.get_supxlabel() == "Source: Our OpenD, through 2026-04-30"
    figure.draw_without_rendering()


@pytest.mark.parametrize(
    ("highest", "unit", "labels"),
    [
        (7, "shares", {0: "0", 2: "2"}),
        (999, "shares", {200: "200"}),
        (6_000, "thousand shares", {0: "0", 2_000: "2"}),
        (1_300_000, "million shares", {0: "0.0", 500_000: "0.5", 1_000_000: "1.0"}),
        (45_000_000, "million shares", {20_000_000: "20"}),
        (7_000_000_000, "billion shares", {2_000_000_000: "2"}),
    ],
)
def test_shares_are_counted_in_what_suits_them(
    frames: dict[str, pd.DataFrame], highest: int, unit: str, labels: dict[float, str]
) -> None:
    figure = picture(frames["HK.00700"].assign(aggregated_short=highest), "HK.00700")
    assert figure.axes[0].get_ylabel() == unit
    assert labels.items() <= tick_labels(figure, figure.axes[0].yaxis).items()


def test_prices_have_thousands_marked(frames: dict[str, pd.DataFrame]) -> None:
    figure = picture(frames["US.AAPL"].assign(close_price=612_345.0), "US.AAPL")
    assert all("," in label for label in tick_labels(figure, figure.axes[1].yaxis).values())


@pytest.mark.parametrize("days", [1, 20, 60, 200, 366, 800, 4900])
@codes
def test_dates_are_readable(frames: dict[str, pd.DataFrame], code: str, days: int) -> None:
    figure = picture(frames[code], code, start=date(2026, 4, 30) - timedelta(days))
    labels = tick_labels(figure, figure.axes[2].xaxis)
    years = [label.split("\n")[-1] for label in labels.values() if label.split("\n")[-1]]
    shown = [int(date.fromordinal(719163 + int(at)).year) for at in labels]
    assert 2 <= len(labels) <= 12
    assert all(label[0].isalpha() for label in labels.values()) == (100 < days < 1000)  # months; else days or years
    assert years == list(map(str, sorted(set(shown))))  # each year once, where it begins
    assert len(set(zip(shown, labels.values(), strict=True))) == len(labels)


def test_a_price_axis_begins_at_zero_where_the_price_fell_by_half(frames: dict[str, pd.DataFrame]) -> None:
    frame = frames["US.AAPL"][-2:]
    assert picture(frame.assign(close_price=[100.0, 49.0]), "US.AAPL").axes[1].get_ylim()[0] == 0
    assert picture(frame.assign(close_price=[100.0, 51.0]), "US.AAPL").axes[1].get_ylim()[0] > 40


# Where it is made


# What styles ask for: a dark theme, TeX as in papers (there is no LaTeX here), and all that moves texts and ticks.
STYLES: dict[str, dict[Any, Any]] = {
    "dark": dict(style.library["dark_background"].items()),
    "TeX": {"text.usetex": True, "text.latex.preamble": r"\usepackage{nothing}", "pgf.rcfonts": False},
    "paper": {
        "xtick.minor.visible": True,
        "ytick.minor.visible": True,
        "xtick.top": True,
        "ytick.right": True,
        "xtick.direction": "in",
        "ytick.alignment": "top",
        "axes.linewidth": 3,
        "axes.grid": True,
        "axes.grid.axis": "both",
        "axes.xmargin": 0.4,
        "axes.labelpad": 40,
        "legend.frameon": True,
        "legend.title_fontsize": 30,
        "figure.autolayout": True,
        "savefig.bbox": "tight",
        "figure.subplot.left": 0.4,
        "figure.titlesize": 40,
        "savefig.dpi": 30,
        "savefig.transparent": True,
    },
    "a zone": {"timezone": "America/New_York", "date.interval_multiples": False, "axes.formatter.limits": (0, 1)},
    "hand-drawn": {"path.sketch": (1, 100, 2), "lines.linestyle": ":", "lines.marker": "x", "hatch.linewidth": 5},
}


@codes
def test_a_style_of_the_user_changes_nothing(frames: dict[str, pd.DataFrame], code: str) -> None:
    def image(figure: Figure) -> bytes:
        told: bytes = figure._repr_png_()  # type: ignore[attr-defined]
        return told

    frame = frames[code][-100:]
    plain, days = image(picture(frame, code)), tick_labels(figure := picture(frame, code), figure.axes[2].xaxis)
    for name, settings in STYLES.items():
        with mpl.rc_context(settings):
            figure = picture(frame, code)
            assert image(figure) == plain, name
            figure.savefig(BytesIO())  # by the user: a figure keeps its texts as they are
            assert tick_labels(figure, figure.axes[2].xaxis) == days, name
        assert image(figure) == plain, name


def test_a_font_of_the_user_is_used(frames: dict[str, pd.DataFrame]) -> None:
    plain = picture(frames["US.AAPL"], "US.AAPL")._repr_png_()  # type: ignore[attr-defined]
    with mpl.rc_context({"font.family": "DejaVu Serif"}):
        assert picture(frames["US.AAPL"], "US.AAPL")._repr_png_() != plain  # type: ignore[attr-defined]


def test_a_figure_shows_itself_in_notebooks_and_travels(frames: dict[str, pd.DataFrame]) -> None:
    figure = picture(frames["US.AAPL"], "US.AAPL")
    image = figure._repr_png_()  # type: ignore[attr-defined]
    assert image.startswith(MAGIC["png"])
    assert pickle.loads(pickle.dumps(figure))._repr_png_() == image


def test_matplotlib_is_used_without_its_global_state(frames: dict[str, pd.DataFrame], tmp_path: Path) -> None:
    frames["US.AAPL"].to_pickle(tmp_path / "frame")
    script = """
import sys
import matplotlib, pandas
def settings():
    return {key: matplotlib.rcParams[key] for key in matplotlib.rcParams if key != "backend"}  # a look imports pyplot
before = settings()
from opend_si.research.chart import draw, save
from opend_si_schema.calls import SHORT_INTEREST
figure = draw(pandas.read_pickle("frame"), SHORT_INTEREST.tables[0], "US.AAPL")
for form in ("png", "svg", "pdf"):
    save(figure, f"chart.{form}")
assert "matplotlib.pyplot" not in sys.modules
assert settings() == before
"""
    subprocess.run([sys.executable, "-W", "error", "-c", script], check=True, cwd=tmp_path)
    # Another process, another moment, the same bytes.
    for form in MAGIC:
        save(picture(frames["US.AAPL"], "US.AAPL"), tmp_path / f"here.{form}")
        assert (tmp_path / f"here.{form}").read_bytes() == (tmp_path / f"chart.{form}").read_bytes()


def test_without_matplotlib_the_extra_is_named(
    frames: dict[str, pd.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingExtra, match=r"opend-short-interest\[plot\]"):
        picture(frames["US.AAPL"], "US.AAPL")


# What is refused


@pytest.mark.parametrize(
    ("told", "code", "table", "rows"),
    [
        ("days_to_cover is not there", "HK.00700", "US", slice(None)),
        ("ascending", "HK.00700", "HK", slice(None, None, -1)),
    ],
)
def test_a_frame_that_is_no_history_of_the_table_is_refused(
    frames: dict[str, pd.DataFrame], told: str, code: str, table: str, rows: slice
) -> None:
    of: Table = TABLES[table]
    with pytest.raises(InvalidArgument, match=f"frame of history.*{of.market.title}.*|{told}") as error:
        draw(frames[code][rows], of, code)
    assert told in str(error.value)


def test_a_panel_and_a_day_that_is_none_are_refused(frames: dict[str, pd.DataFrame]) -> None:
    with pytest.raises(InvalidArgument, match="frame of history"):
        picture(frames["US.AAPL"].reset_index(), "US.AAPL")
    with pytest.raises(InvalidArgument, match="start is 'yesterday'"):
        picture(frames["US.AAPL"], "US.AAPL", start="yesterday")


# Files


@pytest.fixture(scope="module")
def figure(frames: dict[str, pd.DataFrame]) -> Figure:
    return picture(frames["HK.00700"][-100:], "HK.00700")


@pytest.mark.parametrize("form", [*MAGIC, "PNG", "Pdf"])
def test_the_suffix_says_the_format_and_two_saves_are_equal(figure: Figure, form: str, tmp_path: Path) -> None:
    save(figure, tmp_path / f"a.{form}")
    save(figure, os.fspath(tmp_path / f"b.{form}"))
    image = (tmp_path / f"a.{form}").read_bytes()
    assert image.startswith(MAGIC[form.lower()])
    assert image == (tmp_path / f"b.{form}").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"a.{form}", f"b.{form}"]


def test_files_are_fit_for_print(figure: Figure, tmp_path: Path) -> None:
    for form in MAGIC:
        save(figure, tmp_path / f"chart.{form}")
    width, height = np.frombuffer((tmp_path / "chart.png").read_bytes()[16:24], dtype=">u4")
    assert (width, height) == (7.5 * 200, 4.8 * 200)
    assert b"/FontFile2" in (tmp_path / "chart.pdf").read_bytes()  # TrueType, embedded
    drawing = (tmp_path / "chart.svg").read_bytes()
    assert b"<text" not in drawing  # outlines: no font is needed
    assert b"<image" not in drawing
    assert b"dc:date" not in drawing


@pytest.mark.parametrize("name", ["chart.gif", "chart", "chart.png.txt", ".png"])
def test_another_suffix_is_refused(figure: Figure, name: str, tmp_path: Path) -> None:
    with pytest.raises(InvalidArgument, match=r"\.png, \.svg, \.pdf"):
        save(figure, tmp_path / name)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_left_of_a_file_that_could_not_be_written(figure: Figure, tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    for name in ("folder.png", "absent/chart.png"):
        with pytest.raises(OSError, match=name):
            save(figure, tmp_path / name)
    assert [path.name for path in tmp_path.rglob("*")] == ["folder.png"]


def test_a_drawing_that_fails_leaves_the_file_before(figure: Figure, tmp_path: Path) -> None:
    path = tmp_path / "chart.svg"
    save(figure, path)
    before = path.read_bytes()
    broken = pickle.loads(pickle.dumps(figure))
    broken.axes[0].set_title("$\\nonsense$")
    settings = dict.copy(mpl.rcParams)
    with pytest.raises(ValueError, match="nonsense"):
        save(broken, path)
    assert path.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["chart.svg"]
    assert settings == dict.copy(mpl.rcParams)
