"""The bench's own rules: turns, ranks, what counts as missing, that a grown function is named, how idle processes and a
fleet's requests are counted, that both agents are asked for the same, and what a pod's events and its log say."""

import importlib.machinery
import importlib.util
import io
import json
import os
import sys
import tarfile
import tempfile
import unittest
import unittest.mock
import urllib.request
import zlib

HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]
import agents  # noqa: E402
import bench_agent  # noqa: E402
import bench_fleet  # noqa: E402
import bench_pods  # noqa: E402
import bench_profiled  # noqa: E402
import bodies  # noqa: E402
import cgroup  # noqa: E402
import idle  # noqa: E402
import measure  # noqa: E402
import profiles  # noqa: E402
import sink  # noqa: E402
from children import Child, Failure  # noqa: E402


def load_script(name):
    loader = importlib.machinery.SourceFileLoader(name, os.path.join(HERE, name))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader(name, loader))
    loader.exec_module(module)
    return module


instructions = load_script("instructions")
bench_run = load_script("run")


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

    def test_row_that_may_be_zero_and_row_that_is_skipped_are_not_missing(self):
        report = measure.Report("test", "a", "b")
        report.add("idle", "1/min", {"ours": [0], "peer": [0]}, may_be_zero=True)
        report.skip("cgroup", "no root")
        self.assertEqual(report.missing(["idle", "cgroup", "absent"]), ["absent"])

    def test_nothing_is_compared_without_a_peer_or_with_a_peer_of_zero(self):
        self.assertIsNone(measure.Row("x", "MB", {"ours": [1]}).ratio)
        self.assertIsNone(measure.Row("x", "MB", {"ours": [1], "peer": [0]}, may_be_zero=True).ratio)

    def test_floor_is_shown_and_written(self):
        row = measure.Row("x", "MB", {"ours": [1], "peer": [2], "floor": [0.5]}, note="why")
        self.assertIn("floor 0.5; why", row.text())
        self.assertEqual(row.as_json()["floor"], 0.5)


class BodiesTest(unittest.TestCase):
    def test_reviews_have_their_size(self):
        for size_kb in bodies.SIZES_KB:
            for decision in bodies.DECISIONS:
                size = len(bodies.review(size_kb, decision))
                self.assertTrue(size_kb * 1000 <= size <= size_kb * 1000 + 300, f"{size_kb} KB: {size}")
                self.assertEqual(bodies.review(size_kb, decision), bodies.review(size_kb, decision))


class IdleTest(unittest.TestCase):
    def test_count_of_perf(self):
        self.assertEqual(idle._perf_count("382,,raw_syscalls:sys_enter,313981233,100.00,,\n"), 382)
        self.assertEqual(idle._perf_count("<not counted>,,raw_syscalls:sys_enter,0,100.00,,\n"), 0)
        with self.assertRaisesRegex(Failure, "perf counted nothing"):
            idle._perf_count("event syntax error: 'raw_syscalls:sys_enter'\n")

    def test_count_of_strace(self):
        self.assertEqual(idle._strace_count(" 50.00    0.000012           3         4           read\n"
                                            "100.00    0.000024           2         9         1 total\n"), 9)
        self.assertEqual(idle._strace_count("100.00    0.000024         9           total\n"), 9)
        self.assertEqual(idle._strace_count("strace: Process 1 attached\n"), 0)

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


class SinkTest(unittest.TestCase):
    def test_serves_its_bytes_and_counts(self):
        served = sink.Sink(b"profile")
        self.addCleanup(served.close)
        with urllib.request.urlopen(f"{served.url}/debug/pprof/heap", timeout=5) as reply:
            self.assertEqual(reply.read(), b"profile")
        with urllib.request.urlopen(f"{served.url}/api/0/profiles?type=heap", b"pushed", timeout=5) as reply:
            self.assertIn(b'"code":200', reply.read())
        served.wait_for("pushes", 1, 5, lambda: None)
        self.assertEqual(served.counts, {"scrapes": 1, "pushes": 1})
        self.assertEqual(served.last_body, b"pushed")

    def test_reads_a_push_in_chunks(self):
        served = sink.Sink(b"")
        self.addCleanup(served.close)
        request = urllib.request.Request(f"{served.url}/api/0/profiles", iter((b"one", b"two")), method="POST")
        with urllib.request.urlopen(request, timeout=5):
            self.assertEqual(served.last_body, b"onetwo")


class AgentTest(unittest.TestCase):
    def test_targets_have_names_and_addresses_of_their_own(self):
        targets = agents.environment(["http://a/x", "http://b/x"], "http://c", "heap:1s")["PROFEFE_AGENT_TARGETS"]
        self.assertEqual(targets, "t0=http://a/x,t1=http://b/x")

    def test_measurements_are_whole_rounds_of_targets_and_types(self):
        for loads in (bench_agent.FULL, bench_agent.QUICK):
            for size, load in loads.items():
                together = load.targets * len(load.types.split(","))
                self.assertEqual((load.warm % together, load.profiles % together), (0, 0), size)

    def test_rows_have_names_of_their_own_that_fit_their_column(self):
        for rows in (bench_agent.expected_rows(), bench_fleet.expected_rows(), bench_pods.expected_rows(),
                     bench_profiled.ROWS):
            self.assertEqual(len(rows), len(set(rows)))
            self.assertLessEqual(max(map(len, rows)), measure.NAME_COLUMNS)

    def test_image_is_what_one_platform_pulls(self):
        def blob(content):
            return json.dumps(content).encode()

        config, layer = b"c" * 10, b"l" * 100
        manifest = blob({"config": {"size": len(config)}, "layers": [{"size": len(layer)}]})
        platforms = blob({"manifests": [{"digest": "sha256:m", "size": len(manifest)}]})
        with tempfile.NamedTemporaryFile(suffix=".tar") as file:
            with tarfile.open(file.name, "w") as archive:
                for name, content in (("index.json", blob({"manifests": [{"digest": "sha256:i",
                                                                          "size": len(platforms)}]})),
                                      ("blobs/sha256/i", platforms), ("blobs/sha256/m", manifest)):
                    info = tarfile.TarInfo(name)
                    info.size = len(content)
                    archive.addfile(info, io.BytesIO(content))
            self.assertEqual(bench_agent._image_bytes(file.name), 110 + len(manifest))

    def test_pause_has_a_memory(self):
        with tempfile.TemporaryDirectory() as folder, agents.pause(folder) as process:
            for name, read in agents.MEMORY.items():
                self.assertTrue(0 < read(process.pid) < 2e6, name)


class FleetTest(unittest.TestCase):
    def test_evenness(self):
        window = (1000, 5000)
        self.assertEqual(bench_fleet.evenness([(at, "heap", 0) for at in (1000, 2500, 3000, 4999)], window, 1), 1)
        self.assertEqual(bench_fleet.evenness([(at, "heap", 0) for at in (1000, 1001, 1002, 1999)], window, 1), 4)

    def test_tickers_start_with_their_pod(self):
        pushes = bench_fleet.ticker_of(2, 100_000, (0, 70_000))
        self.assertEqual([push for push in pushes if push[2] == 0],
                         [(0, "block", 0), (0, "goroutine", 0), (0, "heap", 0), (0, "mutex", 0), (10_000, "cpu", 0)])
        self.assertEqual([at for at, _, pod in pushes if pod == 1], [50_000] * 4 + [60_000])

    def test_body_says_that_it_was_taken_now(self):
        raw = zlib.decompress(bench_fleet._body(1_800_000_000_000_000_001), 31)
        self.assertIn(profiles.number(9, 1_800_000_000_000_000_001), raw)


class ProfiledTest(unittest.TestCase):
    def test_work_is_by_the_app_s_own_cpu_time(self):
        self.assertEqual(bench_profiled.rates({"a": (100, 1.0)}, {"a": (400, 2.5)}), {"a": 200})


class CgroupTest(unittest.TestCase):
    def test_memory_cgroup_of_a_process(self):
        v1 = "4:memory:/test/kubepods/pod1/ab\n1:name=systemd:/x\n0::/y\n"
        self.assertEqual(cgroup.path_in(v1, v2=False), "test/kubepods/pod1/ab")
        self.assertEqual(cgroup.path_in("5:cpu,memory:/both\n", v2=False), "both")
        self.assertEqual(cgroup.path_in("0::/kubepods/pod1/ab\n", v2=True), "kubepods/pod1/ab")
        self.assertIsNone(cgroup.path_in("4:cpu:/x\n0::/y\n", v2=False))


def pod_with(**spec):
    return {"metadata": {"namespace": "shop", "name": "web"}, "spec": {"containers": [{"name": "app"}], **spec}}


def watch_of(*events):
    """A watch whose events have all come."""
    watch = bench_pods.Watch.__new__(bench_pods.Watch)
    watch.what, watch.seconds, watch.last = "shop/web", 5, pod_with()
    watch._answer = io.BytesIO(b"".join(json.dumps({"type": kind, "object": thing}).encode() + b"\n"
                                        for kind, thing in events))
    return watch


class PodsTest(unittest.TestCase):
    def test_form_is_that_of_the_stored_pod(self):
        agent = {"name": "profefe-agent"}
        stored = {"alone": pod_with(), "container": pod_with(containers=[{"name": "app"}, agent]),
                  "native": pod_with(initContainers=[{**agent, "restartPolicy": "Always"}])}
        for form in bench_pods.FORMS:
            for name, pod in stored.items():
                with self.subTest(form=form.name, pod=name):
                    if form.name == name:
                        form.check(pod)
                    else:
                        self.assertRaises(Failure, form.check, pod)

    def test_time_of_a_log_line_is_finer_than_a_second(self):
        began = bench_pods.moment("2026-01-02T03:04:05.000000000Z")
        self.assertAlmostEqual(bench_pods.moment("2026-01-02T04:04:05.678901234+01:00") - began, 0.678901, places=5)
        self.assertRaises(ValueError, bench_pods.moment, "serving")

    def test_requests_meet_the_kubelet_s_second_everywhere_and_each_form_at_the_same_points(self):
        beat = bench_pods.OffBeat()
        shares = {form: sorted(beat.share(form, "create") for _ in range(20)) for form in ("alone", "native")}
        self.assertEqual(shares["alone"], shares["native"])
        for number in range(10):
            self.assertTrue(any(number / 10 <= share < (number + 1) / 10 for share in shares["alone"]), number)

    def test_spread_is_of_each_side(self):
        self.assertEqual(bench_pods.spread({"ours": [2, 1.5, 3], "peer": [0.5]}),
                         "ours 1.50 to 3.00, peer 0.50 to 0.50")

    def test_watch_goes_on_from_the_event_that_was_waited_for(self):
        watch = watch_of(("ADDED", pod_with()), ("MODIFIED", pod_with(nodeName="node1")), ("DELETED", pod_with()))
        scheduled = watch.until(lambda _, pod: pod["spec"].get("nodeName"))
        self.assertEqual(watch.last["spec"]["nodeName"], "node1")
        self.assertGreaterEqual(watch.until(lambda kind, _: kind == "DELETED"), scheduled)
        with self.assertRaisesRegex(Failure, "after 5 s: shop/web"):
            watch.until(lambda *_: True)

    def test_watch_that_the_api_server_breaks_off_fails(self):
        with self.assertRaisesRegex(Failure, "too old"):
            watch_of(("ERROR", {"message": "too old resource version"})).until(lambda *_: True)

    def test_every_row_is_skipped_without_root(self):
        with unittest.mock.patch("os.geteuid", return_value=1000):
            report = bench_pods.run_part("/nowhere", "/nowhere", "/nowhere", True, "/nowhere/agent/profefe-agent")
        self.assertEqual(list(report.skipped), bench_pods.expected_rows())
        self.assertEqual(report.rows, [])

    def test_only_a_quick_run_of_everything_leaves_them_out(self):
        for argv, expected in ((["--quick"], False), ([], True), (["--quick", "pods"], True)):
            with self.subTest(argv=argv), unittest.mock.patch("sys.argv", ["run", *argv]):
                self.assertEqual("pods" in bench_run.options().parts, expected)


KEPT = {("job", "*", "*"): 1000, ("job", "json", "*"): 600, ("job", "json", "read"): 500, ("job", "json", "small"): 100,
        ("job", "libc", "*"): 400, ("job", "libc", "memcpy"): 400}  # as read from the file: (job, group, function)


def compare(json_read, memcpy):
    return list(instructions.compare(KEPT, {"job": {"json": {"read": json_read, "small": 100},
                                                    "libc": {"memcpy": memcpy}}}))


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
