"""The bench's own rules: turns, ranks, what counts as missing, and that a grown function is named."""

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
import bodies  # noqa: E402
import measure  # noqa: E402
from children import Failure  # noqa: E402


def load_script(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(HERE, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


instructions = load_script("instructions")


class Side:
    def __init__(self, name):
        self.name = name


class MeasureTest(unittest.TestCase):
    def test_sides_take_turns_and_the_order_turns_around(self):
        order = []
        values = measure.in_turn(2, [Side("ours"), Side("peer")], lambda side: order.append(side.name) or len(order))
        self.assertEqual(order, ["ours", "peer", "peer", "ours"])
        self.assertEqual(values, {"ours": [1, 4], "peer": [2, 3]})

    def test_percentile_is_the_nearest_rank(self):
        hundred = list(range(1, 101))
        self.assertEqual([measure.percentile(hundred, share) for share in (50, 99)], [50, 99])
        self.assertEqual(measure.percentile([7], 99), 7)
        self.assertEqual(measure.percentile([1, 2, 3], 50), 2)

    def test_ratio_is_of_medians(self):
        row = measure.Row("x", "µs", {"ours": [1, 2, 30], "peer": [8, 4, 2]})
        self.assertEqual(row.ratio, 0.5)

    def test_row_without_a_possible_value_is_missing(self):
        report = measure.Report("test", "a", "b")
        report.add("good", "MB", {"ours": [1], "peer": [2]})
        report.add("zero", "MB", {"ours": [0], "peer": [2]})
        self.assertEqual(report.missing(["good", "zero", "absent"]), ["zero", "absent"])


class BodiesTest(unittest.TestCase):
    def test_reviews_have_their_size(self):
        for size_kb in bodies.SIZES_KB:
            for decision in bodies.DECISIONS:
                size = len(bodies.review(size_kb, decision))
                self.assertTrue(size_kb * 1000 <= size <= size_kb * 1000 + 300, f"{size_kb} KB: {size}")
                self.assertEqual(bodies.review(size_kb, decision), bodies.review(size_kb, decision))


KEPT = {("job", "*", "*"): 1000, ("job", "json", "*"): 600, ("job", "json", "read"): 500, ("job", "json", "small"): 100,
        ("job", "libc", "*"): 400, ("job", "libc", "memcpy"): 400}  # as read from the file: (job, group, function)


def compare(json_read, memcpy):
    return list(instructions.compare(KEPT, {"job": {"json": {"read": json_read, "small": 100}, "libc": {"memcpy": memcpy}}}))


class InstructionsTest(unittest.TestCase):
    def test_equal_and_less_pass(self):
        self.assertEqual(compare(500, 400), [])
        self.assertEqual(compare(300, 100), [])

    def test_growth_within_the_tolerance_passes(self):
        self.assertEqual(compare(525, 415), [])

    def test_growth_of_one_module_fails_and_names_the_function_though_the_sum_fell(self):
        (failure,) = compare(560, 300)
        self.assertIn("job: json: 600 -> 660 instructions; most in read (json) 500 -> 560", failure)

    def test_growth_of_the_sum_fails(self):
        failures = compare(580, 400)
        self.assertTrue(any(failure.startswith("job: in all: 1,000 -> 1,080") for failure in failures), failures)

    def test_job_that_is_not_kept_fails(self):
        self.assertTrue(list(instructions.compare({}, {"new": {"json": {"read": 5}}})))

    def test_costs_of_what_is_called_are_not_a_function_s_own(self):
        text = ("events: Ir\n\nob=(1) /x/hot\nfl=(1) ???\nfn=(1) outer\n0 7\ncob=(2) /lib/libc.so.6\ncfn=(2) memcpy\n"
                "calls=1 0\n0 100\n0 3\n\nob=(2)\nfn=(2)\n0 100\n\ntotals: 110\n")
        self.assertEqual(self.read(text), {("/x/hot", "outer"): 10, ("/lib/libc.so.6", "memcpy"): 100})

    def test_costs_that_do_not_add_up_are_refused(self):
        with self.assertRaisesRegex(Failure, "expected costs of 9 in all, read 7"):
            self.read("ob=(1) a\nfn=(1) b\n0 7\ntotals: 9\n")

    def read(self, text):
        with tempfile.NamedTemporaryFile("w", suffix=".out") as file:
            file.write(text)
            file.flush()
            return dict(instructions.own_costs(file.name))


if __name__ == "__main__":
    unittest.main()
