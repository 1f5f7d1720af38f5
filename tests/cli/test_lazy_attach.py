"""Attaching images that are on a registry."""
import json
import os
import pathlib
import subprocess

import harness
from attaching import Attached
from harness import DENIED, NETWORK
from images import entry, read_manifest
from registries import PASSWORD, USER, Registry, make_authority
from traces import make_trace


class LazyAttach(Attached):
    def setUp(self):
        super().setUp()
        self.env.update(DADI_CACHE_DIR=str(self.folder / "cache"), REGISTRY_AUTH_FILE=str(self.folder / "auth.json"),
                        DADI_VIRTUAL_SIZE="256M")  # devices are read as a whole
        self.ca, cert, key = make_authority(self.folder)
        self.registry = Registry(self, tls=(cert, key), password=True)
        self.env["DADI_CA_FILE"] = str(self.ca)
        (self.folder / "password").write_text(PASSWORD + "\n")
        with open(self.folder / "password", "rb") as file:
            self.dadi("login", "-u", USER, self.registry.host, stdin=file)
        self.at = f"docker://{self.registry.host}/a:1"
        self.dadi("push", self.image(), self.at)

    def device_digest(self, device):
        return harness.sha256_of(device)

    def exported(self):
        self.dadi("export", "oci:image", "disk")
        return harness.sha256_of(self.folder / "disk")

    def test_an_image_is_mounted_from_its_registry_and_says_what_that_cost(self):
        mount = self.folder / "mnt"
        run = self.dadi("attach", "-v", "--name", "web", "--mount", mount, self.at)
        self.assertRegex(run.stderr, r"opened with \d+ requests, \d+ bytes, in [\d.]+ s")
        self.assertEqual((mount / "etc/hostname").read_text(), "small\n")
        device = self.listed("web")["device"]
        self.wait_until(lambda: self.read_ahead(device) == 2048)  # once it is known that there is no trace
        stats = self.dadi("stats", "--json", "web").json[0]["registry"]
        self.assertGreaterEqual(stats["requests"], stats["opening"]["requests"])
        self.assertGreater(stats["bytes"], 0)
        self.assertIn("dadi_registry_requests_total", self.dadi("stats", "--prometheus").text)
        self.assertEqual(self.device_digest(self.listed("web")["device"]), self.exported())
        self.dadi("detach", "web")
        self.assertEqual(self.read_ahead(device), 128)
        self.assert_nothing_is_left()

    def test_no_secret_is_in_the_state_folder_the_cache_the_log_or_a_command_line(self):
        self.attach("--name", "web", self.at)
        pid = self.listed("web")["pid"]
        words = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes()
        for path in [*self.state.rglob("*"), *(self.folder / "cache").rglob("*")]:
            if path.is_file():
                words += path.read_bytes()
        self.assertNotIn(PASSWORD.encode(), words)
        self.assertNotIn(json.loads((self.folder / "auth.json").read_text())["auths"][self.registry.host]["auth"].encode(), words)

    def test_a_tag_that_moves_does_not_change_the_device(self):
        device = self.attach("--name", "old", self.at)
        self.dadi("push", self.image("other", [[entry("other", b"x" * 50_000)]]), self.at)
        self.assertEqual(self.device_digest(device), self.exported())
        spec = json.loads(next(self.state.glob("dadi/devices/*/device.json")).read_text())
        self.assertIn(read_manifest(self.folder / "image")[1]["digest"], spec["reference"])
        self.assertNotEqual(self.attach("--name", "new", self.at), device)

    def test_each_attach_proves_that_it_may_read_the_image(self):
        self.attach("--name", "web", "--download", self.at)
        self.dadi("logout", self.registry.host)
        self.fails(DENIED, "attach", "--name", "again", self.at, says="hint: dadi login")
        self.assertEqual([one["name"] for one in self.ps()], ["web"])

    def test_a_dadid_can_follow_when_the_registry_is_gone_and_all_is_cached(self):
        device = self.attach("--name", "web", self.at)
        self.device_digest(device)  # reads all of it
        self.registry.stop()
        folder = next(self.state.glob("dadi/devices/*"))
        program = pathlib.Path(harness.BINARY).parent / "dadid"
        run = subprocess.run([program, "--check-resume", folder], env=self.env, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.fails(NETWORK, "attach", "--name", "again", self.at)

    def test_mirrors_are_known_to_who_serves_the_device(self):
        conf = self.folder / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "dead.invalid"\n[[registry.mirror]]\nlocation = "{self.registry.host}"\n')
        self.env["CONTAINERS_REGISTRIES_CONF"] = str(conf)
        device = self.attach("--name", "web", "docker://dead.invalid/a:1")
        self.assertEqual(self.device_digest(device), self.exported())

    def test_after_a_download_the_registry_is_not_needed(self):
        device = self.attach("--name", "web", "--download", self.at)
        log = next(self.state.glob("dadi/devices/*/log"))
        self.wait_until(lambda: "all of the image is on this host" in log.read_text())
        self.registry.stop()
        self.assertEqual(self.device_digest(device), self.exported())

    def test_a_replay_says_what_it_was_worth(self):
        self.dadi("push", self.image("large", [[entry("data", os.urandom(3 << 20))]]), self.at)
        (self.folder / "app.trace").write_bytes(make_trace([(0, 512 << 10, 1 << 20), (0, 2 << 20, 512 << 10)]))
        traced = f"docker://{self.registry.host}/a:traced"
        self.dadi("trace", "attach", self.at, "app.trace", traced)
        device = self.attach("--name", "web", traced)
        self.assertEqual(self.read_ahead(device), 32)

        def replay():
            return self.dadi("stats", "--json", "web").json[0].get("replay", {"fetched": 0, "planned": 0})  # on its way

        self.wait_until(lambda: replay()["fetched"] == replay()["planned"] > 0)
        before = replay()
        self.assertGreaterEqual(before["fetched"], 1536 << 10)
        self.assertEqual(before["hits"] + before["late"] + before["wasted"], before["fetched"])
        self.assertGreater(before["wasted"], 1 << 20)  # the kernel has looked at the ends of the device alone
        self.device_digest(self.listed("web")["device"])
        after = replay()
        self.assertGreaterEqual(after["hits"], before["wasted"])
        self.assertEqual((after["wasted"], after["late"]), (0, before["late"]))
        text = self.dadi("stats", "--prometheus").text
        for name, value in (("fetched_bytes_total", after["fetched"]), ("failures_total", 0), ("late_bytes_total", after["late"]),
                            ("hit_bytes_total", after["hits"]), ("wasted_bytes", 0)):
            self.assertRegex(text, rf'(?m)^dadi_replay_{name}{{.*name="web".*}} {value}$')
        self.dadi("detach", "web")
        # Without a replay there is nothing to say.
        self.attach("--name", "plain", "--no-replay", traced)
        self.assertNotIn("replay", self.dadi("stats", "--json", "plain").json[0])

    def test_a_trace_beside_the_image_is_replayed_and_a_successor_does_not_ask_again(self):
        self.dadi("push", self.image("large", [[entry("data", os.urandom(3 << 20))]]), self.at)
        (self.folder / "app.trace").write_bytes(make_trace([(0, 512 << 10, 1 << 20)]))
        self.dadi("trace", "attach", "--referrer", self.at, "app.trace")
        self.attach("--name", "web", self.at)
        self.wait_until(lambda: self.dadi("stats", "--json", "web").json[0].get("replay", {}).get("fetched", 0) >= 1 << 20)
        self.dadi("detach", "web")
        self.attach("--name", "again", self.at)
        self.assertNotIn("replay", self.dadi("stats", "--json", "again").json[0])


if __name__ == "__main__":
    harness.main()
