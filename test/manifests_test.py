#!/usr/bin/env python3
"""Checks manifests/ without a cluster: what kustomize renders, what the certificate script makes, what is in
an image archive. The renderer is `kubectl kustomize`. PROFEFE_TEST_TOOLS and PROFEFE_TEST_BUILD name other folders
than build/tools (kubectl, promtool) and build/release (profefe-webhook); promtool may also be on PATH. What is missing
of these skips the tests that need it, and fails them when CI=true.
"""
import base64
import copy
import gzip
import hashlib
import io
import json
import os
import re
import shutil
import ssl
import stat
import struct
import subprocess
import tarfile
import tempfile
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
KUBECTL = os.path.join(os.environ.get("PROFEFE_TEST_TOOLS", f"{TOP}/build/tools"), "kubectl")
PROMTOOL = os.path.join(os.environ.get("PROFEFE_TEST_TOOLS", f"{TOP}/build/tools"), "promtool")
if not os.path.exists(PROMTOOL):
    PROMTOOL = shutil.which("promtool") or PROMTOOL
WEBHOOK = os.path.join(os.environ.get("PROFEFE_TEST_BUILD", f"{TOP}/build/release"), "webhook/profefe-webhook")
RUN_SECONDS = 60  # each command here takes well under a second on an idle machine

NAMESPACE = "profefe-system"
MOVED = "observability"
OVERLAYS = ("self-signed", "cert-manager", "demo")
ADDITIONS = ("policy", "monitoring", "network")  # stand beside an installation, or alone
POLICY = {"ValidatingAdmissionPolicy/profefe-uninjected", "ValidatingAdmissionPolicyBinding/profefe-uninjected"}
# What Pod Security `restricted` allows (Kubernetes 1.34, "Pod Security Standards")
RESTRICTED_VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected",
                      "secret"}


def run(*command, status=0, **options):
    """Runs it; the test fails with all it wrote when it ends with another status."""
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=RUN_SECONDS,
                          **options)
    if status is not None and done.returncode != status:
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}, expected {status}\n"
                             + done.stdout + done.stderr)
    return done


def need(path, made_by):
    if os.access(path, os.X_OK):
        return
    message = f"NOT TESTED: {path} is missing; {made_by} makes it"
    if os.environ.get("CI") == "true":
        raise AssertionError(message)
    raise unittest.SkipTest(message)


def render(folder, *options):
    """The documents of a kustomization as Kubernetes' own YAML reader sees them."""
    text = run(KUBECTL, "kustomize", *options, folder).stdout
    # A patch that changes nothing, applied on this side: it turns any kind of YAML document into JSON.
    text = run(KUBECTL, "patch", "--local", "--type=merge", "-p", "{}", "-o", "json", "-f", "-", input=text,
               env={**os.environ, "KUBECONFIG": "/dev/null"}).stdout
    documents, decoder, at = [], json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        document, at = decoder.raw_decode(text, at)
        documents.append(document)
        at += len(text[at:]) - len(text[at:].lstrip())
    return documents


def find(documents, kind, name=None):
    """The only document of that kind (and name, where kustomize adds no hash)."""
    found = [d for d in documents if d["kind"] == kind and name in (None, d["metadata"]["name"])]
    if len(found) != 1:
        raise AssertionError(f"{len(found)} documents of kind {kind}, name {name}; expected one")
    return found[0]


def short_names(documents):
    """kind/name of all documents, less the hash of a generated ConfigMap."""
    return {f"{d['kind']}/" + (re.sub("-[a-z0-9]{10}$", "", d["metadata"]["name"]) if d["kind"] == "ConfigMap"
                               else d["metadata"]["name"]) for d in documents}


def copy_of_manifests(folder):
    """A copy, so that certificates which somebody made for a real cluster are neither used nor touched."""
    target = os.path.join(folder, "manifests")
    shutil.copytree(os.path.join(TOP, "manifests"), target, ignore=lambda path, names: [
        n for n in names if n == "certificates" and os.path.basename(path) == "self-signed"])
    return target


def restricted_faults(pod):
    """What Pod Security `restricted` would say against a pod's spec."""
    faults = [f"{key} is set" for key in ("hostNetwork", "hostPID", "hostIPC") if pod.get(key)]
    for volume in pod.get("volumes", []):
        faults += [f"volume {volume['name']} is of type {kind}" for kind in set(volume) - {"name"} - RESTRICTED_VOLUMES]
    for container in pod.get("initContainers", []) + pod["containers"]:
        context, name = container.get("securityContext", {}), container["name"]
        if context.get("allowPrivilegeEscalation") is not False:
            faults.append(f"{name}: allowPrivilegeEscalation")
        if context.get("capabilities") != {"drop": ["ALL"]}:
            faults.append(f"{name}: capabilities")
        if context.get("runAsNonRoot") is not True or context.get("runAsUser") == 0:
            faults.append(f"{name}: runAsNonRoot")
        if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
            faults.append(f"{name}: seccompProfile")
        if context.get("privileged") or context.get("procMount", "Default") != "Default":
            faults.append(f"{name}: privileged or procMount")
        faults += [f"{name}: hostPort" for port in container.get("ports", []) if port.get("hostPort")]
    return faults


def handshake(certificate, key, authorities, host):
    """A TLS handshake in memory: raises ssl.SSLError unless a client that trusts `authorities` accepts the pair as
    `host`, which is what the API server does with the Secret's pair, caBundle and the Service's name."""
    with tempfile.NamedTemporaryFile() as pair:
        pair.write(certificate + key)
        pair.flush()
        server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        server_side.load_cert_chain(pair.name)
    client_side = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    client_side.load_verify_locations(cadata=authorities.decode())
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = client_side.wrap_bio(down, up, server_hostname=host)
    server = server_side.wrap_bio(up, down, server_side=True)
    for _ in range(5):  # a handshake is over in three turns
        finished = 0
        for side in (client, server):
            try:
                side.do_handshake()
                finished += 1
            except ssl.SSLWantReadError:
                pass
        if finished == 2:
            return
    raise AssertionError("the handshake did not end")


class Rendered(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        need(KUBECTL, "test/tools cluster")
        cls.folder = tempfile.mkdtemp(prefix="manifests-test-")
        cls.addClassCleanup(shutil.rmtree, cls.folder)
        cls.manifests = copy_of_manifests(cls.folder)
        run(os.path.join(cls.manifests, "certificates"))
        cls.base = render(os.path.join(cls.manifests, "base"))
        cls.additions = {name: render(os.path.join(cls.manifests, "overlays", name)) for name in ADDITIONS}
        cls.all = {name: render(os.path.join(cls.manifests, "overlays", name)) for name in OVERLAYS}

    def each_pod(self):
        for overlay, documents in self.all.items():
            for document in documents:
                if document["kind"] == "Deployment":
                    yield f"{overlay}: {document['metadata']['name']}", document["spec"]["template"]

    def overlay(self, name, text, *options):
        """Renders an overlay of our own beside the copy."""
        folder = os.path.join(self.folder, name)
        os.makedirs(folder)
        with open(os.path.join(folder, "kustomization.yaml"), "w", encoding="utf-8") as file:
            file.write(text)
        return render(folder, *options)

    def test_overlays_hold_these_objects_and_no_others(self):
        base = {"Namespace/profefe-system", "ServiceAccount/profefe-webhook", "Service/profefe-webhook",
                "Deployment/profefe-webhook", "PodDisruptionBudget/profefe-webhook", "ConfigMap/profefe-webhook",
                "MutatingWebhookConfiguration/profefe-webhook"}
        secret = {"Secret/profefe-webhook-tls"}
        self.assertEqual(short_names(self.base), base)
        self.assertEqual(short_names(self.all["self-signed"]), base | secret)
        self.assertEqual(short_names(self.all["cert-manager"]), base | {
            "Issuer/profefe-webhook-self-signed", "Certificate/profefe-webhook-ca", "Issuer/profefe-webhook-ca",
            "Certificate/profefe-webhook"})
        self.assertEqual(short_names(self.additions["policy"]), POLICY)
        self.assertEqual(short_names(self.additions["monitoring"]), {
            "PodMonitor/profefe-webhook", "PodMonitor/profefe-agent", "PrometheusRule/profefe-sidecar"})
        self.assertEqual(short_names(self.additions["network"]), {"NetworkPolicy/profefe-webhook"})
        self.assertEqual(short_names(self.all["demo"]), base | secret | POLICY | {
            "Deployment/profefe", "Service/profefe", "PersistentVolumeClaim/profefe"})

    def test_a_missing_certificate_is_named(self):
        other = copy_of_manifests(tempfile.mkdtemp(dir=self.folder))
        done = run(KUBECTL, "kustomize", os.path.join(other, "overlays/self-signed"), status=1)
        self.assertIn("overlays/self-signed/certificates: no such file", done.stderr)

    def test_every_container_passes_restricted(self):
        for label, template in self.each_pod():
            with self.subTest(label):
                self.assertEqual(restricted_faults(template["spec"]), [])
                for container in template["spec"]["containers"]:
                    self.assertTrue(container["securityContext"]["readOnlyRootFilesystem"])

    def test_restricted_check_sees_each_field(self):
        good = find(self.base, "Deployment")["spec"]["template"]["spec"]
        for field in ("allowPrivilegeEscalation", "capabilities", "runAsNonRoot", "seccompProfile"):
            bad = copy.deepcopy(good)
            del bad["containers"][0]["securityContext"][field]
            self.assertEqual(restricted_faults(bad), [f"profefe-webhook: {field}"])
        bad = copy.deepcopy(good)
        bad["volumes"].append({"name": "node", "hostPath": {"path": "/"}})
        self.assertEqual(restricted_faults(bad), ["volume node is of type hostPath"])

    def test_namespace_enforces_restricted(self):
        labels = find(self.base, "Namespace")["metadata"]["labels"]
        self.assertEqual(labels["pod-security.kubernetes.io/enforce"], "restricted")
        self.assertNotIn("profefe.com/inject", labels)

    def test_no_token_reaches_a_pod(self):
        for label, template in self.each_pod():
            with self.subTest(label):
                self.assertIs(template["spec"]["automountServiceAccountToken"], False)
        account = find(self.base, "ServiceAccount")
        self.assertIs(account["automountServiceAccountToken"], False)
        self.assertEqual(find(self.base, "Deployment")["spec"]["template"]["spec"]["serviceAccountName"],
                         account["metadata"]["name"])

    def test_all_selectors_find_the_pods(self):
        deployment = find(self.base, "Deployment")["spec"]
        labels = deployment["template"]["metadata"]["labels"]
        selectors = [deployment["selector"]["matchLabels"], find(self.base, "Service")["spec"]["selector"],
                     find(self.base, "PodDisruptionBudget")["spec"]["selector"]["matchLabels"]]
        spread = deployment["template"]["spec"]["topologySpreadConstraints"]
        selectors += [constraint["labelSelector"]["matchLabels"] for constraint in spread]
        for selector in selectors:
            self.assertTrue(selector.items() <= labels.items(), selector)

    def test_ports_lead_from_the_service_to_the_listener(self):
        container = find(self.base, "Deployment")["spec"]["template"]["spec"]["containers"][0]
        ports = {p["name"]: p["containerPort"] for p in container["ports"]}
        self.assertEqual(ports, {"https": 8443, "admin": 8080})
        port, = find(self.base, "Service")["spec"]["ports"]
        self.assertEqual((port["port"], port["targetPort"]), (443, "https"))
        self.assertEqual(container["readinessProbe"]["httpGet"], {"path": "/readyz", "port": "admin"})
        self.assertEqual(container["livenessProbe"]["httpGet"], {"path": "/healthz", "port": "admin"})

    def test_one_replica_always_answers(self):
        spec = find(self.base, "Deployment")["spec"]
        self.assertGreaterEqual(spec["replicas"], 2)
        self.assertEqual(spec["strategy"],
                         {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}})
        self.assertEqual(find(self.base, "PodDisruptionBudget")["spec"]["maxUnavailable"], 1)

    def test_webhook_does_not_wait_for_itself(self):
        annotations = find(self.base, "Deployment")["spec"]["template"]["metadata"]["annotations"]
        self.assertEqual(annotations["profefe.com/enable"], "false")

    def test_registration_is_the_contract(self):
        not_mirror = {"name": "not-mirror",
                      "expression": "!('kubernetes.io/config.mirror' in object.metadata.?annotations.orValue({}))"}
        ours = {"name": "has-profefe-annotation",
                "expression": "object.metadata.?annotations.orValue({}).exists(k, k.startsWith('profefe.com/'))"}

        def entry(value, path, conditions):
            return {
                "name": f"{value}.profefe.com", "admissionReviewVersions": ["v1"],
                "clientConfig": {"service": {"name": "profefe-webhook", "namespace": NAMESPACE, "path": path,
                                             "port": 443}},
                "rules": [{"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"],
                           "scope": "Namespaced"}],
                "namespaceSelector": {"matchExpressions": [
                    {"key": "profefe.com/inject", "operator": "In", "values": [value]},
                    {"key": "kubernetes.io/metadata.name", "operator": "NotIn", "values": ["kube-system"]}]},
                "matchConditions": conditions, "failurePolicy": "Ignore", "timeoutSeconds": 2, "sideEffects": "None",
                "matchPolicy": "Equivalent", "reinvocationPolicy": "IfNeeded"}
        self.assertEqual(find(self.base, "MutatingWebhookConfiguration")["webhooks"],
                         [entry("enabled", "/mutate", [ours, not_mirror]), entry("all", "/mutate/all", [not_mirror])])

    def test_policy_and_registration_are_about_the_same_pods(self):
        policy = find(self.additions["policy"], "ValidatingAdmissionPolicy")["spec"]
        hooks = find(self.base, "MutatingWebhookConfiguration")["webhooks"]
        for hook in hooks:
            self.assertEqual(policy["matchConstraints"]["resourceRules"], hook["rules"])
            self.assertIn(next(c for c in hook["matchConditions"] if c["name"] == "not-mirror"),
                          policy["matchConditions"])
        binding = find(self.additions["policy"], "ValidatingAdmissionPolicyBinding")["spec"]
        chosen, *others = binding["matchResources"]["namespaceSelector"]["matchExpressions"]
        self.assertEqual([chosen["values"]], [sum((hook["namespaceSelector"]["matchExpressions"][0]["values"]
                                                   for hook in hooks), [])])
        self.assertEqual([others], [hooks[0]["namespaceSelector"]["matchExpressions"][1:]])
        self.assertEqual((binding["policyName"], binding["validationActions"]),
                         ("profefe-uninjected", ["Warn", "Audit"]))
        self.assertEqual(policy["failurePolicy"], "Ignore")

    def test_policy_has_the_words_of_the_webhook(self):
        """In the order of common/base/boolean.c, from which the settings take their booleans."""
        with open(os.path.join(TOP, "common/base/boolean.c"), encoding="utf-8") as file:
            source = file.read()
        variables = find(self.additions["policy"], "ValidatingAdmissionPolicy")["spec"]["variables"]
        eligible = next(v["expression"] for v in variables if v["name"] == "eligible")
        lists = [re.findall(r"'([^']*)'", words) for words in re.findall(r"\[([^]]*)\]", eligible)]
        wanted = []
        for name in ("boolean_false_words", "boolean_true_words"):
            found = re.search(rf"\b{name}\[\] = \{{([^}}]*), NULL\}}", source)
            wanted.append(re.findall(r'"([^"]*)"', found[1]))
        self.assertEqual(lists, wanted)
        self.assertGreaterEqual(min(map(len, wanted)), 6)

    def test_monitors_name_ports_that_are_there(self):
        admin, agent = (d["spec"]["podMetricsEndpoints"][0]["port"] for d in
                        (find(self.additions["monitoring"], "PodMonitor", f"profefe-{n}")
                         for n in ("webhook", "agent")))
        deployment = find(self.base, "Deployment")["spec"]["template"]
        self.assertIn(admin, [port["name"] for port in deployment["spec"]["containers"][0]["ports"]])
        selector = find(self.additions["monitoring"], "PodMonitor",
                        "profefe-webhook")["spec"]["selector"]["matchLabels"]
        self.assertTrue(selector.items() <= deployment["metadata"]["labels"].items())
        self.assertEqual(agent, "profefe-agent")

    def test_rules_read_series_that_the_programs_write(self):
        written = {"up", "apiserver_admission_webhook_fail_open_count"}  # of Prometheus, and of the API server
        for folder in ("agent", "webhook"):
            for name in os.listdir(os.path.join(TOP, folder)):
                if name.endswith(".c"):
                    with open(os.path.join(TOP, folder, name), encoding="utf-8") as file:
                        written |= set(re.findall(r'"(profefe_[a-z_]+)"', file.read()))
        jobs = {"profefe-webhook", "profefe-agent"}
        for rule in self.rules():
            with self.subTest(rule["alert"]):
                bare = re.sub(r'"[^"]*"', "", rule["expr"])
                read = set(re.findall(r"\b(?:profefe|apiserver)_[a-z_]+|\bup\b", bare))
                self.assertTrue(read and read <= written, f"{read - written} of {rule['expr']}")
                self.assertLessEqual(set(re.findall(r'job="([^"]*)"', rule["expr"])), jobs)
                self.assertIn(rule["labels"]["severity"], ("critical", "warning"))
                self.assertEqual(set(rule["annotations"]), {"summary", "description"})

    def rules(self):
        groups = find(self.additions["monitoring"], "PrometheusRule")["spec"]["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def test_rules_fire_when_they_should(self):
        """test/fixtures/alerts/alerts.yaml says which series make which alert. Each alert fires in one of its cases."""
        need(PROMTOOL, "the Debian package prometheus (apt-get download, dpkg -x)")
        folder = tempfile.mkdtemp(dir=self.folder)
        with open(os.path.join(folder, "rules.yaml"), "w", encoding="utf-8") as file:
            json.dump(find(self.additions["monitoring"], "PrometheusRule")["spec"], file)
        cases = os.path.join(folder, "alerts.yaml")
        shutil.copy(os.path.join(TOP, "test/fixtures/alerts/alerts.yaml"), cases)
        run(PROMTOOL, "check", "rules", os.path.join(folder, "rules.yaml"))
        run(PROMTOOL, "test", "rules", cases)
        with open(cases, encoding="utf-8") as file:
            text = file.read()
        for rule in self.rules():
            self.assertRegex(text, rf"(?m)alertname: {rule['alert']}\n *exp_alerts:\n *- ")

    def check_trust(self, documents):
        """The Secret's pair is accepted, under the Service's name, by whoever trusts the caBundle."""
        secret = find(documents, "Secret", "profefe-webhook-tls")
        service = find(documents, "Service", "profefe-webhook")["metadata"]
        deployment = find(documents, "Deployment", "profefe-webhook")
        namespaces = {d["metadata"]["namespace"] for d in (secret, deployment, find(documents, "ServiceAccount"))}
        self.assertEqual(namespaces, {service["namespace"]})
        volumes = deployment["spec"]["template"]["spec"]["volumes"]
        mounted = [volume["secret"]["secretName"] for volume in volumes if "secret" in volume]
        self.assertEqual(mounted, [secret["metadata"]["name"]])
        certificate, key = (base64.b64decode(secret["data"][k]) for k in ("tls.crt", "tls.key"))
        for webhook in find(documents, "MutatingWebhookConfiguration")["webhooks"]:
            target = webhook["clientConfig"]["service"]
            self.assertEqual((target["name"], target["namespace"]), (service["name"], service["namespace"]))
            bundle = base64.b64decode(webhook["clientConfig"]["caBundle"])
            handshake(certificate, key, bundle, f"{target['name']}.{target['namespace']}.svc")
            with self.assertRaises(ssl.SSLCertVerificationError):
                handshake(certificate, key, bundle, f"{target['name']}.elsewhere.svc")

    def test_self_signed_certificate_fits_the_service(self):
        self.check_trust(self.all["self-signed"])
        self.check_trust(self.all["demo"])

    def test_self_signed_moves_with_its_namespace(self):
        run(os.path.join(self.manifests, "certificates"), "--namespace", MOVED, "--out",
            os.path.join(self.folder, "moved-self-signed/certificates"))
        with open(os.path.join(self.folder, "moved-self-signed/kustomization.yaml"), "w", encoding="utf-8") as file:
            file.write(f"namespace: {MOVED}\nresources: [../manifests/base]\ncomponents: [certificates]\n")
        documents = render(os.path.join(self.folder, "moved-self-signed"))
        self.check_trust(documents)
        self.check_moved(documents)

    def test_settings_can_change_in_place(self):
        """Without the hash the ConfigMap keeps its name, and its pods."""
        with open(os.path.join(self.folder, "webhook.ini"), "w", encoding="utf-8") as file:
            file.write("[inject]\nimage = example.com/a:1\n")
        documents = self.overlay("in-place", """
            resources: [../manifests/base]
            configMapGenerator:
            - {name: profefe-webhook, namespace: profefe-system, behavior: replace, files: [../webhook.ini],
               options: {disableNameSuffixHash: true}}
            """, "--load-restrictor=LoadRestrictionsNone")
        self.assertEqual(self.config_name(documents), "profefe-webhook")

    def test_network_admits_only_what_is_named_to_the_webhooks_port(self):
        policy = self.additions["network"][0]["spec"]
        deployment = find(self.base, "Deployment")["spec"]["template"]
        self.assertLessEqual(policy["podSelector"]["matchLabels"].items(), deployment["metadata"]["labels"].items())
        self.assertEqual(["Ingress"], policy["policyTypes"])
        by_port = {rule["ports"][0]["port"]: rule for rule in policy["ingress"]}
        self.assertEqual({port["name"] for port in deployment["spec"]["containers"][0]["ports"]}, set(by_port))
        self.assertTrue(by_port["https"]["from"])
        self.assertNotIn("from", by_port["admin"])

    def test_additions_move_with_the_namespace(self):
        documents = self.overlay("moved-additions", f"namespace: {MOVED}\nresources: [../manifests/overlays/policy, "
                                 "../manifests/overlays/monitoring, ../manifests/overlays/network]\n")
        self.assertNotIn(NAMESPACE, json.dumps(documents))
        self.assertEqual(short_names(documents), short_names(sum(self.additions.values(), [])))

    def test_the_overlay_itself_can_be_moved(self):
        documents = self.overlay("moved-twice", f"namespace: {MOVED}\nresources: [../manifests/overlays/self-signed]\n")
        self.check_moved(documents)
        with self.assertRaises(ssl.SSLCertVerificationError, msg="the certificate was made for another namespace"):
            self.check_trust(documents)

    def check_moved(self, documents):
        self.assertEqual(find(documents, "Namespace")["metadata"]["name"], MOVED)
        for document in documents:
            if document["kind"] == "ConfigMap":  # its text is the user's; kustomize does not look into it
                self.assertEqual(document["metadata"]["namespace"], MOVED)
                continue
            self.assertNotIn(NAMESPACE, json.dumps(document), document["kind"])

    def check_cert_manager(self, documents, namespace):
        leaf = find(documents, "Certificate", "profefe-webhook")
        host = f"profefe-webhook.{namespace}"
        self.assertEqual(leaf["spec"]["dnsNames"], [f"{host}.svc", f"{host}.svc.cluster.local", host])
        volumes = find(documents, "Deployment")["spec"]["template"]["spec"]["volumes"]
        self.assertIn({"secretName": leaf["spec"]["secretName"]}, [v.get("secret") for v in volumes])
        self.assertEqual(find(documents, "MutatingWebhookConfiguration")["metadata"]["annotations"],
                         {"cert-manager.io/inject-ca-from": f"{namespace}/{leaf['metadata']['name']}"})
        issuer = find(documents, "Issuer", leaf["spec"]["issuerRef"]["name"])
        authority = find(documents, "Certificate", "profefe-webhook-ca")["spec"]
        self.assertEqual(issuer["spec"]["ca"]["secretName"], authority["secretName"])
        self.assertEqual((authority["isCA"], authority["privateKey"]["rotationPolicy"]), (True, "Never"))
        self.assertEqual(find(documents, "Issuer", authority["issuerRef"]["name"])["spec"], {"selfSigned": {}})
        for document in documents:
            if document["kind"] in ("Certificate", "Issuer"):
                self.assertEqual(document["metadata"]["namespace"], namespace)

    def test_cert_manager_names_what_it_makes(self):
        self.check_cert_manager(self.all["cert-manager"], NAMESPACE)

    def test_cert_manager_moves_with_its_namespace(self):
        documents = self.overlay("moved-cert-manager", f"namespace: {MOVED}\n"
                                 "resources: [../manifests/overlays/cert-manager]\n"
                                 "transformers: [../manifests/overlays/cert-manager/names]\n")
        self.check_cert_manager(documents, MOVED)
        self.check_moved(documents)

    def config_name(self, documents):
        """Name of the rendered ConfigMap, which the Deployment must mount."""
        name = find(documents, "ConfigMap")["metadata"]["name"]
        volumes = find(documents, "Deployment", "profefe-webhook")["spec"]["template"]["spec"]["volumes"]
        self.assertIn({"name": name}, [v.get("configMap") for v in volumes])
        return name

    def test_other_settings_roll_the_deployment_out(self):
        self.assertNotEqual(self.config_name(self.base), self.config_name(self.all["demo"]))

    def test_demo_settings_are_those_of_the_base_and_the_collector(self):
        def settings(documents):
            text = find(documents, "ConfigMap")["data"]["webhook.ini"]
            return [line for line in text.splitlines() if line and not line.startswith("#")]
        service = find(self.all["demo"], "Service", "profefe")
        url = f"http://profefe.{service['metadata']['namespace']}.svc:{service['spec']['ports'][0]['port']}"
        self.assertEqual(settings(self.all["demo"]), settings(self.base) + [f"collector = {url}"])

    def test_profefe_listens_where_its_service_leads_and_keeps_its_data(self):
        spec = find(self.all["demo"], "Deployment", "profefe")["spec"]
        container, = spec["template"]["spec"]["containers"]
        port, = find(self.all["demo"], "Service", "profefe")["spec"]["ports"]
        target, = [p for p in container["ports"] if p["name"] == port["targetPort"]]
        self.assertIn(f"-addr=0.0.0.0:{target['containerPort']}", container["args"])
        mount, = container["volumeMounts"]
        self.assertIn(f"-badger.dir={mount['mountPath']}/badger", container["args"])
        claim = find(self.all["demo"], "PersistentVolumeClaim")["metadata"]["name"]
        self.assertEqual(spec["template"]["spec"]["volumes"],
                         [{"name": mount["name"], "persistentVolumeClaim": {"claimName": claim}}])
        self.assertEqual(spec["strategy"], {"type": "Recreate"})

    def check_settings(self, text, status):
        """`profefe-webhook --check` on a rendered ConfigMap, with the certificate of the same installation."""
        folder = tempfile.mkdtemp(dir=self.folder)
        path = os.path.join(folder, "webhook.ini")
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        pair = os.path.join(self.manifests, "overlays/self-signed/certificates/tls.")
        return run(WEBHOOK, "--check", "--config", path, "--cert", pair + "crt", "--key", pair + "key", status=status)

    def test_webhook_accepts_the_settings(self):
        need(WEBHOOK, "the build")
        for name, documents in (("base", self.base), ("demo", self.all["demo"])):
            with self.subTest(name):
                self.check_settings(find(documents, "ConfigMap")["data"]["webhook.ini"], 0)

    def test_directories_of_the_deployment_hold_what_the_webhook_reads(self):
        """As directories: a file that is mounted alone, by subPath, never changes in a running pod."""
        container, = find(self.base, "Deployment")["spec"]["template"]["spec"]["containers"]
        mounts = {mount["name"]: mount for mount in container["volumeMounts"]}
        self.assertEqual([mount for mount in mounts.values() if "subPath" in mount], [])
        self.assertEqual(container["args"], ["--config", mounts["config"]["mountPath"] + "/webhook.ini"])
        need(WEBHOOK, "the build")
        text = run(WEBHOOK, "--help").stdout
        for file in ("tls.crt", "tls.key"):
            self.assertIn(f"(default {mounts['tls']['mountPath']}/{file})", text)

    def test_webhook_refuses_a_setting_that_it_does_not_know(self):
        need(WEBHOOK, "the build")
        text = find(self.base, "ConfigMap")["data"]["webhook.ini"]
        done = self.check_settings(text.replace("image-pull-policy", "image-pul-policy"), None)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("image-pul-policy", done.stdout + done.stderr)


class Certificates(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="certificates-test-")
        self.addCleanup(shutil.rmtree, self.folder)

    def make(self, *arguments, status=0):
        return run(os.path.join(TOP, "manifests/certificates"), "--out", self.folder, *arguments, status=status)

    def files(self):
        found = {}
        for name in os.listdir(self.folder):
            with open(os.path.join(self.folder, name), "rb") as file:
                found[name] = file.read()
        return found

    def changed(self, before):
        after = self.files()
        return {name for name in before | after if before.get(name) != after.get(name)}

    def remove(self, name):
        os.unlink(os.path.join(self.folder, name))

    def accepts(self, files, bundle, host="profefe-webhook.profefe-system.svc"):
        handshake(files["tls.crt"], files["tls.key"], bundle, host)

    def test_it_leaves_exactly_these_files_and_keys_are_private(self):
        self.make()
        self.assertEqual(set(self.files()),
                         {"ca.crt", "ca.key", "tls.crt", "tls.key", "kustomization.yaml", "secret.yaml"})
        for name in ("ca.key", "tls.key", "secret.yaml"):
            mode = stat.S_IMODE(os.stat(os.path.join(self.folder, name)).st_mode)
            self.assertEqual(mode, 0o600, name)

    def test_the_pair_is_good_under_each_name_of_the_service(self):
        self.make("--namespace", "there", "--name", "hook")
        files = self.files()
        for host in ("hook.there.svc", "hook.there.svc.cluster.local", "hook.there"):
            self.accepts(files, files["ca.crt"], host)

    def test_the_longest_names_work(self):
        self.make("--namespace", "n" * 63, "--name", "s" * 63)
        files = self.files()
        self.accepts(files, files["ca.crt"], f"{'s' * 63}.{'n' * 63}.svc")

    def test_a_second_run_changes_nothing(self):
        self.make()
        before = self.files()
        done = self.make()
        self.assertEqual(self.changed(before), set())
        self.assertIn("kept the CA", done.stdout)
        self.assertIn("kept the certificate for profefe-webhook.profefe-system.svc", done.stdout)

    def test_renew_keeps_the_ca(self):
        self.make()
        before = self.files()
        self.make("--renew")
        self.assertEqual(self.changed(before), {"tls.crt", "tls.key", "secret.yaml"})
        self.accepts(self.files(), before["ca.crt"])

    def test_a_certificate_near_its_end_is_renewed(self):
        self.make("--days", "100")
        before = self.files()
        done = self.make("--days", "365")  # 100 days are less than a third of it
        self.assertIn("new certificate", done.stdout)
        self.assertEqual(self.changed(before), {"tls.crt", "tls.key", "secret.yaml"})

    def test_another_namespace_gets_another_certificate(self):
        self.make()
        before = self.files()
        done = self.make("--namespace", "there")
        self.assertIn("the old one was for profefe-webhook.profefe-system.svc", done.stdout)
        self.accepts(self.files(), before["ca.crt"], "profefe-webhook.there.svc")

    def test_a_new_ca_is_trusted_beside_the_old_one(self):
        self.make()
        old = self.files()
        self.remove("ca.key")
        self.make()
        new = self.files()
        self.assertEqual(new["ca.crt"].count(b"BEGIN CERTIFICATE"), 2)
        self.accepts(new, new["ca.crt"])
        self.accepts(old, new["ca.crt"])
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.accepts(new, old["ca.crt"])
        self.remove("ca.key")
        self.make()  # two at most: the first CA goes
        self.assertEqual(self.files()["ca.crt"].count(b"BEGIN CERTIFICATE"), 2)
        with self.assertRaises(ssl.SSLCertVerificationError):
            self.accepts(old, self.files()["ca.crt"])

    def test_broken_files_are_made_anew(self):
        self.make()
        for name, said in (("ca.crt", "new CA"), ("ca.key", "new CA"), ("tls.crt", "new certificate"),
                           ("tls.key", "new certificate")):
            with self.subTest(name):
                with open(os.path.join(self.folder, name), "w", encoding="utf-8") as file:
                    file.write("not a PEM file\n")
                done = self.make()
                self.assertIn(said, done.stdout)
                self.assertIn("did not belong together", done.stdout)
                self.accepts(self.files(), self.files()["ca.crt"])

    def test_bad_arguments_are_named(self):
        cases = (
            (["--namespace", "Upper"], "--namespace 'Upper'"),
            (["--namespace", "a" * 64], "1 to 63"),
            (["--name", "-x"], "--name '-x'"),
            (["--days", "0"], "--days '0'"),
            (["--days", "826"], "from 1 to 825"),
            (["--days", "x"], "--days 'x'"),
            (["--days"], "--days: a value is missing"),
            (["--what"], "unknown option '--what'"),
        )
        for arguments, words in cases:
            with self.subTest(arguments):
                done = self.make(*arguments, status=2)
                self.assertIn(words, done.stderr)
                self.assertEqual(self.files(), {})

    def test_git_ignores_what_it_makes(self):
        with open(os.path.join(TOP, "manifests/overlays/self-signed/.gitignore"), encoding="utf-8") as file:
            self.assertIn("/certificates/", file.read().split())


class Archives(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.mkdtemp(prefix="oci-archive-test-")
        self.addCleanup(shutil.rmtree, self.folder)
        self.out = os.path.join(self.folder, "image.tar")
        self.program = shutil.which("openssl")  # links two libraries beside libc; the certificate script needs it too

    def archive(self, *arguments, status=0):
        return run(os.path.join(TOP, "manifests/oci-archive"), *arguments, status=status)

    def parts(self):
        """index.json, manifest, config and layer of the archive; each blob's digest is checked on the way."""
        with tarfile.open(self.out) as tar:
            content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}

        def blob(descriptor):
            data = content["blobs/sha256/" + descriptor["digest"].split(":")[1]]
            self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), descriptor["digest"])
            self.assertEqual(len(data), descriptor["size"])
            return data
        self.assertEqual(json.loads(content["oci-layout"]), {"imageLayoutVersion": "1.0.0"})
        index = json.loads(content["index.json"])
        manifest = json.loads(blob(index["manifests"][0]))
        return index["manifests"][0], manifest, json.loads(blob(manifest["config"])), blob(manifest["layers"][0])

    def test_archive_is_a_valid_layout(self):
        self.archive(self.out, "localhost/try:dev", "/openssl", f"{self.program}=/openssl", f"{__file__}=/etc/x/file",
                     "--libs")
        descriptor, _, config, layer = self.parts()
        self.assertEqual(set(descriptor["annotations"].values()), {"localhost/try:dev"})
        self.assertEqual(config["config"], {"Entrypoint": ["/openssl"], "User": "65532:65532", "WorkingDir": "/"})
        with tarfile.open(fileobj=io.BytesIO(layer)) as tar:
            members = tar.getmembers()
        self.assertEqual(config["rootfs"]["diff_ids"], ["sha256:" + hashlib.sha256(gzip.decompress(layer)).hexdigest()])
        seen = set()
        for member in members:
            parent = os.path.dirname(member.name)
            self.assertTrue(parent == "" or parent in seen, f"{member.name} comes before its directory")
            self.assertEqual((member.uid, member.gid, member.mtime), (0, 0, 0), member.name)
            seen.add(member.name)
        modes = {m.name: (m.isdir(), m.mode) for m in members}
        self.assertEqual(modes["openssl"], (False, 0o755))
        self.assertEqual(modes["etc"], (True, 0o755))
        self.assertEqual(modes["etc/x/file"], (False, 0o644))
        self.assertEqual(modes["etc/nsswitch.conf"], (False, 0o644))

    def test_same_input_gives_the_same_bytes(self):
        digests = set()
        for _ in range(2):
            copy_of_program = os.path.join(self.folder, "program")
            shutil.copy(self.program, copy_of_program)
            os.utime(copy_of_program)
            self.archive(self.out, "localhost/try:dev", "/p", f"{copy_of_program}=/p", "--libs")
            with open(self.out, "rb") as file:
                digests.add(hashlib.sha256(file.read()).hexdigest())
        self.assertEqual(len(digests), 1)

    def enter(self, root, *command, status=0):
        """Runs a command with `root` as its whole world."""
        namespace = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        return run("unshare", *namespace, "--root", root, *command, status=status)

    def test_tree_holds_all_that_a_program_needs(self):
        root = os.path.join(self.folder, "root")
        getent = shutil.which("getent")  # asks nsswitch.conf, as getaddrinfo in the agent does
        self.archive("--root", root, f"{self.program}=/openssl", f"{getent}=/getent", "--libs")
        with open(os.path.join(root, "etc/hosts"), "w", encoding="utf-8") as file:
            file.write("192.0.2.7 here.example\n")
        self.assertIn("OpenSSL", self.enter(root, "/openssl", "version").stdout)
        self.assertIn("192.0.2.7", self.enter(root, "/getent", "ahostsv4", "here.example").stdout)
        self.assertEqual(self.enter(root, "/getent", "ahostsv4", "nowhere.invalid", status=None).stdout, "")

    def test_a_library_is_missed(self):
        root = os.path.join(self.folder, "root")
        self.archive("--root", root, f"{self.program}=/openssl", "--libs")
        library, = [f"{path}/libcrypto.so.3" for path, _, names in os.walk(root) if "libcrypto.so.3" in names]
        os.unlink(library)
        self.assertIn("libcrypto.so.3", self.enter(root, "/openssl", "version", status=127).stderr)

    def test_bad_input_is_named(self):
        program, script = f"{self.program}=/p", f"{__file__}=/p"
        cut = os.path.join(self.folder, "cut")
        with open(self.program, "rb") as whole, open(cut, "wb") as file:
            file.write(whole.read(200))
        cases = (
            (["localhost/try:dev", "/p", "/nowhere=/p"], "/nowhere: No such file"),
            (["localhost/try:dev", "/p", f"{self.folder}=/p"], "not a regular file"),
            (["localhost/try:dev", "/p", script], "not an ELF file"),
            (["localhost/try:dev", "/p", f"{cut}=/p", "--libs"], "broken ELF file"),
            (["localhost/try:dev", "/q", program], "entrypoint /q: none of the files"),
            (["localhost/try:dev", "/p", program, script], "/p: asked for twice"),
            (["localhost/try:dev", "/p", program, f"{__file__}=/p/q"], "/p: asked for as a file, and as the directory"),
            (["localhost/try:dev", "/p", f"{self.program}=p"], "expected FILE=/dest"),
            (["localhost/try:dev", "/p", f"{self.program}=/../p"], "expected FILE=/dest"),
            (["localhost/try:dev", "/p", self.program], "expected FILE=/dest"),
            (["try:dev", "/p", program], "expected HOST/NAME:TAG"),
            (["localhost/try", "/p", program], "expected HOST/NAME:TAG"),
            (["localhost/Try:dev", "/p", program], "expected HOST/NAME:TAG"),
            (["localhost/try:dev", "/p", program, "--user", "root"], "--user 'root'"),
            (["localhost/try:dev", "/p", program, "--user", "0:0"], "--user '0:0'"),
        )
        for arguments, words in cases:
            with self.subTest(words):
                self.assertIn(words, self.archive(self.out, *arguments, status=1).stderr)
                self.assertEqual([n for n in os.listdir(self.folder) if n.startswith("image.tar")], [])

    def compile(self, name, text, *options):
        """Builds FOLDER/NAME from the text of a C program."""
        compiler = shutil.which("cc") or shutil.which("gcc")
        if compiler is None:
            raise AssertionError("no C compiler on PATH, though the build needs one")
        run(compiler, "-x", "c", "-o", name, "-", *options, input=text, cwd=self.folder)
        return os.path.join(self.folder, name)

    def test_a_library_that_is_not_there_is_named(self):
        self.compile("libgone.so", "int gone(void) { return 0; }", "-shared", "-fPIC")
        program = self.compile("p", "int gone(void); int main(void) { return gone(); }", "-L.", "-lgone")
        done = self.archive(self.out, "localhost/try:dev", "/p", f"{program}=/p", "--libs", status=1)
        self.assertIn("library libgone.so not found on this machine", done.stderr)

    def test_a_static_program_needs_nothing_else(self):
        program = self.compile("s", "int main(void) { return 0; }", "-static")
        self.archive(self.out, "localhost/try:dev", "/s", f"{program}=/s", "--libs")
        with tarfile.open(fileobj=io.BytesIO(self.parts()[3])) as tar:
            self.assertEqual(tar.getnames(), ["s"])

    def archive_for(self, name, machine, image="localhost/try:dev"):
        """An archive of a program that says it is for this ELF machine."""
        program = os.path.join(self.folder, name)
        with open(self.program, "rb") as file:
            data = bytearray(file.read())
        struct.pack_into("<H", data, 18, machine)
        with open(program, "wb") as file:
            file.write(data)
        archive = os.path.join(self.folder, f"{name}.tar")
        self.archive(archive, image, "/p", f"{program}=/p")
        return archive

    def test_an_index_holds_each_architecture(self):
        one, other = self.archive_for("a", 62), self.archive_for("b", 183)
        written = set()
        for archives in ((one, other), (other, one)):
            self.archive("--index", self.out, *archives)
            with open(self.out, "rb") as file:
                written.add(file.read())
        self.assertEqual(len(written), 1, "the order of the archives shows")
        with tarfile.open(self.out) as tar:
            content = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}
        top, = json.loads(content["index.json"])["manifests"]
        self.assertEqual(set(top["annotations"].values()), {"localhost/try:dev"})
        self.assertEqual(top["mediaType"], "application/vnd.oci.image.index.v1+json")

        def blob(descriptor):
            data = content["blobs/" + descriptor["digest"].replace(":", "/")]
            self.assertEqual(len(data), descriptor["size"])
            return data
        found = {}
        for descriptor in json.loads(blob(top))["manifests"]:
            manifest = json.loads(blob(descriptor))
            config = json.loads(blob(manifest["config"]))
            self.assertEqual(config["architecture"], descriptor["platform"]["architecture"])
            found[config["architecture"]] = hashlib.sha256(gzip.decompress(blob(manifest["layers"][0]))).hexdigest()
        self.assertEqual(set(found), {"amd64", "arm64"})
        self.assertEqual(len(set(found.values())), 2)

    def test_an_index_of_what_does_not_fit_is_refused(self):
        one, again = self.archive_for("a", 62), self.archive_for("c", 62)
        other_name = self.archive_for("b", 183, "localhost/other:dev")
        joined = os.path.join(self.folder, "joined.tar")
        self.archive("--index", joined, one, self.archive_for("d", 183))
        for archives, words in (((one, again), "a second image for amd64"),
                                ((one, other_name), "one image name expected"),
                                ((one, self.program), "expected an archive that oci-archive wrote"),
                                ((one, joined), "expected an archive that oci-archive wrote"),
                                ((one, "/nowhere"), "/nowhere: No such file")):
            with self.subTest(words):
                self.assertIn(words, self.archive("--index", self.out, *archives, status=1).stderr)
                self.assertFalse(os.path.exists(self.out))
        self.assertIn("two archives or more", self.archive("--index", self.out, one, status=2).stderr)

    def test_a_folder_with_something_in_it_is_refused(self):
        self.archive("--root", self.folder, f"{self.program}=/p")
        done = self.archive("--root", self.folder, f"{self.program}=/p", status=1)
        self.assertIn("not empty", done.stderr)


class Containerfiles(unittest.TestCase):
    """Without podman one can still see that they say what the archives are made of."""

    def test_they_make_the_image_that_the_manifests_run(self):
        for name in ("agent", "webhook"):
            with self.subTest(name), open(os.path.join(TOP, name, "Containerfile"), encoding="utf-8") as file:
                words = [line.split() for line in file if line.strip() and not line.startswith("#")]
                self.assertEqual([w[1] for w in words if w[0] == "FROM"], ["debian:12", "scratch"])
                self.assertIn(["USER", "65532:65532"], words)
                self.assertIn(["ENTRYPOINT", f'["/profefe-{name}"]'], words)
                for source in [w[1] for w in words if w[0] == "COPY" and not w[1].startswith("--")]:
                    self.assertTrue(os.path.exists(os.path.join(TOP, source)), source)
                made = {"agent": ["RUN", "agent/static/build", "&&", "cp", "build/static/*/release/agent/profefe-agent",
                                  "/profefe-agent"],
                        "webhook": ["RUN", "manifests/oci-archive", "--root", "/image",
                                    "/build/webhook/profefe-webhook=/profefe-webhook", "--libs"]}
                self.assertIn(made[name], words)


if __name__ == "__main__":
    unittest.main()
