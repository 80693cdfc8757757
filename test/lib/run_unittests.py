#!/usr/bin/env python3
"""run_unittests.py COUNTS [-k NAME] FILE...: runs unittest files, a line a test, and writes PASSED FAILED SKIPPED to
the file COUNTS. With -k it runs only the tests of that name, a pattern as in a shell; it may stand several times.

Several files run side by side, each in a process of its own, and what each prints comes as a whole when it ends, or at
the end of all when one of its tests failed. Exit code 0 only when at least one test ran and none failed. A subtest that
fails fails its test. On a signal the clean-ups of the tests under way still run.
"""

import argparse
import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
import time
import unittest

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.dirname(os.path.realpath(__file__)))

from children import ignore_signals  # noqa: E402

END_SIGNALS = (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
FILES_AT_ONCE = 3  # they mostly wait
POLL_SECONDS = 0.1
REASON_LENGTH = 300  # of an exception's text, in the line of its test: enough to know it by


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
        self.say_failed(test, err)

    def addError(self, test, err):
        super().addError(test, err)
        self.say_failed(test, err)

    def addSubTest(self, test, subtest, err):
        super().addSubTest(test, subtest, err)
        if err is not None:
            self.say_failed(subtest, err)

    def addSkip(self, test, reason):
        super().addSkip(test, reason)
        self.say("SKIP", test, f": {reason}")

    def say_failed(self, test, err):
        kind, reason, _ = err
        self.say("FAIL", test, ": " + f"{kind.__name__}: {reason}".replace("\n", " ")[:REASON_LENGTH])

    def say(self, word, test, detail=""):
        print(f"{word} {test.id()} ({time.monotonic() - self.started:.1f} s){detail}", flush=True)

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


def load(path, patterns):
    name = os.path.splitext(os.path.basename(path))[0]
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    loader = unittest.TestLoader()
    loader.testNamePatterns = [f"*.{pattern}" for pattern in patterns]
    return loader.loadTestsFromModule(module)


def run_here(counts_path, patterns, path):
    """One file, in this process. Returns (passed, failed, skipped)."""
    result = Result()
    end_after_clean_up(result)
    load(path, patterns).run(result)
    for test, traceback in result.errors + result.failures:
        print(f"\n{'=' * 70}\n{test.id()}\n{traceback}")
    counts = (result.passed, result.broken(), len(result.skipped))
    write_counts(counts_path, counts)
    return counts


def write_counts(path, counts):
    with open(path, "w", encoding="ascii") as file:
        print(*counts, file=file)


class FileRun:
    """One file in a process of its own, which gets the signals that this one gets."""

    def __init__(self, folder, patterns, path):
        self.path = path
        self.counts_path = os.path.join(folder, os.path.basename(path) + ".counts")
        self.output = tempfile.TemporaryFile(dir=folder)
        named = [word for pattern in patterns for word in ("-k", pattern)]
        self.process = subprocess.Popen([sys.executable, os.path.realpath(__file__), self.counts_path, *named, path],
                                        stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output)

    def ended(self):
        return self.process.poll() is not None

    def finish(self):
        """(counts, what it printed): a file that broke off counts as one failed test."""
        self.process.wait()
        self.output.seek(0)
        name = os.path.basename(self.path)
        printed = f"---- {name}\n{self.output.read().decode('utf-8', 'backslashreplace')}"
        self.output.close()
        try:
            with open(self.counts_path, encoding="ascii") as file:
                return [int(word) for word in file.read().split()], printed
        except FileNotFoundError:
            broke_off = f"it broke off with exit code {self.process.returncode}"
            return [0, 1, 0], f"{printed.rstrip()}\nFAIL {name}: {broke_off}\n"


def run_beside(patterns, paths):
    """Several files, a few at once. Returns the sums of (passed, failed, skipped)."""
    sums, waiting, running, failed = [0, 0, 0], list(paths), [], []

    def leave(number, _frame):
        ignore_signals()
        waiting.clear()
        for run in running:
            run.process.send_signal(number)

    for number in END_SIGNALS:
        signal.signal(number, leave)
    with tempfile.TemporaryDirectory(prefix="profefe-test-") as folder:
        while waiting or running:
            while waiting and len(running) < FILES_AT_ONCE:
                running.append(FileRun(folder, patterns, waiting.pop(0)))
            time.sleep(POLL_SECONDS)
            for run in [run for run in running if run.ended()]:
                running.remove(run)
                counts, printed = run.finish()
                sums = [a + b for a, b in zip(sums, counts)]
                if counts[1] > 0:
                    failed.append(printed)
                else:
                    print(printed, end="", flush=True)
    print(*failed, sep="", end="", flush=True)
    return sums


def main():
    parser = argparse.ArgumentParser(usage="run_unittests.py COUNTS [-k NAME] FILE...")
    parser.add_argument("counts")
    parser.add_argument("-k", dest="patterns", action="append")
    parser.add_argument("files", nargs="+")
    args = parser.parse_args()
    patterns = args.patterns or ["*"]
    if len(args.files) == 1:
        counts = run_here(args.counts, patterns, args.files[0])
    else:
        counts = run_beside(patterns, args.files)
        write_counts(args.counts, counts)
    print(f"\n{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", flush=True)
    sys.exit(0 if counts[1] == 0 and counts[0] > 0 else 1)


if __name__ == "__main__":
    main()
