"""Resource definitions of others, from Go modules that test/go pins, and how they reach the API server."""

import json
import os

from cluster import ROOT, api, command, eventually, kubectl

SERVED_SECONDS = 30  # from a resource definition until the API server serves it
MODULES = ("github.com/cert-manager/cert-manager", "github.com/prometheus-operator/prometheus-operator")
_folders = {}


def fetch():
    """Before the cluster's network is entered: from there no module proxy can be reached."""
    for module in MODULES:
        folder = os.path.join(ROOT, "test", "go", os.path.basename(module))
        _folders[module] = json.loads(command("go", "-C", folder, "mod", "download", "-json", module).stdout)["Dir"]


def definition(module, path):
    """The text of one file, less the lines that are Helm's."""
    with open(os.path.join(_folders[module], path), encoding="utf-8") as file:
        return "".join(line for line in file if "{{" not in line)


def apply_definitions(group, texts, wanted):
    """Brings resource definitions to the API server and waits until it serves them."""
    for text in texts:
        kubectl("apply", "--server-side", "-f", "-", text_input=text)

    def served():
        served = api.request("GET", f"/apis/{group}").body.get("resources", [])
        return wanted <= {resource["name"] for resource in served}

    eventually(served, SERVED_SECONDS, lambda: f"the API server does not serve {sorted(wanted)} of {group}")
