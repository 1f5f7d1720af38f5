"""The power goes at any change to a disk that keeps what was fsynced and no more: whatever has its final name then is
whole, the next run ends well, and what was reported done is there. Or the disk is full at any change: then nothing is
left. power_cut.cc is that disk."""
import hashlib
import os
import pathlib
import random
import re
import signal
import subprocess

import harness
from faulty_registry import FaultyRegistry
from harness import FAILURE, OK
from images import Layout, entry, read_manifest, small_debian

PROGRAMS = pathlib.Path(harness.BINARY).resolve().parent
ROUNDS = 100 if os.environ.get("DADI_LONG") else 4


class Disk:
    """A mounted disk with what is in `before`. cut() gives the folder with what is left, and the number of changes."""

    def __init__(self, test, before, seed=0, cut_before=0, full_from=0):
        self.path, self.left = test.folder / "disk", pathlib.Path(test.new_folder("left"))
        self.path.mkdir(exist_ok=True)
        words = [PROGRAMS / "power_cut", self.path, before, self.left, seed, cut_before, full_from]
        self.process = subprocess.Popen(list(map(str, words)), stdout=subprocess.PIPE, text=True)
        test.addCleanup(self.end)
        test.assertEqual(self.process.stdout.readline(), "ready\n")

    def cut(self):
        self.process.send_signal(signal.SIGUSR1)
        said = self.process.communicate(timeout=60)[0]
        self.end()
        return self.left, int(re.fullmatch(r"changes (\d+)\n", said)[1])

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        subprocess.run(["umount", "-l", self.path], check=False, stderr=subprocess.DEVNULL)


class DiskTest(harness.Test):
    def setUp(self):
        super().setUp()
        harness.need_root()
        harness.need_command("umount")
        harness.need("/dev/fuse")
        self.seed = int(os.environ.get("DADI_SEED", random.randrange(1 << 30)))
        self.lots = random.Random(self.seed)
        self.empty = self.new_folder("empty")
        self.empty.mkdir()

    def new_folder(self, name):
        return next(path for i in range(1 << 20) if not (path := self.folder / f"{name}-{i}").exists())


class PowerCut(DiskTest):
    def rounds(self, work, judge, before=None, chained=False):
        """Runs `work(DISK)` to its end, which must last; then with the power cut somewhere, as often as ROUNDS says.
        `judge(FOLDER)` looks at what is left each time."""
        disk = Disk(self, before or self.empty)
        self.assertEqual(work(disk.path), OK)
        left, changes = disk.cut()
        self.assertGreater(changes, 3)
        judge(left, True)
        for number in range(ROUNDS):
            at, seed = self.lots.randint(1, changes), self.lots.choice([0, self.lots.randrange(1, 1 << 30)])
            with self.subTest(DADI_SEED=self.seed, round=number, change=at, of=changes, seed=seed):
                disk = Disk(self, left if chained else before or self.empty, seed, at)
                finished = work(disk.path) == OK
                left, _ = disk.cut() if disk.process.poll() is None else (disk.left, disk.end())
                judge(left, finished)

    def judge_layout(self, folder, digest, next_run, finished):
        """A layout, or nothing yet, or what the next run makes one of."""
        layout = folder / "a/image"
        blobs = layout / "blobs/sha256"
        for path in blobs.iterdir() if blobs.exists() else []:
            self.assertEqual(hashlib.sha256(path.read_bytes()).hexdigest(), path.name)
        if finished or (layout / "index.json").exists():
            self.assertEqual(read_manifest(layout, "1")[1]["digest"], digest)
            self.dadi("copy", f"oci:{layout}:1", f"oci:{folder}/copy")
        (folder / "a").mkdir(exist_ok=True)
        self.assertEqual(self.dadi(*next_run, f"oci:{layout}:1").text.strip(), digest)
        self.assertEqual(sorted(path.name for path in layout.iterdir()), ["blobs", "index.json", "oci-layout"])

    def test_a_folder_that_is_converted_into(self):
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(1 << 20))]])
        digest = self.dadi("convert", "oci:image", "oci:expected").text.strip()
        self.rounds(lambda disk: self.dadi("convert", "oci:image", f"oci:{disk}/a/image:1", status=None).status,
                    lambda folder, finished: self.judge_layout(folder, digest, ["convert", "oci:image"], finished))

    def test_a_folder_that_is_copied_into_beside_another_image(self):
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(1 << 20))]])
        other = self.new_folder("before")
        Layout(other / "a/image").add_image([[entry("etc/other", b"other\n")]], tag="other")
        digest = read_manifest(self.folder / "image")[1]["digest"]

        def judge(folder, finished):
            self.dadi("copy", f"oci:{folder}/a/image:other", f"oci:{folder}/other")  # never harmed
            if any(item.get("annotations", {}).get("org.opencontainers.image.ref.name") == "1" for item in
                   harness.json.loads((folder / "a/image/index.json").read_text())["manifests"]):
                finished = True
            if finished:
                self.assertEqual(read_manifest(folder / "a/image", "1")[1]["digest"], digest)
            self.assertEqual(self.dadi("copy", "oci:image", f"oci:{folder}/a/image:1").text.strip(), digest)
            self.dadi("copy", f"oci:{folder}/a/image:1", f"oci:{folder}/copy")

        self.rounds(lambda disk: self.dadi("copy", "oci:image", f"oci:{disk}/a/image:1", status=None).status, judge, other)

    def test_files_that_are_written(self):
        """An archive and an exported disk over older ones."""
        Layout(self.folder / "image").add_image(small_debian())
        self.dadi("convert", "oci:image", "oci-archive:done.tar")
        self.dadi("export", "oci-archive:done.tar", "done.img")
        before = self.new_folder("before")
        before.mkdir()
        (before / "image.tar").write_text("older")
        expected = (self.folder / "done.tar").read_bytes()

        def judge(folder, finished):
            found = (folder / "image.tar").read_bytes()
            self.assertIn(found, [expected] if finished else [expected, b"older"])
            self.dadi("convert", "oci:image", f"oci-archive:{folder}/image.tar")
            self.assertEqual((folder / "image.tar").read_bytes(), expected)
            self.assertEqual([path.name for path in folder.iterdir()], ["image.tar"])

        self.rounds(lambda disk: self.dadi("convert", "oci:image", f"oci-archive:{disk}/image.tar", status=None).status,
                    judge, before)

    def test_the_cache_of_a_blob(self):
        blob = self.folder / "blob"
        blob.write_bytes(os.urandom(600_000))

        def read(folder):
            words = [PROGRAMS / "cached_read", folder / "cache", blob, self.lots.randrange(1 << 30)]
            return subprocess.run(list(map(str, words)), check=False, timeout=120, stdout=subprocess.DEVNULL).returncode

        def judge(folder, finished):
            (folder / "cache").mkdir(exist_ok=True)
            self.assertEqual(read(folder), OK)

        self.rounds(read, judge, chained=True)


class FullDisk(DiskTest):
    """The disk is full from some change on."""

    def rounds(self, command, names):
        """Of a command for a folder: it fails, says why, and leaves nothing, or `names` alone."""
        disk = Disk(self, self.before)
        self.dadi(*command(disk.path))
        _, changes = disk.cut()
        full = 0
        for number in range(ROUNDS):
            at = self.lots.randint(1, changes)
            with self.subTest(DADI_SEED=self.seed, round=number, change=at, of=changes):
                disk = Disk(self, self.before, full_from=at)
                run = self.dadi(*command(disk.path), status=None)
                if run.status != OK:  # else only what did not need room was left to do
                    full += 1
                    self.assertEqual(run.status, FAILURE, run.stderr)
                    self.assertIn("No space left", run.stderr)
                    self.assertEqual(sorted(path.name for path in disk.path.iterdir()), names)
                    for path in self.before.iterdir():
                        self.assertEqual((disk.path / path.name).read_bytes(), path.read_bytes())
                disk.end()
        self.assertGreater(full, 0)

    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(1 << 20))]])
        self.before = self.new_folder("before")
        self.before.mkdir()

    def test_converting_and_copying_into_a_folder(self):
        self.rounds(lambda disk: ["convert", "oci:image", f"oci:{disk}/a/b"], [])
        self.rounds(lambda disk: ["copy", "oci:image", f"oci:{disk}/a/b"], [])

    def test_archives_and_exported_disks(self):
        (self.before / "file").write_bytes(b"older")
        self.dadi("convert", "--virtual-size", "64M", "oci:image", "oci:done")
        self.rounds(lambda disk: ["convert", "oci:image", f"oci-archive:{disk}/file"], ["file"])
        self.rounds(lambda disk: ["export", "oci:done", f"{disk}/file"], ["file"])

    def test_pulling(self):
        registry = FaultyRegistry(self)
        self.dadi("push", "oci:image", f"docker://{registry.host}/a:1")
        self.rounds(lambda disk: ["pull", f"docker://{registry.host}/a:1", f"oci:{disk}/a/b"], [])


class TheDiskItself(DiskTest):
    """A test of the test: it does lose what was not synced, and keeps what was."""

    def left_of(self, seed, work):
        disk = Disk(self, self.empty, seed)
        work(disk.path)
        return disk.cut()[0]

    @staticmethod
    def sync(path):
        opened = os.open(path, os.O_RDONLY)
        os.fsync(opened)
        os.close(opened)

    def test_it_keeps_what_was_synced_and_no_more(self):
        def work(disk):
            for name in ("neither", "content", "both", "name"):
                (disk / name).write_text(name)
            self.sync(disk / "content")
            self.sync(disk / "both")
            (disk / "content").rename(disk / "moved")
            self.sync(disk)
            (disk / "neither").unlink()
            (disk / "both").rename(disk / "renamed")
            (disk / "late").write_text("late")
            self.sync(disk / "late")

        left = self.left_of(0, work)
        self.assertEqual({path.name: path.read_text() for path in left.iterdir()},
                         {"neither": "", "moved": "content", "both": "both", "name": ""})

    def test_by_lot_it_keeps_some_of_the_rest(self):
        def work(disk):
            for number in range(40):
                (disk / str(number)).write_bytes(b"x" * 8192)

        left = [path.read_bytes() for path in self.left_of(7, work).iterdir()]
        self.assertTrue(5 < len(left) < 35, len(left))
        self.assertGreater(len(set(left)), 2)


if __name__ == "__main__":
    harness.main()
