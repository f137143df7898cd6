"""How many clients the system lets a process have: each takes descriptors, and so does all that answers them."""

from __future__ import annotations

from contextlib import suppress

# What a process needs besides its clients: files, threads, and as many sockets as one round of the event loop accepts
# before it looks whether they are too many.
_OWN = 128


def room_for(clients: int, each: int) -> int:
    """How many of so many clients there is room for, where each takes so many descriptors.

    The process's own limit is raised, as far as the system lets it.
    """
    try:
        import resource
    except ImportError:  # Windows, which has no such limit
        return clients
    wanted = clients * each + _OWN
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return clients
    with suppress(OSError, ValueError):  # macOS says that there is no limit, and has one
        resource.setrlimit(
            resource.RLIMIT_NOFILE, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard)
        )
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, min(clients, (soft - min(_OWN, soft // 2)) // each))
