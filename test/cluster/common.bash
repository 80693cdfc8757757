# What the scripts of the test cluster share: its names, its places and how to step into it. Sourced, not run.
#
# The node lives in three namespaces of its own: a named network namespace (so that `nsenter --net` and `ip netns exec`
# find it), and a mount and a PID namespace that end with its first process. Whatever happens inside, ending that one
# process ends every daemon, shim, container, mount and veth pair of the cluster.
#
# Settings from the environment (a second clone on the same machine needs another PROFEFE_TEST_NETNS):
#   PROFEFE_TEST_NETNS   name of the network namespace and of the cgroup   (default: profefe-test)
#   PROFEFE_TEST_STATE   folder for all that the cluster writes            (default: build/cluster)
#   PROFEFE_TEST_TOOLS   folder with the Kubernetes programs               (default: build/tools)

cluster_dir=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$cluster_dir/../.." && pwd)
state=$(realpath -m "${PROFEFE_TEST_STATE:-$top/build/cluster}")
name=$(cat "$state/name" 2>/dev/null || echo "${PROFEFE_TEST_NETNS:-profefe-test}") # a cluster keeps the name it has
tools=$(realpath -m "${PROFEFE_TEST_TOOLS:-$top/build/tools}")

netns=/run/netns/$name
node_ip=10.240.0.1
service_net=10.96.0.0/16
pod_net=10.244.0.0/24

say() { printf 'cluster: %s\n' "$*"; }

fail() {
    printf 'cluster: %s\n' "$*" >&2
    exit 1
}

need_root() { [ "$(id -u)" = 0 ] || fail "this needs root (namespaces, mounts, containers); run it with sudo"; }

# One `up` or `down` at a time for a state folder. The lock is on the folder above it, so no lock file stays behind.
take_lock() {
    mkdir -p "$(dirname "$state")"
    exec 9<"$(dirname "$state")"
    flock -w "${1:-120}" 9 || fail "another up or down of $state has been running for ${1:-120} s"
}

# The processes that hold the node: `unshare`, which made its namespaces, and the node's first process. They are known
# by an argument, --state=FOLDER, so a pid file cannot go stale or be lost with the folder. (The pattern comes by a
# file:
# on grep's command line it would match grep itself.)
node_pids() {
    local pid
    for pid in $(grep -lzxF -f <(printf -- '--state=%s\n' "$state") /proc/[0-9]*/cmdline 2>/dev/null | cut -d/ -f3); do
        case $(cat "/proc/$pid/comm" 2>/dev/null) in unshare | node) echo "$pid" ;; esac
    done
}

# The holder whose namespaces one can enter, or nothing when no node is running.
node_pid() {
    local pid
    for pid in $(node_pids); do
        [ "$(cat "/proc/$pid/comm" 2>/dev/null)" = unshare ] && echo "$pid" && return
    done
    return 0
}

# Runs a command in the node's network only: files and processes are those of the machine.
in_net() { nsenter --net="$netns" -- "$@"; }

# Runs a command as a process of the node: its network, mounts and pids.
in_node() {
    local pid
    pid=$(node_pid)
    [ -n "$pid" ] || fail "no cluster is running in $state; start it with test/cluster/up"
    nsenter --net="$netns" --mount="/proc/$pid/ns/mnt" --pid="/proc/$pid/ns/pid_for_children" -- "$@"
}

kube() { KUBECONFIG=$state/admin.conf KUBECACHEDIR=$state/kubectl-cache in_net "$tools/kubectl" "$@"; }

# wait_for SECONDS WHAT COMMAND...: tries COMMAND four times a second; fails early when the node has ended.
wait_for() {
    local seconds=$1 what=$2 start=$SECONDS
    shift 2
    until "$@" >/dev/null 2>&1; do
        [ -z "$(node_pid)" ] && { say "the node ended while waiting for $what" >&2; return 1; }
        [ -s "$state/ended" ] && { say "$(head -n 1 "$state/ended") while waiting for $what" >&2; return 1; }
        [ $((SECONDS - start)) -ge "$seconds" ] && { say "no $what after $seconds s" >&2; return 1; }
        sleep 0.25
    done
}

cgroup_hierarchies() { awk '$3 == "cgroup" || $3 == "cgroup2" { print $2 }' /proc/mounts; }

# Ends every process of the node: with a PID namespace's first process the kernel kills all others, and the first one
# is gone (or a zombie) only when they are.
end_node() {
    local pid pids waited
    pids=$(node_pids)
    [ -n "$pids" ] || return 0
    # shellcheck disable=SC2086
    kill -KILL $pids 2>/dev/null || true
    for pid in $pids; do
        for ((waited = 0; waited < 120; waited++)); do # half a minute
            process_has_ended "$pid" && continue 2
            sleep 0.25
        done
        fail "process $pid of the node is still there half a minute after SIGKILL"
    done
}

process_has_ended() { ! grep -qs '^State:[[:space:]][^Z]' "/proc/$1/status"; }

remove_cgroups() {
    local hierarchy tries
    while read -r hierarchy; do
        for ((tries = 0; tries < 20; tries++)); do # a dead process leaves its cgroup a moment after it is gone
            [ -e "$hierarchy/$name" ] || break
            find "$hierarchy/$name" -depth -type d -exec rmdir {} + 2>/dev/null && break
            sleep 0.1
        done
    done < <(cgroup_hierarchies)
}

# `ip netns add` turns /run/netns into a mount; the last name gone, that goes too (it is busy as long as there is one).
remove_netns() {
    [ ! -e "$netns" ] || ip netns del "$name"
    [ -n "$(ls -A /run/netns 2>/dev/null)" ] || umount /run/netns 2>/dev/null || true
}

# The state folder of the cluster that our name belongs to, when that is another's: its namespace and cgroups are not
# ours to take.
foreign_owner() {
    local pid owner
    [ -e "$netns" ] || return 0
    for pid in $(ip netns pids "$name"); do
        owner=$(tr '\0' '\n' <"/proc/$pid/cmdline" 2>/dev/null | sed -n 's/^--state=//p') || true
        [ "$owner" != "$state" ] || return 0
        [ -z "$owner" ] || { echo "$owner" && return 0; }
    done
}

clear_all() {
    end_node
    if [ -z "$(foreign_owner)" ]; then
        remove_netns
        remove_cgroups
    fi
    rm -rf "$state"
}
