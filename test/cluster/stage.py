"""What the cluster test stands on: the installation, made as a user would make it, and all the pods, started at once.

`set_up` makes it; after that `world` knows what happened on the way, and how to ask the webhook and profefe.
"""

import collections
import datetime
import os
import shutil

import cluster
import definitions
import workloads
from children import Failure
from guard import Guard
from cluster import (ROOT, STATE, TOOLS, api, command, eventually, is_injected, is_ready, kubectl, say, summary)
from profefe import Reader
from workloads import ENABLED, MODES, TROUBLE, fast

SYSTEM, WEBHOOK, PROFEFE, PROFEFE_PORT = "profefe-system", "profefe-webhook", "profefe", 10100
MOVED, CERTIFICATES_MOVED = "observability", "certificates-moved"
REGISTRATION = "/apis/admissionregistration.k8s.io/v1/mutatingwebhookconfigurations/profefe-webhook"
VOLUME = os.path.join(STATE, "var", "lib", "profefe")  # /var/lib/profefe on the node
BUILD = os.environ.get("PROFEFE_TEST_BUILD") or os.path.join(ROOT, "build", "release")
AGENT_IMAGE = os.path.join(ROOT, "build", "static", "images", "profefe-agent.tar")
WEBHOOK_IMAGE = os.path.join(BUILD, "images", "profefe-webhook.tar")
WEBHOOK_BINARY = os.path.join(BUILD, "webhook", "profefe-webhook")
WORK = os.path.join(STATE, "suite")
NOT_OURS = ("default", "kube-system", "kube-public", "kube-node-lease")  # the namespaces that a cluster begins with

# Deadlines, several times what an idle machine of two cores takes.
ROLLOUT_SECONDS = 120
PODS_SECONDS = 180
REGISTRATION_SECONDS = 30  # from a change of the registration until the API server follows it
SERVICE_SECONDS = 30  # from a ready pod until its Service leads there
LOG_SECONDS = 30  # from a line of a container until its log is read with that line

NOT_LOGGED = ("not-annotated", "mirror-pod")  # reasons of reviews that the webhook's log tells on level debug only


class World:
    """What set_up made: replies to creates, counts of reviews, and a way to profefe."""

    def __init__(self):
        self.replies = {}
        self.profefe = None
        self.since = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(minutes=1)
        self.reviews_by_creation = None
        self.created = []
        self.ports_of_variables = {}
        self.guard = None

    def create(self, thing, **options):
        reply = api.create(thing, **options)
        self.replies[thing["metadata"].get("name") or thing["metadata"]["generateName"]] = reply
        return reply

    def pods_of(self, key, namespace):
        return api.pods(namespace, {"test": key})

    def profiles(self, expected):
        return self.profefe.profiles(expected.service, self.since)


world = World()


def set_up():
    definitions.fetch()
    cluster.enter()
    prepare()
    make_namespaces()
    world.guard = Guard(cluster.API_HOST, workloads.GUARD_PORT, lambda: (world.profefe.host, world.profefe.port))
    wait_until_called()
    make_workloads()
    wait_until_running()


def prepare(agent_image=AGENT_IMAGE, webhook_image=WEBHOOK_IMAGE):
    """A cluster with the installation and the app's image, and nothing else."""
    clear_earlier_run()
    os.makedirs(WORK)
    load_images([agent_image, webhook_image])
    install()


def clear_earlier_run():
    """A cluster that was kept has the objects of the last run."""
    shutil.rmtree(WORK, ignore_errors=True)
    present = [item["metadata"]["name"] for item in api.get("/api/v1/namespaces")["items"]]
    mine = [name for name in present if name not in NOT_OURS]
    if not mine:
        return
    say("clearing away what an earlier run left")
    kubectl("delete", "mutatingwebhookconfiguration", "--all")
    kubectl("delete", "validatingadmissionpolicybinding", "--all")
    kubectl("delete", "validatingadmissionpolicy", "--all")
    kubectl("delete", "namespace", *mine, "--ignore-not-found", "--timeout=300s", seconds=310)
    kubectl("delete", "persistentvolume", PROFEFE, "--ignore-not-found", "--timeout=30s")
    shutil.rmtree(VOLUME, ignore_errors=True)


def load_images(ours):
    """Ours, and those of the app and profefe, which are made here."""
    for archive in ours:
        if not os.path.exists(archive):
            raise Failure(f"{archive} is missing: `agent/static/build --tests amd64 arm64` makes the agent's image, "
                          "`cmake --build build/release --target images` the webhook's")
    made = []
    for name, image in (("app", workloads.APP_IMAGE), ("profefe", "localhost/profefe:dev")):
        archive = os.path.join(WORK, f"{name}.tar")
        command(os.path.join(ROOT, "manifests", "oci-archive"), archive, image, f"/{name}",
                f"{os.path.join(TOOLS, name)}=/{name}", "--user", "65532:65532")
        made.append(archive)
    command(os.path.join(ROOT, "test", "cluster", "load-image"), *ours, *made)
    say("images loaded")


def install():
    """As a user would, from a copy of the manifests: the certificates are written beside them."""
    manifests = os.path.join(WORK, "manifests")
    shutil.copytree(os.path.join(ROOT, "manifests"), manifests)
    shutil.rmtree(os.path.join(manifests, "overlays", "self-signed", "certificates"), ignore_errors=True)
    make_volume()
    command(os.path.join(manifests, "certificates"))
    kubectl("apply", "-k", os.path.join(manifests, "overlays", "demo"))
    eventually(lambda: api.deployment_ready(SYSTEM, WEBHOOK, 2) and api.deployment_ready(SYSTEM, PROFEFE, 1),
               ROLLOUT_SECONDS, lambda: f"{WEBHOOK} is not ready with 2 replicas, or {PROFEFE} with 1")
    world.profefe = Reader(api.get(f"/api/v1/namespaces/{SYSTEM}/services/{PROFEFE}")["spec"]["clusterIP"],
                           PROFEFE_PORT)
    wait_for_profefe()
    say("webhook and profefe are ready")


def make_volume():
    """The demo's claim has no storage class to come from here: a folder of the node, which profefe's user may write."""
    os.makedirs(VOLUME, exist_ok=True)
    os.chown(VOLUME, 65532, 65532)
    api.create({"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": PROFEFE}, "spec": {
        "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "persistentVolumeReclaimPolicy": "Retain",
        "claimRef": {"namespace": SYSTEM, "name": PROFEFE}, "hostPath": {"path": "/var/lib/profefe"}}})


def make_namespaces():
    for name, labels in workloads.NAMESPACES.items():
        make_namespace(name, labels)
    # Before any pod: a Service's variables go only into pods that are started after it.
    api.create(workloads.service("profefe", TROUBLE))
    api.create(workloads.secret(ENABLED))


def make_namespace(name, labels):
    """It stays until the cluster goes, or the next run begins: deleting it is work that other tests would wait for."""
    api.create(workloads.namespace(name, labels))
    eventually(lambda: api.request("GET", f"/api/v1/namespaces/{name}/serviceaccounts/default").status == 200, 30,
               lambda: f"namespace {name} has no ServiceAccount default", every=0.1)


def wait_until_called(namespace=SYSTEM):
    """The API server learns of a changed registration a moment later; until then pods pass the webhook by."""
    probe = workloads.pod("probe", ENABLED, fast())

    def look():
        before = reviews(namespace)
        return is_injected(api.create(probe, dry_run=True).body) and reviews(namespace) != before

    eventually(look, REGISTRATION_SECONDS,
               lambda: f"a dry-run pod with profefe.com/enable=true is not injected by the webhook in {namespace}, "
                       f"whose log "
                       f"ends with:\n{webhook_log(namespace, 10)}")


def make_workloads():
    """All at once. The reviews of this one burst are counted, and the CronJob waits until they are."""
    before = reviews()
    for thing in workloads.shop() + workloads.others() + workloads.troubled():
        world.create(thing)
    made_by_others = {"web": 2, "types": 1, "report": 1}  # two Deployments and a Job
    eventually(lambda: all(len(world.pods_of(key, ENABLED)) == count for key, count in made_by_others.items()),
               ROLLOUT_SECONDS, lambda: f"not all of {made_by_others} have made their pods")
    world.reviews_by_creation = reviews() - before
    for name in workloads.NAMESPACES:
        world.created += api.pods(name)
    world.create(workloads.nightly())
    model = api.create(workloads.pod("model", TROUBLE, fast()), dry_run=True).body
    for mode in MODES:
        world.create(workloads.hand_written(model, mode))
    each, world.ports_of_variables = workloads.one_by_one(model)
    world.create(each)
    world.create(workloads.of_a_newer_webhook(model))
    say(f"{len(world.created)} pods created")


def wait_until_running():
    """Every pod that is meant to run on is Ready. What a pod needs to get there is not a test's waiting time."""
    def waiting():
        pods = [pod for name in workloads.NAMESPACES for pod in api.pods(name)
                if pod["spec"]["restartPolicy"] == "Always"]
        return [summary(pod) for pod in pods if not is_ready(pod)]

    try:
        eventually(lambda: not waiting(), PODS_SECONDS, lambda: "not Ready: " + "; ".join(waiting()), every=1)
        say("all pods are Ready")
    except Failure as failure:
        say(str(failure))  # the tests say which of them matter, and why


# Taking a part away is the tests' business; these bring it back.

def bring_back_webhook():
    api.scale(SYSTEM, WEBHOOK, 2)
    eventually(lambda: api.deployment_ready(SYSTEM, WEBHOOK, 2), ROLLOUT_SECONDS, lambda: "the webhook is not back")
    wait_until_called()


def remove_moved(webhooks):
    """The registration is not the moved namespace's alone: it is pointed back to where it was. (To apply the demo again
    would also bring back profefe.)"""
    api.patch(REGISTRATION, {"webhooks": webhooks})
    kubectl("delete", "namespace", MOVED, "--wait=false")
    wait_until_called()


def bring_back_profefe():
    api.scale(SYSTEM, PROFEFE, 1)
    eventually(lambda: api.deployment_ready(SYSTEM, PROFEFE, 1), ROLLOUT_SECONDS, lambda: "profefe is not back")
    wait_for_profefe()


def wait_for_profefe():
    eventually(lambda: world.profefe.services() is not None, SERVICE_SECONDS,
               lambda: "profefe does not answer through its Service")


# Asking the webhook.

def webhook_pods(namespace=SYSTEM):
    return [pod for pod in api.pods(namespace, {"app.kubernetes.io/name": WEBHOOK}) if is_ready(pod)]


def reviews(namespace=SYSTEM):
    """How often each (result, reason) was given, over all replicas."""
    return sum(map(reviews_by, webhook_pods(namespace)), collections.Counter())


def reviews_by(pod):
    """The same of one replica."""
    counts = collections.Counter()
    for (family, labels), value in cluster.metrics(pod["status"]["podIP"], cluster.WEBHOOK_ADMIN_PORT).items():
        if family == "profefe_webhook_reviews_total" and value:
            pairs = dict(labels)
            counts[pairs.get("result"), pairs.get("reason", "")] += int(value)
    return counts


def reviews_of(pod_namespace, pod):
    """How often the pods of this name were reviewed. Pods that are of no interest are not logged: see reviews."""
    return log_of_all_reviews().count(f" msg=review namespace={pod_namespace} pod={pod} ")


def log_of_all_reviews():
    """The webhook's log once it has a line for each review that is counted by now: the kubelet gets it a moment
    later."""
    logs = {}
    for pod in webhook_pods():
        name, counts = pod["metadata"]["name"], reviews_by(pod)
        counted = sum(value for (_, reason), value in counts.items() if reason not in NOT_LOGGED)

        def look():
            logs[name] = api.log(SYSTEM, name, WEBHOOK)
            return logs[name].count(" msg=review ") >= counted

        eventually(look, LOG_SECONDS, lambda: f"the log of {name} has not the {counted} reviews of {dict(counts)}",
                   every=0.1)
    return "\n".join(logs.values())


def webhook_log(namespace=SYSTEM, lines=None):
    return "\n".join(api.log(namespace, pod["metadata"]["name"], WEBHOOK, lines)
                     for pod in api.pods(namespace, {"app.kubernetes.io/name": WEBHOOK}))
