# The Debian 12 packages that building and testing need. Sourced by test/run; as a program it lists what is missing:
#   bash test/lib/packages.bash SET...      sets: demo, check, bench, static, cluster
#
# NAME|NAME is a choice: any of them will do, the first is installed when none is there. So nobody's libcurl flavour or
# Docker's own containerd has to go.

# shellcheck disable=SC2034 # by name, in packages_missing
packages_demo=(
    'cmake' 'ninja-build' 'gcc' 'libc6-dev' 'pkg-config|pkgconf'
    'libmicrohttpd-dev' 'libgnutls28-dev' 'libcurl4-gnutls-dev|libcurl4-openssl-dev|libcurl4-nss-dev'
    'libcjson-dev' 'libinih-dev' 'zlib1g-dev' 'libcmocka-dev'
    'openssl' 'curl' 'python3' 'git' 'ca-certificates'
)
# shellcheck disable=SC2034
packages_check=('g++' 'valgrind' 'python3-yaml' 'python3-jsonpatch')
# shellcheck disable=SC2034
packages_bench=('nghttp2-client' 'valgrind')
# shellcheck disable=SC2034
packages_static=('dpkg-dev' 'make' 'qemu-user-static')
case $(dpkg --print-architecture 2>/dev/null) in # the compiler for the other one of its two architectures
amd64) packages_static+=('gcc-aarch64-linux-gnu' 'libc6-dev-arm64-cross') ;;
arm64) packages_static+=('gcc-x86-64-linux-gnu' 'libc6-dev-amd64-cross') ;;
esac
# shellcheck disable=SC2034
packages_cluster=(
    'containerd|containerd.io' 'runc|containerd.io' 'containernetworking-plugins' 'etcd-server' 'iptables' 'iproute2'
    'conntrack' 'musl-tools' 'xz-utils'
)

# packages_missing SET...: what is not installed, a name a line. Fails where there is no dpkg.
packages_missing() {
    local set item name installed
    command -v dpkg-query >/dev/null || {
        echo "no dpkg-query: the packages are known for Debian 12 only; their names are in test/lib/packages.bash" >&2
        return 1
    }
    installed=$(dpkg-query -W -f='${Package} ${db:Status-Status}\n' | sed -n 's/ installed$//p')
    for set in "$@"; do
        local -n wanted=packages_$set
        for item in "${wanted[@]}"; do
            for name in ${item//|/ }; do
                grep -qxF -- "$name" <<<"$installed" && continue 2
            done
            echo "${item%%|*}"
        done
    done
}

if [[ ${BASH_SOURCE[0]} == "$0" ]]; then
    packages_missing "$@"
fi
