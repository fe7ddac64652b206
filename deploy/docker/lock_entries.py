"""Prints some entries of a lock file, hashes included, so that an image gets no more than it needs.

    python lock_entries.py requirements/runtime.txt --without openai psutil
    python lock_entries.py requirements/dev.txt --only hatchling pluggy

Ends with 1 if a name has no entry: it was misspelt, or has left the lock file.
"""

import argparse
import re
import sys
from pathlib import Path


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("lock", type=Path)
    choice = parser.add_mutually_exclusive_group(required=True)
    choice.add_argument("--only", nargs="+", metavar="NAME")
    choice.add_argument("--without", nargs="+", metavar="NAME")
    arguments = parser.parse_args()

    # An entry begins at the margin; its hashes are indented.
    entries = re.split(r"\n(?=\S)", arguments.lock.read_text().strip())
    names = {re.split(r"[=\[ ]", entry)[0] for entry in entries}
    asked = set(arguments.only or arguments.without)
    if unknown := sorted(asked - names):
        print(f"{arguments.lock} has no {', '.join(unknown)}", file=sys.stderr)
        return 1
    wanted = asked if arguments.only else names - asked
    print("\n".join(entry for entry in entries if re.split(r"[=\[ ]", entry)[0] in wanted))
    return 0


if __name__ == "__main__":
    sys.exit(main())
