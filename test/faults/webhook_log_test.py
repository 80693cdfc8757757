"""The webhook with a log that nobody reads: reviews are answered, SIGTERM is obeyed, and what the log lacks is counted
and told."""

import json
import re

import pods
import unread
from blackbox import INSTRUMENTS, WEBHOOK, Case
from webhook import Webhook

REVIEWS = 50
STOP_SECONDS = 15
REVIEW = json.dumps(pods.review_of(pods.pod_of_deployment("web", "shop", {"profefe.com/enable": "true"}))).encode()
LOST = re.compile(r"(?m)^profefe_webhook_log_lines_lost_total (\d+)$")
# What is told of it at the start must not hold the start up.
WARNED = "[inject]\nimage = localhost/profefe-agent:dev\n"


class UnreadLog(Case):
    def setUp(self):
        super().setUp()
        self.pipe = unread.FullPipe(self.path("stderr"))
        self.addCleanup(self.pipe.close)

    def start_with(self, redirection):
        webhook = Webhook(WEBHOOK, self.folder, settings=WARNED)
        self.addCleanup(webhook.remove)
        return webhook.start(env=INSTRUMENTS, wrap=unread.redirected(redirection))

    def lost(self, webhook):
        return int(LOST.search(webhook.admin("GET", "/metrics")[1].decode())[1])

    def answers(self, webhook):
        for _ in range(REVIEWS):
            status, reply = webhook.post(REVIEW)
            self.assertEqual(200, status)
            self.assertTrue(json.loads(reply)["response"]["patch"])

    def test_reviews_and_end_do_not_wait_for_a_reader(self):
        for name, redirection in unread.redirections(self.pipe).items():
            with self.subTest(stderr=name):
                webhook = self.start_with(redirection)
                self.answers(webhook)
                self.assertGreaterEqual(self.lost(webhook), REVIEWS)
                self.assertEqual(0, webhook.child.stop(STOP_SECONDS))

    def test_loss_is_told_once_somebody_reads(self):
        webhook = self.start_with(self.pipe.redirection)
        self.answers(webhook)
        lost = self.lost(webhook)
        self.assertEqual("", self.pipe.read())
        webhook.post(REVIEW)
        first, second, *others = self.pipe.read().splitlines()
        self.assertRegex(first, rf'^ts=\S+ level=warn msg="log lines were lost" lines={lost}$')
        self.assertIn("msg=review", second)
        self.assertEqual(lost, self.lost(webhook))
        self.assertEqual(0, webhook.child.stop(STOP_SECONDS))
