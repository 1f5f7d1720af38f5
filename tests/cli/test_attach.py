"""Images as block devices of this host: attach, detach, ps, stats and doctor, with FUSE and loop."""
import concurrent.futures
import gzip
import json
import mmap
import os
import pathlib
import random
import re
import signal
import socket
import subprocess
import time
import urllib.request

import harness
from harness import BUSY, CORRUPT, DENIED, FAILURE, NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, entry, read_manifest, small_debian
from test_mount import compare_with_umoci, golden_source

RUNNING = ("name", "reference", "device", "mount", "pid", "socket", "read_only", "state", "size")


def servers_by_folder():
    """State folders of living dadids, and their processes."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words and words[0].endswith(b"dadid"):
            found.setdefault(words[-2].decode().split("/dadi/")[0], []).append(int(path.parent.name))
    return found


class Attached(harness.Test):
    def setUp(self):
        super().setUp()
        harness.need_root()
        for path in ("/dev/fuse", "/dev/loop-control"):
            if not os.path.exists(path):
                self.skipTest(f"{path} is not here")
        self.state = self.folder / "run"
        self.state.mkdir(mode=0o700)
        self.env = harness.environment(XDG_RUNTIME_DIR=str(self.state))
        self.addCleanup(self.leave_nothing)

    def dadi(self, *arguments, **options):
        return super().dadi(*arguments, **{"env": self.env, **options})

    def leave_nothing(self):
        """Detaches all that is left, so that a test that fails leaves the host as it was."""
        for one in self.ps():
            super().dadi("detach", "--lazy", one["name"], env=self.env, status=None)
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)

    def servers(self):
        return servers_by_folder().get(str(self.state), [])

    def ps(self):
        return self.dadi("ps", "--json").json

    def image(self, name="image", layers=None):
        Layout(self.folder / f"{name}.source").add_image(layers or small_debian())
        self.dadi("convert", "-q", f"oci:{name}.source", f"oci:{name}")
        return f"oci:{name}"

    def random_image(self, name, seed, layers=1, size=200_000):
        rng = random.Random(seed)
        return self.image(name, [[entry(f"file{i}", rng.randbytes(size))] for i in range(layers)])

    def attach(self, *arguments, **options):
        """Attaches, and returns the device's path, which is all that stdout may have."""
        run = self.dadi("attach", *arguments, **options)
        self.assertRegex(run.text, r"\A/dev/[a-z]+[0-9]+\n\Z")
        return run.text.strip()

    def kill_server(self, name):
        one = self.listed(name)
        os.kill(one["pid"], signal.SIGKILL)
        deadline = time.monotonic() + 10
        while self.listed(name)["state"] != "dead":
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return one

    def listed(self, name):
        return next(one for one in self.ps() if one["name"] == name)

    def without_fuse(self, *arguments):
        """Runs dadi where /dev/fuse is something else."""
        harness.need_command("unshare")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("there can be no other mounts here: / is no mount point")
        hide = f"mount --bind /dev/null /dev/fuse && exec {harness.BINARY} {' '.join(arguments)}"
        run = subprocess.run(["unshare", "-m", "sh", "-c", hide], env=self.env, cwd=self.folder, capture_output=True,
                             text=True, check=False)
        self.assertEqual(run.returncode, harness.HOST_LACKS, run.stderr)
        return run

    def wait_until_free(self, device):
        """What a killed process had open is closed some time after it shows as gone."""
        deadline = time.monotonic() + 10
        while is_ours(device):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    def assert_nothing_is_left(self, devices=()):
        self.assertEqual(self.ps(), [])
        self.assertEqual(self.servers(), [])
        self.assertEqual([str(path) for path in (self.state / "dadi/devices").iterdir()], [])
        self.assertEqual([str(path) for path in (self.state / "dadi/attachments").iterdir()], [])
        self.assertNotIn(str(self.folder), pathlib.Path("/proc/self/mountinfo").read_text())
        for device in devices:
            self.assertFalse(is_ours(device), device)


def is_ours(device):
    backing = pathlib.Path("/sys/block", pathlib.Path(device).name, "loop/backing_file")
    try:
        return backing.read_text().startswith("/dadi-")
    except OSError:
        return False


def data_blocks(path):
    """Offset and content of each block of 4 KiB in which a sparse file has data."""
    with open(path, "rb") as file:
        at = 0
        while True:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA)
            except OSError:
                return
            end = os.lseek(file.fileno(), at, os.SEEK_HOLE)
            for at in range(at, end, 4096):
                yield at, os.pread(file.fileno(), 4096, at)
            at = end


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
                    self.dadi("detach", "web", status=None)
                    self.assertEqual(self.ps(), [], delay)
                    self.attach("--name", "web", "--mount", "tree", "oci:image")
                    self.assertEqual((self.folder / "tree/etc/hostname").read_text(), "small\n")
            self.dadi("detach", "web", status=None)
            self.assert_nothing_is_left()

    def test_dadid_killed_while_it_starts_is_an_error_and_nothing_is_left(self):
        self.image()
        script = self.folder / "dadid"
        script.write_text("#!/bin/sh\nkill -9 $$\n")
        script.chmod(0o755)
        self.fails(FAILURE, "attach", "--dadid", script, "oci:image", says="ended without a word")
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


class Help(Attached):
    def test_examples_work_when_pasted(self):
        harness.need_command("jq")
        self.image("debian-dadi")
        names = {"sudo ": "", "/mnt": str(self.folder / "mnt")}
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
                names.setdefault("/dev/loop3", run.stdout.strip())  # what the first says that it made
        self.assert_nothing_is_left()


class Listing(Attached):
    def test_ps_has_the_promised_fields(self):
        self.image()
        self.assertEqual(self.ps(), [])
        answer = self.dadi("attach", "--json", "--name", "web", "--mount", "tree", "oci:image").json
        one, = self.ps()
        self.assertEqual(one, answer)
        self.assertEqual(list(one)[:len(RUNNING)], list(RUNNING))
        self.assertEqual((one["name"], one["reference"], one["mount"], one["read_only"], one["state"]),
                         ("web", "oci:image", str(self.folder / "tree"), True, "running"))
        self.assertEqual(one["size"], 64 << 30)
        self.assertEqual(self.servers(), [one["pid"]])
        self.assertTrue(pathlib.Path(one["socket"]).is_socket())
        table = self.dadi("ps").text.splitlines()
        self.assertEqual(table[0].split(), ["NAME", "STATE", "DEVICE", "SIZE", "PID", "MOUNT", "REFERENCE"])
        self.assertEqual(len(table), 2)

    def test_stats_count_what_was_read(self):
        self.random_image("image", 11, size=1_000_000)
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.attach("--name", "second", "oci:image")
        (self.folder / "tree/file0").read_bytes()
        both = self.dadi("stats", "--json").json
        self.assertEqual([one["name"] for one in both], ["second", "web"])
        one, = self.dadi("stats", "--json", "web").json
        self.assertEqual(one["device"], device)
        self.assertGreaterEqual(one["bytes"], 1_000_000)
        self.assertGreater(one["reads"], 0)
        self.assertEqual((one["errors"], one["corruptions"]), (0, 0))
        self.assertGreater(one["cache"]["misses"], 0)
        self.assertEqual(one["cache"]["limit"], 32 << 20)
        latency = one["latency"]
        self.assertTrue(0 < latency["p50"] <= latency["p99"] < 10, latency)
        self.assertEqual(latency["buckets"][-1]["count"], one["reads"])
        table = self.dadi("stats").text.splitlines()
        self.assertEqual(table[0].split()[:5], ["NAME", "DEVICE", "READS", "BYTES", "ERRORS"])
        self.assertEqual(len(table), 3)
        self.fails(NOT_FOUND, "stats", "nothing")

    def test_prometheus_text_has_one_series_a_device(self):
        self.image()
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.attach("--name", "second", "oci:image")
        text = self.dadi("stats", "--prometheus").text
        self.assertIn("# TYPE dadi_reads_total counter", text)
        labels = f'{{device="{device}",name="second,web",reference="oci:image"'
        self.assertRegex(text, rf"(?m)^dadi_reads_total{re.escape(labels)}}} [1-9][0-9]*$")
        self.assertRegex(text, rf'(?m)^dadi_read_seconds_bucket{re.escape(labels)},le="\+Inf"}} [1-9][0-9]*$')

    def test_metrics_are_served_over_http_on_a_unix_socket_and_on_loopback(self):
        self.image()
        one = self.dadi("attach", "--json", "--name", "web", "--metrics-addr", "127.0.0.1:0", "oci:image").json
        with urllib.request.urlopen(f"http://{one['metrics']}/metrics", timeout=10) as page:
            over_tcp = page.read().decode()
        self.assertIn("dadi_reads_total{", over_tcp)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(pathlib.Path(one["socket"]).with_name("metrics.sock")))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        self.assertTrue(answer.startswith("HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn("dadi_reads_total{", answer)
        self.fails(USAGE, "attach", "--metrics-addr", "0.0.0.0:0", "--memory", "16M", self.random_image("other", 1),
                   says="loopback")

    def test_a_control_client_that_talks_nonsense_or_not_at_all_harms_nobody(self):
        self.image()
        one = self.dadi("attach", "--json", "--name", "web", "oci:image").json
        clients = []
        for sent in (b"", b"{", b"nonsense\n", b"[]\n", b'{"request":7}\n', b"x" * 100_000) * 6:
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.settimeout(10)
            client.connect(one["socket"])
            try:
                client.sendall(sent)
            except OSError:
                pass  # it was sent away
            clients.append(client)
        for client in clients:
            client.close()
        self.assertEqual(len(self.dadi("stats", "--json").json), 1)

    def test_doctor_says_line_by_line_what_the_host_can_do(self):
        findings = {one["subject"]: one for one in self.dadi("doctor", "--json").json}
        for subject in ("privileges", "kernel", "backend loop", "dadid", "state folder"):
            self.assertEqual(findings[subject]["status"], "ok", findings)
        self.assertTrue({"ext4", "state folder", "systemd"} <= set(findings))
        for line in self.dadi("doctor").text.splitlines():
            self.assertRegex(line, r"^(ok|warn|fail) +[^:]+: .+")

    def test_doctor_ends_with_10_when_nothing_can_be_attached(self):
        findings = {one["subject"]: one for one in json.loads(self.without_fuse("doctor", "--json").stdout)}
        self.assertEqual(findings["backend loop"]["status"], "fail")
        self.assertTrue(findings["backend loop"]["remedy"])

    def test_without_fuse_attaching_says_what_the_host_lacks(self):
        self.image()
        run = self.without_fuse("attach", "oci:image")
        self.assertIn("/dev/fuse", run.stderr)
        self.assertIn("hint: ", run.stderr)
        self.assert_nothing_is_left()

    def test_doctor_names_the_dead(self):
        self.image()
        self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.kill_server("web")
        findings = {one["subject"]: one for one in self.dadi("doctor", "--json").json}
        self.assertEqual(findings["attachment web"]["remedy"], "dadi detach web")

    def test_state_is_private(self):
        self.image()
        self.attach("oci:image")
        for path in (self.state / "dadi").rglob("*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)


if __name__ == "__main__":
    harness.main()
