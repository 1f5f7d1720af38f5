"""Registries that expire tokens, send elsewhere, break off, ask for patience, and lie."""
import json
import os
import signal
import subprocess
import time

import harness
from faulty_registry import FaultyRegistry
from harness import CORRUPT, DENIED, NETWORK, environment
from images import Layout, entry, read_manifest, small_debian
from registries import PASSWORD, USER


class Faults(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(9 << 20))]])
        self.env = environment(REGISTRY_AUTH_FILE=str(self.folder / "auth.json"))

    def start(self, **options):
        self.registry = FaultyRegistry(self, **options)
        self.at = f"docker://{self.registry.host}/a:1"

    def push(self, **options):
        return self.dadi("push", "oci:image", self.at, env=self.env, **options)

    def pull(self, **options):
        return self.dadi("pull", self.at, "oci:back", env=self.env, **options)

    def login(self):
        (self.folder / "password").write_text(PASSWORD + "\n")
        with open(self.folder / "password", "rb") as file:
            self.dadi("login", "-u", USER, self.registry.host, stdin=file, env=self.env)

    def assert_pulled(self):
        name = lambda folder: sorted(path.name for path in (self.folder / folder / "blobs/sha256").iterdir())  # noqa: E731
        self.assertEqual(name("back"), name("image"))

    def asked(self, method, pattern):
        return self.registry.asked(self.registry.host, method, pattern)

    def test_an_upload_that_is_denied_is_the_error_and_not_what_it_stopped(self):
        Layout(self.folder / "one").add_image([[entry("srv/noise", os.urandom(9 << 20))]])
        self.start()
        # Of two blobs, layer and config: the config is asked for while the layer is on its way.
        self.registry.faults.update(denied=1, hidden=1, asleep=1)
        started = time.monotonic()
        self.fails(DENIED, "push", "oci:one", self.at, env=self.env)
        self.assertLess(time.monotonic() - started, 30)
        self.assertLess(self.registry.faults["asleep"], 1)

    def test_fetching_converting_and_uploading_overlap(self):
        """Each layer's second half comes when another is as far as it can be only if they do."""
        Layout(self.folder / "three").add_image([[entry(f"srv/{i}", os.urandom(6 << 20))] for i in range(3)])
        self.start()
        self.dadi("push", "oci:three", self.at, env=self.env)
        first, second, third = (layer["digest"] for layer in read_manifest(self.folder / "three")[0]["layers"])
        source = set(self.registry.blobs)
        self.registry.held = {first: lambda: self.asked("GET", second),  # is fetched ahead
                              third: lambda: set(self.registry.blobs) - source}  # the first one's result is uploaded
        self.registry.seen.clear()
        started = time.monotonic()
        self.dadi("convert", "--no-cache", self.at, f"docker://{self.registry.host}/b:1", env=self.env)
        self.assertLess(time.monotonic() - started, 25)
        self.assertEqual(len(self.asked("GET", third)), 1)

    def test_tokens_are_fetched_used_again_and_renewed_when_they_expire(self):
        self.start(tokens=4)
        self.fails(DENIED, "push", "oci:image", self.at, env=self.env, says="hint: dadi login")
        self.login()
        self.registry.seen.clear()
        self.push()
        self.pull()
        self.assert_pulled()
        fetched = len(self.registry.asked(self.registry.auth, "GET", "token"))
        served = len([headers for *_, headers in self.registry.seen if headers.get("Authorization", "").startswith("Bearer")])
        self.assertGreater(fetched, 2)
        self.assertLess(fetched, served / 2)

    def test_a_credential_goes_nowhere_but_to_its_registry(self):
        self.start(tokens=1000, elsewhere=True)
        self.login()
        said = self.push().stderr
        run = self.pull()
        self.assert_pulled()
        stored = self.registry.asked(self.registry.store, "GET", "bucket")
        self.assertGreaterEqual(len(stored), 4)
        for headers in stored:
            self.assertNotIn("Authorization", headers)
            self.assertNotIn("tok-", json.dumps(headers))
        for text in (said, run.stderr, run.text, self.dadi("pull", "-v", self.at, "oci:again", env=self.env).stderr):
            self.assertNotIn(PASSWORD, text)
            self.assertNotIn("tok-", text)

    def test_a_credential_is_in_no_command_line(self):
        self.start(tokens=1000)
        self.login()
        with subprocess.Popen([harness.BINARY, "push", "oci:image", self.at], cwd=self.folder, env=self.env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            with open(f"/proc/{process.pid}/cmdline", "rb") as file:
                words = file.read()
            self.assertEqual(process.wait(timeout=120), 0)
        self.assertNotIn(PASSWORD.encode(), words)

    def test_a_download_that_breaks_off_goes_on_where_it_was(self):
        self.start()
        self.push()
        self.registry.faults["cut"] = 3
        self.pull()
        self.assert_pulled()
        ranges = [headers["Range"] for headers in self.asked("GET", "blobs") if "Range" in headers]
        self.assertEqual(len(ranges), 3)
        self.assertNotIn("bytes=0-", ranges)

    def test_a_registry_without_ranges_is_read_from_the_start_again(self):
        self.start()
        self.push()
        self.registry.faults.update(cut=1, whole=1)
        self.pull()
        self.assert_pulled()

    def test_a_registry_that_asks_for_patience_gets_it(self):
        self.start()
        self.push()
        self.registry.faults["status"] = 1
        begin = time.monotonic()
        self.pull()
        self.assertGreaterEqual(time.monotonic() - begin, 1)
        self.assert_pulled()

    def test_one_that_fails_for_a_while_is_asked_again(self):
        self.start()
        self.registry.faults["gone"] = 3
        self.push()
        self.registry.faults["gone"] = 3
        self.pull()
        self.assert_pulled()

    def test_one_that_fails_for_ever_is_the_network_and_nothing_is_left(self):
        self.start()
        self.push()
        self.registry.faults["gone"] = 1 << 30
        self.fails(NETWORK, "pull", self.at, "oci:back", env=self.env, says="503")
        self.assertFalse(any((self.folder / "back").rglob("*")) if (self.folder / "back").exists() else False)

    def test_other_bytes_are_corrupt_and_not_kept(self):
        self.start()
        self.push()
        self.registry.faults["wrong"] = 1 << 30
        self.fails(CORRUPT, "pull", self.at, "oci:back", env=self.env, says="sha256:")
        self.assertEqual([path for path in (self.folder / "back").rglob("*") if path.is_file() and "blobs" in path.parts], [])

    def test_a_manifest_that_is_not_the_one_of_its_digest_is_corrupt(self):
        self.start()
        self.push()
        digest = read_manifest(self.folder / "image")[1]["digest"]
        for reference in (self.at, f"docker://{self.registry.host}/a@{digest}"):
            self.registry.faults["other"] = 1 << 30
            self.fails(CORRUPT, "pull", reference, "oci:back", env=self.env, says=[digest, "hint: "])

    def test_an_upload_that_breaks_off_goes_on_where_the_registry_is(self):
        self.start()
        self.registry.faults["lost"] = 2
        self.push()
        starts = [int(headers["Content-Range"].split("-")[0]) for headers in self.asked("PATCH", "/up/")]
        self.assertIn(4 << 20, starts)  # half a chunk was taken
        self.pull()
        self.assert_pulled()

    def test_a_mount_that_is_not_allowed_is_an_upload(self):
        self.start(tokens=1000)
        self.login()
        self.push()
        self.registry.faults.update(hidden=1 << 30, mount=1 << 30, scopes=1 << 30)
        done = self.dadi("copy", "--json", self.at, f"docker://{self.registry.host}/b:1", env=self.env).json
        self.assertEqual((done["blobs_copied"], done["blobs_there"]), (4, 0))
        self.assertGreaterEqual(len(self.asked("POST", "/v2/b/blobs/uploads/.mount=")), 4)
        self.assertLess(self.registry.faults["scopes"], 1 << 30)

    def test_a_push_that_fails_does_not_wait_for_what_is_under_way(self):
        self.start()
        self.registry.faults.update(hang=1, denied=1 << 30)
        begin = time.monotonic()
        self.fails(DENIED, "push", "oci:image", self.at, env=self.env, says="status 403")
        self.assertEqual(self.registry.faults["hang"], 0)
        self.assertLess(time.monotonic() - begin, 40)  # the minute that an answer would take

    def test_a_push_that_is_told_to_stop_breaks_off_what_is_under_way(self):
        self.start()
        self.registry.faults["hang"] = 1 << 30
        with subprocess.Popen([harness.BINARY, "push", "oci:image", self.at], cwd=self.folder, env=self.env,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
            while not self.asked("PATCH", "/up/"):
                time.sleep(0.05)
            process.send_signal(signal.SIGINT)
            self.assertEqual(process.wait(timeout=40), 130)


if __name__ == "__main__":
    harness.main()
