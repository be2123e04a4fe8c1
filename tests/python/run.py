"""tests/python/run.py MODULE [EXAMPLES]: one file of tests, in a process of its own, so that a crash is seen and counted.

Says what tools/sum-tests counts. What must be there and is not (numpy, hypothesis) skips the file with the reason: exit
code 77. A test that dies takes the process with it; then the last thing that support.note was told is printed."""

import os
import subprocess
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.dont_write_bytecode = True


def inside(name: str) -> int:
    import faulthandler

    faulthandler.enable()
    sys.path[:0] = [HERE, os.path.join(HERE, "..", "..", "python")]
    result = unittest.TextTestRunner(verbosity=2).run(unittest.defaultTestLoader.loadTestsFromName(name))
    bad = len(result.failures) + len(result.errors)
    skipped = [f"{test.id()}: {why}" for test, why in result.skipped]
    for line in skipped:
        print(f"skipped: {line}")
    print(f"[  PASSED  ] {result.testsRun - bad - len(skipped)} test(s).")
    if skipped:
        print(f"[  SKIPPED ] {len(skipped)} test(s).")
    if bad:
        print(f"[  FAILED  ] {bad} test(s).")
    return 1 if bad else 0


def missing(names: "list[str]") -> "list[str]":
    probe = "import importlib.util, sys; print(*[n for n in sys.argv[1:] if not importlib.util.find_spec(n)])"
    done = subprocess.run([sys.executable, "-c", probe, *names], capture_output=True, text=True, env=plain(), check=True)
    return done.stdout.split()


def plain() -> "dict[str, str]":
    """Without the sanitizer that the library under test needs: programs that are not ours leak."""
    return {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}


def main() -> int:
    name = sys.argv[1]
    if sys.argv[2:] == ["inside"]:
        return inside(name)
    gone = missing(["numpy"] + (["hypothesis"] if "properties" in name else []))
    if gone:
        print(f"skipped: {sys.executable} has no {' and no '.join(gone)} (Debian: python3-numpy, python3-hypothesis)")
        return 77
    if len(sys.argv) > 2:
        os.environ["MERIDIAN_EXAMPLES"] = sys.argv[2]
    with tempfile.TemporaryDirectory(prefix="meridian-python-") as scratch:
        last = os.path.join(scratch, "last")
        environment = dict(os.environ, MERIDIAN_LAST=last, TMPDIR=scratch,
                           HYPOTHESIS_STORAGE_DIRECTORY=os.path.join(scratch, "hypothesis"))
        code = subprocess.run([sys.executable, os.path.realpath(__file__), name, "inside"], env=environment,
                              check=False).returncode
        if code < 0:
            print(f"FAILED: the interpreter died of signal {-code}")
            if os.path.exists(last):
                with open(last, encoding="utf-8", errors="replace") as f:
                    print("at:", f.read())
            print("[  FAILED  ] 1 test(s).")
    return 1 if code < 0 else code


if __name__ == "__main__":
    sys.exit(main())
