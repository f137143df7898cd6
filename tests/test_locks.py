"""Locks: taken and given back by `with` on the lock itself, and made where the fork rule knows them.

Whatever else takes a lock has a gap in which Ctrl-C leaves it held: `acquire` before `try`, an `__enter__` in Python,
and the standard library's classes that are made of those.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

from tests.processes import ROOT

ENGINE = ROOT / "opend_si"
# Who makes locks for the others; and whose locks are made anew for each turn, so that a child needs none of them.
RULE, TURNS = "system/forks.py", "wire/turns.py"
# What serves has a thread and an event loop of its own, where no interrupt comes.
SERVERS = ("server/", "simulator/", "gateway/")
MADE_OF_PYTHON = {
    "Condition",
    "Event",
    "Semaphore",
    "BoundedSemaphore",
    "Barrier",
    "Queue",
    "LifoQueue",
    "PriorityQueue",
}


def calls() -> Iterator[tuple[str, str]]:
    """What each file of the engine calls: the last part of the name."""
    for path in ENGINE.rglob("*.py"):
        nodes = [*ast.walk(ast.parse(path.read_text(encoding="utf-8")))]
        imports = [node for node in nodes if isinstance(node, ast.ImportFrom)]
        own = {name.name for node in imports if "opend_si" in (node.module or "") for name in node.names}
        own.update(node.name for node in nodes if isinstance(node, ast.ClassDef))
        for node in nodes:
            if isinstance(node, ast.Call):
                match node.func:
                    case ast.Attribute(value=ast.Name(id="asyncio")):
                        continue  # those belong to one thread
                    case ast.Name(id=name) if name in own:
                        continue  # a class of the engine, such as the record's Event
                    case ast.Attribute(attr=name) | ast.Name(id=name):
                        yield path.relative_to(ENGINE).as_posix(), name


def users(*names: str) -> set[str]:
    return {path for path, name in calls() if name in names}


def test_locks_are_made_by_the_fork_rule() -> None:
    assert users("Lock", "RLock", "allocate_lock") == {RULE, TURNS}
    assert users("register_at_fork") == {RULE}


def test_no_lock_is_taken_but_by_with() -> None:
    # A bell, on which nothing depends.
    assert {path for path in users("acquire", "__enter__") if not path.startswith(SERVERS)} == {TURNS}
    assert {path for path in users(*MADE_OF_PYTHON) if not path.startswith(SERVERS)} == set()


def test_no_context_manager_written_in_python_holds_a_lock() -> None:
    """A block that yields, or an `__enter__`, inside `with` on a lock."""
    found = set()
    for path in ENGINE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if not isinstance(node, ast.With) or not any("self._lock" in ast.unparse(item) for item in node.items):
                continue
            if any(isinstance(inner, (ast.Yield, ast.YieldFrom)) for inner in ast.walk(node)):
                found.add(f"{path.relative_to(ENGINE)}:{node.lineno}")
    assert found == set()


def test_the_engine_is_where_it_is_looked_for() -> None:
    assert Path(ENGINE, RULE).exists()
    assert Path(ENGINE, TURNS).exists()
