"""What the cluster test runs: namespaces, and pods of the small busy Go app in every form a pod comes in.

Each pod carries the label `test`, by which a test finds it; its value is the key of what it is expected to become.
"""

import copy
import dataclasses
import os
import re

from cluster import AGENT, AGENT_PORT, API_HOST, ROOT

APP_IMAGE = "localhost/profefe-test-app:dev"
ENABLED, ALL, PLAIN, LOOSE, TROUBLE = "shop", "everything", "plain", "loose", "trouble"
RESTRICTED = {"pod-security.kubernetes.io/enforce": "restricted"}
NAMESPACES = {
    ENABLED: {"profefe.com/inject": "enabled", **RESTRICTED},
    ALL: {"profefe.com/inject": "all", **RESTRICTED},
    PLAIN: dict(RESTRICTED),
    LOOSE: {"profefe.com/inject": "enabled"},  # what restricted Pod Security would refuse before the webhook sees it
    TROUBLE: {"profefe.com/inject": "enabled", **RESTRICTED},
}

INTERVAL_SECONDS, CPU_SECONDS = 5, 2
# Long enough for the first CPU profile, which begins within 20 s of the start, and for one more of each type.
JOB_SECONDS = 40
LOAD = 0.03  # of a core, for each of some thirty apps: all of them together leave one of two cores to the cluster
BLOCK_RATE_NS, MUTEX_FRACTION = 1000, 1

USUAL = ("cpu", "heap", "goroutine")
ALL_TYPES = USUAL + ("block", "mutex")

SPOOL = "16Mi"
SECRET, TOKEN, GUARD_PORT = "profefe-credentials", "open-sesame", 10443

# Bytes that no number, list, URL or word is made of; a newline and an escape sequence are for the logs.
GARBAGE = '%n{"\\\n\x1b[31m\tä,=;://$(X) ]]'


@dataclasses.dataclass(frozen=True)
class Expected:
    """What profefe must come to hold of the pods with one label."""
    key: str
    namespace: str
    service: str
    types: tuple = USUAL
    never: tuple = ("block", "mutex")  # the app does not set their rates: empty, so never stored
    count: int = 1
    targets: tuple = (None,)
    labels: tuple = ()


PROFILED = (
    Expected("web", ENABLED, "web", types=ALL_TYPES, never=(), count=2, labels=(("team", "shop"), ("tier", "front"))),
    Expected("named", ENABLED, "storefront"),
    Expected("report", ENABLED, "report", types=ALL_TYPES, never=()),
    Expected("nightly", ENABLED, "nightly"),
    Expected("batch", ENABLED, "batch"),
    Expected("again", ENABLED, "checkout"),
    Expected("two", ENABLED, "two", targets=("api", "worker")),
    Expected("spooled", ENABLED, "spooled"),
    Expected("secretive", ENABLED, "secretive"),
    Expected("all-bare", ALL, "all-bare"),
    Expected("all-yes", ALL, "all-yes"),
    Expected("linked-native", TROUBLE, "linked-native"),
    Expected("linked-container", TROUBLE, "linked-container"),
)
# Types beyond the usual ones, and what profefe calls them: type, and label profile_type.
OTHER_TYPES = {"trace:5s=1s": ("trace", None), "threadcreate:5s": ("threadcreate", None),
               "allocs:5s": ("other", "allocs"),
               "other/goroutine:5s": ("other", "goroutine")}
# Pods whose app has a profile of nearly 8 MiB, compressed, and the memory limit of their agents.
LARGE = {"large": "16Mi", "large-on-disk": "8Mi"}
LARGE_BYTES = 9_000_000
# Pods that no agent may be in: they said so, or neither they nor their namespace asked for one.
LEFT_ALONE = (("opted-out", ENABLED), ("bare", ENABLED), ("all-no", ALL), ("unlabelled", PLAIN))


def annotations(**settings):
    """profefe.com annotations; an underscore stands for a hyphen."""
    return {f"profefe.com/{key.replace('_', '-')}": value for key, value in settings.items()}


def fast(**more):
    """An enabled pod whose profiles come quickly."""
    return annotations(enable="true", interval=f"{INTERVAL_SECONDS}s", cpu_seconds=str(CPU_SECONDS), **more)


def every_type_fast(**more):
    return fast(types=",".join(f"{kind}:{INTERVAL_SECONDS}s" for kind in ALL_TYPES), **more)


def app(name="app", load=LOAD, rates=False, lifetime=None, port=6060, port_name=None, large=0):
    """A container of the busy app under everything that Pod Security `restricted` asks for."""
    args = [f"-listen=127.0.0.1:{port}", f"-load={load}"]
    if rates:
        args += [f"-block-rate={BLOCK_RATE_NS}", f"-mutex-fraction={MUTEX_FRACTION}"]
    if lifetime:
        args.append(f"-for={lifetime}s")
    if large:
        args.append(f"-large={large}")
    container = {
        "name": name, "image": APP_IMAGE, "imagePullPolicy": "Never", "args": args,
        "resources": {"requests": {"cpu": "5m", "memory": "16Mi"}, "limits": {"memory": "128Mi"}},
        "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    if port_name:
        container["ports"] = [{"name": port_name, "containerPort": port}]
    return container


def pod_spec(*app_containers, restart="Always"):
    return {
        "restartPolicy": restart,
        "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
        "containers": list(app_containers) or [app()]}


def template(key, notes, spec, labels=None):
    meta = {"labels": {"test": key, **(labels or {})}}
    if notes:
        meta["annotations"] = notes
    return {"metadata": meta, "spec": spec}


def pod(key, namespace, notes=None, spec=None, labels=None, generate=False):
    thing = {"apiVersion": "v1", "kind": "Pod", **template(key, notes, spec or pod_spec(), labels)}
    thing["metadata"]["namespace"] = namespace
    thing["metadata"]["generateName" if generate else "name"] = f"{key}-" if generate else key
    return thing


def deployment(key, namespace, replicas, notes, spec):
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": key, "namespace": namespace},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"test": key}},
                     "template": template(key, notes, spec)}}


def job(key, namespace, notes, spec):
    return {"apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": key, "namespace": namespace},
            "spec": {"backoffLimit": 0, "template": template(key, notes, spec)}}


def cron_job(key, namespace, notes, spec):
    return {"apiVersion": "batch/v1", "kind": "CronJob", "metadata": {"name": key, "namespace": namespace},
            "spec": {"schedule": "* * * * *", "concurrencyPolicy": "Forbid",
                     "jobTemplate": {"spec": job(key, namespace, notes, spec)["spec"]}}}


def namespace(name, labels):
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}


def service(name, in_namespace):
    return {"apiVersion": "v1", "kind": "Service", "metadata": {"name": name, "namespace": in_namespace},
            "spec": {"selector": {"test": "nobody"}, "ports": [{"port": 10100}]}}


def secret(in_namespace):
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": SECRET, "namespace": in_namespace},
            "stringData": {"token": TOKEN}}


def shop():
    """The namespace that is labelled enabled, less the CronJob."""
    return [
        deployment("web", ENABLED, 2, fast(labels="team=shop,tier=front"), pod_spec(app(rates=True))),
        job("report", ENABLED, every_type_fast(), pod_spec(app(rates=True, lifetime=JOB_SECONDS), restart="Never")),
        pod("named", ENABLED, fast(mode="container"), labels={"app.kubernetes.io/name": "storefront"}),
        pod("batch", ENABLED, fast(), generate=True),
        pod("again", ENABLED, fast(service="checkout")),
        pod("two", ENABLED, fast(), pod_spec(app("api", port=6060, port_name="pprof"),
                                             app("worker", port=7070, port_name="pprof"))),
        pod("spooled", ENABLED, fast(spool=SPOOL)),
        pod("secretive", ENABLED, fast(collector_secret=SECRET, collector=f"http://{API_HOST}:{GUARD_PORT}")),
        deployment("types", ENABLED, 1, fast(types=",".join(OTHER_TYPES)), pod_spec()),
        pod("opted-out", ENABLED, annotations(enable="false", interval="5s")),
        pod("bare", ENABLED),
    ] + large()


def large():
    types, spec = "cpu,heap,goroutine,other/large:15s", pod_spec(app(large=LARGE_BYTES))
    return [pod("large", ENABLED, fast(types=types), spec),
            pod("large-on-disk", ENABLED, fast(types=types, spool="64Mi", memory_limit="8Mi", memory_request="8Mi"),
                spec)]


def nightly():
    return cron_job("nightly", ENABLED, fast(), pod_spec(app(lifetime=JOB_SECONDS), restart="OnFailure"))


def others():
    """The namespace that is labelled all, and one without a label. all-bare takes every default."""
    return [
        pod("all-bare", ALL),
        pod("all-yes", ALL, fast()),
        pod("all-no", ALL, annotations(enable="No")),
        pod("unlabelled", PLAIN, fast()),
    ]


# Pods whose settings are wrong in one way or another, in both modes.

MODES = ("native", "container")
NOWHERE = f"http://nowhere.{TROUBLE}.svc:10100"
DEAD_PORT = "9"
TYPOS = {"prot": "6060", "interval": "soon"}
MALFORMED = {
    "port": "=7,99999999", "path": "debug pprof", "scheme": "gopher", "types": "cpu:0s=9999999s,bogus",
    "interval": "-1s",
    "cpu-seconds": "0.5", "labels": "=,pod=x,\x01", "pod-labels": ",,", "collector": "ftp://x y",
    "image": "Bad Image!!",
    "image-pull-policy": "Sometimes", "log-level": "loud", "no-such-key": GARBAGE, "service": ""}


def troubled():
    """Pods that must start, become Ready and stay so, by name."""
    made = []
    for mode in MODES:
        def add(key, notes):
            made.append(pod(f"{key}-{mode}", TROUBLE, notes, pod_spec(app(load=LOAD if key == "linked" else 0))))
        add("linked", fast(mode=mode))
        add("typos", {**annotations(enable="true", mode=mode), **annotations(**TYPOS)})
        add("malformed", {**annotations(**MALFORMED), **annotations(enable="true", mode=mode)})
        add("wrong-port", fast(mode=mode, port=DEAD_PORT))
        add("nowhere", fast(mode=mode, collector=NOWHERE))
    # Native is one word of two: any other is malformed too.
    made.append(pod("sideways", TROUBLE, annotations(enable="true", mode="sideways"), pod_spec(app(load=0))))
    return made


def agent_env_names():
    """Every variable that the settings table gives the agent, identity included."""
    with open(os.path.join(ROOT, "common", "settings", "settings_table.c"), encoding="utf-8") as file:
        table = file.read()
    names = re.findall(r'"(PROFEFE_AGENT_[A-Z_]+)"', table)
    identity = re.findall(r'"(POD_[A-Z]+|NODE_NAME)"', table)
    if len(names) < 10 or len(identity) < 3:
        raise AssertionError(f"common/settings/settings_table.c names only {names + identity}: its form has changed")
    return sorted(set(names)), sorted(set(identity))


def hand_written(injected, mode):
    """A pod with a sidecar as the webhook writes it, but with garbage in every variable. SIDECAR stays: without it the
    agent is a program on a command line, which may end."""
    names, identity = agent_env_names()
    env = [{"name": name, "value": "1" if name == "PROFEFE_AGENT_SIDECAR" else GARBAGE} for name in names + identity]
    agent = {**_agent_of(injected), "env": env}
    thing = pod(f"garbage-{mode}", TROUBLE, spec=pod_spec(app(load=0)))
    thing["spec"]["volumes"] = _volumes_of(injected)
    if mode == "native":
        thing["spec"]["initContainers"] = [{**agent, "restartPolicy": "Always"}]
    else:
        thing["spec"]["containers"].append(agent)
    return thing


def one_by_one(injected):
    """A pod with a plain agent container for each variable that holds garbage, all others being right; and the port on
    which each of them listens."""
    names, _ = agent_env_names()
    thing = pod("garbage-each", TROUBLE, spec=pod_spec(app(load=0)))
    thing["spec"]["volumes"] = _volumes_of(injected)
    ports = {}
    for number, name in enumerate(names, 1):
        port = AGENT_PORT if name == "PROFEFE_AGENT_LISTEN" else AGENT_PORT + number
        right = {"PROFEFE_AGENT_SIDECAR": "1", "PROFEFE_AGENT_TARGETS": "http://127.0.0.1:6060/debug/pprof",
                 "PROFEFE_AGENT_COLLECTOR": "http://profefe.profefe-system.svc:10100",
                 "PROFEFE_AGENT_SERVICE": "garbage-each", "PROFEFE_AGENT_TYPES": "goroutine",
                 "PROFEFE_AGENT_LISTEN": f":{port}"}
        env = [{"name": key, "value": value} for key, value in {**right, name: GARBAGE}.items()]
        agent = {**_agent_of(injected), "name": container_of_variable(name), "env": env}
        thing["spec"]["containers"].append(agent)
        ports[name] = port
    return thing, ports


def of_a_newer_webhook(injected):
    """A pod whose sidecar is told more than the agent knows: how an old agent looks beside a new webhook."""
    agent = _agent_of(injected)
    env = [{**item, "value": "newer"} if item["name"] == "PROFEFE_AGENT_SERVICE" else item for item in agent["env"]]
    env += [{"name": "PROFEFE_AGENT_INVENTED_LATER", "value": "5s"}, {"name": "PROFEFE_LATER_STILL", "value": GARBAGE}]
    thing = pod("newer", TROUBLE, spec=pod_spec(app()))
    thing["spec"]["volumes"] = _volumes_of(injected)
    thing["spec"]["initContainers"] = [{**agent, "env": env, "restartPolicy": "Always"}]
    return thing


def container_of_variable(name):
    return "bad-" + name.removeprefix("PROFEFE_AGENT_").lower().replace("_", "-")


def _agent_of(injected):
    """The agent's container in a stored pod, as a plain container without what names the pod it came from."""
    spec = injected["spec"]
    agent = next(item for item in spec.get("initContainers", []) + spec["containers"] if item["name"] == AGENT)
    agent = copy.deepcopy(agent)
    agent.pop("restartPolicy", None)
    agent.pop("ports", None)
    return agent


def _volumes_of(injected):
    mounted = {mount["name"] for mount in _agent_of(injected).get("volumeMounts", [])}
    return [volume for volume in injected["spec"].get("volumes", []) if volume["name"] in mounted]
