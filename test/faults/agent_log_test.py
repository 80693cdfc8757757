"""The agent with a log that nobody reads: profiles are taken and sent, its port answers, SIGTERM is obeyed, and what
the log lacks is counted and told."""

import unread
from agent_case import AgentCase
from fault_collector import FaultCollector
from fault_server import FaultApp
from small_pprof import Maker

STORED = 3


class UnreadLog(AgentCase):
    def setUp(self):
        super().setUp()
        self.pipe = unread.FullPipe(self.path("stderr"))
        self.addCleanup(self.pipe.close)
        self.app, self.collector = FaultApp(Maker()), FaultCollector()
        for server in (self.app, self.collector):
            self.addCleanup(server.close)

    def start_with(self, redirection, **more):
        settings = self.settings(self.app.url(), self.collector.address, PROFEFE_AGENT_LOG_LEVEL="debug", **more)
        agent = self.start_agent(settings, wrap=unread.redirected(redirection))
        self.wait_for_port(agent)
        return agent

    def works(self, agent):
        return self.wait_for_metrics(agent, lambda seen: seen.sum("log_lines_lost_total") > 0 and
                                     seen.sum("pushes_total", result="stored") >= STORED, "stored, and counted as lost")

    def test_work_and_end_do_not_wait_for_a_reader(self):
        for name, redirection in unread.redirections(self.pipe).items():
            with self.subTest(stderr=name):
                agent = self.start_with(redirection)
                self.works(agent)
                self.stops(agent)

    def test_wrong_settings_do_not_wait_for_a_reader_either(self):
        agent = self.start_with(self.pipe.redirection, PROFEFE_AGENT_GRACE="never", PROFEFE_AGENT_TYPES="none:such")
        self.wait_for_health(agent, 500, "PROFEFE_AGENT_GRACE")
        self.stops(agent)

    def test_loss_is_told_once_somebody_reads(self):
        agent = self.start_with(self.pipe.redirection)
        self.works(agent)
        self.assertEqual("", self.pipe.read())
        self.stops(agent)
        first, *others = self.pipe.read().splitlines()
        self.assertRegex(first, r'^ts=\S+ level=warn msg="log lines were lost" .*lines=[1-9]\d*$')
        self.assertRegex(others[-1], r"msg=stopped")
