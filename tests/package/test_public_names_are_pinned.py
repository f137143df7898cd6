"""A name or an argument of a face changes only where somebody means it: `programs/public.txt` keeps both."""

from types import ModuleType

from tests.package.programs.public import KEPT, describe


def test_names_and_signatures_are_the_ones_that_are_kept(face: ModuleType) -> None:
    kept = KEPT.read_text(encoding="utf-8")
    assert describe(face) == kept, (
        "if it is meant, run `python -m tests.package.programs.public` and tell it in the changelog"
    )


def test_a_star_import_gives_what_is_public(face: ModuleType) -> None:
    names: dict[str, object] = {}
    exec(f"from {face.__name__} import *", names)
    assert sorted(names.keys() - {"__builtins__"}) == sorted(face.__all__)
    assert set(face.__all__) <= set(dir(face))
