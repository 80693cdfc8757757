"""The test cluster as its tests see it: the API server, the node's processes, the webhook's and the agents' own ports.

All of it is reached from inside the cluster's network namespace, which `enter` joins before anything else.
"""

import base64
import collections
import contextlib
import ctypes
import dataclasses
import functools
import http.client
import json
import os
import re
import ssl
import subprocess
import time
import urllib.parse

from children import Failure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
STATE = os.path.realpath(os.environ.get("PROFEFE_TEST_STATE") or os.path.join(ROOT, "build", "cluster"))
TOOLS = os.path.realpath(os.environ.get("PROFEFE_TEST_TOOLS") or os.path.join(ROOT, "build", "tools"))

API_HOST, API_PORT = "10.240.0.1", 6443
AGENT_PORT, WEBHOOK_ADMIN_PORT = 10101, 8080
REQUEST_SECONDS = 30  # above any answer of an API server that still lives
COMMAND_SECONDS = 120
UP_SECONDS = 600  # above the sum of the waits in test/cluster/up
POLL_SECONDS = 0.5
CLONE_NEWNET = 0x40000000  # linux/sched.h
AGENT = "profefe-agent"
TOKEN_PATH = "/var/run/secrets/kubernetes.io/serviceaccount"

_started = time.monotonic()


def say(text):
    """A line of progress, with the seconds since the start."""
    print(f"cluster: {time.monotonic() - _started:5.1f} s  {text}", flush=True)


def enter():
    """Joins the cluster's network namespace; threads and programs started later are in it too."""
    try:
        with open(os.path.join(STATE, "name"), encoding="utf-8") as file:
            namespace = os.path.join("/run/netns", file.read().strip())
        with open(namespace, "rb") as file:
            _join(file)
    except OSError as error:
        raise Failure(f"no cluster is running in {STATE} ({error}); start it with test/cluster/up") from error


def _join(namespace):
    if ctypes.CDLL(None, use_errno=True).setns(namespace.fileno(), CLONE_NEWNET) != 0:
        raise Failure(f"cannot enter {namespace.name}: {os.strerror(ctypes.get_errno())}; this needs root")


@contextlib.contextmanager
def entered():
    """The same for a while; afterwards the network is again the one from before."""
    with open("/proc/self/ns/net", "rb") as before:
        enter()
        try:
            yield
        finally:
            _join(before)


@contextlib.contextmanager
def up():
    """A cluster that runs: the one that is there, or else one that ends with this."""
    there = command(_script("in-node"), "true", check=False).returncode == 0
    try:
        command(_script("up"), seconds=UP_SECONDS)
        yield
    finally:
        if not there:
            command(_script("down"))


def _script(name):
    return os.path.join(ROOT, "test", "cluster", name)


def command(*argv, check=True, seconds=COMMAND_SECONDS, env=None, text_input=None):
    """Runs a program to its end. Failure, with all it said, when it fails."""
    try:
        done = subprocess.run([str(word) for word in argv], input=text_input, capture_output=True, text=True,
                              errors="backslashreplace", timeout=seconds, check=False,
                              env={**os.environ, **(env or {})})
    except subprocess.TimeoutExpired as error:
        raise Failure(f"{' '.join(map(str, argv))}: not done after {seconds} s") from error
    if check and done.returncode != 0:
        raise Failure(f"{' '.join(map(str, argv))}: exit code {done.returncode}\n{done.stdout}{done.stderr}".rstrip())
    return done


def kubectl(*argv, **options):
    env = {"KUBECONFIG": os.path.join(STATE, "admin.conf"), "KUBECACHEDIR": os.path.join(STATE, "kubectl-cache")}
    return command(os.path.join(TOOLS, "kubectl"), *argv, env=env, **options)


def pprof(*argv, folder, **options):
    """What `go tool pprof` runs. What it writes by itself goes to the folder."""
    return command(os.path.join(TOOLS, "pprof"), *argv, env={"PPROF_TMPDIR": folder}, **options)


def eventually(look, seconds, message, every=POLL_SECONDS):
    """The first true result of look(); Failure with message() when there is none in time. A Failure of look() itself,
    such as a refused connection, counts as not yet."""
    end = time.monotonic() + seconds
    while True:
        try:
            result, trouble = look(), ""
        except Failure as failure:
            result, trouble = None, f" ({failure})"
        if result:
            return result
        if time.monotonic() >= end:
            raise Failure(f"after {seconds:g} s: {message()}{trouble}")
        time.sleep(every)


@dataclasses.dataclass
class Reply:
    """What the API server answered: status, the object or Status in the body, warnings, and how long it took."""
    status: int
    body: dict
    warnings: list
    seconds: float


class Api:
    """The API server, asked as the cluster's administrator. Paths are those of the REST API; PLURALS finds an
    object's."""

    PLURALS = {"Pod": "pods", "Service": "services", "ServiceAccount": "serviceaccounts", "Secret": "secrets",
               "Namespace": "namespaces", "PersistentVolume": "persistentvolumes", "Deployment": "deployments",
               "Job": "jobs", "CronJob": "cronjobs"}

    @functools.cached_property
    def tls(self):
        pki = os.path.join(STATE, "pki")
        context = ssl.create_default_context(cafile=os.path.join(pki, "ca.crt"))
        context.load_cert_chain(os.path.join(pki, "admin.crt"), os.path.join(pki, "admin.key"))
        return context

    def connection(self):
        return http.client.HTTPSConnection(API_HOST, API_PORT, timeout=REQUEST_SECONDS, context=self.tls)

    def request(self, method, path, body=None, content_type="application/json"):
        connection = self.connection()
        try:
            return self.exchange(connection, method, path, body, content_type)
        finally:
            connection.close()

    @staticmethod
    def exchange(connection, method, path, body=None, content_type="application/json"):
        """A request over a connection that stays open."""
        started = time.monotonic()
        try:
            connection.request(method, path, None if body is None else json.dumps(body), {"Content-Type": content_type})
            answer = connection.getresponse()
            text = answer.read()
        except OSError as error:
            raise Failure(f"{method} {path}: {error}") from error
        try:
            parsed = json.loads(text)
        except ValueError:
            parsed = {"message": text.decode("utf-8", "backslashreplace")}
        return Reply(answer.status, parsed, [_warning_text(line) for line in answer.headers.get_all("Warning", [])],
                     time.monotonic() - started)

    def get(self, path):
        reply = self.request("GET", path)
        if reply.status != 200:
            raise Failure(f"GET {path}: {reply.status} {reply.body.get('message')}")
        return reply.body

    def create(self, thing, dry_run=False, must=True):
        """POSTs an object; the Reply. With must, anything but 201 is a Failure."""
        path = self.path_of(thing) + ("?dryRun=All" if dry_run else "")
        reply = self.request("POST", path, thing)
        if must and reply.status != 201:
            raise Failure(f"{thing['kind']} {_name(thing)} was refused: {reply.status} {reply.body.get('message')}")
        return reply

    def path_of(self, thing):
        version, kind = thing["apiVersion"], thing["kind"]
        base = f"/api/{version}" if "/" not in version else f"/apis/{version}"
        namespace = thing["metadata"].get("namespace")
        return f"{base}/{f'namespaces/{namespace}/' if namespace else ''}{self.PLURALS[kind]}"

    def patch(self, path, body):
        reply = self.request("PATCH", path, body, "application/merge-patch+json")
        if reply.status != 200:
            raise Failure(f"PATCH {path}: {reply.status} {reply.body.get('message')}")
        return reply.body

    def pods(self, namespace, labels=None):
        selector = ",".join(f"{key}={value}" for key, value in (labels or {}).items())
        query = f"?labelSelector={urllib.parse.quote(selector)}" if selector else ""
        return self.get(f"/api/v1/namespaces/{namespace}/pods{query}")["items"]

    def pod(self, namespace, name):
        return self.get(f"/api/v1/namespaces/{namespace}/pods/{name}")

    def delete_pod(self, namespace, name):
        """Asks for its end, with the time that it was promised for that."""
        reply = self.request("DELETE", f"/api/v1/namespaces/{namespace}/pods/{name}")
        if reply.status not in (200, 202):
            raise Failure(f"DELETE of pod {namespace}/{name}: {reply.status} {reply.body.get('message')}")

    def scale(self, namespace, deployment, replicas):
        self.patch(f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}", {"spec": {"replicas": replicas}})

    def deployment_ready(self, namespace, deployment, replicas):
        """Whether exactly so many pods of it are there, all of them new and available."""
        found = self.get(f"/apis/apps/v1/namespaces/{namespace}/deployments/{deployment}")
        status = found.get("status", {})
        return (found["metadata"]["generation"] == status.get("observedGeneration")
                and all(status.get(key, 0) == replicas for key in ("replicas", "updatedReplicas", "availableReplicas")))

    def log(self, namespace, pod, container, lines=None, timestamps=False):
        query = f"?container={container}" + (f"&tailLines={lines}"
                                             if lines else "") + ("&timestamps=true" if timestamps else "")
        reply = self.request("GET", f"/api/v1/namespaces/{namespace}/pods/{pod}/log{query}")
        return reply.body.get("message", "") if "kind" not in reply.body else f"(no log: {reply.body.get('message')})"


api = Api()


class Watch:
    """The life of one pod as the API server tells it to whoever watches, for so many seconds at most. The pod need not
    be there yet; a name that was never used before, since what an earlier pod did may still be told."""

    def __init__(self, namespace, name, seconds):
        self.what = f"{namespace}/{name}"
        self.seconds = seconds
        self.last = {"metadata": {"namespace": namespace, "name": name}}
        # From version 0, which is what the API server has in memory: to be newer than that it first waits for etcd.
        query = urllib.parse.urlencode({"watch": "true", "resourceVersion": "0",
                                        "fieldSelector": f"metadata.name={name}",
                                        "timeoutSeconds": seconds})
        self._connection = api.connection()
        try:
            self._connection.request("GET", f"/api/v1/namespaces/{namespace}/pods?{query}")
            self._answer = self._connection.getresponse()
            if self._answer.status != 200:
                raise Failure(f"watch of {self.what}: {self._answer.status} {self._answer.read()[:400]}")
        except OSError as error:
            self.close()
            raise Failure(f"watch of {self.what}: {error}") from error

    def until(self, look):
        """The monotonic time at which the first event came for which look(kind, pod) is true."""
        try:
            while line := self._answer.readline():
                came = time.monotonic()
                event = json.loads(line)
                if event["type"] == "ERROR":
                    raise Failure(f"watch of {self.what}: {event['object']}")
                self.last = event["object"]
                if look(event["type"], self.last):
                    return came
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Failure(f"watch of {self.what}: {error!r}; {summary(self.last)}") from error
        raise Failure(f"after {self.seconds} s: {summary(self.last)}")

    def close(self):
        self._connection.close()


def _warning_text(header):
    """The text in `299 - "text"` (RFC 9111 section 5.5), which HTTP libraries hand over as Latin-1."""
    found = re.fullmatch(r'299 \S+ "(.*)"', header.encode("latin-1").decode("utf-8", "backslashreplace"), re.DOTALL)
    return re.sub(r"\\(.)", r"\1", found[1]) if found else header


def _name(thing):
    meta = thing["metadata"]
    return f"{meta.get('namespace', '')}/{meta.get('name') or meta.get('generateName', '?') + '*'}"


# What a stored pod says about its injection.

def containers(pod):
    """All containers by name, init containers included."""
    spec = pod["spec"]
    return {container["name"]: container for container in spec.get("initContainers", []) + spec["containers"]}


def is_injected(pod):
    return AGENT in containers(pod)


def is_native(pod):
    return any(container["name"] == AGENT and container.get("restartPolicy") == "Always"
               for container in pod["spec"].get("initContainers", []))


def annotation(pod, key):
    return pod["metadata"].get("annotations", {}).get(f"profefe.com/{key}")


# What its status says about its life.

def condition(pod, kind):
    for item in pod.get("status", {}).get("conditions", []):
        if item["type"] == kind:
            return item
    return {}


def is_ready(pod):
    return condition(pod, "Ready").get("status") == "True"


def container_statuses(pod):
    status = pod.get("status", {})
    return status.get("initContainerStatuses", []) + status.get("containerStatuses", [])


def restarts(pod):
    """Restarts by container, those above zero only."""
    return {item["name"]: item["restartCount"] for item in container_statuses(pod) if item["restartCount"]}


def summary(pod):
    """A line a pod, for messages."""
    states = []
    for item in container_statuses(pod):
        kind, detail = next(iter(item.get("state", {}).items()), ("unknown", {}))
        reason = detail.get("reason") or detail.get("message") or ""
        states.append(f"{item['name']} {kind}{' ' + reason if reason else ''} (restarts {item['restartCount']})")
    name = f"{pod['metadata'].get('namespace')}/{pod['metadata'].get('name')}"
    return f"{name} {pod.get('status', {}).get('phase')}: {', '.join(states) or 'no container yet'}"


# The node.

def processes_of(pod, container):
    """The pids, on this machine, of a container's processes; it is in their cgroup's name."""
    for item in container_statuses(pod):
        if item["name"] == container and item.get("containerID"):
            identity = item["containerID"].split("://")[-1]
            return [pid for pid in _pids() if identity in _read(f"/proc/{pid}/cgroup")]
    raise Failure(f"{summary(pod)}: no container {container} has been started")


def environment_of_process(pid):
    return dict(pair.split("=", 1) for pair in _read(f"/proc/{pid}/environ").split("\0") if "=" in pair)


def tokens_under_root(pid):
    """Files in the process's own view of its file system that are, by name or by content, a ServiceAccount token."""
    root = f"/proc/{pid}/root"
    found = []
    for folder, folders, files in os.walk(root):
        if folder == root:
            folders[:] = [name for name in folders if name not in ("proc", "sys", "dev")]
        for name in files:
            path = os.path.join(folder, name)
            if name == "token" or _is_token(path):
                found.append(path[len(root):])
    return found


def _is_token(path):
    try:
        with open(path, "rb") as file:
            start = file.read(2048)
        head, payload, _ = start.split(b".", 2)
        return b'"alg"' in _decode(head) and b"kubernetes.io" in _decode(payload)
    except (OSError, ValueError):
        return False


def _decode(part):
    return base64.urlsafe_b64decode(part + b"=" * (-len(part) % 4))


def token_mounts(pid):
    """Mounts of a projected ServiceAccount volume in the process's mount namespace."""
    return [line for line in _read(f"/proc/{pid}/mountinfo").splitlines() if "kubernetes.io~projected" in line]


def _pids():
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _read(path):
    try:
        with open(path, encoding="utf-8", errors="backslashreplace") as file:
            return file.read()
    except OSError:  # the process has ended meanwhile
        return ""


# Our own programs' ports.

def http_get(host, port, path, seconds=5):
    """Status and text."""
    connection = http.client.HTTPConnection(host, port, timeout=seconds)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        return answer.status, answer.read().decode("utf-8", "backslashreplace")
    except (OSError, http.client.HTTPException) as error:
        raise Failure(f"GET http://{host}:{port}{path}: {error!r}") from error
    finally:
        connection.close()


def agent_get(pod, path, port=AGENT_PORT):
    return http_get(pod["status"]["podIP"], port, path)


def metrics(host, port):
    """The samples of a Prometheus page: {(name, frozenset of label pairs): value}."""
    status, text = http_get(host, port, "/metrics")
    if status != 200:
        raise Failure(f"http://{host}:{port}/metrics says {status}: {text[:200]}")
    return samples_of(text)


def agent_metrics(pod):
    return metrics(pod["status"]["podIP"], AGENT_PORT)


def samples_of(text):
    samples = collections.Counter()
    for line in text.splitlines():
        found = re.fullmatch(r"([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)", line)
        if found:
            labels = frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', found[2] or ""))
            samples[found[1], labels] += float(found[3])
    return samples


def total(samples, name, **labels):
    """The sum of a family's samples that carry these labels."""
    wanted = set(labels.items())
    return sum(value for (family, pairs), value in samples.items() if family == name and wanted <= pairs)
