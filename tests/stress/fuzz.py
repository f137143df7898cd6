"""`python -m tests.stress.fuzz`: feed the targets, and tell how long it took and how much memory it took."""

import faulthandler
import sys
import time

import click

from tests.stress.targets import TARGETS, Failed, run

# Frames of each target where nothing else is said; what cuts frames gets a million.
COUNTS = {
    **dict.fromkeys(("frames", "cuts"), 1_000_000),
    "replies": 100_000,
    "sessions": 200_000,
    "ciphers": 100_000,
    "walks": 200_000,
}
COUNT = 20_000
# MiB that memory may grow by under one target.
MOST_GROWTH = 64.0
_WARM = 2000
# Seconds after which a target is taken to hang; where it does is printed.
_PATIENCE = 600


@click.command()
@click.argument("names", metavar="[TARGET]...", type=click.Choice(list(TARGETS)), nargs=-1)
@click.option(
    "--count", type=click.IntRange(1), help="How many frames, replies or requests; else as much as each needs."
)
@click.option("--first", type=int, default=0, help="Number of the first round; each is a seed.")
def main(names: tuple[str, ...], count: int | None, first: int) -> None:
    """Feed TARGETs (all, if none is named) with bytes that are nearly right."""
    for name in names or TARGETS:
        faulthandler.dump_traceback_later(_PATIENCE, exit=True)
        begun, most = time.perf_counter(), count or COUNTS.get(name, COUNT)
        try:
            begin = run(name, first, min(_WARM, most))  # what is imported and cached is no growth
            before = _peak()
            last = run(name, begin, most)
        except Failed as failed:
            click.echo(f"{name}: {failed}", err=True)
            sys.exit(1)
        growth = _peak() - before
        told = f"{name:<10}{most:>10,} fed in {last - first:,} rounds, {time.perf_counter() - begun:5.1f} s, +{growth:.1f} MiB"
        click.echo(told)
        if growth > MOST_GROWTH:
            click.echo(f"{name}: memory grew by more than {MOST_GROWTH:g} MiB", err=True)
            sys.exit(1)


def _peak() -> float:
    """The most memory that this process ever took, in MiB."""
    import resource  # which Windows lacks

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (1024 if sys.platform != "darwin" else 1024**2)


if __name__ == "__main__":
    main()
