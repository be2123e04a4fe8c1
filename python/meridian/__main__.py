"""python3 -m meridian: the version, and which library is used."""

import sys

from . import __version__, library_path


def main() -> int:
    if len(sys.argv) > 1:
        print("usage: python3 -m meridian", file=sys.stderr)
        return 2
    print(f"meridian {__version__}")
    print(f"library {library_path()}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
