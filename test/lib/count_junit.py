#!/usr/bin/env python3
"""count_junit.py FILE: counts the tests in what `ctest --output-junit` wrote and prints PASSED FAILED SKIPPED.

A cmocka program is one test for ctest, but says its own in TAP (CMOCKA_MESSAGE_OUTPUT=TAP): those are counted. A
program without TAP output counts as one.
"""

import re
import sys
import xml.etree.ElementTree as ElementTree

PLAN = re.compile(r"^1\.\.(\d+)\s*$", re.MULTILINE)
OK = re.compile(r"^ok \d+ (?!# SKIP)", re.MULTILINE)
SKIP = re.compile(r"^(?:not )?ok \d+ # SKIP", re.MULTILINE)  # cmocka before 1.1.6 says "not ok" of a skipped test


def count(case):
    """(passed, failed, skipped) of one ctest test."""
    if case.find("skipped") is not None or case.get("status") == "disabled":
        return 0, 0, 1
    failed = case.find("failure") is not None or case.get("status") != "run"
    output = case.findtext("system-out") or ""
    planned = sum(map(int, PLAN.findall(output)))
    if planned == 0:
        return (0, 1, 0) if failed else (1, 0, 0)
    skipped = len(SKIP.findall(output))
    if not failed:
        return planned - skipped, 0, skipped
    # A crash, or valgrind, fails a program in which no single test did.
    passed = len(OK.findall(output))
    return passed, max(1, planned - passed - skipped), skipped


def main():
    if len(sys.argv) != 2:
        sys.exit("usage: count_junit.py FILE")
    totals = [count(case) for case in ElementTree.parse(sys.argv[1]).getroot().iter("testcase")]
    print(*(sum(column) for column in zip(*totals)) if totals else (0, 0, 0))


if __name__ == "__main__":
    main()
