#!/usr/bin/env python3
"""bodies.py FOLDER: writes the reviews that the bench sends, as SIZE-DECISION.json.

They are made from a named fixture as the API server sends them, without spaces, and grown to about 1, 3, 17 and 64 KB
by what makes real pods big: environment variables, each with its part in managedFields, and further containers. The
output depends on nothing but this file and the fixtures.
"""

import copy
import json
import os
import sys

FIXTURES = os.path.join(os.path.dirname(os.path.dirname(os.path.realpath(__file__))), "fixtures", "review")
SIZES_KB = (1, 3, 17, 64)
DECISIONS = ("injected", "skipped")
SMALL = "document/dry-run"     # a bare pod
USUAL = "document/deployment"  # as a ReplicaSet creates it
VARIABLES_A_CONTAINER = 40
VARIABLE_MAX = 1000    # bytes that one adds at most, with a container when it is the first of it


def fixture(name):
    with open(os.path.join(FIXTURES, name, "review.json"), encoding="utf-8") as file:
        return json.load(file)


def encode(review):
    return json.dumps(review, separators=(",", ":"), ensure_ascii=False).encode()


def name_of(size_kb, decision):
    return f"{size_kb}k-{decision}"


def _set_enable(review, decision):
    annotations = review["request"]["object"]["metadata"]["annotations"]
    annotations["profefe.com/enable"] = "true" if decision == "injected" else "false"


def _own(pod, container, variable):
    """What server-side apply notes about a variable."""
    fields = pod["metadata"]["managedFields"][0].setdefault("fieldsV1", {})
    spec = fields.setdefault("f:spec", {}).setdefault("f:containers", {})
    env = spec.setdefault(f'k:{{"name":"{container}"}}', {}).setdefault("f:env", {})
    env[f'k:{{"name":"{variable}"}}'] = {".": {}, "f:name": {}, "f:value": {}}


def _add_variable(pod, number):
    containers = pod["spec"]["containers"]
    if number > 0 and number % VARIABLES_A_CONTAINER == 0:
        more = copy.deepcopy(containers[0])
        more.update(name=f"{containers[0]['name']}-{len(containers)}", env=[])
        more.pop("ports", None)
        containers.append(more)
    container = containers[-1]
    name = f"APP_SETTING_{number:03}"
    container.setdefault("env", []).append(
        {"name": name, "value": f"https://service-{number:03}.shop.svc.cluster.local/v1"})
    _own(pod, container["name"], name)


def review(size_kb, decision):
    """A review of at least 1,000 bytes times size_kb, and little more."""
    made = fixture(SMALL if size_kb == 1 else USUAL)
    made["request"]["dryRun"] = False
    _set_enable(made, decision)
    pod = made["request"]["object"]
    if size_kb == 1:
        pod["spec"]["containers"][0]["env"] = [
            {"name": f"APP_SETTING_{i:03}", "value": "on"} for i in range(6)]
        return encode(made)
    number = 0
    missing = size_kb * 1000 - len(encode(made))
    while missing > 0:
        for _ in range(max(1, missing // VARIABLE_MAX)):
            _add_variable(pod, number)
            number += 1
        missing = size_kb * 1000 - len(encode(made))
    return encode(made)


def write_all(folder):
    """The paths of all of them, by name."""
    paths = {}
    for size_kb in SIZES_KB:
        for decision in DECISIONS:
            name = name_of(size_kb, decision)
            paths[name] = os.path.join(folder, f"{name}.json")
            with open(paths[name], "wb") as file:
                file.write(review(size_kb, decision))
    return paths


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__.strip().split("\n", maxsplit=1)[0])
    os.makedirs(sys.argv[1], exist_ok=True)
    for made_path in write_all(sys.argv[1]).values():
        print(made_path)
