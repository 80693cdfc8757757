"""What of the bench decides, or would go wrong unseen: ranks, what counts as missing, that a grown function is named,
how idle processes and a fleet's requests are counted. All else is shown by `run --quick`, which fails without each of
its rows."""

import importlib.machinery
import importlib.util
import os
import sys
import tempfile
import unittest

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
import bench_fleet  # noqa: E402
import cgroup  # noqa: E402
import idle  # noqa: E402
import measure  # noqa: E402
from children import Child, Failure  # noqa: E402


# It has no ending, so it is no module by itself.
loader = importlib.machinery.SourceFileLoader("instructions", os.path.join(HERE, "instructions"))
instructions = importlib.util.module_from_spec(importlib.util.spec_from_loader("instructions", loader))
loader.exec_module(instructions)


class MeasureTest(unittest.TestCase):
    def test_percentile_is_the_nearest_rank(self):
        hundred = list(range(1, 101))
        self.assertEqual([measure.percentile(hundred, share) for share in (50, 99)], [50, 99])
        self.assertEqual(measure.percentile([7], 99), 7)
        self.assertEqual(measure.percentile([1, 2, 3], 50), 2)

    def test_row_without_a_possible_value_is_missing(self):
        report = measure.Report("test", "a", "b")
        report.add("good", "MB", {"ours": [1], "peer": [2]})
        report.add("zero", "MB", {"ours": [0], "peer": [2]})
        report.add("idle", "1/min", {"ours": [0], "peer": [0]}, may_be_zero=True)
        report.skip("cgroup", "no root")
        self.assertEqual(report.missing(["good", "zero", "idle", "cgroup", "absent"]), ["zero", "absent"])


class IdleTest(unittest.TestCase):
    def test_a_process_that_waits_has_few_wakeups_and_one_that_sleeps_often_has_many(self):
        with tempfile.TemporaryDirectory() as folder:
            children = [Child(name, argv, os.path.join(folder, name)) for name, argv in
                        (("waits", ["sleep", "60"]),
                         ("ticks", [sys.executable, "-c",
                                    "import time\nprint('ticking', flush=True)\nwhile True: time.sleep(0.01)"]))]
            try:
                children[1].wait_for_log("ticking", 30)
                _, woken = idle.measure("/proc/PID/io", [child.pid for child in children], 1, folder)
                self.assertLess(woken[children[0].pid], woken[children[1].pid])
            finally:
                for child in children:
                    child.remove()


class FleetTest(unittest.TestCase):
    def test_evenness(self):
        window = (1000, 5000)
        self.assertEqual(bench_fleet.evenness([(at, "heap", 0) for at in (1000, 2500, 3000, 4999)], window, 1), 1)
        self.assertEqual(bench_fleet.evenness([(at, "heap", 0) for at in (1000, 1001, 1002, 1999)], window, 1), 4)


class CgroupTest(unittest.TestCase):
    def test_memory_cgroup_of_a_process(self):
        v1 = "4:memory:/test/kubepods/pod1/ab\n1:name=systemd:/x\n0::/y\n"
        self.assertEqual(cgroup.path_in(v1, v2=False), "test/kubepods/pod1/ab")
        self.assertEqual(cgroup.path_in("5:cpu,memory:/both\n", v2=False), "both")
        self.assertEqual(cgroup.path_in("0::/kubepods/pod1/ab\n", v2=True), "kubepods/pod1/ab")
        self.assertIsNone(cgroup.path_in("4:cpu:/x\n0::/y\n", v2=False))


KEPT = {("job", "*", "*"): 1000, ("job", "json", "*"): 600, ("job", "json", "read"): 500, ("job", "json", "small"): 100,
        ("job", "libc", "*"): 400, ("job", "libc", "memcpy"): 400}  # as read from the file: (job, group, function)


def compare(json_read, memcpy):
    now = {"job": {"json": {"read": json_read, "small": 100}, "libc": {"memcpy": memcpy}}}
    return list(instructions.compare(KEPT, now))


class InstructionsTest(unittest.TestCase):
    def test_less_and_growth_within_the_tolerance_pass(self):
        self.assertEqual(compare(300, 100), [])
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
