"""Where the static agent of this machine's architecture is built."""

import os
import platform

from children import Failure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.realpath(__file__))))
ARCHES = {"x86_64": "amd64", "aarch64": "arm64"}


def static_tree():
    """build/static/ARCH/release, which `agent/static/build --tests` makes."""
    machine = platform.machine()
    if machine not in ARCHES:
        raise Failure(f"no static agent for {machine}: expected {' or '.join(ARCHES)}")
    return os.path.join(ROOT, "build", "static", ARCHES[machine], "release")
