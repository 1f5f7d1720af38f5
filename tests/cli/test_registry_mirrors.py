"""Mirrors of registries, as registries.conf names them: asked first, never trusted, and done without when they are dead."""
import os
import time

import harness
from faulty_registry import FaultyRegistry
from harness import CORRUPT, DENIED, NETWORK, environment
from images import Layout, entry, read_manifest, small_debian
from registries import PASSWORD, USER, free_port


class Mirrors(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(3 << 20))]])
        self.digest = read_manifest(self.folder / "image")[1]["digest"]
        self.env = environment(REGISTRY_AUTH_FILE=str(self.folder / "auth.json"),
                               CONTAINERS_REGISTRIES_CONF=str(self.folder / "registries.conf"))

    def start(self, **options):
        """A registry and a mirror of it, both with the image."""
        self.registry, self.mirror = FaultyRegistry(self, **options), FaultyRegistry(self)
        self.dadi("push", "oci:image", f"docker://{self.mirror.host}/hub/a:1")
        for kind in ("manifests", "types", "blobs"):
            getattr(self.registry, kind).update(getattr(self.mirror, kind))
        self.mirror.seen.clear()
        self.at = f"docker://{self.registry.host}/a:1"
        self.names_mirrors(f"{self.mirror.host}/hub")

    def names_mirrors(self, *mirrors, **settings):
        lines = ["[[registry]]", f'location = "{self.registry.host}"', *(f"{name} = {value}" for name, value in settings.items())]
        for mirror in mirrors:
            lines += ["[[registry.mirror]]", f'location = "{mirror}"']
        (self.folder / "registries.conf").write_text("\n".join(lines) + "\n")

    def pull(self, reference=None):
        self.dadi("pull", reference or self.at, "oci:back", env=self.env)
        names = [sorted(path.name for path in (self.folder / folder / "blobs/sha256").iterdir()) for folder in ("back", "image")]
        self.assertEqual(*names)

    def test_a_mirror_that_has_the_image_is_the_only_one_that_is_asked(self):
        self.start()
        self.pull()
        self.assertEqual(self.registry.seen, [])
        self.assertGreaterEqual(len(self.mirror.asked(self.mirror.host, "GET", "/v2/hub/a/blobs/")), 4)

    def test_dead_mirrors_are_passed_over_within_seconds(self):
        self.start()
        # Nobody listens there; no such name; a mirror without the image.
        self.names_mirrors(f"localhost:{free_port()}", "mirror.invalid/hub", f"{self.mirror.host}/empty")
        self.mirror.manifests.clear()
        begin = time.monotonic()
        self.pull()
        self.assertLess(time.monotonic() - begin, 30)
        self.assertGreaterEqual(len(self.registry.asked(self.registry.host, "GET", "/v2/a/blobs/")), 4)

    def test_a_blob_that_a_mirror_breaks_off_goes_on_at_the_registry(self):
        self.start()
        self.mirror.faults["dies"] = 1
        self.pull()
        ranges = [headers.get("Range") for headers in self.registry.asked(self.registry.host, "GET", "/v2/a/blobs/")]
        self.assertTrue(any(ranges), ranges)

    def test_what_a_mirror_sends_is_held_to_its_digest(self):
        self.start()
        self.mirror.faults["other"] = 1 << 30
        self.pull(f"docker://{self.registry.host}/a@{self.digest}")
        self.mirror.faults["other"], self.mirror.faults["wrong"] = 0, 1 << 30
        self.fails(CORRUPT, "pull", self.at, "oci:other", env=self.env, says="sha256:")

    def test_a_mirror_does_not_get_the_credential_of_its_registry(self):
        self.start(tokens=1000)
        (self.folder / "password").write_text(PASSWORD)
        with open(self.folder / "password", "rb") as file:
            self.dadi("login", "-u", USER, self.registry.host, stdin=file, env=self.env)
        self.mirror.manifests.clear()  # so that both are asked
        self.pull()
        self.assertGreater(len(self.mirror.seen), 0)
        for *_, headers in self.mirror.seen:
            self.assertNotIn("Authorization", headers)

    def test_when_nobody_answers_the_mirrors_are_named_too(self):
        self.start()
        dead = f"localhost:{free_port()}"
        self.names_mirrors(dead)
        self.registry.faults["gone"] = 1 << 30
        self.fails(NETWORK, "pull", self.at, "oci:back", env=self.env, says=[dead, self.registry.host, "503"])

    def test_a_blocked_registry_is_denied_and_not_asked(self):
        self.start()
        self.names_mirrors(blocked="true")
        self.fails(DENIED, "pull", self.at, "oci:back", env=self.env, says=["blocked", "hint: "])
        self.assertEqual(self.registry.seen, [])

    def test_pushes_go_to_the_registry_itself(self):
        self.start()
        self.dadi("push", "oci:image", self.at, env=self.env)
        self.assertEqual(self.mirror.seen, [])


if __name__ == "__main__":
    harness.main()
