#!/usr/bin/env python3
"""run_unittests.py COUNTS FILE...: runs unittest files, a line a test, and writes PASSED FAILED SKIPPED to the file COUNTS.

Exit code 0 only when at least one test ran and none failed. A subtest that fails fails its test. On a signal the
clean-ups of the test under way still run.
"""

import importlib.util
import os
import signal
import sys
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from children import ignore_signals  # noqa: E402

END_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)


class Result(unittest.TestResult):
    """One line a test as it ends, the tracebacks at the end."""

    def __init__(self):
        super().__init__()
        self.passed = 0
        self.started = time.monotonic()  # a class or module that fails to set up has no test that starts

    def startTest(self, test):
        super().startTest(test)
        self.started = time.monotonic()

    def addSuccess(self, test):
        self.passed += 1
        self.say("ok  ", test)

    def addFailure(self, test, err):
        super().addFailure(test, err)
        self.say("FAIL", test)

    def addError(self, test, err):
        super().addError(test, err)
        self.say("FAIL", test)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.say("FAIL", subtest)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say("SKIP", f"{test.id()}: {reason}")

    def say(self, word, test):
        text = test if isinstance(test, str) else test.id()
        print(f"{word} {text} ({time.monotonic() - self.started:.1f} s)", flush=True)

    def broken(self):
        """How many tests failed. Several failures of one test count once."""
        return len({getattr(test, "test_case", test).id() for test, _ in self.failures + self.errors})


def end_after_clean_up(result):
    """A signal fails the test under way, whose clean-ups run, and no further test begins."""

    def leave(number, _frame):
        ignore_signals()
        result.stop()
        # unittest lets KeyboardInterrupt pass without cleaning up, but takes this one for a failure like any other.
        raise SystemExit(128 + number)

    for number in END_SIGNALS:
        signal.signal(number, leave)


def load(path):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return unittest.defaultTestLoader.loadTestsFromModule(module)


def main():
    if len(sys.argv) < 3:
        sys.exit("usage: run_unittests.py COUNTS FILE...")
    result = Result()
    end_after_clean_up(result)
    unittest.TestSuite(map(load, sys.argv[2:])).run(result)
    for test, traceback in result.errors + result.failures:
        print(f"\n{'=' * 70}\n{test.id()}\n{traceback}")
    counts = (result.passed, result.broken(), len(result.skipped))
    with open(sys.argv[1], "w", encoding="ascii") as file:
        print(*counts, file=file)
    print(f"\n{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", flush=True)
    sys.exit(0 if counts[1] == 0 and counts[0] > 0 else 1)


if __name__ == "__main__":
    main()
