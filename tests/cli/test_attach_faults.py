"""Attaching when something goes wrong: processes killed anywhere, damage, and what cannot be attached."""
import gzip
import json
import mmap
import os
import pathlib
import random
import signal
import socket
import subprocess
import time

import harness
from attaching import Attached, data_blocks, is_ours
from harness import BUSY, CORRUPT, DENIED, FAILURE, NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, read_manifest, small_debian


class Crashes(Attached):
    def test_a_killed_dadid_shows_as_dead_and_is_detached(self):
        self.image()
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.kill_server("web")
        one, = self.ps()
        self.assertEqual((one["state"], one["pid"], one["socket"], one["device"]), ("dead", None, None, device))
        with self.assertRaises(OSError):
            (self.folder / "tree/usr/share/words").read_bytes()
        self.dadi("detach", "web")
        self.assert_nothing_is_left([device])

    def test_a_dead_name_can_be_attached_again(self):
        self.image()
        self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.kill_server("web")
        self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
        self.assertEqual([one["state"] for one in self.ps()], ["running"])

    def test_a_dead_device_is_not_shared(self):
        self.image()
        dead = self.attach("--name", "dead", "--mount", "tree", "oci:image")
        self.kill_server("dead")
        alive = self.attach("--name", "alive", "oci:image")
        self.assertNotEqual(dead, alive)
        self.assertEqual([(one["name"], one["state"]) for one in self.ps()], [("alive", "running"), ("dead", "dead")])

    def test_a_killed_dadid_whose_device_nobody_uses_frees_it_by_itself(self):
        self.image()
        device = self.attach("--name", "web", "oci:image")
        self.kill_server("web")
        self.wait_until_free(device)

    def test_a_dadid_killed_while_reads_are_under_way_is_gone(self):
        """Reads that were sent ahead, of a process that is gone: dadid's own end closes the device and must not wait."""
        self.random_image("image", 3, size=8_000_000)
        device = self.attach("--name", "web", "oci:image")
        pid = self.ps()[0]["pid"]
        os.kill(pid, signal.SIGSTOP)
        reader = subprocess.Popen(["cat", device], stdout=subprocess.DEVNULL)
        time.sleep(0.3)
        reader.kill()
        reader.wait(timeout=10)
        self.kill_server("web")
        self.wait_until_free(device)
        self.dadi("detach", "web")
        self.assert_nothing_is_left([device])

    def test_sigterm_ends_a_dadid_cleanly(self):
        self.image()
        device = self.attach("--name", "web", "oci:image")
        os.kill(self.ps()[0]["pid"], signal.SIGTERM)
        deadline = time.monotonic() + 10
        while self.servers():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assertFalse(is_ours(device))
        self.dadi("detach", "web")
        self.assert_nothing_is_left([device])

    def test_a_command_killed_anywhere_leaves_what_the_next_one_repairs(self):
        self.image()
        for delay in range(0, 40, 4):
            for words in (["attach", "--name", "web", "--mount", "tree", "oci:image"], ["detach", "web"]):
                process = subprocess.Popen([harness.BINARY, *words], cwd=self.folder, env=self.env,
                                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(delay / 1000)
                process.kill()
                process.wait(timeout=60)
                if words[0] == "attach":
                    detached = self.dadi("detach", "web", status=None)
                    self.assertEqual(self.ps(), [], f"killed after {delay} ms; detach: {detached.stderr}")
                    self.attach("--name", "web", "--mount", "tree", "oci:image")
                    self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
            self.dadi("detach", "web", status=None)
            self.assert_nothing_is_left()

    def test_a_dadid_killed_anywhere_while_it_starts_is_gone(self):
        """A process that waits for its own answer when it is killed would stay for ever."""
        self.image()
        rng = random.Random(1)
        for _ in range(600 if os.environ.get("DADI_LONG") else 40):
            process = subprocess.Popen([harness.BINARY, "attach", "--name", "web", "--mount", "tree", "oci:image"],
                                       cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            self.wait_until(lambda: self.servers() or process.poll() is not None)
            time.sleep(rng.random() * 0.02)
            for pid in self.servers():
                try:
                    os.kill(pid, rng.choice([signal.SIGTERM, signal.SIGKILL]))
                except ProcessLookupError:
                    pass  # a process that only made the device
            process.wait(timeout=30)
            self.dadi("detach", "web", status=None)
            self.assert_nothing_is_left()

    def test_dadid_killed_while_it_starts_is_an_error_and_nothing_is_left(self):
        self.image()
        script = self.folder / "dadid"
        script.write_text("#!/bin/sh\nkill -9 $$\n")
        script.chmod(0o755)
        self.fails(FAILURE, "attach", "--dadid", script, "oci:image", says="ended without a word")
        self.assert_nothing_is_left()

    def test_a_dadid_that_is_only_just_starting_is_detached(self):
        """Its attach is killed while it has not yet said which process it is."""
        self.image()
        script = self.folder / "dadid"
        script.write_text(f'#!/bin/sh\nsleep 0.5\nexec {pathlib.Path(harness.BINARY).parent / "dadid"} "$@"\n')
        script.chmod(0o755)
        process = subprocess.Popen([harness.BINARY, "attach", "--dadid", script, "--name", "web", "oci:image"],
                                   cwd=self.folder, env=self.env)
        self.wait_until(lambda: [one["state"] for one in self.ps()] == ["starting"])
        process.kill()
        process.wait(timeout=60)
        self.dadi("detach", "web")
        self.assert_nothing_is_left()

    def test_entries_of_another_boot_are_forgotten(self):
        self.image()
        self.attach("--name", "web", "oci:image")
        self.kill_server("web")
        state, = (self.state / "dadi/devices").glob("*/state.json")
        state.write_text(json.dumps({**json.loads(state.read_text()), "boot": "another"}))
        self.assert_nothing_is_left()


class Failures(Attached):
    def test_another_user_is_denied(self):
        self.image()
        os.chmod(self.folder, 0o755)
        def become_nobody():
            os.setgid(65534)
            os.setuid(65534)
        if self.dadi("version", status=None, preexec_fn=become_nobody).status:
            self.skipTest("the binary is where other users cannot read it")
        self.fails(DENIED, "attach", "oci:image", says="hint: sudo", preexec_fn=become_nobody)

    def test_an_ordinary_image_is_unsupported(self):
        Layout(self.folder / "ordinary").add_image(small_debian())
        self.fails(UNSUPPORTED, "attach", "oci:ordinary", says="hint: convert it first")

    def test_no_such_image(self):
        self.fails(NOT_FOUND, "attach", "oci:nowhere")

    def test_a_blob_that_is_missing_or_damaged(self):
        self.image()
        manifest, _ = read_manifest(self.folder / "image")
        layer = manifest["layers"][0]
        blob = self.folder / "image/blobs" / layer["digest"].replace(":", "/")
        data = blob.read_bytes()
        blob.write_bytes(bytes(len(data)))
        self.fails(CORRUPT, "attach", "oci:image", says="layer 1 (")
        blob.unlink()
        self.fails(NOT_FOUND, "attach", "oci:image", says="layer 1 (")
        self.assert_nothing_is_left()

    def test_a_mount_point_that_is_a_file(self):
        self.image()
        (self.folder / "file").write_text("")
        self.fails(USAGE, "attach", "--mount", "file", "oci:image", says="not a folder")
        self.fails(NOT_FOUND, "attach", "--mount", "no/such", "oci:image")
        self.assert_nothing_is_left()

    def test_what_is_no_file_system_is_not_mounted(self):
        (self.folder / "layer").write_bytes(gzip.decompress(self.golden("crafted/mask.lsmt.gz").read_bytes()))
        self.fails(UNSUPPORTED, "attach", "--mount", "tree", "layers:layer", says="no ext4 file system")
        self.assertFalse((self.folder / "tree").exists())
        self.assert_nothing_is_left()

    def test_a_mount_point_is_for_one_attachment(self):
        self.image()
        self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.fails(BUSY, "attach", "--mount", "tree/", "oci:image", says="mount point of web")

    def test_mount_options_cannot_make_it_writable_or_dangerous(self):
        self.image()
        for option in ("rw", "dev", "suid", "noatime,rw"):
            self.fails(USAGE, "attach", "--mount", "tree", "--mount-options", option, "oci:image", says="ro,nodev,nosuid")
        self.attach("--mount", "tree", "--mount-options", "noexec,noatime", "oci:image")
        line, = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if f"{self.folder}/tree" in line]
        self.assertTrue({"ro", "nodev", "nosuid", "noexec", "noatime"} <= set(line.split()[3].split(",")), line)

    def test_detaching_what_is_not_attached(self):
        self.fails(NOT_FOUND, "detach", "nothing")
        self.image()
        self.attach("--name", "web", "oci:image")
        for target in ("nothing", "/dev/loop999", "/dev/null", str(self.folder)):
            self.fails(NOT_FOUND, "detach", target, says="dadi ps")

    def test_damage_is_an_error_of_the_range_it_is_in(self):
        self.random_image("image", 5, layers=1, size=2_000_000)
        manifest, _ = read_manifest(self.folder / "image")
        blob = self.folder / "image/blobs" / manifest["layers"][0]["digest"].replace(":", "/")
        self.dadi("export", "-q", "oci:image", "disk")
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        device = self.attach("--name", "web", "oci:image")
        failed = []
        fd = os.open(device, os.O_RDONLY | os.O_DIRECT)
        try:
            buffer = mmap.mmap(-1, 4096)
            for at, block in data_blocks(self.folder / "disk"):
                try:
                    os.preadv(fd, [buffer], at)
                    self.assertEqual(buffer[:], block, at)
                except OSError as error:
                    self.assertEqual(error.errno, 5)
                    failed.append(at)
        finally:
            os.close(fd)
        self.assertEqual(len(failed), 1)
        log, = (self.state / "dadi/devices").glob("*/log")
        self.assertIn("checksum", log.read_text())
        self.assertIn("layer 1", log.read_text())


if __name__ == "__main__":
    harness.main()
