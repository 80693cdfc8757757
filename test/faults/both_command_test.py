"""The command lines of both binaries: what they refuse, in one clear message, and with which exit code."""

import json
import os
import re
import signal
import socket
import time

import pods
from blackbox import AGENT, WEBHOOK, Case
from children import free_port
from webhook import make_certificates

AGENT_SETTINGS = """service types interval cpu-seconds labels collector log-level log-format stop-deadline targets
    listen
    sidecar grace container pod-name pod-namespace pod-uid node-name pod-ip first-within
    scrape-timeout missing-retry retry-min retry-max""".split()
AGENT_OPTIONS = "config once timeout target check version help".split()
WEBHOOK_SETTINGS = """listen admin-listen cert key image image-prefixes image-pull-policy image-pull-secrets
    collector log-level log-format cpu-request cpu-limit memory-request memory-limit port path scheme types interval
    cpu-seconds first-within scrape-timeout
    missing-retry mode""".split()
WEBHOOK_OPTIONS = "config review all namespace check version help".split()

MESSAGE_LINES = 2  # the message, and perhaps where to find help
START_SECONDS = 15
STAYS_SECONDS = 1.5
STOP_SECONDS = 15

# An INI text whose bad line is always this one.
BAD_LINE = 4
BAD_INI = {
    "no equals sign": "this is not a setting",
    "unknown key": "intervall = 5s",
    "bad value": "interval = five minutes",
    "out of range": "interval = 25h",
    "too long": "labels = " + ",".join(f"key{i}=value{i}" for i in range(40)),
    "no end of section": "[agent",
    "not UTF-8": b"service = caf\xe9",
    "NUL": b"service = a\0b",
}


def ini(section, first, bad):
    """Four lines: a comment, the section, a good line, the bad one."""
    bad = bad if isinstance(bad, bytes) else bad.encode()
    return f"# a comment\n[{section}]\n{first}\n".encode() + bad + b"\n"


class Cli(Case):
    def refused(self, done, *words):
        """Ended by itself with a code that says failure, and with one message, on stderr, that holds these words."""
        self.assertGreater(done.code, 0, done)
        self.assertEqual("", done.out, done)
        lines = [line for line in done.err.splitlines() if line.strip()]
        self.assertTrue(1 <= len(lines) <= MESSAGE_LINES, done)
        for word in words:
            self.assertIn(word, done.err, done)

    def accepted(self, done):
        self.assertEqual(0, done.code, done)
        return done.out

    def names_bad_line(self, done, path, line=BAD_LINE):
        self.refused(done)
        self.assertIn(f"{path}:{line}:", done.err, done)


class Both(Cli):
    def test_version_names_itself_and_its_libraries(self):
        for binary, libraries in ((AGENT, ("libmicrohttpd", "libcurl", "zlib")),
                                  (WEBHOOK, ("libmicrohttpd", "GnuTLS", "cJSON"))):
            with self.subTest(binary=os.path.basename(binary)):
                out = self.accepted(self.run_binary(binary, "--version"))
                self.assertRegex(out, rf"\A{os.path.basename(binary)} \d+\.\d+\.\d+")
                for library in libraries:
                    self.assertRegex(out, rf"(?i){library}[ /]v?\d+\.\d+")

    def test_help_lists_each_option_and_setting(self):
        for binary, names in ((AGENT, AGENT_OPTIONS + AGENT_SETTINGS), (WEBHOOK, WEBHOOK_OPTIONS + WEBHOOK_SETTINGS)):
            with self.subTest(binary=os.path.basename(binary)):
                out = self.accepted(self.run_binary(binary, "--help"))
                missing = [name for name in names
                           if not re.search(rf"(?m)(^|[\s\-\[,]){re.escape(name)}($|[\s=,:\]])", out)]
                self.assertEqual([], missing)

    def test_unknown_option_is_named(self):
        for binary in (AGENT, WEBHOOK):
            for word in ("--nonsense", "--nonsense=1", "-Z"):
                with self.subTest(binary=os.path.basename(binary), word=word):
                    self.refused(self.run_binary(binary, word), word.split("=")[0])

    def test_stray_argument_is_named(self):
        for binary in (AGENT, WEBHOOK):
            with self.subTest(binary=os.path.basename(binary)):
                self.refused(self.run_binary(binary, "stray-word"), "stray-word")

    def test_option_without_its_value(self):
        for binary, option in ((AGENT, "--interval"), (AGENT, "--config"), (WEBHOOK, "--config"),
                               (WEBHOOK, "--review")):
            with self.subTest(binary=os.path.basename(binary), option=option):
                self.refused(self.run_binary(binary, option), option)

    def test_config_file_that_is_not_there_is_named(self):
        for binary in (AGENT, WEBHOOK):
            with self.subTest(binary=os.path.basename(binary)):
                absent = self.path("absent.ini")
                self.refused(self.run_binary(binary, "--check", "--config", absent), absent)

    def test_config_file_that_is_a_folder_is_named(self):
        for binary in (AGENT, WEBHOOK):
            with self.subTest(binary=os.path.basename(binary)):
                self.refused(self.run_binary(binary, "--check", "--config", self.folder), self.folder)

    def test_bad_ini_line_is_named_with_its_number(self):
        for what, bad in BAD_INI.items():
            agent = self.write("agent.ini", ini("agent", "cpu-seconds = 2", bad))
            webhook = self.write("webhook.ini", ini("defaults", "cpu-seconds = 2", bad))
            for binary, path in ((AGENT, agent), (WEBHOOK, webhook)):
                if what in ("not UTF-8", "NUL") and binary == WEBHOOK:
                    continue  # `service` is no default of the webhook: the key would be refused, not the bytes
                with self.subTest(binary=os.path.basename(binary), what=what):
                    self.names_bad_line(self.run_binary(binary, "--check", "--config", path), path)

    def test_bad_ini_line_ends_the_daemon_too(self):
        for binary, section in ((AGENT, "agent"), (WEBHOOK, "defaults")):
            path = self.write("bad.ini", ini(section, "cpu-seconds = 2", "interval = five minutes"))
            with self.subTest(binary=os.path.basename(binary)):
                self.names_bad_line(self.run_binary(binary, "--config", path), path)

    def test_output_that_cannot_be_written_is_a_failure(self):
        pod = self.write("pod.json", '{"apiVersion":"v1","kind":"Pod","metadata":{"name":"web"},'
                                     '"spec":{"containers":[{"name":"app"}]}}')
        agent = ["--check", "--target", "http://127.0.0.1:6060/debug/pprof", "--collector", "http://127.0.0.1:10100",
                 "--service", "web"]
        for command, code in (([AGENT, "--help"], 1), ([AGENT, "--version"], 1), ([AGENT, *agent], 1),
                              ([WEBHOOK, "--help"], 1), ([WEBHOOK, "--version"], 1), ([WEBHOOK, "--review", pod], 2)):
            for where, reason in ((">/dev/full", "No space left on device"), (">&-", "Bad file descriptor")):
                with self.subTest(command=command, where=where):
                    done = self.run_binary("/bin/sh", "-c", f'exec "$@" {where}', "sh", *command)
                    self.assertEqual(code, done.code, done)
                    self.assertIn(f"cannot write to stdout: {reason}", done.err)


class Agent(Cli):
    def good(self):
        return ["--target", "http://127.0.0.1:6060/debug/pprof", "--collector", "http://127.0.0.1:10100", "--service",
                "web"]

    def test_check_accepts_good_settings(self):
        self.accepted(self.run_binary(AGENT, "--check", *self.good()))

    def test_what_is_tolerated_is_told_by_check_and_once(self):
        for command in ("--check", "--once"):
            with self.subTest(command=command):
                done = self.run_binary(AGENT, command, *self.good(), "--types", "heap=5")
                self.assertIn("profefe-agent: warning: types: =SECONDS on heap is ignored", done.err)

    def test_daemon_without_standard_streams_opens_nothing_in_their_place(self):
        port = free_port()
        agent = self.start("agent", "/bin/sh", "-c", 'exec "$@" <&- >&- 2>&-', "sh", AGENT, *self.good(), "--listen",
                           f"127.0.0.1:{port}")
        agent.wait_for_port(port, STOP_SECONDS)
        self.assertEqual(["/"] * 3, [os.readlink(f"/proc/{agent.pid}/fd/{fd}") for fd in range(3)])
        self.assertEqual(0, agent.stop(STOP_SECONDS))

    def test_check_accepts_a_list_over_indented_lines(self):
        path = self.write("agent.ini", "[agent]\ntargets = http://127.0.0.1:6060/debug/pprof\n"
                                       "collector = http://127.0.0.1:10100\nservice = web\n"
                                       "labels = team=shop,\n    tier=web\n")
        self.accepted(self.run_binary(AGENT, "--check", "--config", path))

    def test_bad_flag_is_named_with_its_value(self):
        cases = [("--interval", "5"), ("--interval", "25h"), ("--interval", "-1s"), ("--cpu-seconds", "0"),
                 ("--cpu-seconds", "1.5"), ("--types", "gpu"), ("--types", "cpu:"), ("--labels", "team"),
                 ("--listen", "everywhere"), ("--log-level", "loud"), ("--retry-max", "9999999999999999999s"),
                 ("--target", "ftp://127.0.0.1/"), ("--target", "127.0.0.1:6060"), ("--target", "http://"),
                 ("--target", "http://127.0.0.1:70000/"), ("--collector", "nonsense"),
                 ("--collector", "ftp://profefe/")]
        for option, value in cases:
            for mode in (["--check"], ["--once"], []):  # a daemon on the command line ends at once as well
                with self.subTest(option=option, value=value, mode=mode):
                    args = self.good()
                    if option in args:
                        del args[args.index(option):args.index(option) + 2]
                    done = self.run_binary(AGENT, *mode, *args, option, value)
                    self.refused(done, option.lstrip("-"), value)

    def test_bad_environment_is_named_with_its_value(self):
        for name, value in (("PROFEFE_AGENT_INTERVAL", "soon"), ("PROFEFE_AGENT_TARGETS", "ftp://x/"),
                            ("PROFEFE_AGENT_COLLECTOR", "nonsense"), ("PROFEFE_AGENT_CPU_SECONDS", "-1")):
            with self.subTest(name=name):
                # A flag is stronger than the environment, so the flag must not be there.
                args = self.good()
                flag = {"PROFEFE_AGENT_TARGETS": "--target", "PROFEFE_AGENT_COLLECTOR": "--collector"}.get(name)
                if flag:
                    del args[args.index(flag):args.index(flag) + 2]
                self.refused(self.run_binary(AGENT, "--check", *args, env={name: value}), name, value)

    def test_password_in_a_url_is_not_told(self):
        for option in ("--collector", "--target"):
            for url in ("http://bob:s3cret@127.0.0.1:1/x", "bob:s3cret@127.0.0.1", "http://127.0.0.1/x?token=s3cret"):
                with self.subTest(option=option, url=url):
                    done = self.run_binary(AGENT, "--check", option, url)
                    self.refused(done, option, "127.0.0.1")
                    self.assertNotIn("s3cret", done.err)

    def test_unknown_environment_is_no_error(self):
        env = {"PROFEFE_PORT": "tcp://10.96.38.31:10100", "PROFEFE_SERVICE_HOST": "10.96.38.31",
               "PROFEFE_PORT_10100_TCP_ADDR": "10.96.38.31", "PROFEFE_AGENT_NONSENSE": "1",
               "PROFEFE_AGENT_PORT": "tcp://10.96.0.9:1", "PROFEFE_AGENT_SERVICE_HOST": "10.96.0.9"}
        self.accepted(self.run_binary(AGENT, "--check", *self.good(), env=env))

    def test_missing_target_or_collector_is_named(self):
        for option in ("--target", "--collector"):
            with self.subTest(option=option):
                args = self.good()
                del args[args.index(option):args.index(option) + 2]
                self.refused(self.run_binary(AGENT, "--once", *args), option.lstrip("-"))

    def test_once_with_nothing_listening_fails_and_says_so(self):
        port = free_port()
        started = time.monotonic()
        done = self.run_binary(AGENT, "--once", "--target", f"http://127.0.0.1:{port}/debug/pprof", "--collector",
                               "http://127.0.0.1:9", "--service", "web", "--listen", "none")
        self.assertEqual(1, done.code, done)
        self.assertIn(f"127.0.0.1:{port}", done.out + done.err, done)
        self.assertRegex(done.out + done.err, "(?i)refused", done)
        self.assertLess(time.monotonic() - started, 10, "nothing was there to wait for")

    def test_once_ends_at_its_timeout(self):
        """A target that accepts and says nothing."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            started = time.monotonic()
            done = self.run_binary(AGENT, "--once", "--timeout", "2s", "--listen", "none", "--collector",
                                   "http://127.0.0.1:9", "--service", "web", "--target",
                                   f"http://127.0.0.1:{silent.getsockname()[1]}/debug/pprof")
        self.assertEqual(1, done.code, done)
        self.assertLess(time.monotonic() - started, 6)
        self.assertRegex(done.out + done.err, "(?i)time", done)

    def test_daemon_waits_for_a_target_that_refuses(self):
        agent = self.start("agent", AGENT, "--target", f"http://127.0.0.1:{free_port()}/debug/pprof", "--collector",
                           f"http://127.0.0.1:{free_port()}", "--service", "web", "--listen", "none", "--first-within",
                           "1s",
                           "--interval", "1s")
        agent.wait_until_it_takes(signal.SIGTERM, START_SECONDS)
        time.sleep(STAYS_SECONDS)
        agent.must_live()
        self.assertEqual(0, agent.stop(STOP_SECONDS), agent.log())

    def test_interrupt_ends_the_daemon_like_sigterm(self):
        agent = self.start("agent", AGENT, *self.good(), "--listen", "none")
        agent.wait_until_it_takes(signal.SIGINT, START_SECONDS)
        agent.process.send_signal(signal.SIGINT)
        self.assertEqual(0, agent.wait(STOP_SECONDS), agent.log())


class WebhookCheck(Cli):
    def config(self, **changes):
        make_certificates(self.folder)
        server = {"listen": f"127.0.0.1:{free_port()}", "admin-listen": f"127.0.0.1:{free_port()}",
                  "cert": self.path("tls.crt"), "key": self.path("tls.key"), **changes}
        return self.write("webhook.ini", "[server]\n" + "".join(f"{k} = {v}\n" for k, v in server.items()) +
                          "[inject]\nimage = localhost/profefe-agent:dev\n")

    def test_check_accepts_a_good_configuration(self):
        self.accepted(self.run_binary(WEBHOOK, "--check", "--config", self.config()))

    def test_check_names_a_certificate_that_is_not_there(self):
        for key in ("cert", "key"):
            with self.subTest(key=key):
                path = self.config(**{key: self.path("absent.pem")})
                self.refused(self.run_binary(WEBHOOK, "--check", "--config", path), self.path("absent.pem"))

    def test_check_names_a_certificate_that_is_none(self):
        for key in ("cert", "key"):
            with self.subTest(key=key):
                path = self.config(**{key: self.write("garbage.pem", "garbage\n")})
                self.refused(self.run_binary(WEBHOOK, "--check", "--config", path), self.path("garbage.pem"))

    def test_check_refuses_a_key_of_another_certificate(self):
        path = self.config(key=self.path("ca.key"))
        self.refused(self.run_binary(WEBHOOK, "--check", "--config", path), self.path("ca.key"))


class Review(Cli):
    """profefe-webhook --review: 0 also when skipped, 1 denied, 2 unreadable."""

    def pod(self, **annotations):
        return pods.pod_of_deployment("web", "shop", {f"profefe.com/{k.replace('_', '-')}": v
                                                      for k, v in annotations.items()})

    def config(self):
        return self.write("webhook.ini", "[inject]\nimage = localhost/profefe-agent:dev\ncollector = "
                                         "http://profefe:10100\n")

    def review(self, document, *args, stdin=False):
        text = document if isinstance(document, (bytes, str)) else json.dumps(document)
        text = text if isinstance(text, bytes) else text.encode()
        source = "-" if stdin else self.write("review.json", text)
        return self.run_binary(WEBHOOK, "--review", source, "--config", self.config(), *args,
                               stdin=text if stdin else b"")

    def answer(self, done, uid=None):
        return pods.response_of(json.loads(self.accepted(done)), uid)

    def injected(self, pod, response):
        patched = pods.apply_patch(pod, pods.patch_of(response))
        pods.container_of(patched, "profefe-agent")
        return patched

    def test_review_is_answered_from_a_file_and_from_stdin(self):
        for stdin in (False, True):
            with self.subTest(stdin=stdin):
                pod = self.pod(enable="true")
                review = pods.review_of(pod)
                self.injected(pod, self.answer(self.review(review, stdin=stdin), review["request"]["uid"]))

    def test_bare_pod_is_answered(self):
        pod = self.pod(enable="true")
        self.injected(pod, self.answer(self.review(pod)))

    def test_own_output_is_left_alone(self):
        pod = self.pod(enable="true")
        patched = self.injected(pod, self.answer(self.review(pod)))
        self.assertEqual([], pods.patch_of(self.answer(self.review(patched))))

    def test_pod_that_opts_out_is_left_alone(self):
        for args in ((), ("--all",)):
            with self.subTest(args=args):
                response = self.answer(self.review(self.pod(enable="false"), *args))
                self.assertTrue(response["allowed"])
                self.assertEqual([], pods.patch_of(response))

    def test_pod_without_annotations_is_injected_under_all_only(self):
        pod = self.pod()
        self.assertEqual([], pods.patch_of(self.answer(self.review(pod))))
        self.injected(pod, self.answer(self.review(pod, "--all")))

    def test_deployment_is_answered_for_its_pods_and_a_list_line_by_line(self):
        template = {key: self.pod(enable="true")[key] for key in ("metadata", "spec")}
        deployment = {"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "shop"},
                      "spec": {"template": template}}
        self.assertTrue(pods.patch_of(self.answer(self.review(deployment), "Deployment/shop/web")))
        both = {"kind": "List", "apiVersion": "v1",
                "items": [deployment, {"kind": "Service"}, self.pod(enable="false")]}
        lines = self.accepted(self.review(both)).splitlines()
        self.assertEqual([True, False], ["patch" in json.loads(line)["response"] for line in lines])

    def test_list_with_a_pod_that_is_denied_is_code_1_and_answered_whole(self):
        items = [self.pod(enable="true", strict="true", prot="1"), self.pod(enable="true")]
        done = self.review({"kind": "List", "apiVersion": "v1", "items": items})
        self.assertEqual(1, done.code, done)
        self.assertEqual([False, True], [json.loads(line)["response"]["allowed"] for line in done.out.splitlines()])

    def test_namespace_is_taken_for_a_bare_pod(self):
        pod = self.pod(enable="true")
        del pod["metadata"]["namespace"]
        self.injected(pod, self.answer(self.review(pod, "--namespace", "shop")))

    def test_bad_annotation_is_told_and_admitted(self):
        cases = {"prot": ("6060", "port"), "interval": ("soon", "interval"), "port": ("no-such", "no-such"),
                 "types": ("gpu", "gpu"), "image": ("evil.example/x", "image")}
        for name, (value, told) in cases.items():
            with self.subTest(name=name):
                response = self.answer(self.review(self.pod(enable="true", **{name: value})))
                self.assertTrue(response["allowed"])
                warnings = "\n".join(response.get("warnings", []))
                self.assertIn(f"profefe.com/{name}", warnings)
                self.assertIn(told, warnings)

    def test_strict_pod_with_a_mistake_is_code_1_and_told_all(self):
        done = self.review(self.pod(enable="true", strict="true", prot="6060", interval="soon"))
        self.assertEqual(1, done.code, done)
        response = pods.response_of(json.loads(done.out))
        self.assertFalse(response["allowed"])
        self.assertNotIn("patch", response)
        for told in ("profefe.com/prot", "profefe.com/port", "profefe.com/interval", "soon"):
            self.assertIn(told, response["status"]["message"])

    def test_unreadable_input_is_code_2(self):
        deep = b"[" * 100 + b"]" * 100
        cases = {"empty": b"", "not JSON": b"not JSON", "half": b'{"kind":"AdmissionReview","req', "an array": b"[]",
                 "deep": deep, "wrong kind": b'{"kind":"Secret","apiVersion":"v1"}', "NUL": b"\0",
                 "no request": b'{"kind":"AdmissionReview","apiVersion":"admission.k8s.io/v1"}'}
        for what, text in cases.items():
            for stdin in (False, True):
                with self.subTest(what=what, stdin=stdin):
                    done = self.review(text, stdin=stdin)
                    self.refused(done)
                    self.assertEqual(2, done.code, done)

    def test_file_that_is_not_there_is_code_2_and_named(self):
        done = self.run_binary(WEBHOOK, "--review", self.path("absent.json"), "--config", self.config())
        self.refused(done, self.path("absent.json"))
        self.assertEqual(2, done.code, done)
