"""The Pod Security Standard `restricted` (and with it `baseline`), written from its page in the Kubernetes
documentation:
https://kubernetes.io/docs/concepts/security/pod-security-standards/ (1.34). Knows nothing of profefe."""

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret"}
SYSCTLS = {"kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
           "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports",
           "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout", "net.ipv4.tcp_keepalive_intvl",
           "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem"}
SELINUX_TYPES = {"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
SECCOMP = {"RuntimeDefault", "Localhost"}
APPARMOR = {"RuntimeDefault", "Localhost"}


def as_dict(value):
    return value if isinstance(value, dict) else {}


def as_list(value):
    return value if isinstance(value, list) else []


def containers_of(spec):
    for key in ("containers", "initContainers", "ephemeralContainers"):
        yield from (c for c in as_list(spec.get(key)) if isinstance(c, dict))


def faults_of_context(context, where):
    """What holds for a securityContext wherever it stands."""
    selinux = as_dict(context.get("seLinuxOptions"))
    if selinux.get("type", "") not in SELINUX_TYPES or selinux.get("user") or selinux.get("role"):
        yield f"{where}: seLinuxOptions"
    if as_dict(context.get("windowsOptions")).get("hostProcess"):
        yield f"{where}: hostProcess"
    if as_dict(context.get("appArmorProfile")).get("type", "RuntimeDefault") not in APPARMOR:
        yield f"{where}: appArmorProfile"
    if as_dict(context.get("seccompProfile")).get("type", "RuntimeDefault") not in SECCOMP:
        yield f"{where}: seccompProfile"
    if context.get("runAsNonRoot") is False:
        yield f"{where}: runAsNonRoot"
    if context.get("runAsUser") == 0:
        yield f"{where}: runAsUser"


def faults_of_container(container, pod_context):
    name = container.get("name")
    context = as_dict(container.get("securityContext"))
    yield from faults_of_context(context, name)
    if context.get("privileged"):
        yield f"{name}: privileged"
    if context.get("procMount", "Default") != "Default":
        yield f"{name}: procMount"
    if context.get("allowPrivilegeEscalation") is not False:
        yield f"{name}: allowPrivilegeEscalation"
    capabilities = as_dict(context.get("capabilities"))
    if "ALL" not in as_list(capabilities.get("drop")):
        yield f"{name}: capabilities.drop"
    if set(map(str, as_list(capabilities.get("add")))) - {"NET_BIND_SERVICE"}:
        yield f"{name}: capabilities.add"
    if context.get("runAsNonRoot") is None and pod_context.get("runAsNonRoot") is not True:
        yield f"{name}: runAsNonRoot not set"
    if not context.get("seccompProfile") and not pod_context.get("seccompProfile"):
        yield f"{name}: seccompProfile not set"
    if any(as_dict(port).get("hostPort") for port in as_list(container.get("ports"))):
        yield f"{name}: hostPort"


def restricted_faults(pod):
    """Why the pod would be refused; empty when it would not."""
    spec = as_dict(pod.get("spec"))
    context = as_dict(spec.get("securityContext"))
    faults = [key for key in ("hostNetwork", "hostPID", "hostIPC") if spec.get(key)]
    faults += faults_of_context(context, "pod")
    faults += [f"sysctl {s.get('name')}" for s in as_list(context.get("sysctls")) if s.get("name") not in SYSCTLS]
    for volume in as_list(spec.get("volumes")):
        faults += [f"volume {volume.get('name')}: {kind}" for kind in as_dict(volume).keys() - VOLUMES - {"name"}]
    for container in containers_of(spec):
        faults += faults_of_container(container, context)
    for key, value in as_dict(as_dict(pod.get("metadata")).get("annotations")).items():
        if key.startswith("container.apparmor.security.beta.kubernetes.io/") and value != "runtime/default" \
                and not str(value).startswith("localhost/"):
            faults.append(key)
    return faults
