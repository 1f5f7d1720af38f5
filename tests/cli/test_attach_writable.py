"""Attaching an image so that it can be written to: what is written, what survives, and what is left behind."""
import errno
import hashlib
import json
import os
import pathlib
import random
import re
import shutil
import subprocess
import threading
import time

import harness
from harness import BUSY, CORRUPT, NOT_FOUND, UNSUPPORTED, USAGE
from writing_attached import Written, sha256, write_synced

ROUNDS = 30 if os.environ.get("DADI_LONG") else 2  # of what is random
CAP_SYS_RESOURCE = 24
SECONDS = 60 if os.environ.get("DADI_LONG") else 2


def has_capability(number):
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(r"CapEff:\s*(\w+)", status)[1], 16) >> number & 1 == 1


def forget(path):
    """Has the kernel read a file anew when it is read next. What was written to it must be synced."""
    fd = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(fd)


class Layers(Written):
    def test_what_is_written_is_there_when_it_is_attached_again_and_the_image_is_as_it_was(self):
        for form in ("append", "sparse"):
            with self.subTest(form):
                device = self.attach_writable("--writable-form", form, at=form)
                line, = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if str(self.tree) in line]
                self.assertTrue({"rw", "nodev", "nosuid"} <= set(line.split()[3].split(",")), line)
                one, = self.ps()
                self.assertEqual((one["read_only"], one["writable"]), (False, str(self.folder / form)))
                before = self.files()
                self.change_much(form)
                after = self.files()
                self.dadi("detach", "work")
                self.assert_nothing_is_left([device])
                self.assert_sound(at=form)
                self.attach_writable(at=form)
                self.assertNotIn("cleanly", self.said)
                self.assertEqual(self.files(), after)
                self.dadi("detach", "tree")
                self.attach("--mount", "tree", "oci:image")
                self.assertEqual(self.files(), before)
                self.dadi("detach", "tree")
                self.assert_nothing_is_left([device])

    def test_a_device_as_large_as_images_usually_are(self):
        del self.env["DADI_VIRTUAL_SIZE"]
        self.image("usual")
        shutil.rmtree(self.folder / "image")
        (self.folder / "usual").rename(self.folder / "image")
        self.attach_writable()
        self.change_much(1)
        after = self.files()
        self.dadi("detach", "work")
        self.assert_sound()
        self.attach_writable()
        self.assertEqual(self.files(), after)
        self.dadi("detach", "work")
        size = sum(path.stat().st_blocks * 512 for path in (self.folder / "changes").iterdir())
        self.assertLess(size, 24 << 20)

    def test_attachments_of_one_image_do_not_see_each_others_changes(self):
        devices = [self.attach_writable(name="a", at="a", mount="tree"), self.attach_writable(name="b", at="b", mount="tree-b"),
                   self.attach_writable(name="c", at=None, mount="tree-c"), self.attach("--mount", "tree-ro", "oci:image")]
        self.assertEqual(len(set(devices)), 4)
        for name in ("tree", "tree-b", "tree-c"):
            (self.folder / name / "etc/hostname").write_text(name)
            (self.folder / name / name).write_bytes(name.encode() * 10_000)
        os.sync()
        for name in ("tree", "tree-b", "tree-c", "tree-ro"):
            root = self.folder / name
            self.assertEqual((root / "etc/hostname").read_text(), "small\n" if name == "tree-ro" else name)
            self.assertEqual([path.name for path in root.glob("tree*")], [] if name == "tree-ro" else [name])
            self.dadi("detach", name)
        self.assert_nothing_is_left(devices)

    def test_what_is_written_to_the_device_itself_is_there_after_detach(self):
        device = self.attach_writable(mount=None)
        content = random.Random(1).randbytes(8 << 20)
        with open(device, "r+b") as file:  # no fsync: detach sees to it
            file.seek(100 << 20)
            file.write(content)
        self.dadi("detach", "work")
        with open(self.attach_writable(mount=None), "rb") as file:
            file.seek(100 << 20)
            self.assertEqual(hashlib.sha256(file.read(len(content))).digest(), hashlib.sha256(content).digest())
        self.dadi("detach", "work")
        self.assert_nothing_is_left([device])

    def test_a_temporary_layer_goes_with_the_attachment(self):
        self.attach_writable(at=None)
        one, = self.ps()
        folder = pathlib.Path(one["writable"])
        self.assertEqual(folder.parent, self.folder / "tmp")
        self.assertEqual(folder.stat().st_mode & 0o077, 0)
        write_synced(self.tree / "new", b"kept\n")
        self.kill_server("work")
        self.fails(BUSY, "attach", "--name", "work", "oci:image", says=["writable layer", "--writable", "dadi detach work"])
        self.attach_writable(at=None)
        self.assertIn("not unmounted cleanly", self.said)
        self.assertEqual((self.tree / "new").read_text(), "kept\n")
        self.assertEqual(self.ps()[0]["writable"], str(folder))
        self.dadi("detach", "work")
        self.assertEqual(os.listdir(self.folder / "tmp"), [])
        self.attach_writable(at=None)
        self.assertFalse((self.tree / "new").exists())
        self.kill_server("work")
        self.dadi("detach", "work")
        self.assertEqual(os.listdir(self.folder / "tmp"), [])
        self.fails(harness.NOT_FOUND, "attach", "--writable", "--mount", "no/such", "oci:image")
        self.assertEqual(os.listdir(self.folder / "tmp"), [])
        self.assert_nothing_is_left()

    def test_lazily_what_its_users_write_until_they_are_done_is_kept(self):
        device = self.attach_writable()
        with open(self.tree / "late", "wb") as file:
            self.fails(BUSY, "detach", "work", says="in use")
            self.dadi("detach", "--lazy", "work")
            self.assertEqual(self.ps(), [])
            self.fails(BUSY, "attach", "--writable=changes", "oci:image", says="in use")
            file.write(b"late\n" * 1000)
        self.wait_until(lambda: not self.servers())
        self.assert_nothing_is_left([device])
        self.attach_writable()
        self.assertNotIn("cleanly", self.said)
        self.assertEqual((self.tree / "late").read_bytes(), b"late\n" * 1000)

    def test_a_layer_belongs_to_one_attachment_and_one_image(self):
        self.attach_writable()
        self.fails(BUSY, "attach", "--writable=changes", "oci:image", says=["changes is the writable layer of work", "hint: "])
        self.dadi("detach", "work")
        self.dadi("attach", "--name", "plain", "oci:image")
        other = self.random_image("other", 1)
        self.fails(USAGE, "attach", "--writable=changes", other, says="on top of")
        self.fails(USAGE, "attach", "--writable-size", "1M", other, says="--writable")
        self.fails(harness.NOT_FOUND, "attach", "--writable=no/such", other)
        server = subprocess.Popen([harness.BINARY, "serve", "--writable=changes", "oci:image"], env=self.env, cwd=self.folder,
                                  stdout=subprocess.PIPE, text=True)
        try:
            server.stdout.readline()
            self.fails(BUSY, "attach", "--writable=changes", "oci:image", says="in use")
        finally:
            server.terminate()
            server.communicate(timeout=60)
        self.dadi("detach", "plain")
        self.assert_nothing_is_left()

    def test_mount_options(self):
        for option in ("dev", "suid", "remount"):
            self.fails(USAGE, "attach", "--writable=changes", "--mount", "tree", "--mount-options", option, "oci:image",
                       says="rw,nodev,nosuid")
        self.attach_writable("--mount-options", "rw,noexec,sync,discard")
        line, = [line for line in pathlib.Path("/proc/self/mounts").read_text().splitlines() if str(self.tree) in line]
        self.assertTrue({"rw", "noexec", "sync", "discard"} <= set(line.split()[3].split(",")), line)


class Committed(Written):
    def test_an_attachment_is_committed_as_it_stands_and_goes_on(self):
        for at, form in (("changes", "append"), ("other", "sparse"), (None, "append")):
            with self.subTest(f"{at} {form}"):
                self.attach_writable("--writable-form", form, at=at)
                self.change_much(1)
                first = self.files()
                stop = threading.Event()
                writer = threading.Thread(target=self.keep_writing, args=(stop,))
                before = self.files()
                digest = self.dadi("commit", "work", f"oci:{form}").text.strip()
                self.assertEqual(first, before)
                self.assert_committed(form, first)
                writer.start()  # whoever writes meanwhile waits, and goes on
                self.dadi("commit", "work", f"oci:{form}-busy")
                stop.set()
                writer.join()
                self.dadi("check", f"oci:{form}-busy")
                second = self.files()
                again = self.dadi("commit", "work", f"oci:{form}").text.strip()
                self.assertNotEqual(again, digest)
                self.assert_committed(form, second)
                self.dadi("detach", "work")
                if at:  # the folder gives the same image as what was attached
                    self.dadi("commit", at, f"oci:{form}-after")
                    self.assert_committed(f"{form}-after", second)

    def test_what_was_flushed_to_its_own_file_is_committed_with_the_rest(self):
        device = self.attach_writable(mount=None)
        content = os.urandom(40 * 4096)
        with open(device, "r+b", buffering=0) as file:
            for at in range(0, len(content), 4096):
                os.pwrite(file.fileno(), content[at:at + 4096], (200 << 20) + 2 * at)
                os.fsync(file.fileno())
        self.assertTrue((self.folder / "changes/writable_flushes").exists())
        self.dadi("commit", "work", "oci:flushed")
        self.assertTrue((self.folder / "changes/writable_flushes").exists(), "it is still attached")
        self.dadi("export", "oci:flushed", "exported")
        with open(self.folder / "exported", "rb") as file:
            for at in range(0, len(content), 4096):
                self.assertEqual(os.pread(file.fileno(), 4096, (200 << 20) + 2 * at), content[at:at + 4096])
        self.dadi("detach", "work")
        self.assertFalse((self.folder / "changes/writable_flushes").exists())

    def test_a_killed_commit_lets_the_writers_go_on(self):
        self.attach_writable()
        write_synced(self.tree / "large", os.urandom(48 << 20))
        stop = threading.Event()
        progress = []
        writer = threading.Thread(target=lambda: [progress.append(write_synced(self.tree / "beat", b"beat")) or time.sleep(0.01)
                                                  for _ in iter(stop.is_set, True)])
        writer.start()
        try:
            for number in range(3):
                commit = subprocess.Popen([harness.BINARY, "commit", "work", f"oci:never{number}", "--compression", "zstd:19", "-j1"],
                                          env=self.env, cwd=self.folder)
                seen, since = len(progress), time.monotonic()
                while commit.poll() is None and time.monotonic() - since < 0.4:  # the file system stands still
                    if len(progress) > seen:
                        seen, since = len(progress), time.monotonic()
                    time.sleep(0.01)
                self.assertIsNone(commit.poll(), "it ended without having been seen to freeze")
                commit.kill()
                commit.wait()
                seen = len(progress)
                self.wait_until(lambda: len(progress) > seen + 3)
        finally:
            stop.set()
            subprocess.run(["fsfreeze", "-u", self.tree], check=False, capture_output=True)
            writer.join()
        self.dadi("commit", "work", "oci:done")
        self.dadi("detach", "work")

    def test_what_cannot_be_committed_by_name(self):
        self.assertIn("dadi ps", self.dadi("commit", "nobody", "oci:out", status=NOT_FOUND).stderr)
        self.dadi("attach", "--name", "work", "oci:image")
        self.assertIn("--writable", self.dadi("commit", "work", "oci:out", status=USAGE).stderr)
        self.dadi("detach", "work")
        self.assertFalse((self.folder / "out").exists())


class Journals(Written):
    """With --journal, and what commit makes of that."""

    def dump(self, device):
        """What dumpe2fs says of a file system, by its words."""
        run = subprocess.run(["dumpe2fs", "-h", device], capture_output=True, text=True, check=True)
        return dict(re.findall(r"(?m)^([^:\n]+): +(.*)$", run.stdout))

    def journal_blocks(self, device):
        run = subprocess.run(["debugfs", "-R", "blocks <8>", device], capture_output=True, text=True, check=True)
        return [int(number) for number in run.stdout.split()]

    def assert_without_journal(self, layout, blocks, free):
        """That the image's file system has none, and what were its blocks is free and zeros."""
        self.dadi("check", f"oci:{layout}")
        exported = self.folder / "exported"
        exported.unlink(missing_ok=True)
        self.dadi("export", f"oci:{layout}", exported)
        run = subprocess.run(["e2fsck", "-fn", exported], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.assertNotRegex(run.stdout, "(?i)fix|clear|orphan")
        facts = self.dump(exported)
        self.assertNotIn("journal", facts["Filesystem features"])
        self.assertEqual([name for name in facts if "ournal" in name], [])
        self.assertEqual(int(facts["Free blocks"]), free)
        stat = subprocess.run(["debugfs", "-R", "inode_dump <8>", exported], capture_output=True, text=True, check=True).stdout
        self.assertEqual(set("".join(re.findall(r"(?m)^[0-9a-f]{4}  ((?:[0-9a-f]{4} ?)+)", stat)).split()), {"0000"})
        with open(exported, "rb") as file:
            for block in blocks:
                self.assertFalse(any(os.pread(file.fileno(), 4096, block * 4096)), f"block {block}")

    def test_commit_leaves_the_journal_out_and_the_attachment_goes_on_with_it(self):
        for at, form in (("changes", "append"), ("other", "sparse"), (None, "append")):
            with self.subTest(f"{at} {form}"):
                device = self.attach_writable("--journal", "--writable-form", form, "--mount-options", "data=journal", at=at)
                self.assertIn("a journal now, of 4 MiB", self.said)
                self.change_much(1)
                os.sync()
                blocks = self.journal_blocks(device)
                self.assertEqual(len(blocks), 1024)
                with open(device, "rb") as file:  # it was used
                    self.assertTrue(any(os.pread(file.fileno(), 4096, block * 4096) for block in blocks[-100:]))
                first = self.files()
                self.dadi("commit", "work", f"oci:{form}")
                self.dadi("commit", "work", f"oci:{form}-again")
                # The kernel notes in the superblock when it was frozen.
                self.assertLessEqual(self.blocks_that_differ(form, f"{form}-again"), {0})
                self.assertIn("has_journal", self.dump(device)["Filesystem features"])
                self.assertEqual(self.files(), first)
                write_synced(self.tree / "later", b"later\n" * 10_000)
                second = self.files()
                self.dadi("commit", "work", f"oci:{form}-later")
                self.assertEqual(self.files(), second)
                if not at:
                    self.assert_committed(form, first)
                    self.dadi("detach", "work")
                    continue
                self.dadi("detach", "work")
                device = self.attach_writable("--journal", at=at, mount=None)  # has one already
                self.assertNotIn("journal", self.said)
                free = int(self.dump(device)["Free blocks"]) + len(blocks)
                self.assertEqual(self.journal_blocks(device), blocks)
                self.dadi("commit", "work", f"oci:{form}-device")
                self.dadi("detach", "work")
                self.dadi("commit", at, f"oci:{form}-folder")
                for name, tree in ((form, first), (f"{form}-later", second), (f"{form}-device", second), (f"{form}-folder", second)):
                    self.assert_committed(name, tree)
                self.assert_without_journal(f"{form}-folder", blocks, free)
                self.dadi("commit", at, f"oci:{form}-folder-again", "--jobs", "1")
                self.assertEqual(len({self.digest_of(f"{form}-{name}") for name in ("device", "folder", "folder-again")}), 1)
                self.dadi("commit", at, f"oci:{form}-squashed", "--squash", "1")
                self.assert_committed(f"{form}-squashed", second)
                self.assert_without_journal(f"{form}-squashed", blocks, free)
                self.assert_sound(at=at)

    def blocks_that_differ(self, *layouts):
        for layout in layouts:
            self.dadi("export", f"oci:{layout}", f"{layout}-disk")
        disks = [(self.folder / f"{layout}-disk").read_bytes() for layout in layouts]
        return {at // 4096 for at in range(0, len(disks[0]), 4096) if disks[0][at:at + 4096] != disks[1][at:at + 4096]}

    def digest_of(self, layout):
        return json.loads((self.folder / layout / "index.json").read_text())["manifests"][0]["digest"]

    def test_the_layer_of_a_commit_is_not_larger_for_the_journal(self):
        sizes = []
        for name, options in (("without", []), ("with", ["--journal", "--mount-options", "data=journal"])):
            self.attach_writable(*options, at=name)
            (self.tree / "new").mkdir()
            for i in range(40):
                write_synced(self.tree / f"new/{i}", random.Random(i).randbytes(100_000))
            for i in range(30):
                (self.tree / f"new/{i}").unlink()
            os.sync()
            tree = self.files()
            self.dadi("detach", "work")
            sizes.append(self.dadi("--json", "commit", name, f"oci:{name}-image").json["layer"]["data_size"])
            self.assert_committed(f"{name}-image", tree)
        self.assertLess(abs(sizes[1] - sizes[0]), 64 << 10, sizes)

    def test_a_file_that_is_open_and_has_no_name_is_not_in_the_image(self):
        for options in (("--journal",), ()):
            with self.subTest(options):
                self.commit_nameless_files(*options)
                self.dadi("detach", "work")

    def commit_nameless_files(self, *options):
        device = self.attach_writable(*options, at=None)
        subprocess.run(["sync", "-f", self.tree], check=True)
        free = self.free_blocks()
        names = [self.tree / name for name in ("gone", "gone-with-attributes", "gone-folder")]
        names[2].mkdir()
        open_ones = [os.open(names[2], os.O_RDONLY)]
        for name in names[:2]:
            name.write_bytes(os.urandom(500_000))
            open_ones.append(os.open(name, os.O_RDONLY))
        os.setxattr(names[1], "user.large", b"x" * 3000)
        os.sync()
        names[2].rmdir()
        for name in names[:2]:
            name.unlink()
        tree = self.files()
        blocks = self.journal_blocks(device) if options else []
        self.dadi("commit", "work", f"oci:done{len(options)}")
        self.assertNotEqual(self.free_blocks(), free)
        self.assert_without_journal(f"done{len(options)}", blocks, free + len(blocks))
        self.assert_committed(f"done{len(options)}", tree)
        self.assertEqual(len(os.pread(open_ones[1], 500_001, 0)), 500_000)
        for one in open_ones:
            os.close(one)

    def free_blocks(self):
        return os.statvfs(self.tree).f_bfree

    def crash(self, form, at):
        """A layer with a journal whose dadid was killed while it was written to, and what was synced by then."""
        self.attach_writable("--journal", "--writable-form", form, at=at)
        synced = {}
        writer = threading.Thread(target=Crashes.write_until_it_fails, args=(self, at, synced))
        writer.start()
        time.sleep(1.5)
        self.kill_server("work")
        writer.join(timeout=60)
        self.assertFalse(writer.is_alive())
        self.assertGreater(len(synced), 3)
        self.dadi("detach", "work")
        return synced

    def test_after_a_crash_the_journal_is_replayed_and_only_then_is_it_committed(self):
        for form in ("append", "sparse"):
            with self.subTest(form):
                synced = self.crash(form, form)
                self.fails(CORRUPT, "commit", form, "oci:no", says=["a journal to be replayed", "hint: attach it once more"])
                self.attach_writable(at=form)
                self.assertIn("not unmounted cleanly: e2fsck -fp has", self.said)
                Crashes.assert_synced(self, synced)
                tree = self.files()
                self.dadi("detach", "work")
                self.dadi("commit", form, f"oci:{form}-image")
                self.assert_committed(f"{form}-image", tree)

    def test_after_a_crash_the_journal_alone_makes_it_whole(self):
        for i in range(ROUNDS):
            for form in ("append", "sparse"):
                synced = self.crash(form, f"{form}{i}")
                device = self.attach_writable(at=f"{form}{i}", mount=None)
                replay = subprocess.run(["e2fsck", "-p", device], capture_output=True, text=True, check=False)
                self.assertIn(replay.returncode, (0, 1), replay.stdout + replay.stderr)
                self.assertIn("recovering journal", replay.stdout)
                check = subprocess.run(["e2fsck", "-fn", device], capture_output=True, text=True, check=False)
                self.assertEqual(check.returncode, 0, check.stdout + check.stderr)
                self.dadi("detach", "work")
                self.attach_writable(at=f"{form}{i}")
                self.assertNotIn("cleanly", self.said)
                Crashes.assert_synced(self, synced)
                self.dadi("detach", "work")

    def test_what_was_not_unmounted_gets_a_journal_once_it_is_repaired(self):
        self.attach_writable()
        write_synced(self.tree / "new", b"new\n")
        self.kill_server("work")
        self.dadi("detach", "work")
        self.fails(CORRUPT, "attach", "--name", "work", "--journal", "--writable=changes", "oci:image",
                   says=["not unmounted cleanly", "hint: attach it with --mount"])
        self.assert_nothing_is_left()
        self.attach_writable("--journal")
        self.assertRegex(self.said, r"(?s)e2fsck -fp has.*a journal now")
        self.assertEqual((self.tree / "new").read_text(), "new\n")
        self.dadi("detach", "work")
        self.assert_sound()

    def test_a_small_layer_has_room_for_it(self):
        self.attach_writable("--journal", "--writable-size", "24M", "--mount-options", "data=journal")
        for i in range(12):
            write_synced(self.tree / "over", os.urandom(1_000_000))
        self.dadi("detach", "work")
        self.assert_sound()

    def test_on_a_device_as_large_as_images_usually_are_it_takes_little(self):
        del self.env["DADI_VIRTUAL_SIZE"]
        self.image("usual")
        shutil.rmtree(self.folder / "image")
        (self.folder / "usual").rename(self.folder / "image")
        self.attach_writable("--journal")
        self.assertIn("of 64 MiB", self.said)
        self.dadi("detach", "work")
        size = sum(path.stat().st_blocks * 512 for path in (self.folder / "changes").iterdir())
        self.assertLess(size, 8 << 20)
        self.assertLess(self.dadi("--json", "commit", "changes", "oci:done").json["layer"]["data_size"], 64 << 10)

    def test_the_journal_of_an_image_is_the_images(self):
        disk = self.folder / "disk"
        with open(disk, "wb") as file:
            file.truncate(64 << 20)
        subprocess.run(["mke2fs", "-q", "-t", "ext4", "-b", "1024", disk], check=True)
        self.dadi("import", disk, "oci:imported")
        shutil.rmtree(self.folder / "image")
        (self.folder / "imported").rename(self.folder / "image")
        self.attach_writable("--journal")
        self.assertNotIn("a journal now", self.said)
        write_synced(self.tree / "new", b"new\n")
        self.dadi("commit", "work", "oci:done")
        self.dadi("export", "oci:done", "exported")
        self.assertIn("has_journal", self.dump(self.folder / "exported")["Filesystem features"])
        subprocess.run(["e2fsck", "-fn", self.folder / "exported"], check=True, capture_output=True)

    def test_where_there_can_be_none(self):
        self.fails(USAGE, "attach", "--journal", "oci:image", says=["--writable", "hint: "])
        disk = self.folder / "disk"
        disk.write_bytes(os.urandom(1 << 20))
        self.dadi("import", disk, "oci:random")
        self.fails(UNSUPPORTED, "attach", "--journal", "--writable", "oci:random", says=["not ext4", "hint: attach it without"])
        self.assertEqual(os.listdir(self.folder / "tmp"), [])
        self.assert_nothing_is_left()
        self.fails_without("tune2fs", "--journal")
        self.attach_writable("--journal")
        self.assertIn("a journal now", self.said)


class Contents(Written):
    def test_a_file_that_is_written_at_random_holds_what_a_model_says(self):
        for form in ("append", "sparse"):
            with self.subTest(form):
                self.attach_writable("--writable-form", form, at=form)
                self.exercise(self.tree / "model", seed=form)
                content = (self.tree / "model").read_bytes()
                self.dadi("detach", "work")
                self.assert_sound(at=form)
                self.attach_writable(at=form)
                self.assertEqual((self.tree / "model").read_bytes(), content)
                self.dadi("detach", "work")

    def exercise(self, path, seed):
        """Writes, truncations, holes and zeros in a file, which is read from the device again and again."""
        harness.need_command("fallocate")
        rng = random.Random(seed)
        model = bytearray()
        end = time.monotonic() + SECONDS
        steps = 0
        with open(path, "w+b", buffering=0) as file:
            while time.monotonic() < end or steps < 100:
                steps += 1
                at, length = rng.randrange(4 << 20), rng.randrange(1, 200_000)
                action = rng.choice(("write",) * 6 + ("truncate", "punch", "zero", "sync"))
                if action == "write":
                    data = rng.randbytes(length)
                    model.extend(bytes(max(0, at + length - len(model))))
                    model[at:at + length] = data
                    os.pwrite(file.fileno(), data, at)
                elif action == "truncate":
                    model = model[:at] + bytes(max(0, at - len(model)))
                    os.ftruncate(file.fileno(), at)
                elif action in ("punch", "zero"):
                    option = "--punch-hole" if action == "punch" else "--zero-range"
                    subprocess.run(["fallocate", option, "--keep-size", "-o", str(at), "-l", str(length), path], check=True)
                    stop = min(len(model), at + length)
                    if at < stop:
                        model[at:stop] = bytes(stop - at)
                else:
                    os.fsync(file.fileno())
                    forget(path)
                    self.assertEqual(path.read_bytes(), bytes(model), f"step {steps} of seed {seed}")
            os.fsync(file.fileno())
        forget(path)
        self.assertEqual(path.read_bytes(), bytes(model))

    def test_fio_verifies_what_it_writes(self):
        harness.need_command("fio")
        self.attach_writable()
        for name, *options in (("direct", "--direct=1", "--iodepth=16", "--ioengine=libaio"), ("buffered", "--fsync=64")):
            run = subprocess.run(["fio", f"--name={name}", f"--directory={self.tree}", "--size=48M", "--rw=randwrite",
                                  "--bsrange=4k-64k", "--verify=crc32c", "--verify_fatal=1", "--time_based",
                                  f"--runtime={SECONDS}", "--randrepeat=0", *options], capture_output=True, text=True, check=False,
                                 cwd=self.folder)
            self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.dadi("detach", "work")
        self.assert_sound()

    def test_deleted_files_give_their_room_back_when_they_are_trimmed(self):
        harness.need_command("fstrim")
        self.attach_writable("--writable-form", "sparse")
        room = lambda: sum(path.stat().st_blocks * 512 for path in (self.folder / "changes").iterdir())
        (self.tree / "large").write_bytes(os.urandom(32 << 20))
        os.sync()
        self.assertGreater(room(), 32 << 20)
        (self.tree / "large").unlink()
        os.sync()
        subprocess.run(["fstrim", self.tree], check=True)
        os.sync()
        self.assertLess(room(), 4 << 20)


class Crashes(Written):
    def write_until_it_fails(self, seed, synced):
        """Files of random content, each synced and then noted, between others that are not."""
        rng = random.Random(seed)
        root = self.tree / "new"
        try:
            root.mkdir(exist_ok=True)
            for i in range(1_000_000):
                name = f"{seed}-{i}"
                data = rng.randbytes(rng.randrange(40_000))
                with open(root / f"{name}.unsynced", "wb") as file:
                    file.write(data[::-1])
                write_synced(root / name, data)
                folder = os.open(root, os.O_RDONLY)
                try:
                    os.fsync(folder)
                finally:
                    os.close(folder)
                synced[name] = hashlib.sha256(data).hexdigest()
                if i % 5 == 4:
                    (root / f"{seed}-{i - 3}.unsynced").unlink()
        except OSError as error:
            self.assertIn(error.errno, (errno.EIO, errno.EROFS, errno.EUCLEAN), error)

    def assert_synced(self, synced):
        for name, digest in synced.items():
            self.assertEqual(sha256(self.tree / "new" / name), digest, name)

    def test_a_killed_dadid_loses_nothing_that_was_synced_and_its_file_system_is_repaired(self):
        synced = {}
        for form in ("append", "sparse"):
            synced.clear()
            for i in range(ROUNDS):
                self.attach_writable("--writable-form", form, at=form)
                self.assert_synced(synced)
                if i == ROUNDS - 1:
                    break
                writer = threading.Thread(target=self.write_until_it_fails, args=(f"{form}{i}", synced))
                writer.start()
                time.sleep(1 + random.Random(i).random())
                self.kill_server("work")
                writer.join(timeout=60)
                self.assertFalse(writer.is_alive())
                self.assertGreater(len(synced), 3)
                self.attach_writable(at=form)
                self.assertIn("not unmounted cleanly: e2fsck", self.said)
                if os.environ.get("DADI_LONG"):
                    print(form, i, len(synced), self.said.strip().splitlines())
                self.assert_synced(synced)
                self.dadi("detach", "work")
                self.assert_sound(at=form)
            self.dadi("detach", "work")
        self.assert_nothing_is_left()

    def test_without_e2fsck_what_was_not_unmounted_is_not_mounted(self):
        self.attach_writable()
        write_synced(self.tree / "new", b"new\n")
        self.kill_server("work")
        self.dadi("detach", "work")
        self.fails_without("e2fsck")
        self.attach_writable()
        self.assertEqual((self.tree / "new").read_text(), "new\n")

    def test_a_full_layer_is_enospc_and_what_was_synced_stays(self):
        for form in ("append", "sparse"):
            with self.subTest(form):
                self.attach_writable("--writable-size", "24M", "--writable-form", form, at=form)
                synced = {}
                (self.tree / "new").mkdir()
                os.sync()
                with self.assertRaises(OSError) as failed:
                    for i in range(100):
                        data = random.Random(i).randbytes(1_000_000)
                        write_synced(self.tree / f"new/{i}", data)
                        synced[str(i)] = hashlib.sha256(data).hexdigest()
                self.assertEqual(failed.exception.errno, errno.ENOSPC)
                self.assertGreater(len(synced), 10)
                for name in synced:
                    forget(self.tree / "new" / name)
                self.assert_synced(synced)
                log, = (self.state / "dadi/devices").glob("*/log")
                self.assertIn("exceed its limit", log.read_text())
                self.dadi("detach", "work", status=None)
                self.dadi("detach", "--lazy", "work", status=None)
                self.wait_until(lambda: not self.servers())
                self.attach_writable("--writable-size", "100M", at=form)
                self.assert_synced(synced)
                (self.tree / "new/more").write_bytes(bytes(5_000_000))
                os.sync()
                self.dadi("detach", "work")
                self.assert_sound(at=form)

    def test_writing_and_syncing_with_little_memory_ends(self):
        memory = pathlib.Path("/sys/fs/cgroup/memory")
        if not memory.is_dir():
            memory = pathlib.Path("/sys/fs/cgroup")
        group = memory / f"dadi-test-{os.getpid()}"
        try:
            group.mkdir()
            self.addCleanup(group.rmdir)
            limit = next(path for path in (group / "memory.limit_in_bytes", group / "memory.max") if path.exists())
            limit.write_text(str(24 << 20))
        except (OSError, StopIteration) as error:
            self.skipTest(f"no control group for memory: {error}")
        self.attach_writable()
        score = pathlib.Path(f"/proc/{self.listed('work')['pid']}/oom_score_adj").read_text()
        log, = (self.state / "dadi/devices").glob("*/log")
        if has_capability(CAP_SYS_RESOURCE):
            self.assertEqual(score, "-900\n")
            self.assertNotIn("PR_SET_IO_FLUSHER", log.read_text())
        else:
            print("without CAP_SYS_RESOURCE dadid is not protected from a lack of memory")
            self.assertIn("PR_SET_IO_FLUSHER: Operation not permitted", log.read_text())
        command = (f"echo $$ > {group}/cgroup.procs && exec dd if=/dev/urandom of={self.tree}/large bs=1M count=128 "
                   "conv=fsync status=none")
        subprocess.run(["sh", "-c", command], check=True, timeout=120)
        self.assertEqual((self.tree / "large").stat().st_size, 128 << 20)
        expected = sha256(self.tree / "large")
        self.dadi("detach", "work")
        self.attach_writable()
        self.assertEqual(sha256(self.tree / "large"), expected)
        self.dadi("detach", "work")
        self.assert_sound()

    def test_sigterm_flushes_what_was_written_to_the_device(self):
        device = self.attach_writable(mount=None)
        with open(device, "r+b", buffering=0) as file:
            file.seek(100 << 20)
            file.write(b"written\n" * 512)
            os.fsync(file.fileno())
        os.kill(self.listed("work")["pid"], 15)
        self.wait_until(lambda: not self.servers())
        self.dadi("detach", "work")
        with open(self.attach_writable(mount=None), "rb") as file:
            file.seek(100 << 20)
            self.assertEqual(file.read(4096), b"written\n" * 512)
        self.assertEqual(json.loads(self.dadi("stats", "--json", "work").text)[0]["writable"]["data"], 4096)


if __name__ == "__main__":
    harness.main()
