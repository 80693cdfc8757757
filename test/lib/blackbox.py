"""The base of the black-box tests: the built binaries, and a folder and children that go with each test."""

import os
import shutil
import tempfile
import unittest

from children import Child, run
from profefe import Profefe
from webhook import Webhook

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
BUILD = os.path.abspath(os.environ.get("PROFEFE_TEST_BUILD", os.path.join(ROOT, "build", "release")))
TOOLS = os.path.join(ROOT, "build", "tools")
AGENT = os.path.join(BUILD, "agent", "profefe-agent")
WEBHOOK = os.path.join(BUILD, "webhook", "profefe-webhook")
APP = os.path.join(TOOLS, "app")
PROFEFE = os.path.join(TOOLS, "profefe")

RUN_SECONDS = 20  # a command that does not serve ends long before
APP_SECONDS = 10

# The tests give each program its whole environment; what instruments it must come through.
INSTRUMENTS = {name: os.environ[name] for name in ("ASAN_OPTIONS", "UBSAN_OPTIONS", "LSAN_OPTIONS")
               if name in os.environ}


class Case(unittest.TestCase):
    longMessage = True

    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="profefe-test-")
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def path(self, name):
        return os.path.join(self.folder, name)

    def write(self, name, text):
        path = self.path(name)
        with open(path, "wb") as file:
            file.write(text if isinstance(text, bytes) else text.encode())
        return path

    def run_binary(self, binary, *args, env=None, stdin=b"", seconds=RUN_SECONDS):
        return run([binary, *args], seconds, env={**INSTRUMENTS, **(env or {})}, stdin=stdin)

    def start(self, name, binary, *args, env=None):
        child = Child(name, [binary, *args], self.path(f"{name}.log"), env={**INSTRUMENTS, **(env or {})})
        self.addCleanup(child.remove)
        return child

    def start_app(self, *args, name="app"):
        """The small Go app and the URL of its profiles."""
        app = self.start(name, APP, "-listen", "127.0.0.1:0", *args)
        return app, app.wait_for_log(r"serving (http://\S+)/ ", APP_SECONDS)[1]

    def start_profefe(self):
        profefe = Profefe(PROFEFE, self.folder)
        self.addCleanup(profefe.remove)
        return profefe.start()

    def start_webhook(self, collector="http://127.0.0.1:9"):
        webhook = Webhook(WEBHOOK, self.folder, collector)
        self.addCleanup(webhook.remove)
        return webhook.start(env=INSTRUMENTS)
