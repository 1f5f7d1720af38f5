"""Registries for tests: Debian's docker-registry on the loopback, with TLS and passwords where they are asked for."""
import pathlib
import socket
import subprocess
import time

import harness

USER, PASSWORD = "anna", "sEcret-9f3c"


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def make_authority(folder, name="ca"):
    """A private authority, and a certificate of it for localhost and 127.0.0.1. Returns the three files."""
    harness.need_command("openssl")
    ca, ca_key, cert, key = (pathlib.Path(folder) / f"{name}{end}" for end in (".pem", ".key", "-server.pem", "-server.key"))
    new_key = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    for words in (["req", "-x509", *new_key, "-subj", f"/CN=authority {name}", "-keyout", ca_key, "-out", ca],
                  ["req", "-x509", *new_key, "-subj", "/CN=localhost", "-CA", ca, "-CAkey", ca_key, "-keyout", key, "-out",
                   cert, "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-addext", "basicConstraints=CA:FALSE"]):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    return ca, cert, key


def make_expired(folder, ca, ca_key):
    """A certificate of the authority for localhost that ended yesterday, and its key."""
    request, cert, key = (pathlib.Path(folder) / f"expired.{end}" for end in ("csr", "pem", "key"))
    for words in (["req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=localhost",
                   "-addext", "subjectAltName=DNS:localhost", "-keyout", key, "-out", request],
                  ["x509", "-req", "-in", request, "-CA", ca, "-CAkey", ca_key, "-days", "-1", "-copy_extensions", "copy",
                   "-out", cert]):
        subprocess.run(["openssl", *map(str, words)], check=True, capture_output=True)
    return cert, key


class Registry:
    """A running docker-registry; `host` is its HOST:PORT. Stopped at the end of the test."""

    def __init__(self, test, tls=None, password=False, read_only=False, storage=None, clients_of=None):
        """`tls`: certificate and key; `clients_of`: the authority whose certificates clients must show. What it was asked
        is in the file `log`, a line each."""
        harness.need_command("docker-registry", "htpasswd")
        self.storage = pathlib.Path(storage or test.folder / f"registry-{free_port()}")
        self.storage.mkdir(exist_ok=True)
        port = free_port()
        self.host = f"localhost:{port}"
        config = ["version: 0.1", "log: {level: error}", "storage:",
                  f"  filesystem: {{rootdirectory: {self.storage}}}",
                  f"  maintenance: {{readonly: {{enabled: {'true' if read_only else 'false'}}}}}",
                  "http:", f"  addr: 127.0.0.1:{port}"]
        if tls:
            clients = f", clientcas: [{clients_of}]" if clients_of else ""
            config.append(f"  tls: {{certificate: {tls[0]}, key: {tls[1]}{clients}}}")
        if password:
            passwords = test.folder / f"htpasswd-{port}"
            made = subprocess.run(["htpasswd", "-niBC", "4", USER], input=PASSWORD, text=True, check=True, capture_output=True)
            passwords.write_text(made.stdout)
            config += ["auth:", f"  htpasswd: {{realm: test, path: {passwords}}}"]
        self.config = test.folder / f"registry-{port}.yml"
        self.config.write_text("\n".join(config) + "\n")
        self.log = test.folder / f"registry-{port}.log"
        self.test, self.port = test, port
        self.start()
        test.addCleanup(self.stop)

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(["docker-registry", "serve", str(self.config)], stdout=log,
                                            stderr=subprocess.DEVNULL)
        deadline = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=5).close()
                return
            except OSError:
                self.test.assertIsNone(self.process.poll(), "docker-registry ended")
                self.test.assertLess(time.monotonic(), deadline)
                time.sleep(0.05)

    def stop(self):
        self.process.kill()
        self.process.wait()
