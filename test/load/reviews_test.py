"""A million mixed reviews over TLS, one in ten malformed, while 100 idle and 20 slow connections are held: no crash,
flat memory, and books that balance.

PROFEFE_TEST_REVIEWS=NUMBER sends another number of them.
"""

import json
import os
import re
import sys
import threading
import time

import pods
import processes
from blackbox import ROOT, WEBHOOK, Case
from h2load import check_installed, finish, start
from held import Held
from webhook import Webhook

sys.path.insert(0, os.path.join(ROOT, "test", "bench"))
import bodies  # noqa: E402

REVIEWS = int(os.environ.get("PROFEFE_TEST_REVIEWS", "1000000"))
WAVE = 20_000  # sent by several clients at once; the first wave is the warm-up
IDLE = 100
SLOW = 20
CLIENTS = 4  # connections of each kind of body
GROWTH_MAX = 10_000_000
SAMPLE_SECONDS = 0.2
CUT_SECONDS = 8  # a slow request is cut 5 s after it began; the rest is for a busy machine
RECOVER_SECONDS = 10

# Shares of a wave in hundredths, and the class of the status they get.
MIX = {
    "1k-injected": (30, 2),
    "1k-skipped": (20, 2),
    "3k-injected": (20, 2),
    "17k-injected": (5, 2),
    "64k-skipped": (1, 2),
    "warned": (10, 2),
    "wrong-port": (4, 2),
    "half": (4, 4),
    "no-review": (4, 4),
    "deep": (2, 4),
}


def annotated(**settings):
    annotations = {f"profefe.com/{name.replace('_', '-')}": value for name, value in settings.items()}
    return json.dumps(pods.review_of(pods.pod_of_deployment("web", "shop", annotations))).encode()


def own_bodies():
    """What is not in the bench: pods with mistakes, and what is no review."""
    good = annotated(enable="true")
    return {
        "warned": annotated(enable="true", prot="6060", interval="1parsec", labels="a=b,=c,namespace=x", mode="natvie"),
        "wrong-port": annotated(enable="true", port="nowhere"),
        "half": good[:len(good) // 2],
        "no-review": b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1","request":[]}',
        "deep": b'{"a":' * 2000,
    }


class Sampler:
    """The RSS of a process as it goes, from a thread of its own."""

    def __init__(self, pid):
        self.pid = pid
        self.samples = []
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self):
        self.samples.append(processes.rss(self.pid))
        self._thread.start()

    def _run(self):
        while not self._ending.wait(SAMPLE_SECONDS):
            self.samples.append(processes.rss(self.pid))

    def stop(self):
        self._ending.set()
        self._thread.join()
        self.samples.append(processes.rss(self.pid))


def metric_sums(text):
    """Sums of the counters by name, and of the refusals by reason."""
    sums = {}
    for name, labels, value in re.findall(r"^(\w+?)(\{[^}]*\})? (\d+)$", text, re.MULTILINE):
        sums[name] = sums.get(name, 0) + int(value)
        reason = re.search(r'reason="([^"]+)"', labels)
        if name == "profefe_webhook_refused_requests_total" and reason:
            sums[reason[1]] = int(value)
    return sums


class ReviewsTest(Case):
    def setUp(self):
        super().setUp()
        check_installed()
        # A line of log for each of a million reviews is worth writing, but not worth keeping.
        os.symlink(os.devnull, self.path("webhook.log"))
        self.webhook = Webhook(WEBHOOK, self.folder, "http://profefe:10100")
        self.addCleanup(self.webhook.remove)
        self.webhook.start()
        self.bodies = bodies.write_all(self.folder)
        for name, body in own_bodies().items():
            self.bodies[name] = self.write(f"{name}.json", body)

    def send_wave(self, number):
        """Sends so many reviews, all kinds at once; the number sent, by class of status."""
        running = []
        for kind, (share, status) in MIX.items():
            requests = number * share // 100
            child = start(kind, self.folder, self.webhook.url(), self.bodies[kind], min(CLIENTS, requests),
                          requests=requests)
            self.addCleanup(child.remove)
            running.append((child, requests, status))
        sent = {2: 0, 4: 0}
        for child, requests, status in running:
            result = finish(child).must_be(status)
            self.assertEqual(result.done, requests, child.name)
            sent[status] += requests
        self.webhook.child.must_live()
        return sent

    def metrics(self):
        status, body = self.webhook.admin("GET", "/metrics")
        self.assertEqual(status, 200)
        return metric_sums(body.decode())

    def test_mixed_reviews_leave_memory_flat(self):
        self.assertEqual(sum(share for share, _ in MIX.values()), 100)
        self.assertEqual(sum(share for share, status in MIX.values() if status == 4), 10)
        self.assertEqual(REVIEWS % WAVE, 0, f"PROFEFE_TEST_REVIEWS: expected a multiple of {WAVE}, got {REVIEWS}")
        self.assertGreater(REVIEWS, WAVE)
        held = Held(self.webhook.port, IDLE, SLOW)
        self.addCleanup(held.close)
        started = time.monotonic()  # to open them has taken seconds
        sampler = Sampler(self.webhook.child.pid)
        total = self.send_wave(WAVE)
        sampler.start()
        for _ in range(REVIEWS // WAVE - 1):
            for status, number in self.send_wave(WAVE).items():
                total[status] += number
        sampler.stop()
        held.stop()  # what is counted below, here and by the webhook, must not go on meanwhile
        took = time.monotonic() - started
        self.report(sampler, held, took)

        self.assertEqual(sum(total.values()), REVIEWS)
        sums = self.metrics()
        self.assertEqual(sums["profefe_webhook_reviews_total"], total[2])
        self.assertEqual(sums["not-a-review"], total[4])
        self.assertEqual(sums["error"] + sums["memory"] + sums["limit"], 0, sums)
        self.assertLessEqual(max(sampler.samples) - sampler.samples[0], GROWTH_MAX)
        self.check_held(held, took, sums)
        self.check_still_answers()

    def report(self, sampler, held, took):
        megabytes = [sample / 1e6 for sample in sampler.samples]
        print(f"     {REVIEWS:,} reviews in {took:.0f} s; RSS after {WAVE:,}: {megabytes[0]:.2f} MB, highest after "
              f"that: "
              f"{max(megabytes):.2f} MB, at the end: {megabytes[-1]:.2f} MB; slow requests cut: {held.cut_in_header} "
              f"in the "
              f"header, {held.cut_in_body} in the body; idle connections closed: {held.idle_closed}", flush=True)

    def check_held(self, held, took, sums):
        """All are there at the end, and the slow ones were cut at their time rather than waited for."""
        self.assertEqual(held.refused, 0)
        self.assertEqual(held.count(), IDLE + SLOW)
        rounds = int(took // CUT_SECONDS)
        self.assertGreaterEqual(held.cut_in_header, SLOW // 2 * rounds, f"in {took:.0f} s")
        self.assertGreaterEqual(held.cut_in_body, SLOW // 2 * rounds, f"in {took:.0f} s")
        self.assertGreaterEqual(sums["incomplete"], held.cut_in_body)

    def check_still_answers(self):
        status, reply = self.webhook.post(annotated(enable="true"))
        self.assertEqual(status, 200)
        self.assertTrue(pods.patch_of(pods.response_of(json.loads(reply))))
        self.assertEqual(self.webhook.child.stop(RECOVER_SECONDS), 0)
