"""The agent as a process: a sidecar with garbage in its settings, against the real app and the real profefe, and
against both of them failing."""

import datetime
import gzip
import http.server
import os
import re
import signal
import socket
import sys
import threading
import time
from pathlib import Path

from agent_case import ARRIVE_SECONDS, IDENTITY, START_SECONDS, STOP_SECONDS, AgentCase, now
from blackbox import AGENT, APP
from children import free_port, wait_until

STAYS_SECONDS = 2
PR_SET_CHILD_SUBREAPER = 36
QUICK_STOP_SECONDS = 6  # the stop-deadline of QUICK is 2 s
TOLD_AT_LEAST = 8  # reasons, before "and N more"

# Every setting that can be wrong, with a value that is. Text such as the service takes nearly anything.
BAD_ENV = {
    "PROFEFE_AGENT_TARGETS": "gopher://127.0.0.1:70",
    "PROFEFE_AGENT_COLLECTOR": "not a URL",
    "PROFEFE_AGENT_LABELS": "no equals sign",
    "PROFEFE_AGENT_TYPES": "cpu=,:,=",
    "PROFEFE_AGENT_INTERVAL": "whenever",
    "PROFEFE_AGENT_CPU_SECONDS": "0",
    "PROFEFE_AGENT_GRACE": "-30",
    "PROFEFE_AGENT_LOG_LEVEL": "deafening",
    "PROFEFE_AGENT_LOG_FORMAT": "xml",
    "PROFEFE_AGENT_STOP_DEADLINE": "9999999999999999999999h",
    "PROFEFE_AGENT_RETRY_MIN": "0x10",
    "PROFEFE_AGENT_RETRY_MAX": "1e3",
    "PROFEFE_AGENT_FIRST_WITHIN": "-1s",
}
ALL_ENV = [*BAD_ENV, *IDENTITY, "PROFEFE_AGENT_SERVICE", "PROFEFE_AGENT_CONTAINER", "PROFEFE_AGENT_LISTEN"]
GARBAGE = {
    "words": "complete garbage",
    "nothing": "",
    "white space": " \t ",
    "separators": ",,==,;:=/,",
    "a number": "-99999999999999999999",
    "control characters": "\n\r\x1b[31m\x7f",
    "not UTF-8": b"\xff\xfe\x80",
    "formats": "%s%n%d$(POD_NAME)",
    "64 KB": "x" * 65536,
}


class RefusingCollector:
    """Answers every POST with profefe's own words for a bad profile."""

    def __init__(self):
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                length = int(self.headers.get("Content-Length", 0))
                if self.headers.get("Transfer-Encoding") == "chunked":
                    while size := int(self.rfile.readline(), 16):
                        self.rfile.read(size + 2)
                    self.rfile.readline()
                else:
                    self.rfile.read(length)
                body = b'{"code":400,"error":"no profile of mine"}'
                self.send_response(400)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()


class Sidecar(AgentCase):
    """PROFEFE_AGENT_SIDECAR=1: nothing but SIGTERM ends it, since its exit takes the app out of its Service."""

    def test_garbage_in_every_variable(self):
        agents = []
        for what, garbage in GARBAGE.items():
            value = garbage if isinstance(garbage, bytes) else garbage.encode()
            # bytes as names and values: an environment need not be text
            env = {name.encode(): value for name in ALL_ENV}
            env[b"PROFEFE_AGENT_SIDECAR"] = b"1"
            agents.append((what, self.start(f"agent-{len(agents)}", AGENT, env=env)))
        for _, agent in agents:
            agent.wait_until_it_takes(signal.SIGTERM, START_SECONDS)
        time.sleep(STAYS_SECONDS)
        for what, agent in agents:
            with self.subTest(what=what):
                agent.must_live()
                self.stops(agent)

    def test_each_bad_variable_is_named(self):
        """In /healthz, a line a reason, in /status and in the log."""
        _, url = self.start_app()
        for name, value in BAD_ENV.items():
            with self.subTest(name=name):
                agent = self.start_agent(self.settings(url, "http://127.0.0.1:9", **{name: value}))
                self.wait_for_port(agent)
                self.wait_for_health(agent, 500, name)
                status, text = self.get("/status")
                self.assertEqual(200, status)
                self.assertIn(name, text)
                self.assertIn(name, agent.log())
                self.assertEqual(200, self.get("/metrics")[0])
                self.stops(agent)

    def test_many_bad_variables_are_told_up_to_a_limit(self):
        agent = self.start_agent(BAD_ENV)
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, "PROFEFE_AGENT_LABELS", "PROFEFE_AGENT_COLLECTOR", "more")
        named = [name for name in BAD_ENV if name in self.health[1]]
        self.assertGreaterEqual(len(named), TOLD_AT_LEAST, self.health[1])
        self.stops(agent)

    def test_bad_command_line_does_not_end_it(self):
        for args in (["--nonsense"], ["stray"], ["--config"], ["--config", self.path("absent.ini")],
                     ["--interval", "soon"],
                     ["--config", self.write("bad.ini", "[agent]\nwhat is this\n")]):
            with self.subTest(args=args):
                agent = self.start_agent({}, *args)
                self.wait_for_port(agent)
                self.wait_for_health(agent, 500)
                self.stops(agent)

    def test_orphans_leave_no_zombies(self):
        """Two that a subreaper has got before it became the agent: one has ended by then, one ends later."""
        go = self.path("go")
        script = ("import ctypes, os, subprocess, sys\n"
                  f"ctypes.CDLL(None).prctl({PR_SET_CHILD_SUBREAPER}, 1, 0, 0, 0)\n"
                  f"subprocess.run(['sh', '-c', 'while ! [ -e {go} ]; do sleep 0.05; done & true &'])\n"
                  "os.execv(sys.argv[1], sys.argv[1:])\n")
        agent = self.start_agent({}, wrap=[sys.executable, "-c", script])
        self.wait_for_port(agent)
        children = lambda: Path(f"/proc/{agent.pid}/task/{agent.pid}/children").read_text(encoding="ascii").split()
        self.assertEqual(1, len(children()))
        self.write("go", "")
        wait_until(lambda: not children(), ARRIVE_SECONDS, lambda: f"children: {children()}")
        self.stops(agent)

    def ignores_sigchld(self, pid):
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        return int(re.search(r"(?m)^SigIgn:\s+(\w+)$", status)[1], 16) >> (signal.SIGCHLD - 1) & 1

    def test_only_process_1_and_subreapers_care_for_orphans(self):
        agent = self.start_agent({})
        self.wait_for_port(agent)
        self.assertFalse(self.ignores_sigchld(agent.pid))
        self.stops(agent)
        if os.geteuid() != 0:
            self.skipTest("needs root: a process namespace")
        outside = self.start_agent({}, wrap=["unshare", "--pid", "--fork", "--kill-child"])
        self.wait_for_port(outside)
        first = int(Path(f"/proc/{outside.pid}/task/{outside.pid}/children").read_text(encoding="ascii"))
        self.assertTrue(self.ignores_sigchld(first))
        os.kill(first, signal.SIGTERM)
        self.assertEqual(0, outside.wait(STOP_SECONDS))

    def test_only_sigterm_ends_it(self):
        agent = self.start_agent({})
        self.wait_for_port(agent)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2):
            os.kill(agent.pid, number)
        time.sleep(STAYS_SECONDS)
        agent.must_live()
        self.stops(agent)

    def test_collector_that_refuses_everything_is_told(self):
        _, url = self.start_app()
        refusing = RefusingCollector()
        self.addCleanup(refusing.close)
        agent = self.start_agent(self.settings(url, refusing.url, PROFEFE_AGENT_INTERVAL="2s"))
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, "collector", "no profile of mine")
        self.assertRegex(self.get("/status")[1], r"dropped \d+ profiles")
        self.stops(agent)

    def test_missing_collector_is_told(self):
        _, url = self.start_app()
        env = self.settings(url, "x")
        del env["PROFEFE_AGENT_COLLECTOR"]
        agent = self.start_agent(env)
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, "collector")
        self.assertIn("collector", self.get("/status")[1])
        self.stops(agent)

    def test_service_links_of_a_service_called_profefe_do_no_harm(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(url, profefe.url, **{
            "PROFEFE_PORT": "tcp://10.96.38.31:10100", "PROFEFE_SERVICE_HOST": "10.96.38.31",
            "PROFEFE_SERVICE_PORT": "10100", "PROFEFE_PORT_10100_TCP": "tcp://10.96.38.31:10100",
            "PROFEFE_PORT_10100_TCP_ADDR": "10.96.38.31",
            "PROFEFE_AGENT_PORT": "tcp://10.96.38.32:1", "PROFEFE_AGENT_SERVICE_HOST": "10.96.38.32"}))
        self.wait_for_port(agent)
        self.wait_for_profiles(profefe, {"heap", "goroutine"})
        self.assertEqual(200, self.get("/healthz")[0], self.get("/healthz")[1])
        self.stops(agent)

    def test_wrong_port_is_told_and_waited_for(self):
        port = free_port()
        agent = self.start_agent(self.settings(f"http://127.0.0.1:{port}/debug/pprof", "http://127.0.0.1:9"))
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, str(port), "refused")
        self.assertIn(str(port), self.get("/status")[1])
        self.stops(agent)

    def test_missing_path_is_told(self):
        _, url = self.start_app("-prefix", "/elsewhere")
        agent = self.start_agent(self.settings(url.replace("elsewhere", "debug/pprof"), "http://127.0.0.1:9"))
        self.wait_for_port(agent)
        wait_until(lambda: "404" in self.get("/status")[1], ARRIVE_SECONDS,
                   lambda: f"/status does not tell of the 404: {self.get('/status')[1]}")
        self.stops(agent)

    def test_own_port_taken_is_told_and_gone_on_without(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            port = taken.getsockname()[1]
            agent = self.start_agent(self.settings(url, profefe.url), listen=port)
            self.wait_for_profiles(profefe, {"heap", "goroutine"})
            agent.wait_for_log(rf"{port}", START_SECONDS)
            self.assertRegex(agent.log(), r"(?i)in use")
            self.stops(agent)

    def test_port_10101_is_its_own_and_may_be_taken(self):
        """The port without PROFEFE_AGENT_LISTEN. Somebody else may have it; then that is the case of the test."""
        taken = socket.socket()
        self.addCleanup(taken.close)
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            taken.bind(("0.0.0.0", 10101))
            taken.listen()
        except OSError:
            pass
        agent = self.start("agent", AGENT, env={"PROFEFE_AGENT_SIDECAR": "1"})
        agent.wait_for_log(r"10101", START_SECONDS)
        self.assertRegex(agent.log(), r"(?i)in use")
        time.sleep(STAYS_SECONDS)
        agent.must_live()
        self.stops(agent)

    def test_sigterm_while_a_cpu_profile_is_taken(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(url, profefe.url, PROFEFE_AGENT_TYPES="cpu:61s=60s",
                                               PROFEFE_AGENT_FIRST_WITHIN="1s"))
        self.wait_for_port(agent)
        wait_until(lambda: self.is_profiling(url), ARRIVE_SECONDS,
                   lambda: f"the agent takes no CPU profile:\n{agent.log_tail()}")
        self.stops(agent, QUICK_STOP_SECONDS)

    def test_sigterm_with_the_collector_gone_ends_at_the_deadline(self):
        _, url = self.start_app()
        agent = self.start_agent(self.settings(url, f"http://127.0.0.1:{free_port()}"))
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500)
        self.stops(agent, QUICK_STOP_SECONDS)

    def test_hanging_collector_holds_neither_the_port_nor_sigterm(self):
        _, url = self.start_app()
        with socket.create_server(("127.0.0.1", 0)) as silent:
            agent = self.start_agent(self.settings(url, f"http://127.0.0.1:{silent.getsockname()[1]}"))
            self.wait_for_port(agent)
            time.sleep(STAYS_SECONDS)
            self.assertEqual(200, self.get("/status")[0])
            self.stops(agent)


class RealThings(AgentCase):
    """The real Go app and the real profefe."""

    def once(self, app_url, profefe_url, *args, env=None, seconds=40):
        return self.run_binary(AGENT, "--once", "--target", app_url, "--collector", profefe_url, "--service", "web",
                               "--cpu-seconds", "1", "--listen", "none", *args, env=env, seconds=seconds)

    def test_once_on_a_laptop_stores_each_type_and_says_what_is_empty(self):
        _, url = self.start_app("-load", "1")  # so that a second shows it even where others want the CPU too
        profefe = self.start_profefe()
        done = self.once(url, profefe.url)
        self.assertEqual(0, done.code, done)
        for kind in ("block", "mutex"):
            self.assertRegex(done.out + done.err, rf"(?m)^.*{kind}.*(empty|not set).*$", done)

        found = profefe.profiles("web", self.since)
        self.assertEqual(["cpu", "goroutine", "heap"], sorted(profile["type"] for profile in found))
        self.assertEqual(["web"], profefe.services())
        for profile in found:
            self.assertEqual("profefe-agent", profile["labels"].get("from"), profile)
            self.assertNotIn("namespace", profile["labels"], "there is no Kubernetes here")
            self.assertNotIn("node", profile["labels"], "there is no Kubernetes here")
            body = gzip.decompress(profefe.fetch(profile["id"]))
            self.assertIn(b"main.burnCPU" if profile["type"] == "cpu" else b"main.", body)

    def test_once_stores_block_and_mutex_where_their_rates_are_set(self):
        _, url = self.start_app("-load", "1", "-block-rate", "1", "-mutex-fraction", "1")
        profefe = self.start_profefe()
        time.sleep(1)  # for the app to contend
        done = self.once(url, profefe.url)
        self.assertEqual(0, done.code, done)
        found = profefe.profiles("web", self.since)
        self.assertEqual(["block", "cpu", "goroutine", "heap", "mutex"], sorted(profile["type"] for profile in found))

    def test_once_pushes_identity_and_labels(self):
        _, url = self.start_app("-prefix", "/admin/pprof")
        profefe = self.start_profefe()
        env = {**IDENTITY, "PROFEFE_AGENT_LABELS": "team=shop & co,greeting=grüße a=b",
               "PROFEFE_AGENT_CONTAINER": "main"}
        done = self.once(url, profefe.url, "--types", "heap", env=env)
        self.assertEqual(0, done.code, done)
        (profile,) = profefe.profiles("web", self.since)
        expected = {"namespace": "shop", "pod": IDENTITY["POD_NAME"], "node": "node1", "container": "main",
                    "from": "profefe-agent", "team": "shop & co", "greeting": "grüße a=b"}
        self.assertEqual(expected, {key: profile["labels"].get(key) for key in expected})

    def test_once_takes_named_targets(self):
        profefe = self.start_profefe()
        _, api = self.start_app(name="api")
        _, worker = self.start_app(name="worker")
        done = self.run_binary(AGENT, "--once", "--target", f"api={api}", "--target", f"worker={worker}", "--collector",
                               profefe.url, "--service", "web", "--types", "heap,goroutine", "--listen", "none")
        self.assertEqual(0, done.code, done)
        found = {(profile["type"], profile["labels"].get("target")) for profile in profefe.profiles("web", self.since)}
        self.assertEqual({(kind, target) for kind in ("heap", "goroutine") for target in ("api", "worker")}, found)

    def test_once_fails_when_a_type_is_missing(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        done = self.once(url + "/nowhere", profefe.url, "--types", "heap")
        self.assertEqual(1, done.code, done)
        self.assertIn("404", done.out + done.err, done)

    def test_once_fails_when_nothing_is_stored(self):
        _, url = self.start_app()
        port = free_port()
        done = self.once(url, f"http://127.0.0.1:{port}", "--types", "heap", "--timeout", "4s")
        self.assertEqual(1, done.code, done)
        self.assertIn(str(port), done.out + done.err, done)

    def test_once_fails_when_the_collector_is_no_profefe(self):
        _, url = self.start_app()
        done = self.once(url, url, "--types", "heap", "--timeout", "4s")
        self.assertEqual(1, done.code, done)

    def test_once_names_a_cpu_profiler_that_is_taken(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        self.hold_profiler(url)
        done = self.once(url, profefe.url, "--types", "cpu", "--timeout", "4s")
        self.assertEqual(1, done.code, done)
        self.assertRegex(done.out + done.err, "(?i)busy|in use", done)

    def test_ini_file_does_what_flags_do(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        path = self.write("agent.ini", f"[agent]\ntargets = {url}\ncollector = {profefe.url}\nservice = from-file\n"
                                       f"types = heap,\n  goroutine\nlisten = none\n")
        done = self.run_binary(AGENT, "--once", "--config", path)
        self.assertEqual(0, done.code, done)
        self.assertEqual(["goroutine", "heap"], sorted(p["type"] for p in profefe.profiles("from-file", self.since)))

    def test_profiles_taken_while_profefe_is_down_arrive(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(url, profefe.url))
        self.wait_for_port(agent)
        self.wait_for_profiles(profefe, {"cpu", "heap", "goroutine"})
        self.assertEqual(200, self.get("/healthz")[0], self.get("/healthz")[1])

        profefe.stop()
        down = now()
        self.wait_for_health(agent, 500, str(profefe.port))
        # profefe keeps whole seconds: what is a second inside was surely taken meanwhile. One more of each, as the
        # first may have begun before.
        time.sleep(1)
        before = self.metrics(agent)
        wanted = {"heap": 3, "goroutine": 3, "cpu": 1}

        def taken(seen, kind):
            return seen.sum("scrapes_total", type=kind, result="ok") - before.sum("scrapes_total", type=kind,
                                                                                  result="ok")

        self.wait_for_metrics(agent, lambda seen: all(taken(seen, kind) > count for kind, count in wanted.items()),
                              f"more than {wanted} taken while profefe is down")
        time.sleep(1)
        up = now()
        profefe.start()

        def meanwhile():
            found = [p["type"] for p in profefe.profiles("web", self.since)
                     if down < datetime.datetime.fromisoformat(p["created_at"]) < up - datetime.timedelta(seconds=1)]
            return all(found.count(kind) >= count for kind, count in wanted.items())

        wait_until(meanwhile, ARRIVE_SECONDS,
                   lambda: f"of the outage from {down} to {up} only these arrived: {profefe.profiles('web', down)}")
        self.wait_for_health(agent, 200)
        self.assertNotIn('profefe_agent_dropped_profiles_total{reason="evicted"} 1', self.get("/metrics")[1])
        self.stops(agent)

    def test_app_that_comes_later_and_goes_away_is_waited_for(self):
        profefe = self.start_profefe()
        port = free_port()
        agent = self.start_agent(self.settings(f"http://127.0.0.1:{port}/debug/pprof", profefe.url))
        self.wait_for_port(agent)
        self.wait_for_health(agent, 500, "refused")
        app = self.start("late", APP, "-listen", f"127.0.0.1:{port}")
        self.wait_for_profiles(profefe, {"cpu", "heap", "goroutine"})
        self.wait_for_health(agent, 200)
        app.process.send_signal(signal.SIGKILL)
        self.wait_for_health(agent, 500, "refused")
        self.stops(agent)

    def test_metrics_count_scrapes_and_pushes(self):
        _, url = self.start_app()
        profefe = self.start_profefe()
        agent = self.start_agent(self.settings(url, profefe.url))
        self.wait_for_port(agent)
        self.wait_for_profiles(profefe, {"cpu", "heap", "goroutine"})
        text = self.get("/metrics")[1]
        for family in ("profefe_agent_scrapes_total", "profefe_agent_pushes_total", "profefe_agent_spool_bytes",
                       "profefe_agent_dropped_profiles_total"):
            self.assertIn(f"# HELP {family} ", text)
            self.assertIn(f"# TYPE {family} ", text)
        for kind in ("cpu", "heap", "goroutine"):
            self.assertRegex(text, rf'(?m)^profefe_agent_scrapes_total{{[^}}]*type="{kind}"[^}}]*}} [1-9]')
        self.stops(agent)
