"""Pods as the API server and the kubelet handle them: the review of a new pod, its patch, and a container's
environment."""

import base64
import copy
import json
import re
import uuid

from children import Failure

POD_HASH = "7d4b9c6f58"


def pod_of_deployment(name, namespace, annotations, labels=None):
    """A pod as the webhook gets it when a ReplicaSet creates it: nameless, and with the ServiceAccount token
    mounted."""
    token = "kube-api-access-x2x7k"
    return {
        "kind": "Pod",
        "apiVersion": "v1",
        "metadata": {
            "generateName": f"{name}-{POD_HASH}-",
            "namespace": namespace,
            "creationTimestamp": None,
            "labels": {"app.kubernetes.io/name": name, "pod-template-hash": POD_HASH, **(labels or {})},
            "annotations": dict(annotations),
            "ownerReferences": [{
                "apiVersion": "apps/v1", "kind": "ReplicaSet", "name": f"{name}-{POD_HASH}",
                "uid": "5f0e1d6c-6a53-4c55-9d0e-2f9a4f2f7c11", "controller": True, "blockOwnerDeletion": True}],
            "managedFields": [{
                "manager": "kube-controller-manager", "operation": "Update", "apiVersion": "v1",
                "fieldsType": "FieldsV1",
                "time": "2026-01-01T00:00:00Z",
                "fieldsV1": {"f:metadata": {"f:generateName": {},
                                            "f:labels": {".": {}, "f:app.kubernetes.io/name": {}}}}}],
        },
        "spec": {
            "volumes": [{"name": token, "projected": {"defaultMode": 420, "sources": [
                {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}},
                {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}},
                {"downwardAPI": {"items": [
                    {"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}}]}}],
            "containers": [{
                "name": name,
                "image": f"localhost/{name}:1",
                "ports": [{"name": "http", "containerPort": 8080, "protocol": "TCP"}],
                "resources": {"requests": {"cpu": "100m", "memory": "64Mi"}},
                "volumeMounts": [
                    {"name": token, "readOnly": True, "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount"}],
                "terminationMessagePath": "/dev/termination-log",
                "terminationMessagePolicy": "File",
                "imagePullPolicy": "IfNotPresent",
                "securityContext": {"capabilities": {"drop": ["ALL"]}, "allowPrivilegeEscalation": False}}],
            "restartPolicy": "Always",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "securityContext": {"runAsNonRoot": True, "runAsUser": 1000, "seccompProfile": {"type": "RuntimeDefault"}},
            "schedulerName": "default-scheduler",
            "tolerations": [
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute",
                 "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute",
                 "tolerationSeconds": 300}],
            "priority": 0,
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
        },
        "status": {},
    }


def review_of(pod, operation="CREATE"):
    """The AdmissionReview that the API server sends for a new pod."""
    kind = {"group": "", "version": "v1", "kind": "Pod"}
    resource = {"group": "", "version": "v1", "resource": "pods"}
    return {
        "kind": "AdmissionReview",
        "apiVersion": ADMISSION,
        "request": {
            "uid": str(uuid.uuid4()),
            "kind": kind,
            "resource": resource,
            "requestKind": kind,
            "requestResource": resource,
            "namespace": pod["metadata"].get("namespace", "default"),
            "operation": operation,
            "userInfo": {
                "username": "system:serviceaccount:kube-system:replicaset-controller",
                "uid": "8f3f1a0e-7a43-4d86-a0b2-0f4f0d1f6e55",
                "groups": ["system:serviceaccounts", "system:serviceaccounts:kube-system", "system:authenticated"]},
            "object": pod,
            "oldObject": None,
            "dryRun": False,
            "options": {"kind": "CreateOptions", "apiVersion": "meta.k8s.io/v1"},
        },
    }


ADMISSION = "admission.k8s.io/v1"


def response_of(reply, request_uid=None, version=ADMISSION):
    """The response inside a reply, checked as the API server checks it: in the version of the request."""
    if not isinstance(reply, dict) or reply.get("kind") != "AdmissionReview":
        raise Failure(f"the reply is no AdmissionReview: {json.dumps(reply)[:200]}")
    if reply.get("apiVersion") != version:
        raise Failure(f"the reply's apiVersion is {reply.get('apiVersion')!r}, expected {version!r}")
    response = reply.get("response")
    if not isinstance(response, dict) or not isinstance(response.get("allowed"), bool):
        raise Failure(f"the reply has no response with a boolean 'allowed': {json.dumps(reply)[:200]}")
    if request_uid is not None and response.get("uid") != request_uid:
        raise Failure(f"the response's uid is {response.get('uid')!r}, expected the request's, {request_uid!r}")
    if "patch" in response and response.get("patchType") != "JSONPatch":
        raise Failure(f"a patch comes with patchType {response.get('patchType')!r}, expected 'JSONPatch'")
    return response


def patch_of(response):
    """The decoded JSON Patch of a response; empty when there is none."""
    if "patch" not in response:
        return []
    return json.loads(base64.b64decode(response["patch"], validate=True))


def apply_patch(document, patch):
    """RFC 6902 with the one operation our webhook may use: add. Returns a new document; Failure where the API server
    would refuse the patch, and with it the pod."""
    result = copy.deepcopy(document)
    for operation in copy.deepcopy(patch):
        if operation.get("op") != "add":
            raise Failure(f"the patch holds an operation {operation.get('op')!r}, expected only 'add': {operation}")
        path = operation.get("path")
        if not isinstance(path, str) or not path.startswith("/") or "value" not in operation:
            raise Failure(f"the patch holds {operation}, expected a path that begins with / and a value")
        # RFC 6901 section 4: first ~1, then ~0
        *parents, last = [part.replace("~1", "/").replace("~0", "~") for part in path[1:].split("/")]
        target = result
        for part in parents:
            target = _step(target, part, path)
        _add(target, last, operation["value"], path)
    return result


def _step(target, part, path):
    try:
        return target[_index(part, len(target) - 1)] if isinstance(target, list) else target[part]
    except (KeyError, IndexError, TypeError, ValueError):
        raise Failure(f"the patch adds at {path}, but the pod has no {part!r} there") from None


def _add(target, last, value, path):
    if isinstance(target, dict):
        target[last] = value
    elif isinstance(target, list):
        try:
            target.insert(len(target) if last == "-" else _index(last, len(target)), value)
        except (IndexError, ValueError):
            raise Failure(f"the patch adds at {path}: {last!r} is no place in a list of {len(target)}") from None
    else:
        raise Failure(f"the patch adds at {path}, but its parent is neither an object nor a list")


def _index(text, highest):
    """An array index of RFC 6901: no sign, no leading zero."""
    if not re.fullmatch(r"0|[1-9][0-9]*", text):
        raise ValueError(text)
    if int(text) > highest:
        raise IndexError(text)
    return int(text)


def container_of(pod, name):
    """A container of the pod by name, init containers included."""
    spec = pod["spec"]
    for container in spec.get("initContainers", []) + spec["containers"]:
        if container["name"] == name:
            return container
    raise Failure(f"the patched pod has no container {name!r}")


def schedule(pod, name, node, pod_ip):
    """What the cluster adds to an admitted pod before the kubelet starts it."""
    placed = copy.deepcopy(pod)
    placed["metadata"].update(name=name, uid=str(uuid.uuid4()))
    placed["spec"]["nodeName"] = node
    placed["status"] = {"podIP": pod_ip, "podIPs": [{"ip": pod_ip}], "hostIP": pod_ip}
    return placed


def environment_of(pod, container):
    """The variables of a container as the kubelet works them out, in order: field references from the pod, $(NAME) from
    the variables before."""
    env = {}
    for variable in container.get("env", []):
        if "valueFrom" in variable:
            env[variable["name"]] = _field(pod, variable)
        else:
            env[variable["name"]] = expand(variable.get("value", ""), env)
    return env


def expand(text, env):
    """$(NAME) becomes the value of an earlier variable, stays as it is where there is none, and $$ becomes $."""
    return re.sub(r"\$(\$|\(([^()]*)\))",
                  lambda found: "$" if found[1] == "$" else env.get(found[2], found[0]), text)


def _field(pod, variable):
    path = variable["valueFrom"].get("fieldRef", {}).get("fieldPath")
    simple = {
        "metadata.name": ("metadata", "name"), "metadata.namespace": ("metadata", "namespace"),
        "metadata.uid": ("metadata", "uid"), "spec.nodeName": ("spec", "nodeName"),
        "spec.serviceAccountName": ("spec", "serviceAccountName"), "status.podIP": ("status", "podIP"),
        "status.hostIP": ("status", "hostIP")}
    if path in simple:
        part, key = simple[path]
        return pod[part][key]
    keyed = re.fullmatch(r"metadata\.(labels|annotations)\['([^']+)'\]", path or "")
    if keyed:
        return pod["metadata"].get(keyed[1], {}).get(keyed[2], "")
    raise Failure(f"the container's variable {variable['name']} takes its value from {variable['valueFrom']}, which "
                  f"neither the kubelet nor this stand-in knows as a field of a pod")
