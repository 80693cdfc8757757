"""The agent's way to a collector behind https: a CA of one's own, a token, a client certificate, an address for a name;
and to an app behind https."""

import os
import ssl

from agent_case import ARRIVE_SECONDS, AgentCase
from blackbox import AGENT
from certificates import Authority, read
from children import run, wait_until
from fault_server import FaultApp
from small_pprof import Maker
from tls_collector import TlsCollector

TOKEN = "s3cret"
POSTS = 4
ONCE_SECONDS = 60
TYPES = "heap:1s,goroutine:1s"


class Https(AgentCase):
    def setUp(self):
        super().setUp()
        self.ours = Authority(self.folder, "ours")
        self.secret = self.path("secret")
        os.mkdir(self.secret)

    def put(self, **files):
        """The Secret's files, by name with _ for the dot; the content of paths."""
        for name, paths in files.items():
            with open(os.path.join(self.secret, name.replace("_", ".")), "wb") as file:
                file.write(paths if isinstance(paths, bytes) else read(paths))

    def serve(self, collector):
        self.addCleanup(collector.close)
        return collector

    def push_to(self, collector):
        app = FaultApp(Maker())
        self.addCleanup(app.close)
        agent = self.start_agent(self.settings(app.url(), collector.url(), PROFEFE_AGENT_TYPES=TYPES,
                                               PROFEFE_AGENT_SECRET_DIR=self.secret))
        self.wait_for_port(agent)
        return agent

    def arrives(self, version, name):
        collector = self.serve(TlsCollector(self.ours.issue(), self.ours.crt, version))
        crt, key = self.ours.issue(usage="clientAuth")
        self.put(ca_crt=self.ours.crt, tls_crt=crt, tls_key=key, token=TOKEN.encode())
        agent = self.push_to(collector)
        wait_until(lambda: len(collector.posts) >= POSTS, ARRIVE_SECONDS,
                   lambda: f"{collector.failures}\n{agent.log_tail()}")
        self.assertEqual({(f"Bearer {TOKEN}", name)}, {(post.authorization, post.version) for post in collector.posts})
        self.assertEqual(1, collector.handshakes, "the connection was not kept")
        self.stops(agent)

    def test_arrives_with_tls_1_3(self):
        self.arrives(ssl.TLSVersion.TLSv1_3, "TLSv1.3")

    def test_arrives_with_tls_1_2(self):
        self.arrives(ssl.TLSVersion.TLSv1_2, "TLSv1.2")

    def is_refused(self, collector, *words):
        agent = self.push_to(collector)
        self.wait_for_health(agent, 500, *words)
        self.assertEqual([], collector.posts)
        self.stops(agent)

    def test_another_ca_is_refused_with_words(self):
        self.put(ca_crt=Authority(self.folder, "other").crt)
        self.is_refused(self.serve(TlsCollector(self.ours.issue())), "is not from a CA that is trusted here")

    def test_another_name_is_refused_with_words(self):
        self.put(ca_crt=self.ours.crt)
        collector = self.serve(TlsCollector(self.ours.issue(host="DNS:profefe.test")))
        self.is_refused(collector, "certificate is for another name")

    def test_an_expired_certificate_is_refused_with_words(self):
        self.put(ca_crt=self.ours.crt)
        self.is_refused(self.serve(TlsCollector(self.ours.issue(begins=-7200, ends=-3600))), "certificate has expired")

    def test_a_certificate_that_is_not_valid_yet_is_refused_with_words(self):
        self.put(ca_crt=self.ours.crt)
        self.is_refused(self.serve(TlsCollector(self.ours.issue(begins=3600, ends=7200))), "is not valid yet")

    def test_a_clients_certificate_is_refused_with_words_and_never_shown_the_token(self):
        collector = self.serve(TlsCollector(self.ours.issue(usage="clientAuth")))
        self.put(ca_crt=self.ours.crt, token=TOKEN.encode())
        self.is_refused(collector, "certificate is not made for a server")
        self.assertEqual(0, collector.requests)

    def test_without_a_ca_it_is_refused_with_words(self):
        self.is_refused(self.serve(TlsCollector(self.ours.issue())), "collector", "certificate")

    def test_without_the_client_certificate_it_is_refused_with_words(self):
        self.put(ca_crt=self.ours.crt)
        self.is_refused(self.serve(TlsCollector(self.ours.issue(), self.ours.crt)), "wants a client certificate")

    def test_without_the_client_certificate_it_is_refused_with_words_by_tls_1_2(self):
        self.put(ca_crt=self.ours.crt)
        collector = self.serve(TlsCollector(self.ours.issue(), self.ours.crt, ssl.TLSVersion.TLSv1_2))
        self.is_refused(collector, "client certificate")


class Target(AgentCase):
    """127.1 is no spelling of loopback that the agent knows, and curl takes it for 127.0.0.1: an app elsewhere."""

    def setUp(self):
        super().setUp()
        self.ours = Authority(self.folder, "ours")
        self.app = FaultApp(Maker())
        self.addCleanup(self.app.close)
        self.app.speak_tls(self.ours.issue())
        self.elsewhere = self.app.url().replace("127.0.0.1", "127.1")

    def take(self, url, **more):
        """One heap profile into a directory: exit code, and what was said."""
        env = {"PROFEFE_AGENT_TARGETS": url, "PROFEFE_AGENT_SERVICE": "web", "PROFEFE_AGENT_TYPES": "heap",
               "PROFEFE_AGENT_OUTPUT_DIR": self.path("profiles"), **more}
        done = run([AGENT, "--once"], ONCE_SECONDS, env=env)
        return done.code, done.out + done.err

    def is_taken(self, url, **more):
        code, said = self.take(url, **more)
        self.assertEqual((0, 1), (code, len(self.app.given)), said)

    def is_not_taken(self, url, words, **more):
        code, said = self.take(url, **more)
        self.assertEqual((1, 0), (code, len(self.app.given)), said)
        self.assertIn(words, said)

    def test_on_loopback_is_not_verified(self):
        self.is_taken(self.app.url())

    def test_localhost_is_not_verified(self):
        self.is_taken(self.app.url().replace("127.0.0.1", "localhost"))

    def test_on_loopback_no_ca_file_is_read(self):
        self.is_taken(self.app.url(), PROFEFE_AGENT_TARGET_CA="/nowhere/ca.crt")

    def test_elsewhere_is_verified(self):
        self.is_taken(self.elsewhere, PROFEFE_AGENT_TARGET_CA=self.ours.crt)

    def test_elsewhere_with_another_ca_is_refused(self):
        self.is_not_taken(self.elsewhere, "ertificate",
                          PROFEFE_AGENT_TARGET_CA=Authority(self.folder, "other").crt)

    def test_elsewhere_with_another_name_is_refused(self):
        self.app.speak_tls(self.ours.issue(host="DNS:app.test"))
        self.is_not_taken(self.elsewhere, "ertificate", PROFEFE_AGENT_TARGET_CA=self.ours.crt)

    def test_elsewhere_without_a_ca_is_refused(self):
        self.is_not_taken(self.elsewhere, "ertificate")

    def test_elsewhere_may_be_taken_unverified(self):
        self.is_taken(self.elsewhere, PROFEFE_AGENT_TARGET_INSECURE="true")
