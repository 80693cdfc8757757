"""Load by h2load (Debian's nghttp2-client): POSTs of one body over HTTP/1.1 and TLS, which it does not verify.

Its connections are kept alive unless asked otherwise; a new connection means a full handshake, since it resumes no
session, as the API server does not either. At a fixed rate a request that is late delays the next ones of its
connection, so latencies are those of requests that were sent, not of those that should have been.
"""

import os
import re
import shutil

from children import Child, Failure, run

SPARE_SECONDS = 120  # on top of what a run should take; a loaded machine is slow


class Result:
    """What came of one run."""

    def __init__(self, out):
        self.seconds = _seconds(_number(out, r"finished in ([0-9.]+(?:ms|us|s|m|h)\b)", str))
        self.asked = _number(out, r"requests: (\d+) total")
        self.done = _number(out, r"(\d+) done,")
        self.lost = _number(out, r"(\d+) errored,") + _number(out, r"(\d+) timeout")
        self.statuses = {code: _number(out, rf"(\d+) {code}xx") for code in (2, 3, 4, 5)}
        self.rate = self.done / self.seconds if self.seconds > 0 else 0.0

    def must_be(self, status_class):
        """Failure unless each request got a status of that class."""
        others = sum(self.statuses.values()) - self.statuses[status_class]
        # At the end of a timed run a reply may be counted and its request not.
        if self.lost or others or self.statuses[status_class] < self.done or self.done == 0:
            raise Failure(f"expected {self.asked} replies {status_class}xx, got {self.statuses} and {self.lost} lost")
        return self


def _number(out, pattern, kind=int):
    found = re.search(pattern, out)
    if not found:
        raise Failure(f"h2load did not print {pattern!r}, it said:\n{out}")
    return kind(found[1])


def _seconds(text):
    number, unit = re.fullmatch(r"([0-9.]+)([a-z]+)", text).groups()
    return float(number) * {"us": 1e-6, "ms": 1e-3, "s": 1, "m": 60, "h": 3600}[unit]


def check_installed():
    if shutil.which("h2load") is None:
        raise Failure("no h2load on PATH: install nghttp2-client, or run as root: test/run packages")


def command(url, body, clients, requests=None, a_second=None, seconds=None, new_connections=False, log=None):
    """The command line. Either so many requests as fast as they go, or a_second of them for so many seconds."""
    argv = ["h2load", "--h1", f"--clients={clients}", f"--data={body}", "--header=Content-Type: application/json"]
    if requests is not None:
        argv.append(f"--requests={requests}")
    else:
        argv += [f"--rps={a_second / clients:g}", f"--duration={seconds}"]
    if new_connections:
        argv.append("--header=Connection: close")
    if log:
        argv.append(f"--log-file={log}")
    return [*argv, url]


def load(url, body, clients, seconds=None, **options):
    """Runs it to its end."""
    done = run(command(url, body, clients, seconds=seconds, **options), (seconds or 0) + SPARE_SECONDS)
    if done.code != 0:
        raise Failure(f"h2load failed: {done}")
    return Result(done.out)


def start(name, folder, *args, **options):
    """Starts it beside others; finish() waits."""
    path = os.path.join(folder, f"{name}.h2load")
    if os.path.exists(path):
        os.unlink(path)
    return Child(name, command(*args, **options), path)


def finish(child, seconds=SPARE_SECONDS):
    if child.wait(seconds) != 0:
        raise Failure(f"h2load {child.name} failed:\n{child.log_tail()}")
    return Result(child.log())


def latencies_us(log):
    """Microseconds of each request of a log, sorted."""
    with open(log, encoding="ascii") as lines:
        return sorted(int(line.split("\t")[2]) for line in lines)
