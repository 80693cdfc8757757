"""The reading half of profefe's API, and a real profefe to read from."""

import datetime
import http.client
import json
import os
import urllib.parse

from children import Child, Failure, free_port

TIMEOUT_SECONDS = 10
START_SECONDS = 15
NOTHING_FOUND = (204, 404)  # 404 is what badger gives, with JSON


def utc(when):
    """The one form of a time that profefe reads; always UTC."""
    return when.astimezone(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S")


class Reader:
    """What a profefe at some address holds."""

    def __init__(self, host, port):
        self.host = host
        self.port = port

    @property
    def url(self):
        return f"http://{self.host}:{self.port}"

    def profiles(self, service, since, kind=None):
        """All profiles of a service since a time, oldest first, as dicts with id, type, service, created_at and labels
        (a dict). Labels are for the caller to filter: a search by labels on the server loses profiles that arrived out
        of order."""
        until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(minutes=1)
        query = {"service": service, "from": utc(since), "to": utc(until), "type": kind or ""}
        body = self._get("/api/0/profiles?" + urllib.parse.urlencode(query))
        if body is None:
            return []
        found = json.loads(body)["body"] or []
        for profile in found:
            profile["labels"] = {pair["key"]: pair["value"] for pair in profile.get("labels") or []}
        return sorted(found, key=lambda profile: profile["created_at"])

    def services(self):
        body = self._get("/api/0/services")
        return [] if body is None else json.loads(body)["body"]

    def fetch(self, profile_id):
        """The bytes of one profile."""
        body = self._get("/api/0/profiles/" + urllib.parse.quote(profile_id, safe=""))
        if body is None:
            raise Failure(f"profefe lists the profile {profile_id} but does not find it")
        return body

    def _get(self, target):
        connection = http.client.HTTPConnection(self.host, self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("GET", target)
            reply = connection.getresponse()
            body = reply.read()
        except OSError as error:
            raise Failure(f"GET {self.url}{target}: {error}") from error
        finally:
            connection.close()
        if reply.status in NOTHING_FOUND:
            return None
        if reply.status != 200:
            raise Failure(f"GET {self.url}{target}: {reply.status} {body[:200]!r}, expected 200")
        return body


class Profefe(Reader):
    """A real profefe with badger in a folder of its own; it can be stopped and started again on the same data."""

    def __init__(self, binary, folder, port=None):
        super().__init__("127.0.0.1", port or free_port())
        self.binary = binary
        self.folder = folder
        self.child = None

    def start(self):
        data = os.path.join(self.folder, "badger")
        os.makedirs(data, exist_ok=True)
        self.child = Child("profefe", [self.binary, f"-addr=127.0.0.1:{self.port}", "-storage-type=badger",
                                       f"-badger.dir={data}"], os.path.join(self.folder, "profefe.log"))
        self.child.wait_for_port(self.port, START_SECONDS)
        return self

    def stop(self):
        self.child.stop()

    def remove(self):
        if self.child:
            self.child.remove()
