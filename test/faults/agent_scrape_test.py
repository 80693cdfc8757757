"""Bad answers of an app: the agent names each, counts it, says it once, keeps its memory, and goes on taking what is
good."""

import gzip
import os
import re
import time
import zlib

from agent_case import ARRIVE_SECONDS, AgentCase, is_bare, memory_kib
from blackbox import TOOLS
from children import free_port, wait_until
from fault_collector import FaultCollector
from fault_server import FaultApp, Trap
from protowire import data, number
from small_pprof import NANOS, Maker, noise, raw

FAULT_APP = os.path.join(TOOLS, "faultapp")
APP_SECONDS = 10
SCRAPE_TIMEOUT = "5s"
CPU_SECONDS = 2  # at first, where they must shrink to 1
QUICK_TIMEOUT = "30s"  # where no fault lasts until then, and a bomb needs seconds in an emulator
RUNS = 2       # of each fault: the second must not be said again
GOOD_RUNS = 3  # of a good type beside a bad one
REPEAT_SECONDS = 60  # LOG_REPEAT_MS: what goes on is said again
# What the faults may add to the peak of resident memory, which is that of good profiles: 64 KiB of headers, libcurl's
# longest line of 100 KiB twice while it grows, and the pages of code that had not run before. Seen: 130 to 300.
MEMORY_KIB = 768
BOMB_BYTES = 1 << 30
PROXY_NAMES = ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY")
LINE = re.compile(r'msg="no profile".* type=(\S+) target=(\S+) result=(\S+) bytes=\d+ took_ms=(\d+)')

GOOD = gzip.compress(raw("fault", 1_700_000_000 * NANOS, padding=noise(50_000)), 1)
BEGINNING = data(1, number(1, 1) + number(2, 2)) + data(6, b"")  # of a profile, before its strings
OK_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"


# ---- bad answers; each is a function of the exchange

def reply(status=200, body=b"", headers=(), length=None):
    return lambda exchange: exchange.reply(status, body, headers, length)


def reset_halfway(exchange):
    exchange.send(OK_HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD[:len(GOOD) // 2])
    exchange.reset()


def silence_after(beginning):
    def answer(exchange):
        exchange.send(beginning)
        exchange.wait_for_peer()
    return answer


def flood(head, piece):
    def answer(exchange):
        exchange.send(head)
        exchange.repeat(piece)
    return answer


def bomb_of_strings():
    """1 GB in 1 MB: a profile with the same string over and over."""
    piece = data(6, bytes(1 << 20))
    stream = zlib.compressobj(9, zlib.DEFLATED, -15)
    head = stream.compress(BEGINNING + piece) + stream.flush(zlib.Z_FULL_FLUSH)
    again = stream.compress(piece) + stream.flush(zlib.Z_FULL_FLUSH)  # the same each time, as nothing points back
    return b"\x1f\x8b\x08\0\0\0\0\0\0\xff" + head + again * (BOMB_BYTES // len(piece))


def redirect_to(server):
    return reply(302, b"over there", [f"Location: {server.address}/debug/pprof/heap"])


# One answer of each result that an app alone brings about. Name: the answer (None: made by the test), and what the
# agent must call it. All other answers and the edges of these: test_scrape.c, test_httpc.c and the fixtures of pprof.
FAULTS = {
    "stalls-in-body": (silence_after(OK_HEAD + b"Content-Length: %d\r\n\r\n" % len(GOOD) + GOOD[:len(GOOD) // 2]),
                       "slow"),
    "reset-halfway": (reset_halfway, "truncated"),
    "redirect": (None, "redirect"),
    "html": (reply(200, b"<!DOCTYPE html><html><body>Sign in</body></html>", ["Content-Type: text/html"]), "text"),
    "gzip-wrong-crc": (reply(200, GOOD[:-8] + b"\0\0\0\0" + GOOD[-4:]), "malformed"),
    "headers-for-ever": (flood(OK_HEAD, b"X-More: header\r\n" * 1000), "endless"),
    "bomb-of-strings": (reply(200, bomb_of_strings()), "too-big"),
    "body-for-ever": (flood(OK_HEAD + b"\r\n" + BEGINNING, data(6, b"x" * 65536)), "too-big"),
    "status-500": (reply(500, b"out of order"), "status"),
}
SLOW = "stalls-in-body"  # apart, as it holds up the others until the agent gives it up


class ScrapeCase(AgentCase):
    def setUp(self):
        super().setUp()
        self.trap = self.serve(Trap())

    def serve(self, server):
        self.addCleanup(server.close)
        self.addCleanup(lambda: self.assertEqual([], server.wrong))
        return server

    def start_faulty(self, targets, collector_url, types, name="agent", **more):
        """The agent with a proxy in its environment that nobody may use."""
        proxies = {name: self.trap.address for name in PROXY_NAMES}
        agent = self.start_agent(self.settings(targets, collector_url, PROFEFE_AGENT_TYPES=types,
                                               **{"PROFEFE_AGENT_SCRAPE_TIMEOUT": SCRAPE_TIMEOUT, **proxies, **more}),
                                 name=name)
        self.wait_for_port(agent)
        return agent

    def lines(self, agent):
        """(type, target, result) of each line about a profile that was not taken."""
        return [line[:3] for line in LINE.findall(agent.log())]

    def late_answers(self, agent, target):
        """Those lines about a 503 to a CPU profile that say themselves that it came when SECONDS were over: then it is
        no sign that they are too many. Only a machine that stalls is so slow; the agent asks for as many again."""
        late, asked = [], CPU_SECONDS
        for kind, of, result, took_ms in LINE.findall(agent.log()):
            if (kind, of, result) == ("cpu", target, "too-long"):
                asked = 1
            elif (kind, of, result) == ("cpu", target, "status") and int(took_ms) >= 1000 * asked:
                late.append((kind, of, result))
        return late

    def took_ms(self, agent, target, result):
        """How long it took, as the first line of that result says; 0 without one."""
        return next((int(took_ms) for _, of, has, took_ms in LINE.findall(agent.log())
                     if (of, has) == (target, result)), 0)

    def wait_for_scrapes(self, agent, count, kinds, **labels):
        """Until each of these types has so many results."""
        return self.wait_for_metrics(
            agent, lambda seen: all(seen.sum("scrapes_total", type=kind, **labels) >= count for kind in kinds),
            f"{count} runs of each of {kinds} {labels}", seconds=2 * ARRIVE_SECONDS)

    def ends_well(self, agent, collector):
        """Nothing went to the trap, nothing half went to the collector, and the agent stops as it should."""
        self.assertEqual(0, self.trap.connections, "something came to the proxy or the target of a redirect")
        self.assertEqual([], collector.broken)
        self.stops(agent)


class Group:
    """Some faults, the app that has them, and the agent that meets them: each fault is a type of its own, other/NAME,
    beside a good heap."""

    def __init__(self, case, index, names):
        self.names = names
        self.app = case.serve(FaultApp(Maker()))
        self.collector = case.serve(FaultCollector())
        types = ",".join(["heap:1s", *(f"{self.kind(name)}:1s" for name in names)])
        timeout = SCRAPE_TIMEOUT if SLOW in names else QUICK_TIMEOUT
        self.agent = case.start_faulty(self.app.url(), self.collector.address, types, name=f"agent-{index}",
                                       PROFEFE_AGENT_MISSING_RETRY="1s", PROFEFE_AGENT_SCRAPE_TIMEOUT=timeout)

    @staticmethod
    def kind(name):
        return f"other/{name}"

    def kinds(self):
        return ["heap", *map(self.kind, self.names)]

    @staticmethod
    def good(seen, kind):
        return seen.sum("scrapes_total", type=kind, result="ok")

    def bad(self, seen, name):
        """Result → count, of this fault."""
        results = seen.by("scrapes_total", "result", type=self.kind(name))
        results.pop("ok", None)
        return results


class BadAnswers(ScrapeCase):
    """All of them at once."""

    def test_each_is_named_counted_said_once_and_left_behind(self):
        answers = {**{name: answer for name, (answer, _) in FAULTS.items()}, "redirect": redirect_to(self.trap)}
        groups = [Group(self, index, names)
                  for index, names in enumerate([[SLOW], [name for name in FAULTS if name != SLOW]])]
        for group in groups:  # all is well at first
            self.wait_for_scrapes(group.agent, RUNS, group.kinds(), result="ok")
            group.memory = memory_kib(group.agent.pid, "VmHWM")
        for group in groups:
            group.began = time.monotonic()
            group.app.answers.update({name: answers[name] for name in group.names})
        for group in groups:
            self.check_faults(group)
        for group in groups:
            group.seen = self.metrics(group.agent)
            group.app.answers.clear()
        for group in groups:
            self.check_recovery(group)
            self.ends_well(group.agent, group.collector)

    def check_faults(self, group):
        def met(seen):
            return all(sum(group.bad(seen, name).values()) >= RUNS for name in group.names)

        seen = self.wait_for_metrics(group.agent, met, f"{RUNS} bad results of each type", seconds=2 * ARRIVE_SECONDS)
        for name in group.names:
            with self.subTest(fault=name):
                expected = FAULTS[name][1]
                self.assertEqual([expected], list(group.bad(seen, name)))
                said = [line for line in self.lines(group.agent) if line[0] == group.kind(name)]
                most = 1 + int((time.monotonic() - group.began) / REPEAT_SECONDS)
                self.assertEqual({(group.kind(name), group.app.url(), expected)}, set(said), group.agent.log_tail())
                self.assertLessEqual(len(said), most, group.agent.log_tail())
        with self.subTest(memory=group.names):
            grown = memory_kib(group.agent.pid, "VmHWM") - group.memory
            self.assertTrue(not is_bare() or grown <= MEMORY_KIB,
                            f"the faults added {grown} KiB to the peak of {group.memory} KiB, expected {MEMORY_KIB} at "
                            f"most")

    def check_recovery(self, group):
        """The good type went on all the time, and the others are taken as soon as they are good."""
        before = group.seen
        self.assertEqual(["ok"], list(before.by("scrapes_total", "result", type="heap")))
        after = self.wait_for_metrics(
            group.agent, lambda seen: all(group.good(seen, kind) > group.good(before, kind) for kind in group.kinds()),
            "taken again", seconds=2 * ARRIVE_SECONDS)
        wait_until(lambda: len(group.collector.serials()) >= after.sum("scrapes_total", result="ok"), ARRIVE_SECONDS,
                   lambda: f"{len(group.collector.serials())} profiles arrived:\n{after.text}")
        self.assertEqual({"too-big"}, {"too-big", *after.by("dropped_profiles_total", "reason")}, after.text)


class BadTargets(ScrapeCase):
    def setUp(self):
        super().setUp()
        self.app = self.serve(FaultApp(Maker()))
        self.collector = self.serve(FaultCollector())

    def targets(self, *names):
        return ",".join(f"{name}={self.app.url(name)}" for name in names)

    def seconds_asked(self, name):
        """SECONDS of each request for that target's CPU profile."""
        return [query["seconds"][0] for path, query in list(self.app.requests) if path == f"{name}/profile"]

    def test_raw_is_compressed_and_asked_for_in_gzip_from_then_on(self):
        padding = bytes(9 << 20)  # more than the spool holds, but for compression

        def give(exchange):
            serial, _ = self.app.maker.take()
            asked.append(exchange.request.headers.get("accept-encoding"))
            whole = raw(serial, self.app.maker.nanos(serial), padding=padding)
            if asked[-1]:
                exchange.reply(200, gzip.compress(whole), ["Content-Encoding: gzip"])
            else:
                exchange.reply(200, whole)

        asked = []
        self.app.answers["heap"] = give
        agent = self.start_faulty(self.app.url(), self.collector.address, "heap:1s")
        wait_until(lambda: len(self.collector.serials()) >= 3, ARRIVE_SECONDS, agent.log_tail)
        self.assertEqual([None, "gzip", "gzip"], asked[:3])
        self.ends_well(agent, self.collector)

    def test_refused_is_waited_for_and_a_proxy_is_never_asked(self):
        port = free_port()
        targets = (f"here={self.app.url()},gone=http://127.0.0.1:{port}/debug/pprof,"
                   f"tls=https://127.0.0.1:{port}/debug/pprof")
        agent = self.start_faulty(targets, self.collector.address, "heap:1s")
        self.wait_for_scrapes(agent, 4, ["heap"], result="refused")
        self.wait_for_scrapes(agent, GOOD_RUNS, ["heap"], result="ok")
        for target in ("http", "https"):
            said = [line for line in self.lines(agent) if line[1] == f"{target}://127.0.0.1:{port}/debug/pprof"]
            self.assertEqual(["refused"], [line[2] for line in said], agent.log_tail())
        late = self.serve(FaultApp(self.app.maker, port))
        wait_until(lambda: any(post.labels["target"] == "gone" for post in list(self.collector.stored)), ARRIVE_SECONDS,
                   lambda: f"{late.seen} of the late app, nothing arrives:\n{agent.log_tail()}")
        self.ends_well(agent, self.collector)

    def test_missing_type_sleeps_and_comes_back(self):
        self.app.answers["other"] = reply(404, b"Unknown profile\n")
        agent = self.start_faulty(self.app.url(), self.collector.address, "heap:1s,other/other:1s",
                                  PROFEFE_AGENT_MISSING_RETRY="3s")
        self.wait_for_scrapes(agent, 2, ["other/other"], result="missing")
        asked, heaps = self.app.seen["other"], self.app.seen["heap"]
        self.assertGreaterEqual(heaps, 2 * (asked - 1),
                                "a type that sleeps for 3 s, beside one that is due every second")
        self.app.answers.clear()
        self.wait_for_scrapes(agent, 2, ["other/other"], result="ok")
        self.ends_well(agent, self.collector)

    def test_busy_profiler_is_asked_again_inside_the_interval(self):
        words = b"Could not enable CPU profiling: cpu profiling already in use\n"
        self.app.answers.update({
            "go/profile": reply(500, b"taken\n", ["X-Go-Pprof: 1"]), "words/profile": reply(500, words),
            "go/trace": reply(500, b"taken\n", ["X-Go-Pprof: 1"]),
            "words/trace": reply(500, b"Could not enable tracing: execution tracer already enabled\n")})
        agent = self.start_faulty(self.targets("go", "words"), self.collector.address,
                                  "cpu:10m=1s,trace:3s=0.2,heap:1s")
        self.wait_for_scrapes(agent, 4, ["cpu", "trace"], result="busy")
        seen = self.wait_for_scrapes(agent, GOOD_RUNS, ["heap"], result="ok")
        for kind in ("cpu", "trace"):
            self.assertEqual(["busy"], list(seen.by("scrapes_total", "result", type=kind)))
            self.assertEqual([(kind, self.app.url(name), "busy") for name in ("go", "words")],
                             sorted(line for line in self.lines(agent) if line[0] == kind))
        self.assertEqual(200, self.get("/healthz")[0], "busy is somebody else at work, no failure")
        self.app.answers.clear()
        self.app.answers.update({name: reply(404) for name in ("go/trace", "words/trace")})
        self.wait_for_scrapes(agent, 2, ["cpu"], result="ok")
        self.ends_well(agent, self.collector)

    def test_seconds_that_were_too_long_for_a_moment_grow_back(self):
        """A restart behind a proxy: 503 after more than a second, and the app is well again."""
        def late(exchange):
            self.app.answers.pop("brief/profile")
            exchange.wait_for_peer(1.2)
            exchange.reply(503, b"upstream restarts")

        self.app.answers["brief/profile"] = late
        agent = self.start_faulty(self.targets("brief"), self.collector.address, f"cpu:3s={CPU_SECONDS}s")
        agent.wait_for_log(r'msg="asking for longer profiles again".* type=cpu .* ms=2000', ARRIVE_SECONDS)
        wait_until(lambda: self.seconds_asked("brief")[-1] == "2", ARRIVE_SECONDS, lambda: self.seconds_asked("brief"))
        self.assertEqual(["2", "1", "2"], self.seconds_asked("brief")[:3])
        self.ends_well(agent, self.collector)

    def test_seconds_that_are_too_long_shrink_and_are_tried_ever_more_seldom(self):
        def after(seconds, answer):
            """That answer to a profile of more than a second, so long after the request; else a profile."""
            def one(exchange):
                if exchange.request.query["seconds"] == ["1"]:
                    self.app.give_profile(exchange, "profile")
                    return
                exchange.wait_for_peer(seconds)
                answer(exchange)
            return one

        text = b"profile duration exceeds server's WriteTimeout\n"
        self.app.answers.update({
            "old/profile": after(0, reply(400, text)), "closed/profile": after(1.9, lambda exchange: None),
            "handler/profile": after(1.2, reply(503, b"<html>no</html>")),
            "proxy/profile": after(1.2, reply(504, b"late")),
            "unready/profile": reply(503, b"not ready")})
        names = ("old", "closed", "handler", "proxy")
        agent = self.start_faulty(self.targets(*names, "unready"), self.collector.address,
                                  f"cpu:3s={CPU_SECONDS}s,heap:1s")
        for name in names:
            wait_until(lambda: self.seconds_asked(name).count("1") >= 3, ARRIVE_SECONDS,
                       lambda: f"{name} was asked for {self.seconds_asked(name)} s:\n{agent.log_tail()}")
        seen = self.wait_for_scrapes(agent, 2 * len(names), ["cpu"], result="ok")
        # A machine that stalled for a second makes it look like a handler's limit.
        stalled = self.took_ms(agent, self.app.url("unready"), "too-long") >= 1000
        self.assertGreaterEqual(seen.sum("scrapes_total", type="cpu", result="too-long"), 2 * len(names) + stalled)
        self.assertEqual({"ok", "too-long", "status"}, set(seen.by("scrapes_total", "result", type="cpu")))
        for name in names:
            late = self.late_answers(agent, self.app.url(name))
            asked = "".join(self.seconds_asked(name))
            if not late:
                self.assertTrue("21211211112".startswith(asked), f"{name}: {asked}")
            said = [line for line in self.lines(agent) if line[1] == self.app.url(name)]
            self.assertEqual([*late, ("cpu", self.app.url(name), "too-long")], said[:len(late) + 1])
        self.assertEqual({"2", "1"} if stalled else {"2"}, set(self.seconds_asked("unready")),
                         "503 at once has nothing to do with SECONDS")
        self.ends_well(agent, self.collector)

    def test_real_go_servers_with_limits(self):
        """net/http of the Go that is here: a wrapped ResponseWriter past WriteTimeout, TimeoutHandler, and a plain
        server with the same WriteTimeout (which lifts it)."""
        app = self.start("faultapp", FAULT_APP, "-write-timeout", "1500ms", "-limit", "1500ms")
        urls = app.wait_for_log(r"wrapped=(?P<wrapped>\S+) limited=(?P<limited>\S+) plain=(?P<plain>\S+)", APP_SECONDS)
        profefe = self.start_profefe()
        targets = ",".join(f"{name}={url}" for name, url in urls.groupdict().items())
        agent = self.start_faulty(targets, profefe.url, f"cpu:5s={CPU_SECONDS}s,heap:1s")

        def all_arrived():
            found = profefe.profiles("web", self.since)
            return {(kind, name) for kind in ("cpu", "heap") for name in urls.groupdict()} <= \
                {(profile["type"], profile["labels"].get("target")) for profile in found}

        wait_until(all_arrived, ARRIVE_SECONDS, lambda: f"profefe has only {profefe.profiles('web', self.since)}:\n"
                                                        f"{agent.log_tail()}")
        expected = [("cpu", urls[name], "too-long") for name in ("limited", "wrapped")]
        late = self.late_answers(agent, urls["limited"])
        self.assertEqual(sorted(expected + late), sorted(self.lines(agent)), agent.log_tail())
        self.assertEqual(0, self.trap.connections)
        self.stops(agent)

    def test_real_busy_profiler(self):
        _, url = self.start_app()
        holder = self.hold_profiler(url)
        profefe = self.start_profefe()
        agent = self.start_faulty(url, profefe.url, "cpu:10m=1s,heap:1s")
        self.wait_for_scrapes(agent, 1, ["cpu"], result="busy")
        holder.close()
        self.wait_for_profiles(profefe, {"cpu", "heap"})
        self.assertEqual([("cpu", url, "busy")], self.lines(agent), agent.log_tail())
        self.stops(agent)
