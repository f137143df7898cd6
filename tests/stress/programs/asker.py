"""Ask for pages from several threads at once, when told to start; print how many came and from where, as JSON.

Run by `together`. Arguments: host port code threads pages. Each thread asks for the first `pages` page sizes, so that
with one page all of them want the same one. Everything else comes from the environment.
"""

import json
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import futu_si


def main() -> None:
    host, port, code, threads, pages = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
    together = threading.Barrier(threads)
    with futu_si.Client(host, port, timeout=20) as client:

        def ask(_: int) -> Counter[str]:
            together.wait()
            counts: Counter[str] = Counter()
            for num in range(50, 50 - pages, -1):
                try:
                    page = client.get_page(code, num=num)
                except futu_si.ShortInterestError as error:
                    counts[f"{type(error).__name__}: {error}"] += 1
                else:
                    counts[page.source if len(page) == num else "wrong"] += 1
            return counts

        print("ready", flush=True)
        sys.stdin.readline()
        with ThreadPoolExecutor(threads) as pool:
            total = sum(pool.map(ask, range(threads)), Counter())
    print(json.dumps(total))


if __name__ == "__main__":
    main()
