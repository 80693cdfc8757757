"""What the API server itself has to say: the policy about pods without an agent, the monitoring overlay against the
resource definitions that it needs, namespaces with quotas and limits, refusals, and a rollout of the webhook under
way."""

import collections
import concurrent.futures
import json
import os
import re
import threading
import time

import cluster
import stage
import workloads
from case import Case, setUpModule  # noqa: F401 (unittest calls the latter)
from cluster import (AGENT, ROOT, annotation, api, command, containers, eventually, is_injected, kubectl, say)
from definitions import apply_definitions, definition
from stage import SYSTEM, WEBHOOK, WORK
from workloads import ENABLED, annotations, fast

POLICY_SECONDS = 30  # from a policy until the API server follows it
EVENT_SECONDS = 30
LEARNED_SECONDS = 90  # from a changed Secret or ConfigMap until the kubelet has brought it and the webhook has read it
WORKERS = 8
UNINJECTED = "starts without an agent"
POLICY = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolicies/profefe-uninjected"


class Monitoring(Case):
    """The overlay, against the Prometheus operator's own resource definitions. Nothing of it is created."""

    def test_overlay_passes_the_api_server(self):
        kinds = ("podmonitors", "prometheusrules")
        apply_definitions("monitoring.coreos.com/v1", [
            definition("github.com/prometheus-operator/prometheus-operator",
                       f"example/prometheus-operator-crd/monitoring.coreos.com_{kind}.yaml") for kind in kinds],
                          set(kinds))
        done = kubectl("apply", "--dry-run=server", "--validate=strict", "-o", "json",
                       "-k", os.path.join(WORK, "manifests", "overlays", "monitoring"))
        names = collections.Counter(item["kind"] for item in json.loads(done.stdout)["items"])
        self.assertEqual(names, {"PodMonitor": 2, "PrometheusRule": 1})

    def test_ports_of_the_monitors_are_there(self):
        for pod in stage.webhook_pods():
            self.assertIn("admin", [port["name"] for port in containers(pod)[WEBHOOK]["ports"]])
        pod = api.create(workloads.pod("probe", ENABLED, fast()), dry_run=True).body
        self.assertEqual([port["name"] for port in containers(pod)[AGENT]["ports"]], ["profefe-agent"])


def words_of_the_settings(name):
    """A list of words from common/base/boolean.c, where the webhook takes its booleans from."""
    with open(os.path.join(ROOT, "common", "base", "boolean.c"), encoding="utf-8") as file:
        found = re.search(rf"\b{name}\[\] = \{{([^}}]*)NULL\}}", file.read())
    return re.findall(r'"(\w+)"', found[1])


def hosted(namespace, enable):
    """A pod that the webhook never injects, and of which it writes why when it was asked for an agent."""
    notes = {} if enable is None else {"profefe.com/enable": enable}
    return workloads.pod("hosted", namespace, notes, {**workloads.pod_spec(), "hostNetwork": True})


class Policy(Case):
    """The warning about pods that end without an agent, by namespace and by word."""

    NAMESPACES = {"policy-none": None, "policy-enabled": "enabled", "policy-all": "all", "policy-other": "yes"}

    @classmethod
    def setUpClass(cls):
        for name, label in cls.NAMESPACES.items():
            stage.make_namespace(name, {"profefe.com/inject": label} if label else {})
        eventually(lambda: cls.warnings(hosted("policy-all", None)), POLICY_SECONDS, lambda: "the policy says nothing")

    @staticmethod
    def warnings(pod):
        return [text for text in api.create(pod, dry_run=True).warnings if UNINJECTED in text]

    def test_its_words_are_those_of_the_webhook(self):
        """A pod on the host network: the webhook says `skipped` where it was asked, and the policy exactly there."""
        true, false = (words_of_the_settings(f"boolean_{kind}_words") for kind in ("true", "false"))
        forms = [form(word) for word in true + false for form in (str, str.upper, str.title, lambda w: f"\t{w} \n")]
        cases = [(name, label, word) for name, label in self.NAMESPACES.items()
                 for word in [None, "", "maybe", "tru", "truee", "2", *forms]]
        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            replies = list(pool.map(lambda case: api.create(hosted(case[0], case[2]), dry_run=True), cases))
        seen = collections.Counter()
        for (name, label, word), reply in zip(cases, replies):
            with self.subTest(namespace=name, enable=word):
                said = (word or "").strip().lower()
                wanted = said not in false if label == "all" else label == "enabled" and said in true
                asked = (annotation(reply.body, "status") or "").startswith("skipped: host-network")
                warned = [text for text in reply.warnings if UNINJECTED in text]
                self.assertEqual(asked, wanted, f"the webhook's decision; warnings {reply.warnings}")
                self.assertEqual(bool(warned), wanted, f"the policy's decision; warnings {reply.warnings}")
                if wanted:
                    self.assertIn(f"profefe: hosted {UNINJECTED}: skipped: host-network", warned[0])
                seen[wanted] += 1
        self.assertGreater(min(seen[True], seen[False]), 50, f"cases by outcome: {dict(seen)}")

    def test_generated_names_are_told(self):
        pod = hosted("policy-enabled", "true")
        pod["metadata"]["generateName"] = pod["metadata"].pop("name") + "-"
        self.assertRegex(self.warnings(pod)[0], rf"profefe: hosted-\w{{5}} {UNINJECTED}")

    def test_pods_with_an_agent_are_no_news(self):
        for namespace in ("policy-enabled", "policy-all"):
            for mode in workloads.MODES:
                pod = workloads.pod("fine", namespace, fast(mode=mode))
                self.assertTrue(is_injected(api.create(pod, dry_run=True).body))
                self.assertEqual(self.warnings(pod), [])

    def test_mirror_pods_and_kube_system_are_no_news(self):
        mirror = workloads.pod("mirror", "policy-all", {**fast(), "kubernetes.io/config.mirror": "abc"})
        mirror["spec"]["nodeName"] = "node1"  # the API server insists
        self.assertEqual(self.warnings(mirror), [])
        path = "/api/v1/namespaces/kube-system"
        api.patch(path, {"metadata": {"labels": {"profefe.com/inject": "all"}}})
        self.addCleanup(api.patch, path, {"metadata": {"labels": {"profefe.com/inject": None}}})
        self.assertEqual(self.warnings(workloads.pod("probe", "kube-system", fast())), [])

    def test_the_audit_log_has_it(self):
        """For pods whose author is a controller nobody reads a warning."""
        names = {"policy-enabled": f"audited-{os.getpid()}", "policy-all": f"injected-{os.getpid()}"}
        skipped, injected = names.values()
        pod = hosted("policy-enabled", "true")
        pod["metadata"]["name"] = skipped
        api.create(pod, dry_run=True)
        api.create(workloads.pod(injected, "policy-all", fast()), dry_run=True)
        notes = eventually(lambda: all(name in audited() for name in names.values()) and audited(), EVENT_SECONDS,
                           lambda: f"no audit event of {names}")
        self.assertEqual(notes[skipped].get("profefe-uninjected/uninjected"), "skipped: host-network")
        self.assertEqual(notes[skipped].get("enabled.profefe.com/decision"), "skipped")
        self.assertEqual(notes[skipped].get("enabled.profefe.com/reason"), "host-network")
        self.assertEqual(notes[injected].get("all.profefe.com/decision"), "injected")
        self.assertFalse(notes[injected].get("profefe-uninjected/uninjected"))

    def test_the_webhooks_own_pods_are_no_news(self):
        template = api.get(f"/apis/apps/v1/namespaces/{SYSTEM}/deployments/{WEBHOOK}")["spec"]["template"]
        for namespace in ("policy-enabled", "policy-all"):
            pod = {"apiVersion": "v1", "kind": "Pod", "spec": {**template["spec"], "serviceAccountName": "default"},
                   "metadata": {**template["metadata"], "name": "probe", "namespace": namespace}}
            reply = api.create(pod, dry_run=True)
            self.assertFalse(is_injected(reply.body))
            self.assertEqual([text for text in reply.warnings if UNINJECTED in text], [])

    def test_the_api_server_finds_no_fault_in_its_types(self):
        status = eventually(lambda: (found := api.get(POLICY)).get("status", {}).get("observedGeneration")
                            and found["status"],
                            POLICY_SECONDS, lambda: "nobody has checked the policy's types")
        self.assertEqual(status.get("typeChecking", {}).get("expressionWarnings", []), [])


def audited():
    """The annotations of the API server's audit log, by pod."""
    notes = {}
    with open(os.path.join(cluster.STATE, "log", "audit.log"), encoding="utf-8") as file:
        for line in file:
            event = json.loads(line)
            notes[event.get("objectRef", {}).get("name")] = event.get("annotations", {})
    return notes


# Namespaces that limit their pods, and what README says to annotate there.

def quota(**hard):
    return {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "limits"},
            "spec": {"hard": {key.replace("_", "."): value for key, value in hard.items()}}}


def limit_range(**limits):
    return {"apiVersion": "v1", "kind": "LimitRange", "metadata": {"name": "limits"},
            "spec": {"limits": [{"type": "Container", **limits}]}}


# By name: the object of the namespace, the annotations of README, and what the API server says without them (None:
# nothing).
LIMITED = {
    "quota": (quota(requests_cpu="4", requests_memory="4Gi", limits_cpu="4", limits_memory="4Gi"),
              annotations(cpu_limit="50m"), "limits.cpu"),
    "quota-memory": (quota(requests_memory="4Gi", limits_memory="4Gi"), {}, None),
    "range-min": (limit_range(min={"cpu": "10m", "memory": "64Mi"}),
                  annotations(cpu_request="10m", memory_request="64Mi", memory_limit="64Mi"), "minimum"),
    "quota-best-effort": ({"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "limits"},
                           "spec": {"hard": {"pods": "0"}, "scopes": ["NotBestEffort"]}},
                          annotations(cpu_request="none", cpu_limit="none", memory_request="none", memory_limit="none"),
                          "exceeded quota"),
    "range-max-cpu": (limit_range(max={"cpu": "1"}), {}, None),
    "range-max": (limit_range(max={"cpu": "1", "memory": "12Mi"}),
                  annotations(memory_request="12Mi", memory_limit="12Mi"), "maximum"),
    "range-ratio": (limit_range(maxLimitRequestRatio={"cpu": "4"}),
                    annotations(cpu_request="25m", cpu_limit="100m"), "ratio"),
    "range-default": (limit_range(default={"cpu": "100m", "memory": "40Mi"},
                                  defaultRequest={"cpu": "20m", "memory": "40Mi"}),
                      annotations(cpu_request="none", cpu_limit="none", memory_request="none", memory_limit="none"),
                      None),
}


class Limited(Case):

    def test_annotations_of_readme_satisfy_quotas_and_limit_ranges(self):
        for name, (limits, notes, refusal) in LIMITED.items():
            namespace = f"limited-{name}"
            with self.subTest(name):
                self.make(namespace, limits)
                bare = api.create(self.pod(namespace, annotations(enable="false")), dry_run=True, must=False)
                self.assertEqual(bare.status, 201, f"the pod without an agent: {bare.body.get('message')}")
                plain = api.create(self.pod(namespace, annotations(enable="true")), dry_run=True, must=False)
                if refusal:
                    self.assertEqual(plain.status, 403, "without annotations the advice would be needless")
                    self.assertIn(refusal, plain.body["message"])
                advised = api.create(self.pod(namespace, {**annotations(enable="true"), **notes}), dry_run=True,
                                     must=False)
                self.assertEqual(advised.status, 201, advised.body.get("message"))
                self.assertTrue(is_injected(advised.body))
                if notes:
                    self.assertEqual([text for text in advised.warnings if "profefe" in text], [])

    def make(self, namespace, limits):
        stage.make_namespace(namespace, {"profefe.com/inject": "enabled"})
        path = f"/api/v1/namespaces/{namespace}/{limits['kind'].lower()}s"
        reply = api.request("POST", path, limits)
        self.assertEqual(reply.status, 201, reply.body.get("message"))
        if limits["kind"] == "ResourceQuota":
            eventually(lambda: api.get(f"{path}/limits").get("status", {}).get("hard"), 30,
                       lambda: "the quota is not counted")

    @staticmethod
    def pod(namespace, notes):
        """The app takes what every one of these namespaces asks of it."""
        thing = workloads.pod("probe", namespace, notes)
        memory = "12Mi" if namespace.endswith("range-max") else "64Mi"
        thing["spec"]["containers"][0]["resources"] = {} if namespace.endswith("best-effort") else {
            "requests": {"cpu": "50m", "memory": memory}, "limits": {"cpu": "100m", "memory": memory}}
        return thing

    def test_pod_level_resources_are_kept(self):
        """Requests of ours would not fit below them; its QoS class is the pod's own."""
        whole = {"cpu": "100m", "memory": "64Mi"}
        for requests in (whole, {"cpu": "50m", "memory": "32Mi"}):
            for containers_have in (False, True):
                thing = workloads.pod("levelled", ENABLED, annotations(enable="false"))
                thing["spec"]["resources"] = {"requests": requests, "limits": whole}
                own = {"requests": requests, "limits": whole} if containers_have else {}
                thing["spec"]["containers"][0]["resources"] = own
                with self.subTest(requests=requests, containers=containers_have):
                    bare = api.create(thing, dry_run=True).body
                    thing["metadata"]["annotations"] = fast()
                    pod = api.create(thing, dry_run=True).body
                    self.assertTrue(is_injected(pod))
                    self.assertEqual(pod["status"]["qosClass"], bare["status"]["qosClass"])
                    self.assertEqual(pod["spec"]["resources"], bare["spec"]["resources"])


class Strict(Case):
    """A pod that asks to be refused rather than to start with a wrong setting."""

    WRONG = {**annotations(enable="true", strict="true"), "profefe.com/prot": "6060"}

    def test_kubectl_shows_the_refusal(self):
        text = json.dumps(workloads.pod("strict", ENABLED, self.WRONG))
        done = kubectl("create", "-f", "-", text_input=text, check=False)
        self.assertNotEqual(done.returncode, 0)
        for word in ("denied the request", "profefe.com/prot", "profefe.com/port"):
            self.assertIn(word, done.stderr)

    def test_replica_set_has_an_event(self):
        name = "strict-web"
        api.create(workloads.deployment(name, ENABLED, 1, self.WRONG, workloads.pod_spec()))
        self.addCleanup(api.request, "DELETE", f"/apis/apps/v1/namespaces/{ENABLED}/deployments/{name}")

        def look():
            return [event["message"] for event in api.get(f"/api/v1/namespaces/{ENABLED}/events")["items"]
                    if event["reason"] == "FailedCreate" and event["involvedObject"]["name"].startswith(f"{name}-")]

        messages = eventually(look, EVENT_SECONDS, lambda: f"no event FailedCreate for {name}")
        self.assertIn("profefe.com/prot", messages[0])
        self.assertEqual(api.pods(ENABLED, {"test": name}), [])

    def test_right_settings_pass(self):
        reply = api.create(workloads.pod("strict", ENABLED, fast(strict="true")), dry_run=True)
        self.assertTrue(is_injected(reply.body))
        self.assertEqual([text for text in reply.warnings if "profefe" in text], [])


class Rollout(Case):
    """What changes under way: certificates, settings and the webhook itself, while pods are created."""

    def test_a_new_ca_leaves_no_gap(self):
        """As README says: remove ca.key, run the script, apply. The API server trusts both CAs while the pair
        travels."""
        manifests = os.path.join(WORK, "manifests")
        os.unlink(os.path.join(manifests, "overlays", "self-signed", "certificates", "ca.key"))
        command(os.path.join(manifests, "certificates"))
        before = self.loads("certificate_loads")
        missed = []

        def look():
            missed.extend(self.missed())
            return all(after > before[pod] for pod, after in self.loads("certificate_loads").items())

        kubectl("apply", "-k", os.path.join(manifests, "overlays", "demo"))
        eventually(look, LEARNED_SECONDS,
                   lambda: f"certificates loaded: {self.loads('certificate_loads')}, before {before}",
                   every=0.05)
        for _ in range(20):
            missed.extend(self.missed())
        self.assertEqual(missed, [], "replies of the API server when a pod was not injected")

    def test_settings_change_in_place(self):
        """A ConfigMap that is edited; then one that is wrong, which changes nothing but a counter and a log line."""
        name = next(volume["configMap"]["name"] for volume in stage.webhook_pods()[0]["spec"]["volumes"]
                    if "configMap" in volume)
        path = f"/api/v1/namespaces/{SYSTEM}/configmaps/{name}"
        text = api.get(path)["data"]["webhook.ini"]
        self.addCleanup(api.patch, path, {"data": {"webhook.ini": text}})
        pods = {pod["metadata"]["name"] for pod in stage.webhook_pods()}

        def defaults():
            """What five pods in a row are told, whichever replica answers."""
            replies = [api.create(workloads.pod("probe", ENABLED, annotations(enable="true")), dry_run=True)
                       for _ in range(5)]
            return {item.get("value") for reply in replies for item in containers(reply.body)[AGENT]["env"]
                    if item["name"] == "PROFEFE_AGENT_INTERVAL"}

        api.patch(path, {"data": {"webhook.ini": f"{text}\n[defaults]\ninterval = 17s\n"}})
        eventually(lambda: defaults() == {"17s"}, LEARNED_SECONDS, lambda: f"agents are told {defaults()}")
        before = self.loads("config_reloads", "refused")
        api.patch(path, {"data": {"webhook.ini": f"{text}\n[defaults]\ninterval = soon\n"}})
        eventually(lambda: all(after > before[pod] for pod, after in self.loads("config_reloads", "refused").items()),
                   LEARNED_SECONDS, lambda: f"settings refused: {self.loads('config_reloads', 'refused')}, before "
                                            f"{before}")
        self.assertEqual(defaults(), {"17s"}, "the old settings stay")
        self.assertIn("interval", stage.webhook_log())
        self.assertEqual({pod["metadata"]["name"] for pod in stage.webhook_pods()}, pods, "pods of the webhook")

    @staticmethod
    def loads(what, result="taken"):
        """How often each replica has read its certificate or its settings, with this result."""
        return {pod["metadata"]["name"]: cluster.total(cluster.metrics(pod["status"]["podIP"],
                                                                       cluster.WEBHOOK_ADMIN_PORT),
                                                       f"profefe_webhook_{what}_total", result=result)
                for pod in stage.webhook_pods()}

    @staticmethod
    def missed():
        reply = api.create(workloads.pod("probe", ENABLED, fast()), dry_run=True)
        return [] if is_injected(reply.body) else [reply.warnings]

    COUNT, DURING, NAMESPACE = 200, 50, "rollout"

    def roll_out(self):
        old = {pod["metadata"]["name"] for pod in stage.webhook_pods()}
        kubectl("-n", SYSTEM, "rollout", "restart", f"deployment/{WEBHOOK}")
        eventually(lambda: api.deployment_ready(SYSTEM, WEBHOOK, 2), stage.ROLLOUT_SECONDS,
                   lambda: "the rollout does not end")
        eventually(lambda: not old & {pod["metadata"]["name"] for pod in api.pods(SYSTEM)}, 60,
                   lambda: "the old pods are still there")

    def test_every_pod_created_meanwhile_is_injected(self):
        stage.make_namespace(self.NAMESPACE, {"profefe.com/inject": "enabled"})
        done = threading.Event()
        replies = []

        def create():
            """Evenly over the rollout, and on until both are done."""
            while not (done.is_set() and len(replies) >= self.COUNT):
                number = len(replies)
                pod = workloads.pod(f"gated-{number}", self.NAMESPACE, fast())
                pod["spec"]["schedulingGates"] = [{"name": "profefe.com/never"}]
                replies.append(api.create(pod, must=False))
                time.sleep(0 if done.is_set() else 0.05)

        creator = threading.Thread(target=create)
        creator.start()
        rollouts = 0
        try:
            # A machine that is slow to create pods sees more of them in several rollouts.
            while creator.is_alive() and len(replies) < self.DURING or rollouts == 0:
                self.roll_out()
                rollouts += 1
        finally:
            during = len(replies)
            done.set()
            creator.join()
        say(f"rollouts of the webhook: {rollouts}; pods created meanwhile: {during}, in all: {len(replies)}")
        self.assertGreaterEqual(during, self.DURING, "pods created while a rollout was under way")
        self.assertEqual([reply.body.get("message") for reply in replies if reply.status != 201], [])
        missed = [reply.body["metadata"]["name"] for reply in replies if not is_injected(reply.body)]
        self.assertEqual(missed, [], f"pods without an agent, of {len(replies)}")
