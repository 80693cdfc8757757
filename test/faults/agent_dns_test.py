"""Names as they are looked up in a pod: search domains, ndots, IPv6 alone, answers that do not fit into UDP. Each case
runs in a network of its own, since resolvers ask port 53 of what /etc/resolv.conf says."""

import json
import os
import socket
import sys
import threading

from blackbox import AGENT, Case
from children import Failure, run
from fault_collector import FaultCollector
from fault_server import FaultApp
from name_server import NameServer
from small_pprof import Maker

RUN_SECONDS = 60
NAME = "profefe.monitoring.svc.cluster.local"
RESOLV_CONF = ("nameserver 127.0.0.1\nsearch shop.svc.cluster.local svc.cluster.local cluster.local example.com\n"
               "options ndots:5\n")


class Dns(Case):
    def look_up(self, host, **server):
        """One heap profile to a collector of that name. Returns the agent's exit code, its output, and all queries."""
        if os.geteuid() != 0:
            self.skipTest("needs root: a network and mount namespace with a name server of its own")
        conf = self.write("resolv.conf", RESOLV_CONF)
        done = run(["unshare", "--mount", "--net", "sh", "-c",
                    'mount --bind "$0" /etc/resolv.conf && ip link set lo up && exec "$@"', conf,
                    sys.executable, os.path.abspath(__file__), AGENT, json.dumps({"host": host, "server": server})],
                   RUN_SECONDS, env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        if done.code != 0:
            raise Failure(f"the namespace ended with {done.code}: {done.err}")
        result = json.loads(done.out)
        return result["code"], result["text"], [tuple(query) for query in result["queries"]]

    def is_found(self, host, queries, transports=("udp",), **server):
        code, text, seen = self.look_up(host, **server)
        self.assertEqual(0, code, text)
        self.assertLessEqual(len(seen), queries, seen)
        self.assertEqual(set(transports), {transport for _, _, transport in seen})

    def test_name_of_another_namespace(self):
        self.is_found("profefe.monitoring", queries=4)

    def test_whole_name(self):
        self.is_found(NAME, queries=10)

    def test_whole_name_with_a_dot_costs_two_queries(self):
        self.is_found(NAME + ".", queries=2)

    def test_answer_that_does_not_fit_comes_over_tcp(self):
        self.is_found(NAME + ".", queries=4, transports=("udp", "tcp"), truncated=True)

    def test_ipv6_alone(self):
        self.is_found("profefe.monitoring", queries=4, ipv6=True)

    def test_unknown_name_is_said(self):
        code, text, _ = self.look_up("nobody.monitoring")
        self.assertEqual(1, code)
        self.assertIn("nobody.monitoring", text)


def _forward(source, sink):
    try:
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of them has left


def _serve_ipv6(port):
    """[::1]:port leads to 127.0.0.1:port."""
    listener = socket.create_server(("::1", port), family=socket.AF_INET6)

    def accept():
        while True:
            outer, _ = listener.accept()
            inner = socket.create_connection(("127.0.0.1", port))
            for pair in ((outer, inner), (inner, outer)):
                threading.Thread(target=_forward, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()


def _inside(agent, host, server):
    names = NameServer(NAME, **server)
    app, collector = FaultApp(Maker()), FaultCollector()
    if server.get("ipv6"):
        _serve_ipv6(collector.port)
    done = run([agent, "--once", "--timeout", "10s", "--service", "web", "--types", "heap", "--target", app.url(),
                "--collector", f"http://{host}:{collector.port}"], RUN_SECONDS)
    json.dump({"code": done.code, "text": done.out + done.err, "queries": names.queries}, sys.stdout)


if __name__ == "__main__":
    _inside(sys.argv[1], **json.loads(sys.argv[2]))
