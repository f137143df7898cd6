"""What runs long, or at random. Each file says how it is run; `make help` lists them.

chaos       calls through an OpenD that spoils its replies
clocks      random programs under clocks that jump
damage      damaged copies of a record
forks       forks under busy threads
fuzz        bytes that are nearly right, to all that reads bytes of others
signals     Ctrl-C at any moment
together    processes that begin at the same moment
walks       processes that walk one record while rows are published and revised

Of `fuzz`:

mutate      bytes that are nearly right
targets     what is fed with them, and the law that has to hold

Every round is a seed of its own, so a round that fails is had again with `--first`. The rounds are made here and not by
a coverage-guided fuzzer: behind the SHA-1 of a frame one has to know the format to come further, and who knows it
reaches every branch in seconds.
"""
