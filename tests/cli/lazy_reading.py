"""What the tests of lazy reads share: a converted image on a registry, and the same one in a folder to compare with."""
import re
import time

import harness
from harness import environment
from images import read_manifest
from registries import PASSWORD, USER
from serving import Server, ServeTest


class LazyTest(ServeTest):
    """self.registry has oci:image as self.at; each test has a cache of its own."""

    def setUp(self):
        super().setUp()
        self.env = self.environment()

    def environment(self, cache="cache"):
        return environment(DADI_CACHE_DIR=str(self.folder / cache), REGISTRY_AUTH_FILE=str(self.folder / "auth.json"))

    def dadi(self, *arguments, **options):
        return super().dadi(*arguments, **{"env": getattr(self, "env", None), **options})

    def publish(self, registry, *options):
        self.registry = registry
        self.at = f"docker://{registry.host}/a:1"
        self.dadi("push", *options, "oci:image", self.at)
        if hasattr(registry, "seen"):
            registry.seen.clear()

    def login(self, *options):
        (self.folder / "password").write_text(PASSWORD + "\n")
        with open(self.folder / "password", "rb") as file:
            self.dadi("login", "-u", USER, *options, self.registry.host, stdin=file)

    def layers(self):
        return [layer["digest"] for layer in read_manifest(self.folder / "image")[0]["layers"]]

    def serve(self, *arguments, env=None, **options):
        return Server(self, *arguments, image=self.at, env=env or self.env, **options)

    def opening(self, server):
        """Requests and bytes that opening took, by what `serve -v` says."""
        found = re.search(r"opened with (\d+) requests, (\d+) bytes, in ([\d.]+) s", server.said())
        self.assertTrue(found, server.said())
        return int(found[1]), int(found[2]), float(found[3])

    def expected(self):
        return harness.sha256_of(self.device())

    def read_all(self, server, status=0):
        """A hash of all that the device has. nbdcopy, with several connections at once."""
        self.run_tool("nbdcopy", server.uri, self.folder / "copy", status=status)
        return harness.sha256_of(self.folder / "copy")

    def assert_reads_right(self, server):
        self.assertEqual(self.read_all(server), self.expected())

    def asked(self, pattern, host=None, method="GET"):
        return self.registry.asked(host or self.registry.host, method, pattern)

    def wait_for(self, condition, seconds=30):
        deadline = time.monotonic() + seconds
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.05)

    def cached(self, env=None):
        return {one["digest"]: one for one in self.dadi("cache", "ls", "--json", env=env or self.env).json}
