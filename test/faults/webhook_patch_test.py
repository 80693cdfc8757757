"""Each case of fixtures/review once more, judged by others than ourselves: the patch is applied by python-jsonpatch,
the pod checked against the Pod Security Standard `restricted`, and what comes out goes through the webhook again."""

import base64
import copy
import glob
import json
import os

import jsonpatch

from blackbox import ROOT, WEBHOOK, Case
from pod_security import as_dict, as_list, restricted_faults

FIXTURES = os.path.join(ROOT, "test", "fixtures", "review")
AGENT = "profefe-agent"
STATUS = "profefe.com/status"
EVICTABLE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
DEFAULT_CONTAINER = "kubectl.kubernetes.io/default-container"
# Lists that ours is put behind, with what separates the names.
LISTS = {EVICTABLE: ",", "eks.amazonaws.com/skip-containers": ",", "azure.workload.identity/skip-containers": ";"}
OURS = {STATUS, DEFAULT_CONTAINER, *LISTS}
# An empty folder, or a check that never applies, must not pass.
CASES_MIN = 300
RESTRICTED_MIN = 200


class Fixture:
    def __init__(self, name):
        self.name = name
        self.folder = os.path.join(FIXTURES, name)
        self.file = next(f for f in ("pod.json", "review.json", "body") if os.path.exists(os.path.join(self.folder, f)))
        self.expect = json.loads(self.read("expect.json"))
        options = dict(line.split(" = ") for line in self.read("options").splitlines()) if self.has("options") else {}
        config = os.path.join(self.folder if self.has("webhook.ini") else FIXTURES, "webhook.ini")
        self.args = ["--config", config]
        self.args += ["--all"] if options.get("path") == "/mutate/all" else []
        self.args += ["--namespace", options["namespace"]] if "namespace" in options else []

    def has(self, name):
        return os.path.exists(os.path.join(self.folder, name))

    def read(self, name):
        # As Go reads it: what is no UTF-8 becomes U+FFFD.
        with open(os.path.join(self.folder, name), encoding="utf-8", errors="replace") as file:
            return file.read()


def pod_of(document):
    is_review = as_dict(document).get("kind") == "AdmissionReview"
    return as_dict(document.get("request")).get("object") if is_review else document


def with_pod(document, pod):
    changed = copy.deepcopy(document)
    if as_dict(document).get("kind") != "AdmissionReview":
        return pod
    changed["request"]["object"] = pod
    return changed


def named(items, name):
    return [item for item in as_list(items) if as_dict(item).get("name") == name]


def without_empty(pod):
    """Go makes no difference between an empty list or map and none."""
    pod = copy.deepcopy(pod)
    for parent, keys in ((pod.get("metadata"), ("annotations",)), (pod.get("spec"), ("volumes", "initContainers"))):
        for key in keys:
            if isinstance(parent, dict) and not parent.get(key):
                parent.pop(key, None)
    if not pod.get("metadata"):
        pod.pop("metadata", None)
    return pod


def drop_requests_of_pod(spec, old):
    """Pod-level requests where the pod had only limits: each is the limit, and nothing else."""
    resources, had = as_dict(spec.get("resources")), as_dict(as_dict(old.get("resources")).get("requests"))
    requests = as_dict(resources.get("requests"))
    for name in [name for name in requests if name not in had and requests[name] == resources["limits"][name]]:
        del requests[name]
    if not requests and "requests" not in as_dict(old.get("resources")):
        resources.pop("requests", None)


def without_ours(after, before):
    """The patched pod less what was added: exactly the pod that came, or something was lost on the way."""
    pod = copy.deepcopy(after)
    spec, old = pod["spec"], as_dict(before.get("spec"))
    for key in ("containers", "initContainers"):
        if len(as_list(spec.get(key))) > len(as_list(old.get(key))):
            spec[key] = [c for c in spec[key] if as_dict(c).get("name") != AGENT]
    for container, was in zip(as_list(spec.get("initContainers")), as_list(old.get("initContainers"))):
        if as_dict(was).get("name") == AGENT and was.get("restartPolicy") is None:
            container.pop("restartPolicy", None)
            if "restartPolicy" in was:
                container["restartPolicy"] = None
    spec["volumes"] = as_list(spec.get("volumes"))[:len(as_list(old.get("volumes")))]
    drop_requests_of_pod(spec, old)
    if isinstance(spec.get("imagePullSecrets"), list):
        spec["imagePullSecrets"] = spec["imagePullSecrets"][:len(as_list(old.get("imagePullSecrets")))]
        if "imagePullSecrets" not in old:
            del spec["imagePullSecrets"]
    annotations = as_dict(as_dict(pod.get("metadata")).get("annotations"))
    was = as_dict(as_dict(before.get("metadata")).get("annotations"))
    for key in OURS & annotations.keys():
        if key in was:
            annotations[key] = was[key]
        else:
            del annotations[key]
    return pod


def made_restricted(pod):
    """The pod as its author would have to write it for a restricted namespace."""
    pod = copy.deepcopy(pod)
    spec = pod["spec"]
    spec["securityContext"] = {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
    for container in as_list(spec.get("containers")) + as_list(spec.get("initContainers")):
        if isinstance(container, dict):
            container["securityContext"] = {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}
    return pod


class ReviewPatch(Case):
    def answer(self, fixture, document=None):
        """The response; None when there is none, as the fixture wants it."""
        source = os.path.join(fixture.folder, fixture.file)
        if document is not None:
            source = self.write("review.json", json.dumps(document))
        done = self.run_binary(WEBHOOK, "--review", source, *fixture.args)
        if "error" in fixture.expect:
            self.assertEqual(2, done.code, done)
            return None
        response = json.loads(done.out)["response"]
        self.assertEqual(1 if not response["allowed"] else 0, done.code, done)
        return response

    def patched(self, pod, response):
        patch = json.loads(base64.b64decode(response.get("patch", "W10="), validate=True))
        self.assertEqual({"add"} if patch else set(), {operation["op"] for operation in patch})
        return jsonpatch.JsonPatch(patch).apply(pod) if patch else pod

    def expect_agent(self, fixture, pod):
        spec = pod["spec"]
        places = {key: named(spec.get(key), AGENT) for key in ("containers", "initContainers")}
        agents = places["containers"] + places["initContainers"]
        self.assertEqual(1, len(agents))
        place = "containers" if places["containers"] else "initContainers"
        self.assertEqual(fixture.expect.get("place", place), place)
        self.assertEqual(agents[0], spec[place][-1])
        env = {item["name"]: item.get("value") for item in agents[0]["env"]}
        for name, value in fixture.expect.get("env", {}).items():
            self.assertEqual(value, env.get(name), name)
        for mount in agents[0]["volumeMounts"]:
            self.assertEqual(1, len(named(spec["volumes"], mount["name"])), mount)

    def expect_pod(self, fixture, before, after):
        self.assertEqual(without_empty(before), without_empty(without_ours(after, before)))
        annotations = as_dict(as_dict(after.get("metadata")).get("annotations"))
        for key, value in fixture.expect.get("annotations", {}).items():
            self.assertEqual(value, annotations.get(key), key)
        was = as_dict(as_dict(before.get("metadata")).get("annotations"))
        for key, separator in LISTS.items():
            if isinstance(was.get(key), str):
                others = [name for name in was[key].split(separator) if name]
                self.assertEqual(others, annotations[key].split(separator)[:len(others)])
        if fixture.expect["decision"] == "injected":
            self.expect_agent(fixture, after)

    def check_case(self, fixture):
        """True when `restricted` was looked at."""
        response = self.answer(fixture)
        if response is None:
            return False
        document = json.loads(fixture.read(fixture.file))
        before = pod_of(document)
        self.assertEqual(fixture.expect["decision"] != "denied", response["allowed"])
        if fixture.expect["decision"] != "injected" and "patch" not in response:
            return False
        after = self.patched(before, response)
        self.expect_pod(fixture, before, after)
        if not restricted_faults(before):
            self.assertEqual([], restricted_faults(after))
        again = self.answer(fixture, with_pod(document, after))
        self.assertNotIn("patch", again)
        self.assertTrue(again["allowed"])
        return self.check_restricted(fixture, document, before)

    def check_restricted(self, fixture, document, before):
        pod = made_restricted(before)
        if fixture.expect["decision"] != "injected" or restricted_faults(pod):
            return False
        after = self.patched(pod, self.answer(fixture, with_pod(document, pod)))
        self.assertTrue(named(after["spec"].get("containers"), AGENT) +
                        named(after["spec"].get("initContainers"), AGENT))
        self.assertEqual([], restricted_faults(after))
        return True

    def test_each_fixture(self):
        names = sorted(glob.glob("*/*", root_dir=FIXTURES))
        restricted = 0
        for name in names:
            with self.subTest(name=name):
                restricted += self.check_case(Fixture(name))
        self.assertGreater(len(names), CASES_MIN)
        self.assertGreater(restricted, RESTRICTED_MIN)

    def test_the_check_itself_knows_what_is_forbidden(self):
        plain = {"containers": [{"name": "a"}], "volumes": [{"name": "v", "emptyDir": {}}]}
        good = made_restricted({"metadata": {}, "spec": plain})
        self.assertEqual([], restricted_faults(good))
        spoils = {
            "runAsNonRoot": lambda s: s["securityContext"].pop("runAsNonRoot"),
            "seccompProfile": lambda s: s["securityContext"].pop("seccompProfile"),
            "capabilities": lambda s: s["containers"][0]["securityContext"].pop("capabilities"),
            "allowPrivilegeEscalation": lambda s: s["containers"][0]["securityContext"].pop("allowPrivilegeEscalation"),
            "hostPath": lambda s: s["volumes"].append({"name": "h", "hostPath": {"path": "/"}}),
            "runAsUser": lambda s: s["containers"][0]["securityContext"].update(runAsUser=0),
            "hostPort": lambda s: s["containers"][0].update(ports=[{"hostPort": 80}]),
            "hostPID": lambda s: s.update(hostPID=True),
        }
        for what, spoil in spoils.items():
            with self.subTest(what=what):
                pod = copy.deepcopy(good)
                spoil(pod["spec"])
                self.assertTrue(any(what in fault for fault in restricted_faults(pod)), restricted_faults(pod))
