"""Fuzzing what reads bytes of others: `python -m tests.stress.fuzz [target …] [--count N]`; `make fuzz`.

mutate      bytes that are nearly right
targets     what is fed with them, and the law that has to hold

Every round is a seed of its own, so a round that fails is had again with `--first`. The rounds are made here and not by a
coverage-guided fuzzer: behind the SHA-1 of a frame one has to know the format to come further, and who knows it reaches
every branch in seconds.
"""
