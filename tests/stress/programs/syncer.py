"""Sync some symbols when told to start; print what came of it, as JSON. Run by `together`. Arguments: host port code ….

Everything else comes from the environment.
"""

import json
import sys
from collections import Counter

import futu_si


def main() -> None:
    host, port, codes = sys.argv[1], int(sys.argv[2]), sys.argv[3:]
    # It waits for the budget by design, so nobody has to be warned.
    with futu_si.Client(host, port, timeout=20, on_wait=lambda wait: None) as client:
        print("ready", flush=True)
        sys.stdin.readline()
        report = client.sync(codes)
    print(json.dumps(Counter("synced" if symbol.error is None else str(symbol.error) for symbol in report.symbols)))


if __name__ == "__main__":
    main()
