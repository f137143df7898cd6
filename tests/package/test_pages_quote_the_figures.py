"""The pages (`performance.md`, the README) quote the figures that were measured; a worse one is told.

Nothing is timed.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import figures
from benchmarks.figures import COMMITTED, TOLERANCE, Figure, Run, compare, table, written


@pytest.fixture
def run() -> Run:
    return Run.load()


def test_the_pages_say_what_was_measured(run: Run) -> None:
    for path, text in written(run).items():
        assert path.read_text(encoding="utf-8") == text, f"{path.name}: python -m benchmarks --write"


def test_each_figure_has_a_name_of_its_own(run: Run) -> None:
    assert len({figure.name for figure in run.figures}) == len(run.figures)


def test_figures_come_back_from_their_file(run: Run, tmp_path: Path) -> None:
    run.save(tmp_path / "again.json")
    assert Run.load(tmp_path / "again.json") == run
    assert (tmp_path / "again.json").read_text(encoding="utf-8") == COMMITTED.read_text(encoding="utf-8")


@pytest.mark.parametrize("speed", [0.3, 1.0, 3.0])
def test_a_machine_of_another_speed_changes_no_share(run: Run, speed: float) -> None:
    now = replace(
        run,
        figures=[
            replace(figure, ours=figure.ours * speed, floor=figure.floor and figure.floor * speed)
            for figure in run.figures
        ],
    )
    assert not any(is_worse for _, is_worse in compare(now, run))


def test_what_became_worse_is_told(run: Run) -> None:
    for place, figure in enumerate(run.figures):
        if figure.distance is None:
            continue
        for factor, is_worse in ((1 + TOLERANCE - 0.01, False), (1 + TOLERANCE + 0.01, True), (0.5, False)):
            changed = [*run.figures]
            changed[place] = replace(figure, ours=figure.ours * factor)
            told = [line for line, flag in compare(replace(run, figures=changed), run) if flag]
            assert [line.startswith(figure.name) for line in told] == [True] * is_worse
    missing = list(compare(replace(run, figures=run.figures[1:]), run))
    assert [line for line, is_worse in missing if is_worse] == [f"{run.figures[0].name:<38} is not measured any more"]


def test_a_page_without_a_place_for_figures_is_an_error(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "performance.md").write_text("no marks")
    monkeypatch.setattr(figures, "PAGE", tmp_path / "performance.md")
    with pytest.raises(ValueError, match="no place for the figures"):
        written(run)


def test_a_table_has_one_line_a_figure() -> None:
    head, line = table([Figure("a case", "ms", 200.0, 50.0, 20.0)])
    assert line.split() == ["a", "case", "200", "ms", "50", "ms", "0.250", "20", "ms", "2.500"]
    assert len(line) == len(head)
    assert list(table([Figure("none", "", None, 0.0, None)]))[1].split() == ["none", "0"]


def test_what_cannot_be_measured_here_is_no_loss(run: Run) -> None:
    name = run.figures[0].name
    told = dict(compare(replace(run, figures=run.figures[1:]), run, [name]))
    assert told[f"{name:<38} cannot be measured here"] is False
    assert not any(told.values())


def test_a_figure_of_no_earlier_run_is_no_loss(run: Run) -> None:
    new = Figure("of a later release", "ms", None, 2.0, 1.0)
    told = list(compare(replace(run, figures=[*run.figures, new]), run))
    assert told[-1] == (f"{new.name:<38} {'not to be compared':>24}", False)
    assert not any(is_worse for _, is_worse in told)
