"""Throwaway certificate authorities that issue what a test asks for: expired, not valid yet, for clients, for
servers."""

import os
import time

from children import Failure, run

OPENSSL_SECONDS = 60
DAY = 24 * 3600
KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
CONFIG = """[ca]
default_ca = authority
[authority]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = anything
[anything]
commonName = supplied
"""


def openssl(folder, *args):
    done = run(["openssl", *args], OPENSSL_SECONDS, cwd=folder)
    if done.code != 0:
        raise Failure(f"openssl {args[0]} failed: {done.err.strip()}")
    return done.out


def asn1_time(when):
    return time.strftime("%Y%m%d%H%M%SZ", time.gmtime(when))


class Authority:
    """A CA in a folder of its own below `folder`; its certificate is `crt`."""

    def __init__(self, folder, name):
        self.name = name
        self.folder = os.path.join(folder, f"authority-{name}")
        os.mkdir(self.folder)
        self.crt = os.path.join(self.folder, "ca.crt")
        with open(os.path.join(self.folder, "ca.cnf"), "w", encoding="ascii") as config:
            config.write(CONFIG)
        with open(os.path.join(self.folder, "index.txt"), "w", encoding="ascii"):
            pass
        openssl(self.folder, "req", "-x509", *KEY, "-keyout", "ca.key", "-out", "ca.crt", "-subj", f"/CN={name}",
                "-days", "1")
        self.issued = 0

    def issue(self, usage="serverAuth", begins=-DAY, ends=DAY, host="IP:127.0.0.1"):
        """Paths of a new certificate and its key, valid from and to seconds from now; usage None = no extended key
        usage."""
        self.issued += 1
        crt, key = f"{self.issued}.crt", f"{self.issued}.key"
        now = time.time()
        openssl(self.folder, "req", *KEY, "-keyout", key, "-out", "csr", "-subj", f"/CN={self.name} {self.issued}")
        with open(os.path.join(self.folder, "extensions"), "w", encoding="ascii") as extensions:
            extensions.write(f"subjectAltName={host}\n" + (f"extendedKeyUsage={usage}\n" if usage else ""))
        openssl(self.folder, "ca", "-batch", "-notext", "-config", "ca.cnf", "-cert", "ca.crt", "-keyfile", "ca.key",
                "-in", "csr",
                "-out", crt, "-extfile", "extensions", "-startdate", asn1_time(now + begins), "-enddate",
                asn1_time(now + ends))
        return os.path.join(self.folder, crt), os.path.join(self.folder, key)


def read(*paths):
    """The files one after the other."""
    parts = []
    for path in paths:
        with open(path, "rb") as file:
            parts.append(file.read())
    return b"".join(parts)


class Mount:
    """Files as the kubelet mounts them from a Secret or a ConfigMap: swapped all at once by one symlink."""

    def __init__(self, folder):
        self.folder = folder
        os.mkdir(folder)
        self.versions = 0

    def path(self, name):
        return os.path.join(self.folder, name)

    def swap(self, files):
        """files: name → bytes. Names that were there before and are not now are gone."""
        self.versions += 1
        version = f"..{self.versions}"
        os.mkdir(self.path(version))
        for name, content in files.items():
            with open(self.path(os.path.join(version, name)), "wb") as file:
                file.write(content)
            if not os.path.islink(self.path(name)):
                os.symlink(os.path.join("..data", name), self.path(name))
        os.symlink(version, self.path("..new"))
        os.rename(self.path("..new"), self.path("..data"))
