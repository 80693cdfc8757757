#!/usr/bin/env python3
"""The main job on a real Kubernetes: label a namespace, annotate a pod, see its profiles in profefe.

    suite.py [-k PATTERN]...      the cluster must be up: test/cluster/up; or let test/cluster/run do all of it

Installs the webhook and a profefe as a user would (manifests/certificates, kubectl apply -k overlays/demo), starts pods
of every form at once, and then looks: what was injected, what profefe holds, what the pods and the programs say of
themselves, and what happens when one of the parts is away. Each test that fails shows the pods it was about.
"""

import collections
import concurrent.futures
import dataclasses
import datetime
import json
import os
import re
import sys
import time
import unittest

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.realpath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "lib")]

import cluster  # noqa: E402
import stage  # noqa: E402
import workloads  # noqa: E402
from case import Case, moment, setUpModule  # noqa: E402,F401 (unittest calls the latter)
from children import Failure, end_by_exception  # noqa: E402
from admission import Limited, Monitoring, Policy, Rollout, Strict  # noqa: E402
from definitions import apply_definitions, definition  # noqa: E402
from delivery import Delivery  # noqa: E402
from fixtures import Fixtures  # noqa: E402
from memory import MemoryLimits  # noqa: E402
from cluster import (AGENT, TOKEN_PATH, agent_get, annotation, api, command, containers, eventually,  # noqa: E402
                     is_injected, is_native, is_ready, kubectl, pprof, restarts, say, summary)
from stage import (CERTIFICATES_MOVED, MOVED, PROFEFE, REGISTRATION, SYSTEM, WEBHOOK, WORK, reviews,  # noqa: E402
                   reviews_of, webhook_log, webhook_pods, world)
from workloads import ALL, ENABLED, LOOSE, MODES, TROUBLE, fast  # noqa: E402

NODE = "node1"
# Deadlines, several times what an idle machine of two cores takes.
PROFILES_SECONDS = 150
JOB_SECONDS = 120
CRON_SECONDS = 100  # the next full minute, and the pod
READY_SECONDS = 60
ANSWER_SECONDS = 15  # for what a program knows from its start
GONE_SECONDS = 60

OUTAGE_SECONDS = 60
# The agent's waits have doubled up to a ceiling of 64 s by then, and it may have just begun one.
ARRIVAL_SECONDS = 180
# What an agent takes in that time at least; without the collector it goes on as before.
TAKEN_MEANWHILE = {"cpu": OUTAGE_SECONDS // workloads.INTERVAL_SECONDS - 2, "heap": 2, "goroutine": 2}
UNWELL_INTERVALS = 3  # after so many a failing target or collector turns /healthz to 500
# What a create costs beside its admission: the rest of the API server's work, on a busy machine.
CREATE_OVERHEAD_SECONDS = 1.0

BUSY_FUNCTION = "main.burnCPU"
PPROF_TYPE = {"cpu": "cpu", "heap": "inuse_space", "goroutine": "goroutine", "block": "delay", "mutex": "delay"}


# The tests, in the order in which they run.

class Installation(Case):

    def test_two_webhooks_run_under_restricted_pod_security(self):
        labels = api.get(f"/api/v1/namespaces/{SYSTEM}")["metadata"]["labels"]
        self.assertEqual(labels.get("pod-security.kubernetes.io/enforce"), "restricted")
        pods = webhook_pods()
        self.about(*pods)
        self.assertEqual(len(pods), 2, f"ready webhook pods: {[summary(pod) for pod in pods]}")
        for pod in pods:
            self.assertEqual(restarts(pod), {}, summary(pod))

    def test_webhook_holds_no_token(self):
        for pod in webhook_pods():
            self.about(pod)
            for pid in self.processes_of(pod, WEBHOOK):
                self.assertEqual(cluster.tokens_under_root(pid), [], f"tokens in {summary(pod)}")
                self.assertEqual(cluster.token_mounts(pid), [], f"token mounts in {summary(pod)}")

    def test_webhook_account_may_do_what_any_account_may(self):
        account = webhook_pods()[0]["spec"]["serviceAccountName"]
        self.assertEqual(account, WEBHOOK)
        api.create({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "fresh", "namespace": SYSTEM}})
        for namespace in (SYSTEM, "default", "kube-system"):
            with self.subTest(namespace=namespace):
                self.assertEqual(rights_of(account, namespace), rights_of("fresh", namespace))
        self.assertEqual(bindings_of(account), [], "roles bound to the webhook's ServiceAccount")


def rights_of(account, namespace):
    done = kubectl("auth", "can-i", "--list", "-n", namespace, f"--as=system:serviceaccount:{SYSTEM}:{account}")
    rights = sorted(done.stdout.splitlines())
    if not any("selfsubjectrulesreviews" in line for line in rights):
        raise Failure(f"kubectl auth can-i --list does not even list what every account may do: {done.stdout}")
    return rights


def bindings_of(account):
    found = []
    for plural in ("rolebindings", "clusterrolebindings"):
        for binding in api.get(f"/apis/rbac.authorization.k8s.io/v1/{plural}")["items"]:
            for subject in binding.get("subjects", []):
                if subject.get("namespace") == SYSTEM and subject["name"] == account:
                    found.append(binding["metadata"]["name"])
    return found


class CertManager(Case):
    """The overlay for cert-manager, against cert-manager's own resource definitions. Nothing of it is created."""

    @classmethod
    def setUpClass(cls):
        texts = [definition("github.com/cert-manager/cert-manager", f"deploy/crds/crd-{name}.yaml")
                 for name in ("issuers", "certificates")]
        apply_definitions("cert-manager.io/v1", texts, {"issuers", "certificates"})

    def test_overlay_passes_the_api_server(self):
        self.assert_accepted(os.path.join(WORK, "manifests", "overlays", "cert-manager"), SYSTEM)

    def test_overlay_can_be_moved(self):
        api.create(workloads.namespace(CERTIFICATES_MOVED, {}))
        overlay = make_overlay(CERTIFICATES_MOVED, resources=["../manifests/overlays/cert-manager"],
                               transformers=["../manifests/overlays/cert-manager/names"])
        self.assert_accepted(overlay, CERTIFICATES_MOVED)

    def assert_accepted(self, overlay, namespace):
        """The API server takes every object of it, and the names in them are those of this namespace."""
        done = kubectl("apply", "--dry-run=server", "-k", overlay, "-o", "json")
        items = json.loads(done.stdout)["items"]
        kinds = collections.Counter(item["kind"] for item in items)
        for kind in ("Certificate", "Issuer", "Deployment", "MutatingWebhookConfiguration"):
            self.assertGreater(kinds[kind], 0, f"objects of {overlay}: {kinds}")
        for item in items:
            if item["kind"] not in ("Namespace", "MutatingWebhookConfiguration"):
                self.assertEqual(item["metadata"]["namespace"], namespace, f"{item['kind']} {item['metadata']['name']}")
        leaf = next(item for item in items if item["kind"] == "Certificate" and not item["spec"].get("isCA"))
        self.assertIn(f"{WEBHOOK}.{namespace}.svc", leaf["spec"]["dnsNames"])
        config = next(item for item in items if item["kind"] == "MutatingWebhookConfiguration")
        self.assertEqual(config["metadata"]["annotations"]["cert-manager.io/inject-ca-from"],
                         f"{namespace}/{leaf['metadata']['name']}")
        self.assertEqual({hook["clientConfig"]["service"]["namespace"] for hook in config["webhooks"]}, {namespace})


def make_overlay(namespace, **lists):
    """A kustomization that moves others to a namespace, as the manifests say one should write it."""
    folder = os.path.join(WORK, namespace)
    os.makedirs(folder)
    with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
        json.dump({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", "namespace": namespace,
                   **lists}, file)
    return folder


class Injection(Case):

    def test_pods_are_injected_where_they_or_their_namespace_ask(self):
        for expected in workloads.PROFILED:
            if expected.key == "nightly":
                continue
            pods = world.pods_of(expected.key, expected.namespace)
            self.about(*pods)
            with self.subTest(pod=expected.key):
                self.assertEqual(len(pods), expected.count, f"pods labelled test={expected.key}")
                for pod in pods:
                    self.assertTrue(is_injected(pod), f"{summary(pod)}: no container {AGENT}")
                    self.assertRegex(annotation(pod, "status") or "none", r"^injected \S+$")

    def test_pods_are_left_alone_where_nobody_asks(self):
        for key, namespace in workloads.LEFT_ALONE:
            with self.subTest(pod=key):
                pod = self.only_pod(key, namespace)
                self.assertFalse(is_injected(pod), f"{summary(pod)}: has a container {AGENT}")
                self.assertIsNone(annotation(pod, "status"), "profefe.com/status of a pod that is left alone")

    def test_right_annotations_give_no_warning(self):
        for key in ("named", "batch-", "again", "two", "opted-out", "bare", "all-bare", "all-yes", "all-no"):
            ours = [warning for warning in world.replies[key].warnings if "profefe" in warning]
            self.assertEqual(ours, [], f"warnings for pod {key}")

    def test_mode_is_native_unless_the_pod_says_container(self):
        for expected in workloads.PROFILED:
            for pod in world.pods_of(expected.key, expected.namespace):
                with self.subTest(pod=expected.key):
                    self.about(pod)
                    wanted = expected.key not in ("named", "linked-container")
                    self.assertEqual(is_native(pod), wanted, f"agent of {summary(pod)} is native")
                    last = (pod["spec"]["initContainers"] if wanted else pod["spec"]["containers"])[-1]
                    self.assertEqual(last["name"], AGENT, "the last of its list")

    def test_stored_agent_mounts_no_token_and_is_restricted(self):
        for expected in workloads.PROFILED:
            for pod in world.pods_of(expected.key, expected.namespace):
                with self.subTest(pod=expected.key):
                    self.about(pod)
                    self.check_stored_agent(pod)

    def check_stored_agent(self, pod):
        agent = containers(pod)[AGENT]
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        at_token_path = [mount for mount in agent["volumeMounts"] if mount["mountPath"].startswith(TOKEN_PATH)]
        self.assertEqual([(mount["name"], mount["mountPath"], mount.get("readOnly")) for mount in at_token_path],
                         [(AGENT, TOKEN_PATH, True)], "the agent's mounts at the token path")
        for mount in agent["volumeMounts"]:
            self.assertNotIn("projected", volumes[mount["name"]], f"the agent mounts the volume {mount['name']}")
        self.assertEqual(volumes[AGENT].get("downwardAPI", {}).get("items", []), [])
        app = next(container for name, container in containers(pod).items() if name != AGENT)
        self.assertIn(TOKEN_PATH, [mount["mountPath"] for mount in app["volumeMounts"]], "the app keeps its own token")

        security = agent["securityContext"]
        self.assertEqual((security.get("runAsNonRoot"), security.get("allowPrivilegeEscalation"),
                          security.get("readOnlyRootFilesystem"), security.get("capabilities", {}).get("drop"),
                          security.get("seccompProfile", {}).get("type")),
                         (True, False, True, ["ALL"], "RuntimeDefault"), security)
        for variable in agent["env"]:
            self.assertNotRegex(variable["name"], r"_(PORT|HOST|ADDR|PROTO)$", "a Service could set this variable")
        self.assertFalse({"livenessProbe", "readinessProbe", "startupProbe"} & set(agent), "the agent has no probe")

    def test_running_agent_has_no_token_under_its_root(self):
        for key, namespace in (("web", ENABLED), ("named", ENABLED), ("all-bare", ALL)):
            pod = world.pods_of(key, namespace)[0]
            with self.subTest(pod=key):
                self.about(pod)
                for pid in self.processes_of(pod, AGENT):
                    self.assertEqual(cluster.tokens_under_root(pid), [])
                    self.assertEqual(cluster.token_mounts(pid), [])
                # The same look at the app finds one: it is able to see.
                seen = [cluster.tokens_under_root(pid) for pid in self.processes_of(pod, "app")]
                self.assertTrue(any(f"{TOKEN_PATH}/token" in re.sub(r"^/run/", "/var/run/",
                                                                    path).replace("/..data/", "/")
                                    for paths in seen for path in paths), f"the app's own token, among {seen}")

    def test_each_pod_is_reviewed_once(self):
        labelled = {name for name, labels in workloads.NAMESPACES.items() if "profefe.com/inject" in labels}
        reviewed = [pod for pod in world.created if pod["metadata"]["namespace"] == ALL or (
            pod["metadata"]["namespace"] in labelled
            and any(key.startswith("profefe.com/") for key in pod["metadata"].get("annotations", {})))]
        counts = world.reviews_by_creation
        self.assertEqual(sum(counts.values()), len(reviewed),
                         f"reviews by result and reason: {dict(counts)}; pods: {[summary(pod) for pod in reviewed]}")
        injected = sum(value for (result, _), value in counts.items() if result == "injected")
        self.assertEqual(injected, sum(map(is_injected, reviewed)), f"reviews by result and reason: {dict(counts)}")

    def test_skipped_pods_say_why(self):
        spec = workloads.pod_spec
        windows = {**spec(), "nodeSelector": {"kubernetes.io/os": "windows"}}
        cases = {
            "no-such-port": workloads.pod("nameless", LOOSE, fast(port="metrics-http")),
            "host-network": workloads.pod("hosted", LOOSE, fast(), {**spec(), "hostNetwork": True}),
            "windows": workloads.pod("foreign", LOOSE, fast(), windows)}
        for reason, thing in cases.items():
            with self.subTest(reason=reason):
                pod = api.create(thing, dry_run=True).body
                self.assertFalse(is_injected(pod), f"pod {thing['metadata']['name']} has a container {AGENT}")
                self.assertRegex(annotation(pod, "status") or "none", rf"^skipped: {reason}\b")

    def test_mirror_pods_and_kube_system_are_left_alone(self):
        mirror = workloads.pod("mirror", LOOSE, {**fast(), "kubernetes.io/config.mirror": "abc"})
        mirror["spec"]["nodeName"] = NODE  # the API server insists
        before = mirrors_reviewed(), reviews_of("kube-system", "probe")
        self.assertFalse(is_injected(api.create(mirror, dry_run=True).body))
        path = "/api/v1/namespaces/kube-system"
        api.patch(path, {"metadata": {"labels": {"profefe.com/inject": "all"}}})
        self.addCleanup(api.patch, path, {"metadata": {"labels": {"profefe.com/inject": None}}})
        self.assertFalse(is_injected(api.create(workloads.pod("probe", "kube-system", fast()), dry_run=True).body))
        self.assertEqual((mirrors_reviewed(), reviews_of("kube-system", "probe")), before,
                         "reviews of pods that are none of our business")

    def test_injected_pod_created_again_from_its_own_yaml(self):
        old = self.only_pod("again", ENABLED)
        path = os.path.join(WORK, "again.yaml")
        with open(path, "w", encoding="utf-8") as file:
            file.write(kubectl("-n", ENABLED, "get", "pod", "again", "-o", "yaml").stdout)
        before = reviews_of(ENABLED, "again")  # of this pod alone: the CronJob makes others meanwhile
        kubectl("replace", "--force", "--grace-period=1", "-f", path)
        self.assertEqual(reviews_of(ENABLED, "again"), before + 1, "reviews of the pod again")
        pod = self.only_pod("again", ENABLED)
        self.assertNotEqual(pod["metadata"]["uid"], old["metadata"]["uid"])
        names = [item["name"] for item in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]]
        self.assertEqual(names.count(AGENT), 1, f"containers {names}")
        self.check_stored_agent(pod)
        eventually(lambda: is_ready(api.pod(ENABLED, "again")), READY_SECONDS,
                   lambda: summary(api.pod(ENABLED, "again")))


def mirrors_reviewed():
    """Whatever else a mirror pod is, the webhook calls it that, and leaves it out of its log."""
    return sum(value for (_, reason), value in reviews().items() if reason == "mirror-pod")


class Trouble(Case):
    """Whatever is wrong with the settings: the pod starts, becomes Ready and stays so, and the reason is told."""

    def test_pods_become_ready_and_stay_so(self):
        for pod in sorted(api.pods(TROUBLE), key=lambda pod: pod["metadata"]["name"]):
            with self.subTest(pod=pod["metadata"]["name"]):
                if not is_ready(pod):
                    self.about(pod)
                self.assert_same_life(pod)

    def test_each_of_them_has_an_agent(self):
        for thing in workloads.troubled():
            pod = self.only_pod(thing["metadata"]["name"], TROUBLE)
            self.assertTrue(is_injected(pod), summary(pod))
            self.assertEqual(is_native(pod), not pod["metadata"]["name"].endswith("-container"), summary(pod))

    def test_typing_errors_are_told(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"typos-{mode}", TROUBLE)
                warnings = world.replies[f"typos-{mode}"].warnings
                self.assertEqual(len(warnings), 2, warnings)
                self.assert_one_has(warnings, "profefe.com/prot", "profefe.com/port")
                self.assert_one_has(warnings, "profefe.com/interval", "soon", "expected")
                self.assertRegex(annotation(pod, "status"), r"^injected \S+; .+ \(\+1\)$")
                self.assert_logged(pod, warnings)

    def test_malformed_annotations_are_told_within_bounds(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"malformed-{mode}", TROUBLE)
                warnings = world.replies[f"malformed-{mode}"].warnings
                self.assertTrue(2 <= len(warnings) <= 10, warnings)
                for warning in warnings:
                    self.assertLessEqual(len(warning.encode()), 240, warning)
                    self.assertTrue(warning.isprintable(), repr(warning))
                self.assertRegex(warnings[-1], r"\d+ more")
                status = annotation(pod, "status")
                self.assertRegex(status, r"^injected \S+; .+ \(\+\d+\)$")
                self.assertLessEqual(len(status.encode()), 512, status)
                self.assert_logged(pod, warnings)

    def test_a_mode_that_is_none_is_native(self):
        pod = self.only_pod("sideways", TROUBLE)
        self.assertTrue(is_native(pod), summary(pod))
        self.assert_one_has(world.replies["sideways"].warnings, "profefe.com/mode", "sideways")

    def test_wrong_port_is_told_by_the_agent(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"wrong-port-{mode}", TROUBLE)
                patience = (UNWELL_INTERVALS + 6) * workloads.INTERVAL_SECONDS
                self.agent_says(pod, "/status", patience, "refused", f":{workloads.DEAD_PORT}")
                self.agent_says(pod, "/healthz", patience, "refused", status=500)
                self.assertIn("refused", api.log(TROUBLE, pod["metadata"]["name"], AGENT))

    def test_missing_collector_is_told_by_the_agent(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"nowhere-{mode}", TROUBLE)
                patience = (UNWELL_INTERVALS + 10) * workloads.INTERVAL_SECONDS
                self.agent_says(pod, "/healthz", patience, "collector", status=500)
                self.agent_says(pod, "/status", patience, "nowhere")
                self.assertIn("nowhere", api.log(TROUBLE, pod["metadata"]["name"], AGENT))

    def test_garbage_in_every_variable_is_told(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"garbage-{mode}", TROUBLE)
                log = api.log(TROUBLE, pod["metadata"]["name"], AGENT)
                told = [name for name in world.ports_of_variables if name in log]
                self.assertGreaterEqual(len(told), 5, f"variables that the log names; the log:\n{log}")
                self.assertIn("more", log, "how many more there are")
                self.assertTrue(log.replace("\n", "").isprintable(), repr(log))
                self.agent_says(pod, "/healthz", ANSWER_SECONDS, *told, status=500)
                self.agent_says(pod, "/status", ANSWER_SECONDS, *told)

    def test_garbage_in_one_variable_is_told(self):
        pod = self.only_pod("garbage-each", TROUBLE)
        for name, port in world.ports_of_variables.items():
            with self.subTest(variable=name):
                log = api.log(TROUBLE, pod["metadata"]["name"], workloads.container_of_variable(name))
                self.assertIn(name, log)
                for path in ("/healthz", "/status"):
                    status, text = agent_get(pod, path, port)
                    self.assertIn(name, text, path)
                    self.assertEqual(status, 500 if path == "/healthz" else 200, text)

    def test_variables_of_a_service_called_profefe_do_no_harm(self):
        for mode in MODES:
            with self.subTest(mode=mode):
                pod = self.only_pod(f"linked-{mode}", TROUBLE)
                for pid in self.processes_of(pod, AGENT):
                    env = cluster.environment_of_process(pid)
                    self.assertRegex(env.get("PROFEFE_PORT", "none"), r"^tcp://", "the trap is there")
                self.agent_says(pod, "/healthz", 30, status=200)
                self.assertNotIn("PROFEFE_PORT", api.log(TROUBLE, pod["metadata"]["name"], AGENT))

    def assert_logged(self, pod, warnings):
        """The webhook's log has a line for each warning and one with their number; `status` shows the first."""
        first = annotation(pod, "status").split("; ", 1)[1].split(",")[0]
        self.assertTrue(any(first in warning for warning in warnings), f"{first!r} of status is none of {warnings}")
        name = pod["metadata"]["name"]
        lines = [line for line in webhook_log().splitlines() if f"pod={name} " in line]
        self.assertTrue(any(re.search(r"\bwarnings=[1-9]", line) for line in lines), f"no count of warnings: {lines}")
        for warning in warnings:
            beginning = re.escape(warning.split('"')[0])  # quotes are escaped in logfmt
            self.assertTrue(any(re.search(beginning, line) for line in lines),
                            f"{warning!r} is not in the log: {lines}")

    def assert_one_has(self, warnings, *words):
        self.assertTrue(any(all(word in warning for word in words) for warning in warnings),
                        f"no warning holds {words}: {warnings}")


class Profiles(Case):

    def test_cron_job_makes_an_injected_pod(self):
        eventually(lambda: world.pods_of("nightly", ENABLED), CRON_SECONDS, lambda: "the CronJob has made no pod")
        api.patch(f"/apis/batch/v1/namespaces/{ENABLED}/cronjobs/nightly", {"spec": {"suspend": True}})
        for pod in world.pods_of("nightly", ENABLED):
            self.about(pod)
            self.assertTrue(is_injected(pod) and is_native(pod), summary(pod))
            self.assertRegex(annotation(pod, "status"), r"^injected \S+$")

    def test_profefe_lists_every_injected_pod(self):
        """Per pod, target and type, under the right service, with the labels that tell its pod."""
        missing = {}

        def look():
            missing.clear()
            for expected in workloads.PROFILED:
                held = held_by(expected)
                for pod in world.pods_of(expected.key, expected.namespace):
                    name = pod["metadata"]["name"]
                    lacks = [(target, kind) for target in expected.targets for kind in expected.types
                             if not any(taken_at(profile) >= started_at(pod) for profile in held[name, target, kind])]
                    if lacks:
                        missing[expected.namespace, name] = lacks
            return not missing

        try:
            eventually(look, PROFILES_SECONDS, lambda: f"no profiles in profefe of {missing}; services there: "
                                                       f"{world.profefe.services()}", every=1)
        except Failure:
            self.about(*(api.pod(*subject) for subject in missing))
            raise
        say("profefe holds profiles of every injected pod")

    def test_labels_are_those_of_the_pod(self):
        for expected in workloads.PROFILED:
            pods = {pod["metadata"]["name"] for pod in world.pods_of(expected.key, expected.namespace)}
            profiles = world.profiles(expected)
            self.assertTrue(profiles, f"no profile of service {expected.service}")
            for profile in profiles:
                labels = profile["labels"]
                with self.subTest(service=expected.service, profile=profile["id"]):
                    self.assertIn(labels.get("pod"), pods)
                    self.assertNotIn(profile["type"], expected.never, "the app does not record this type")
                    self.assertIn(labels.get("target"), expected.targets)
                    wanted = {"namespace": expected.namespace, "node": NODE, "from": AGENT, **dict(expected.labels)}
                    self.assertEqual({key: labels.get(key) for key in wanted}, wanted)
        stray = {expected.service for expected in workloads.PROFILED} | {"types", "newer", *workloads.LARGE}
        troubled = {thing["metadata"]["name"] for thing in workloads.troubled()} | {"garbage-each"}
        left_alone = {key for key, _ in workloads.LEFT_ALONE}
        services = set(world.profefe.services())
        self.assertEqual(services & left_alone, set(), "services of pods that have no agent")
        self.assertEqual({name for name in services - stray - troubled if not name.startswith("%n")}, set(),
                         "services that nobody is expected to have")

    def test_go_tool_pprof_opens_each_type_of_each_pod(self):
        chosen = {}
        for expected in workloads.PROFILED:
            for profile in world.profiles(expected):
                labels = profile["labels"]
                chosen[labels.get("pod"), labels.get("target"), profile["type"]] = profile
        self.assertGreaterEqual(len(chosen), sum(len(e.types) * e.count * len(e.targets) for e in workloads.PROFILED))
        with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
            for key, error in pool.map(lambda item: (item[0], why_unreadable(item[1])), chosen.items()):
                with self.subTest(profile=key):
                    self.assertIsNone(error)
        say(f"go tool pprof opened {len(chosen)} profiles")

    def test_cpu_profiles_name_what_each_app_is_busy_with(self):
        """One of each app: beside others that want the CPU, 2 s may have seen no more of it than its scheduler."""
        for expected in workloads.PROFILED:
            for pod in world.pods_of(expected.key, expected.namespace):
                for target in expected.targets:
                    with self.subTest(pod=pod["metadata"]["name"], target=target):
                        self.about(pod)
                        self.wait_for_busy_function(expected, pod, target)

    def wait_for_busy_function(self, expected, pod, target):
        opened = {}

        def names_it(profile):
            opened[profile["id"]] = top = top_of(profile)
            return re.search(rf"\s{re.escape(BUSY_FUNCTION)}$", top.stdout, re.MULTILINE)

        def look():
            held = held_by(expected)[pod["metadata"]["name"], target, "cpu"]
            return any(names_it(profile) for profile in held if profile["id"] not in opened)

        eventually(look, PROFILES_SECONDS, lambda: f"no CPU profile names {BUSY_FUNCTION}: " +
                   "\n".join(top.stdout + top.stderr for top in opened.values()), every=1)

    def test_jobs_complete_beside_their_sidecars(self):
        for pod in world.pods_of("report", ENABLED) + world.pods_of("nightly", ENABLED):
            job = pod["metadata"]["labels"]["batch.kubernetes.io/job-name"]
            with self.subTest(job=job):
                self.about(pod)
                path = f"/apis/batch/v1/namespaces/{ENABLED}/jobs/{job}"
                eventually(lambda: cluster.condition(api.get(path), "Complete").get("status") == "True", JOB_SECONDS,
                           lambda: f"Job {job} is not Complete: {api.get(path).get('status')}")
                pod = api.pod(ENABLED, pod["metadata"]["name"])
                self.assertEqual(pod["status"]["phase"], "Succeeded", summary(pod))
                self.assertEqual(restarts(pod), {}, summary(pod))
                ends = {item["name"]: item["state"].get("terminated", {}) for item in cluster.container_statuses(pod)}
                self.assertEqual({who: end.get("exitCode") for who, end in ends.items()}, {AGENT: 0, "app": 0})
                self.assertGreaterEqual(ends[AGENT]["finishedAt"], ends["app"]["finishedAt"], "the sidecar ends last")


def held_by(expected):
    """What profefe has by (pod, target, type). Filtered here: see Reader.profiles."""
    found = collections.defaultdict(list)
    for profile in world.profiles(expected):
        if profile["labels"].get("namespace") == expected.namespace:
            found[profile["labels"].get("pod"), profile["labels"].get("target"), profile["type"]].append(profile)
    return found


def started_at(pod):
    """A pod that was created again has the name of the first, but not its start."""
    start = pod["status"].get("startTime")
    return moment(start) if start else datetime.datetime.now(datetime.timezone.utc)


def top_of(profile):
    """What `go tool pprof -top` did with a profile fetched back from profefe."""
    path = os.path.join(WORK, re.sub(r"\W", "_", profile["id"]) + ".pb.gz")
    with open(path, "wb") as file:
        file.write(world.profefe.fetch(profile["id"]))
    return pprof("-top", "-nodecount=30", path, folder=WORK, check=False)


def why_unreadable(profile):
    """What is wrong with a profile fetched back from profefe, or None."""
    top = top_of(profile)
    if top.returncode != 0:
        return f"go tool pprof: exit code {top.returncode}\n{top.stdout}{top.stderr}"
    if f"Type: {PPROF_TYPE[profile['type']]}\n" not in top.stdout:
        return f"go tool pprof does not call it {PPROF_TYPE[profile['type']]}:\n{top.stdout}"
    return None


class Outages(Case):
    """profefe is away for a minute; meanwhile the webhook is, too."""

    @classmethod
    def setUpClass(cls):
        api.scale(SYSTEM, PROFEFE, 0)
        eventually(lambda: not api.pods(SYSTEM, {"app.kubernetes.io/name": PROFEFE}), GONE_SECONDS,
                   lambda: "the pod of profefe is still there")
        cls.gone = datetime.datetime.now(datetime.timezone.utc)
        cls.watched = [pod for key, namespace in (("web", ENABLED), ("named", ENABLED), ("linked-native", TROUBLE))
                       for pod in world.pods_of(key, namespace)]
        cls.before = {pod["metadata"]["name"]: cluster.agent_metrics(pod) for pod in cls.watched}
        say("profefe is away")

    def test_pods_start_without_the_webhook(self):
        api.scale(SYSTEM, WEBHOOK, 0)
        self.addCleanup(stage.bring_back_webhook)
        eventually(lambda: not api.pods(SYSTEM, {"app.kubernetes.io/name": WEBHOOK}), GONE_SECONDS,
                   lambda: "the webhook's pods are still there")
        config = api.get(REGISTRATION)
        for namespace, path in ((ENABLED, "/mutate"), (ALL, "/mutate/all")):
            hook = next(hook for hook in config["webhooks"] if hook["clientConfig"]["service"]["path"] == path)
            limit = hook["timeoutSeconds"] + CREATE_OVERHEAD_SECONDS
            for number in range(3):
                with self.subTest(namespace=namespace, number=number):
                    reply = api.create(workloads.pod(f"alone-{number}", namespace, fast()))
                    self.about(reply.body)
                    self.assertLess(reply.seconds, limit, "seconds until the pod was created")
                    self.assertFalse(is_injected(reply.body), "containers of a pod that no webhook has seen")
                    self.assertTrue(any("the webhook did not answer" in text for text in reply.warnings),
                                    f"the policy's warning, among {reply.warnings}")
                    self.assertIsNone(annotation(reply.body, "status"))
        # By the API server; an alert of overlays/monitoring reads it.
        counted = kubectl("get", "--raw", "/metrics").stdout
        for name in ("enabled", "all"):
            self.assertRegex(counted, r"(?m)^apiserver_admission_webhook_fail_open_count"
                                      rf'{{name="{name}[.]profefe[.]com",')
        api.create(workloads.deployment("alone", ENABLED, 1, fast(), workloads.pod_spec()))
        for key, namespace in (("alone-0", ENABLED), ("alone-0", ALL), ("alone", ENABLED)):
            eventually(lambda: [pod for pod in world.pods_of(key, namespace) if is_ready(pod)], READY_SECONDS,
                       lambda: f"{key} in {namespace}: {[summary(pod) for pod in world.pods_of(key, namespace)]}")
            self.assertFalse(is_injected(self.only_pod(key, namespace)))

    def test_webhook_that_is_back_injects_again(self):
        self.assertTrue(is_injected(api.create(workloads.pod("probe", ENABLED, fast()), dry_run=True).body))

    def test_agents_tell_that_the_collector_is_away(self):
        for pod in self.watched:
            self.about(pod)
            self.agent_says(pod, "/healthz", (UNWELL_INTERVALS + 4) * workloads.INTERVAL_SECONDS, "collector",
                            status=500)

    def test_moved_installation_works(self):
        """Another namespace, its own certificates, and the base's settings, which name no collector."""
        certificates = os.path.join(WORK, MOVED, "certificates")
        overlay = make_overlay(MOVED, resources=["../manifests/base"], components=["certificates"])
        command(os.path.join(WORK, "manifests", "certificates"), "--namespace", MOVED, "--out", certificates)
        before = api.get(REGISTRATION)
        kubectl("apply", "-k", overlay)
        self.addCleanup(stage.remove_moved, before["webhooks"])
        eventually(lambda: api.deployment_ready(MOVED, WEBHOOK, 2), stage.ROLLOUT_SECONDS,
                   lambda: f"{WEBHOOK} in {MOVED} is not ready with 2 replicas: "
                           f"{[summary(pod) for pod in api.pods(MOVED)]}")
        stage.wait_until_called(MOVED)

        before, elsewhere = reviews(MOVED), reviews(SYSTEM)
        reply = api.create(workloads.pod("aimless", ENABLED, fast()))
        pod = self.about(reply.body)
        self.assertEqual(sum((reviews(MOVED) - before).values()), 1, f"reviews of the webhook in {MOVED}")
        self.assertEqual(reviews(SYSTEM), elsewhere, f"reviews of the webhook in {SYSTEM}")
        self.assertTrue(is_injected(pod))
        self.assertTrue(any("collector" in warning for warning in reply.warnings), f"warnings: {reply.warnings}")
        self.assertRegex(annotation(pod, "status"), r"^injected \S+; .*collector")
        eventually(lambda: is_ready(api.pod(ENABLED, "aimless")), READY_SECONDS,
                   lambda: summary(api.pod(ENABLED, "aimless")))
        pod = api.pod(ENABLED, "aimless")
        self.agent_says(pod, "/healthz", ANSWER_SECONDS, "collector", status=500)
        self.assertIn("collector", api.log(ENABLED, "aimless", AGENT))
        self.assert_same_life(pod)

    def test_profiles_taken_while_profefe_was_away_arrive(self):
        """The last of its class: it ends the outage."""
        left = OUTAGE_SECONDS - (datetime.datetime.now(datetime.timezone.utc) - self.gone).total_seconds()
        time.sleep(max(0, left))
        taken = {}

        def taken_enough():
            taken.update({pod["metadata"]["name"]: taken_since(pod, self.before[pod["metadata"]["name"]])
                          for pod in self.watched})
            return all(spans[kind].count >= TAKEN_MEANWHILE[kind] for spans in taken.values()
                       for kind in TAKEN_MEANWHILE)

        eventually(taken_enough, OUTAGE_SECONDS, lambda: f"agents took {taken}, expected {TAKEN_MEANWHILE}")
        ended = datetime.datetime.now(datetime.timezone.utc)
        dropped = {pod["metadata"]["name"]: dropped_by(pod) for pod in self.watched}
        self.assertEqual(set(dropped.values()), {0}, f"profiles dropped by agents: {dropped}")
        stage.bring_back_profefe()
        say(f"profefe is back after {(ended - self.gone).total_seconds():.0f} s")
        self.about(*self.watched)
        state = {}

        def look():
            state.clear()
            for pod in self.watched:
                name = pod["metadata"]["name"]
                held = profiles_of(pod)
                for kind, span in taken[name].items():
                    found = sum(1 for profile in held if profile["type"] == kind
                                and span.after < taken_at(profile).timestamp() <= span.until)
                    if found < span.count:
                        state[name, kind] = f"{found} of {span.count}"
            return not state

        eventually(look, ARRIVAL_SECONDS, lambda: f"of what was taken meanwhile profefe has too little: {state}",
                   every=1)
        say(f"{sum(span.count for spans in taken.values() for span in spans.values())} profiles of that time have "
            f"arrived")
        for pod in self.watched:
            self.agent_says(pod, "/healthz", UNWELL_INTERVALS * 4 * workloads.INTERVAL_SECONDS, status=200)
            again = api.pod(pod["metadata"]["namespace"], pod["metadata"]["name"])
            self.assertEqual(restarts(again), {}, summary(again))


@dataclasses.dataclass
class Span:
    """How many profiles of a type an agent took between two looks, and when it had the one before them and the last of
    them. Each is dated between its begin and its end, and none begins in the second in which another of its type
    ended."""
    count: int
    after: int
    until: int


def taken_since(pod, before):
    """By type, since its metrics were these."""
    now = cluster.agent_metrics(pod)
    spans = {}
    for kind in workloads.USUAL:
        count, was = (cluster.total(page, "profefe_agent_scrapes_total", type=kind, result="ok")
                      for page in (now, before))
        until, after = (cluster.total(page, "profefe_agent_last_scrape_timestamp_seconds", type=kind)
                        for page in (now, before))
        spans[kind] = Span(int(count - was), int(after), int(until))
    return spans


def dropped_by(pod):
    return cluster.total(cluster.agent_metrics(pod), "profefe_agent_dropped_profiles_total")


def profiles_of(pod):
    expected = next(item for item in workloads.PROFILED if item.key == pod["metadata"]["labels"]["test"])
    return [profile for profile in world.profiles(expected) if profile["labels"].get("pod") == pod["metadata"]["name"]]


def taken_at(profile):
    return moment(profile["created_at"])


def load_tests(loader, _tests, _pattern):
    """In the order they are written: the outages last, the quick looks while profiles are being taken."""
    suite = unittest.TestSuite()
    for case in (Installation, CertManager, Monitoring, Injection, Policy, Limited, Strict, Fixtures, Trouble, Profiles,
                 Delivery,
                 Rollout, Outages, MemoryLimits):
        chosen = set(loader.getTestCaseNames(case))
        suite.addTests(case(name) for name in vars(case) if name in chosen)
    return suite


if __name__ == "__main__":
    end_by_exception()
    unittest.main(verbosity=2)
