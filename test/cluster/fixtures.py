"""The pods of test/fixtures/review, sent through a real API server.

Each configuration among the fixtures has a webhook of its own on loopback beside the API server, and each pair of
configuration and path a namespace of its own, plain and under Pod Security `restricted`. A pod that the API server
refuses without us says nothing about us and is left out.
"""

import base64
import collections
import concurrent.futures
import contextlib
import copy
import dataclasses
import fnmatch
import glob
import json
import os
import re

import stage
import workloads
from case import Case, setUpModule  # noqa: F401 (unittest calls the latter)
from children import Failure
from cluster import AGENT, ROOT, TOKEN_PATH, annotation, api, command, containers, eventually, is_injected, say
from stage import REGISTRATION, WEBHOOK_BINARY, WORK
from webhook import Webhook

FOLDER = os.path.join(ROOT, "test", "fixtures", "review")
REGISTERED = "profefe-fixtures"
PREFIX = "fixtures"  # of the namespaces' names
LABEL = "test/fixtures"
POD_KIND = {"group": "", "version": "v1", "kind": "Pod"}
WORKERS = 8  # creates at a time
LEARNED_SECONDS = 30  # until the API server follows a new registration
# Fewer pods than this would mean that the fixtures have changed their form, not that so many pods are invalid.
LEAST = 120
SKIP_CONTAINERS = ("eks.amazonaws.com/skip-containers", "azure.workload.identity/skip-containers")
# Fixtures whose warnings a real API server cannot bring about -> why.
OFFLINE_ALONE = {
    "mode/restart-policy-dropped-with-the-annotations": "a pod without our annotations never reaches the webhook",
    "resources/pod-level-bare-numbers-capped": "it writes the pod's 0.05 as 50m before the webhook reads it",
}
# Annotations that may come with an agent where the pod has none of that name.
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"
COMPANIONS = {"profefe.com/status", "kubectl.kubernetes.io/default-container", SAFE}


@dataclasses.dataclass
class Fixture:
    name: str
    pod: dict
    expect: dict
    settings: str
    every_pod: bool  # the path is /mutate/all

    @property
    def group(self):
        return self.settings, self.every_pod


def load():
    """The fixtures that hold a Pod which somebody creates."""
    found = []
    for name in sorted(glob.glob("*/*", root_dir=FOLDER)):
        folder = os.path.join(FOLDER, name)
        pod = _pod_in(folder)
        if pod is None:
            continue
        found.append(Fixture(name, pod, json.loads(_text(folder, "expect.json")),
                             _text(folder, "webhook.ini") or _text(FOLDER, "webhook.ini"),
                             "/mutate/all" in (_text(folder, "options") or "")))
    return found


def _text(folder, name):
    with contextlib.suppress(OSError), open(os.path.join(folder, name), encoding="utf-8") as file:
        return file.read()
    return None


def _pod_in(folder):
    """None where no API server would send such a review, or where it would not pass the pod on as it came."""
    try:
        if text := _text(folder, "pod.json"):
            pod = _read(text)
        else:
            request = _read(_text(folder, "review.json") or "null")["request"]
            if request["operation"] != "CREATE" or request["kind"] != POD_KIND or request.get("subResource"):
                return None
            pod = request["object"]
        notes = pod["metadata"].get("annotations") or {}
        return pod if isinstance(pod["spec"], dict) and all(isinstance(value, str)
                                                            for value in notes.values()) else None
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def _read(text):
    """JSON without keys that stand twice in an object: of these the API server passes on one."""
    def once(pairs):
        if len(dict(pairs)) != len(pairs):
            raise ValueError("a key stands twice")
        return dict(pairs)

    return json.loads(text, object_pairs_hook=once)


class Fixtures(Case):

    @classmethod
    def setUpClass(cls):
        cls.fixtures = load()
        cls.groups = {group: f"{PREFIX}-{number}" for number, group in
                      enumerate(sorted({fixture.group for fixture in cls.fixtures}))}
        cls.version = command(WEBHOOK_BINARY, "--version").stdout.split()[1]
        cls.make_namespaces()
        cls.register()
        cls.results = cls.create_all()
        say(f"{len(cls.results)} of {len(cls.fixtures)} fixtures hold pods that the API server takes")

    @classmethod
    def make_namespaces(cls):
        names = {f"{PREFIX}-bare": {}, f"{PREFIX}-bare-restricted": workloads.RESTRICTED}
        for name in cls.groups.values():
            names[name] = {LABEL: name}
            names[f"{name}-restricted"] = {LABEL: name, **workloads.RESTRICTED}
        for name, labels in names.items():
            stage.make_namespace(name, labels)
        accounts = {fixture.pod["spec"].get("serviceAccountName") for fixture in cls.fixtures} - {None, "default"}
        for name in names:
            for account in accounts:
                if isinstance(account, str):
                    api.request("POST", f"/api/v1/namespaces/{name}/serviceaccounts",
                                {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})

    @classmethod
    def register(cls):
        """The shipped entries, but each leads to the webhook and the namespaces of its configuration."""
        shipped = {hook["clientConfig"]["service"]["path"]: hook for hook in api.get(REGISTRATION)["webhooks"]}
        entries = []
        webhooks = {}
        for (settings, every_pod), name in cls.groups.items():
            webhook = webhooks.get(settings) or cls.start_webhook(settings, len(webhooks))
            webhooks[settings] = webhook
            path = "/mutate/all" if every_pod else "/mutate"
            with open(webhook.ca, "rb") as file:
                bundle = base64.b64encode(file.read()).decode()
            entries.append({**shipped[path], "name": f"{name}.profefe.com",
                            "namespaceSelector": {"matchLabels": {LABEL: name}},
                            "clientConfig": {"url": webhook.url(path), "caBundle": bundle}})
        path = os.path.dirname(REGISTRATION)
        reply = api.request("POST", path, {
            "apiVersion": "admissionregistration.k8s.io/v1", "kind": "MutatingWebhookConfiguration",
            "metadata": {"name": REGISTERED}, "webhooks": entries})
        cls.addClassCleanup(api.request, "DELETE", f"{path}/{REGISTERED}")
        if reply.status != 201:
            raise Failure(f"the registration of the fixtures' webhooks was refused: {reply.body.get('message')}")
        for name in cls.groups.values():
            probe = workloads.pod("probe", name, workloads.annotations(enable="true", port="6060"))
            eventually(lambda: annotation(api.create(probe, dry_run=True).body, "status"), LEARNED_SECONDS,
                       lambda: f"the webhook of namespace {name} is not called")

    @classmethod
    def start_webhook(cls, settings, number):
        folder = os.path.join(WORK, f"{PREFIX}-{number}")
        os.makedirs(folder)
        webhook = Webhook(WEBHOOK_BINARY, folder, settings=settings)
        cls.addClassCleanup(webhook.remove)
        return webhook.start()

    @classmethod
    def create_all(cls):
        """By fixture: the reply without us, with us, and both under `restricted` where it is valid there without us."""
        def create(fixture):
            bare = cls.create(fixture, f"{PREFIX}-bare")
            if bare.status != 201:
                return fixture, None
            name = cls.groups[fixture.group]
            strict = cls.create(fixture, f"{PREFIX}-bare-restricted")
            return fixture, (bare, cls.create(fixture, name), strict,
                             cls.create(fixture, f"{name}-restricted") if strict.status == 201 else None)

        with concurrent.futures.ThreadPoolExecutor(WORKERS) as pool:
            return [(fixture, replies) for fixture, replies in pool.map(create, cls.fixtures) if replies]

    @staticmethod
    def create(fixture, namespace):
        pod = copy.deepcopy(fixture.pod)
        pod["metadata"]["namespace"] = namespace
        return api.request("POST", f"/api/v1/namespaces/{namespace}/pods?dryRun=All&fieldValidation=Ignore", pod)

    def test_enough_of_them_are_valid_pods(self):
        self.assertGreaterEqual(len(self.results), LEAST)
        restricted = sum(1 for _, replies in self.results if replies[3])
        self.assertGreaterEqual(restricted, 1, "pods that are valid under restricted Pod Security")

    def test_every_valid_pod_is_accepted_unless_it_asks_to_be_refused(self):
        for fixture, (_, ours, _, restricted) in self.results:
            with self.subTest(fixture.name):
                wanted = 403 if fixture.expect["decision"] == "denied" else 201
                self.assertEqual(ours.status, wanted, ours.body.get("message"))
                if restricted:
                    self.assertEqual(restricted.status, wanted, f"under restricted: {restricted.body.get('message')}")

    def test_warnings_are_the_expected_ones(self):
        for fixture, (bare, ours, _, _) in self.results:
            with self.subTest(fixture.name):
                # The API server's own have a path of the pod in them, and stand before or after.
                got = [text for text in ours.warnings if not re.match(r"(metadata|spec)[.\[]", text)]
                patterns = fixture.expect.get("warnings", [])
                if fixture.name in OFFLINE_ALONE:
                    continue
                if fixture.expect["decision"] == "denied":  # no warnings then: the message has them all
                    for pattern in patterns:
                        if not re.match(r"and \d+ more", pattern):
                            self.assertTrue(fnmatch.fnmatchcase(ours.body["message"], f"*{pattern}*"),
                                            ours.body["message"])
                    continue
                # It also sorts annotations: the warnings come in another order.
                for pattern in patterns:
                    found = next((text for text in got if fnmatch.fnmatchcase(text, pattern)), None)
                    self.assertIsNotNone(found, f"warnings {got}, expected {pattern!r}")
                    got.remove(found)
                self.assertEqual(got, [], f"expected no more than {patterns}")

    def test_decision_and_status_are_the_expected_ones(self):
        for fixture, (bare, ours, _, _) in self.accepted():
            with self.subTest(fixture.name):
                injected = is_injected(ours.body) and not is_injected(bare.body)
                self.assertEqual(injected, fixture.expect["decision"] == "injected")
                if "status" in fixture.expect:
                    wanted = fixture.expect["status"]
                    self.assertEqual(annotation(ours.body, "status"),
                                     wanted and wanted.replace("@VERSION@", self.version))

    def test_no_agent_mounts_a_token(self):
        for fixture, (bare, ours, _, _) in self.accepted():
            if not is_injected(ours.body) or is_injected(bare.body):
                continue
            with self.subTest(fixture.name):
                volumes = {volume["name"]: volume for volume in ours.body["spec"]["volumes"]}
                mounts = containers(ours.body)[AGENT]["volumeMounts"]
                self.assertEqual([mount["mountPath"] for mount in mounts if mount["mountPath"].startswith(TOKEN_PATH)],
                                 [TOKEN_PATH])
                for mount in mounts:
                    self.assertNotIn("projected", volumes[mount["name"]])

    def test_qos_class_is_as_before(self):
        seen = collections.Counter()
        for fixture, (bare, ours, _, _) in self.accepted():
            before, after = (reply.body["status"]["qosClass"] for reply in (bare, ours))
            # BestEffort means no requests at all: an agent that has one ends it. And who says `none` leaves it to
            # others.
            told = any("the pod is not Guaranteed any more" in text for text in ours.warnings)
            loose = before == "BestEffort" or says_none(fixture) or told
            with self.subTest(fixture.name):
                self.assertIn(after, {before, "Burstable"} if loose else {before})
            seen[before] += is_injected(ours.body)
        self.assertGreater(seen["Guaranteed"], 0, f"injected pods by QoS class: {dict(seen)}")

    def test_all_else_is_as_it_was(self):
        """What the API server stores, less what came with the agent, is what it stores without us."""
        for fixture, (bare, ours, _, _) in self.accepted():
            with self.subTest(fixture.name):
                self.assertEqual(without_agent(ours.body, bare.body), without_agent(bare.body, bare.body))

    def accepted(self):
        return [(fixture, replies) for fixture, replies in self.results if replies[1].status == 201]


def says_none(fixture):
    """Whether a resource of the agent was left out by name."""
    notes = fixture.pod["metadata"].get("annotations") or {}
    keys = [f"{kind}-{bound}" for kind in ("cpu", "memory") for bound in ("request", "limit")]
    return any(notes.get(f"profefe.com/{key}", "").strip() == "none"
               or re.search(rf"(?m)^{key} *= *none", fixture.settings)
               for key in keys)


def less_companions(pod, bare):
    """Takes out what the webhook adds beside the agent: behind the pod's own in a list, or what its agent had lost."""
    spec, meta = pod["spec"], pod["metadata"]
    own = bare["spec"].get("imagePullSecrets") or []
    secrets = spec.get("imagePullSecrets") or []
    if secrets[:len(own)] == own:
        spec["imagePullSecrets"] = own
    for key in SKIP_CONTAINERS:
        text = (meta.get("annotations") or {}).get(key)
        before = (bare["metadata"].get("annotations") or {}).get(key, "")
        if text is not None and text.startswith(before) and text[len(before):].lstrip(",;") in ("", AGENT):
            del meta["annotations"][key]
    lost = {container["name"] for container in bare["spec"].get("initContainers") or []
            if container["name"] == AGENT and "restartPolicy" not in container}
    for container in spec.get("initContainers") or []:
        if container["name"] in lost and container.get("restartPolicy") == "Always":
            del container["restartPolicy"]
    if not spec.get("imagePullSecrets"):
        spec.pop("imagePullSecrets", None)


def without_agent(pod, bare):
    """A stored pod less an agent that `bare` has not, and less what differs from one create to the next."""
    pod = copy.deepcopy(pod)
    less_companions(pod, copy.deepcopy(bare))
    spec, meta = pod["spec"], pod["metadata"]
    if is_injected(pod) and not is_injected(bare):
        mounted = {mount["name"] for mount in containers(pod)[AGENT].get("volumeMounts", [])}
        for kind in ("initContainers", "containers"):
            spec[kind] = [container for container in spec.get(kind) or [] if container["name"] != AGENT]
        mounted -= {volume["name"] for volume in bare["spec"].get("volumes", [])}
        spec["volumes"] = [volume for volume in spec.get("volumes") or [] if volume["name"] not in mounted]
    # Requests of zero for us make the API server write a zero for the whole pod.
    whole = spec.get("resources", {}).get("requests", {})
    for kind in [kind for kind, value in whole.items() if value == "0"]:
        del whole[kind]
    held = bare["metadata"].get("annotations") or {}
    meta["annotations"] = {key: value for key, value in (meta.get("annotations") or {}).items()
                           if key in held or key not in COMPANIONS}
    # Two that may have been there, copied from another pod or for volumes of its own.
    meta["annotations"].pop("profefe.com/status", None)
    if meta["annotations"].get(SAFE, "").startswith(held.get(SAFE, "")):
        meta["annotations"].pop(SAFE, None)
    for key in ("uid", "creationTimestamp", "managedFields", "namespace", "generation"):
        meta.pop(key, None)
    if meta.get("generateName"):
        meta.pop("name", None)
    spec = {key: value for key, value in spec.items() if value not in ([], {}, None)}
    text = json.dumps({"metadata": meta, "spec": spec}, sort_keys=True)
    return json.loads(re.sub(r"kube-api-access-\w{5}", "kube-api-access", text))
