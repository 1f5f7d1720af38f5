"""Images as block devices of this host: attach and detach, with FUSE and loop."""
import concurrent.futures
import json
import os
import pathlib
import random
import re
import subprocess
import time

import harness
from attaching import Attached, data_blocks, is_ours
from harness import BUSY, USAGE
from images import Layout, entry, read_manifest, small_debian
from registries import Registry
from test_mount import compare_with_umoci, golden_source


class Devices(Attached):
    def test_the_device_equals_the_export_and_detach_leaves_nothing(self):
        self.image()
        device = self.attach("oci:image")
        self.dadi("export", "-q", "oci:image", "disk")
        size = os.path.getsize(self.folder / "disk")
        subprocess.run(["cmp", "-n", str(64 << 20), device, self.folder / "disk"], check=True)
        with open(device, "rb") as file:
            self.assertEqual(file.seek(0, os.SEEK_END), size)
            for at, block in data_blocks(self.folder / "disk"):
                self.assertEqual(os.pread(file.fileno(), 4096, at), block, at)
        self.dadi("detach", device)
        self.assert_nothing_is_left([device])

    def test_the_kernel_reads_ahead_as_it_is_told_and_forgets_it_afterwards(self):
        self.image()
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.assertEqual(self.read_ahead(device), 512)
        with open(self.folder / "tree/etc/hostname", "rb"):
            self.dadi("detach", "web", status=harness.BUSY)
            self.assertEqual(self.read_ahead(device), 512)
            self.dadi("detach", "--lazy", "web")
            self.assertEqual(self.read_ahead(device), 128)
        self.wait_until(lambda: not self.servers())
        device = self.attach("--name", "web", "oci:image")
        self.dadi("detach", "web")
        self.assertEqual(self.read_ahead(device), 128)

    def test_the_device_is_read_only(self):
        self.image()
        device = self.attach("oci:image")
        name = pathlib.Path(device).name
        self.assertEqual(pathlib.Path(f"/sys/block/{name}/ro").read_text(), "1\n")
        with self.assertRaises(OSError), open(device, "wb", buffering=0) as file:
            file.write(bytes(4096))

    def test_a_mounted_tree_is_what_umoci_unpacks(self):
        implicit = golden_source(self)
        self.dadi("convert", "-q", "oci:source", "oci:image")
        self.attach("--mount", "tree", "oci:image")
        compare_with_umoci(self, self.folder / "tree", implicit)
        self.dadi("detach", "tree")
        self.assertFalse((self.folder / "tree").exists(), "a folder that attach made goes with it")
        self.assert_nothing_is_left()

    def test_an_image_of_127_layers(self):
        self.random_image("many", 1, layers=127, size=3000)
        self.attach("--mount", "tree", "oci:many")
        rng = random.Random(1)
        for i in range(127):
            self.assertEqual((self.folder / f"tree/file{i}").read_bytes(), rng.randbytes(3000), i)

    def test_layers_as_files_and_a_config_file(self):
        self.image()
        manifest, _ = read_manifest(self.folder / "image")
        files = [str(self.folder / "image/blobs" / layer["digest"].replace(":", "/")) for layer in manifest["layers"]]
        (self.folder / "config.v1.json").write_text(json.dumps({"lowers": [{"file": file} for file in files]}))
        for reference in ("layers:" + ",".join(files), "config:config.v1.json"):
            self.attach("--mount", "tree", reference)
            self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
            self.dadi("detach", "tree")

    def test_twenty_images_at_once_read_in_parallel(self):
        for i in range(20):
            self.random_image(f"image{i}", i)
        with concurrent.futures.ThreadPoolExecutor(20) as pool:
            devices = list(pool.map(lambda i: self.attach("--mount", f"tree{i}", f"oci:image{i}"), range(20)))
            self.assertEqual(len(set(devices)), 20)
            read = list(pool.map(lambda i: (self.folder / f"tree{i}/file0").read_bytes(), range(20)))
            self.assertEqual(read, [random.Random(i).randbytes(200_000) for i in range(20)])
            list(pool.map(lambda i: self.dadi("detach", f"tree{i}"), range(20)))
        self.assert_nothing_is_left(devices)

    def test_many_cycles_leave_nothing_behind(self):
        cycles = 1000 if os.environ.get("DADI_LONG") else 20
        self.image()
        def facts():
            return (len(pathlib.Path("/proc/self/mountinfo").read_text().splitlines()), self.servers(),
                    sorted(str(path) for path in self.state.rglob("*")))
        self.dadi("detach", self.attach("--mount", "tree", "oci:image"))
        before = facts()
        for _ in range(cycles):
            device = self.attach("--mount", "tree", "oci:image")
            self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
            self.dadi("detach", device)
            self.assertFalse(is_ours(device))
        self.assertEqual(facts(), before)
        self.assert_nothing_is_left()


class Sharing(Attached):
    def test_attachments_of_one_image_share_its_device_and_are_counted(self):
        self.image()
        devices = {self.attach("oci:image"), self.attach("--name", "second", "oci:image"),
                   self.attach("--mount", "tree", f"oci:{self.folder}/image:latest")}
        self.assertEqual(len(devices), 1)
        self.assertEqual(len(self.servers()), 1)
        self.assertEqual([one["name"] for one in self.ps()], ["image", "image-latest", "second"])
        self.dadi("detach", "second")
        self.dadi("detach", "image")
        self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
        self.dadi("detach", "tree")
        self.assert_nothing_is_left(devices)

    def test_attachments_made_at_once_share_one_device(self):
        self.image()
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            devices = list(pool.map(lambda _: self.attach("oci:image"), range(8)))
        self.assertEqual(len(set(devices)), 1)
        self.assertEqual(len(self.servers()), 1)
        for _ in range(8):
            self.dadi("detach", devices[0])
        self.assert_nothing_is_left(devices)

    def test_a_device_that_is_shared_under_names_is_not_detached_by_its_path(self):
        self.image()
        device = self.attach("--name", "a", "oci:image")
        self.attach("--name", "b", "oci:image")
        self.fails(BUSY, "detach", device, says=["a, b", "hint: "])

    def test_another_image_under_the_same_tag_has_a_device_of_its_own(self):
        self.image()
        first = self.attach("oci:image")
        changed = [*small_debian(), [entry("etc/hostname", b"changed\n")]]
        Layout(self.folder / "changed.source").add_image(changed)
        self.dadi("convert", "-q", "oci:changed.source", "oci:image")
        second = self.attach("--mount", "tree", "oci:image")
        self.assertNotEqual(first, second)
        self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "changed\n")


class Names(Attached):
    def test_a_name_is_taken_once(self):
        self.image()
        self.random_image("other", 1)
        self.attach("--name", "web", "oci:image")
        self.fails(BUSY, "attach", "--name", "web", "oci:other", says=["web is taken", "hint: "])
        self.fails(BUSY, "attach", "--name", "web", "oci:image", says="web is taken")
        self.assertEqual(len(self.servers()), 1)

    def test_without_one_it_is_called_after_the_image(self):
        self.image()
        for _ in range(3):
            self.attach("oci:image:latest")
        self.assertEqual([one["name"] for one in self.ps()], ["image-latest", "image-latest-2", "image-latest-3"])

    def test_odd_names_are_refused(self):
        self.image()
        for name in ("../x", "a/b", ".hidden", "-x", "a b", "x" * 65):
            self.fails(USAGE, "attach", f"--name={name}", "oci:image", says="is no name")
        self.assert_nothing_is_left()


class Busy(Attached):
    def test_a_mount_point_in_use_is_not_detached_and_its_user_is_named(self):
        self.image()
        device = self.attach("--mount", "tree", "oci:image")
        with open(self.folder / "tree/etc/hostname") as file:
            said = self.fails(BUSY, "detach", "tree", says=["in use", "hint: "])
            self.assertIn(f"process {os.getpid()} (", said)
            self.assertEqual(file.read(), "small\n")
        self.dadi("detach", "tree")
        self.assert_nothing_is_left([device])

    def test_a_device_that_is_open_or_mounted_by_others_is_not_detached(self):
        self.image()
        device = self.attach("oci:image")
        with open(device, "rb"):
            self.assertIn(f"process {os.getpid()} (", self.fails(BUSY, "detach", device))
        point = self.folder / "by hand"
        point.mkdir()
        subprocess.run(["mount", "-o", "ro,noload", device, point], check=True)
        try:
            self.fails(BUSY, "detach", device, says=str(point))
        finally:
            subprocess.run(["umount", point], check=True)
        self.dadi("detach", device)
        self.assert_nothing_is_left([device])

    def test_lazily_its_users_keep_it_until_they_are_done(self):
        self.random_image("image", 7, size=3_000_000)
        device = self.attach("--mount", "tree", "oci:image")
        with open(self.folder / "tree/file0", "rb") as file:
            self.dadi("detach", "--lazy", "tree")
            self.assertEqual(self.ps(), [])
            self.assertFalse((self.folder / "tree").exists())
            again = self.attach("oci:image")
            self.assertNotEqual(again, device, "what is being let go is not shared")
            self.dadi("detach", again)
            self.assertEqual(file.read(), random.Random(7).randbytes(3_000_000))
        deadline = time.monotonic() + 10
        while self.servers():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        self.assert_nothing_is_left([device])


class Help(Attached):
    def test_what_is_read_is_recorded_until_it_is_detached(self):
        self.image()
        self.attach("--name", "plain", "oci:image")
        self.attach("--name", "web", "--mount", "tree", "--record", "web.trace", "oci:image")
        self.assertEqual(len({one["device"] for one in self.ps()}), 2)
        self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
        self.assertFalse((self.folder / "web.trace").exists())
        self.dadi("detach", "web")
        files = self.dadi("trace", "show", "web.trace", "--image", "oci:image", "--json").json["files"]
        self.assertIn("/etc/hostname", [file["path"] for file in files])
        self.assertNotIn("/usr/share/words", [file["path"] for file in files])
        self.fails(USAGE, "attach", "--record", "/dev/null", "oci:image", says="/dev/null")
        self.dadi("detach", "plain")
        self.assert_nothing_is_left()

    def test_examples_work_when_pasted(self):
        harness.need_command("jq")
        self.image("debian-dadi")
        registry = Registry(self)
        self.dadi("push", "oci:debian-dadi", f"docker://{registry.host}/debian:dadi")
        names = {"sudo ": "", "/mnt": str(self.folder / "mnt"), "localhost:5000": registry.host}
        for command in ("attach", "ps", "stats", "doctor", "detach"):
            if command == "stats":
                self.attach("--name", "web", "oci:debian-dadi")
            for example in re.findall(r"^  ((?:sudo )?dadi .*)$", self.dadi(command, "--help").text.split("\n\n")[0], re.MULTILINE):
                if "--lazy" in example:
                    self.attach("--mount", "mnt", "oci:debian-dadi")
                for name, here in names.items():
                    example = example.replace(name, here)
                run = subprocess.run(["bash", "-o", "pipefail", "-c", example], cwd=self.folder, text=True, capture_output=True,
                                     env={**self.env, "PATH": f"{pathlib.Path(harness.BINARY).parent}:{os.environ['PATH']}"},
                                     check=False, timeout=60)
                self.assertEqual(run.returncode, 0, f"{example}\n{run.stderr}")
                if registry.host in example:
                    self.dadi("detach", run.stdout.strip())
                names.setdefault("/dev/loop3", run.stdout.strip())  # what the first says that it made
        self.assert_nothing_is_left()


if __name__ == "__main__":
    harness.main()
