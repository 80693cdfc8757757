"""What the less usual settings come to on a cluster: types beyond the usual ones, a spool on a volume, a Secret for the
collector, a sidecar that is told more than it knows, and `kubectl logs`."""

import os

import workloads
from case import Case, setUpModule  # noqa: F401 (unittest calls the latter)
from cluster import AGENT, api, containers, eventually, kubectl, pprof
from stage import WORK, world
from workloads import ENABLED, TROUBLE

ARRIVAL_SECONDS = 90
SAFE = "cluster-autoscaler.kubernetes.io/safe-to-evict-local-volumes"


class Delivery(Case):

    def test_other_types_arrive(self):
        pod = self.only_pod("types", ENABLED)
        held = {}

        def look():
            for profile in world.profefe.profiles("types", world.since):
                held[profile["type"], profile["labels"].get("profile_type")] = profile
            return set(workloads.OTHER_TYPES.values()) <= set(held)

        eventually(look, ARRIVAL_SECONDS, lambda: f"profefe has only {sorted(held, key=str)} of service types")
        self.assertEqual(set(held), set(workloads.OTHER_TYPES.values()))
        for (kind, name), profile in held.items():
            with self.subTest(type=kind, name=name):
                self.assertEqual(profile["labels"].get("pod"), pod["metadata"]["name"])
                body = world.profefe.fetch(profile["id"])
                if kind == "trace":
                    self.assertRegex(body[:16], rb"^go 1\.\d+ trace\0")
                else:
                    path = os.path.join(WORK, f"{kind}-{name}.pb.gz")
                    with open(path, "wb") as file:
                        file.write(body)
                    done = pprof("-raw", path, folder=WORK)
                    self.assertIn("Samples:", done.stdout)

    def test_spool_on_a_volume(self):
        """It delivers: Profiles looks. Here is where its profiles wait."""
        pod = self.only_pod("spooled", ENABLED)
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        spools = [volumes[mount["name"]]["emptyDir"] for mount in containers(pod)[AGENT]["volumeMounts"]
                  if "emptyDir" in volumes[mount["name"]]]
        self.assertEqual(len(spools), 1, pod["spec"]["volumes"])
        self.assertIn("sizeLimit", spools[0])
        mine = next(name for name, volume in volumes.items() if volume.get("emptyDir") == spools[0])
        self.assertIn(mine, pod["metadata"]["annotations"][SAFE].split(","))
        self.agent_says(pod, "/healthz", 30, status=200)

    def test_secret_opens_the_collector(self):
        """The collector's door lets nobody through without the token of the Secret."""
        pod = self.only_pod("secretive", ENABLED)
        eventually(lambda: world.guard.answers[200], ARRIVAL_SECONDS, lambda: f"answers: {dict(world.guard.answers)}")
        # 502: the door was open, but profefe behind it did not answer then.
        self.assertLessEqual(set(world.guard.answers), {200, 502}, dict(world.guard.answers))
        self.assertNotIn(workloads.TOKEN, api.log(ENABLED, "secretive", AGENT))
        self.agent_says(pod, "/healthz", 30, status=200)

    def test_unknown_variables_are_no_trouble(self):
        pod = self.only_pod("newer", TROUBLE)
        eventually(lambda: world.profefe.profiles("newer", world.since, "cpu"), ARRIVAL_SECONDS,
                   lambda: "profefe has no CPU profile of service newer")
        self.agent_says(pod, "/healthz", 30, status=200)
        self.assertNotIn("LATER", api.log(TROUBLE, "newer", AGENT))

    def test_kubectl_logs_speaks_of_the_app(self):
        """Without -c, in both modes; and in mode container, where two are to choose from, not a word about the
        choice."""
        for name in ("named", "again"):
            with self.subTest(pod=name):
                self.only_pod(name, ENABLED)
                done = kubectl("-n", ENABLED, "logs", name)
                self.assertIn("serving http://", done.stdout)
                if name == "named":
                    self.assertEqual(done.stderr, "")
