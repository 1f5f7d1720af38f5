"""What the tests share of attachments that are written to."""
import hashlib
import os
import random
import subprocess

import harness
from attaching import Attached
from harness import HOST_LACKS


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def write_synced(path, data):
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


class Written(Attached):
    def setUp(self):
        super().setUp()
        self.env.update(DADI_VIRTUAL_SIZE="256M", TMPDIR=str(self.folder / "tmp"))
        (self.folder / "tmp").mkdir()
        self.image()
        self.tree = self.folder / "tree"
        self.said = ""

    def attach_writable(self, *arguments, name="work", at="changes", mount="tree"):
        options = ["--mount", mount] if mount else []
        run = self.dadi("attach", "--name", name, f"--writable={at}" if at else "--writable", *options, *arguments,
                        "oci:image")
        self.assertRegex(run.text, r"\A/dev/[a-z]+[0-9]+\n\Z")
        self.said = run.stderr
        return run.text.strip()

    def fails_without(self, program, *arguments):
        """That attaching fails, and leaves nothing, where a program of e2fsprogs is not installed."""
        harness.need_command("unshare")
        if subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False).returncode != 0:
            self.skipTest("there can be no other mounts here")
        hide = "".join(f"test ! -e {folder}/{program} || mount --bind /dev/null {folder}/{program}; "
                       for folder in ("/sbin", "/usr/sbin", "/usr/local/sbin", "/bin", "/usr/bin", "/usr/local/bin"))
        words = [harness.BINARY, "attach", "--name", "work", "--writable=changes", "--mount", "tree", *arguments, "oci:image"]
        run = subprocess.run(["unshare", "-m", "sh", "-c", f'{hide} exec "$@"', "sh", *words], env=self.env, cwd=self.folder,
                             capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, HOST_LACKS, run.stderr)
        self.assertIn("hint: install e2fsprogs", run.stderr)
        self.assert_nothing_is_left()

    def assert_sound(self, at="changes"):
        """Whether e2fsck finds nothing to say of the device, which is not attached."""
        device = self.attach_writable(name="look", at=at, mount=None)
        run = subprocess.run(["e2fsck", "-fn", device], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout + run.stderr)
        self.dadi("detach", "look")

    def assert_committed(self, layout, expected):
        """That the image is sound, and its tree the one that was seen when it was mounted."""
        self.dadi("check", f"oci:{layout}")
        (self.folder / "look").mkdir(exist_ok=True)
        self.dadi("attach", "--name", "look", "--mount", "look", f"oci:{layout}")
        tree, self.tree = self.tree, self.folder / "look"
        found = self.files()
        self.tree = tree
        self.dadi("detach", "look")
        self.assertEqual(found, expected)

    def files(self):
        """What each file under the mount point is: type, mode and content."""
        found = {}
        for path in sorted(self.tree.rglob("*")):
            info = path.lstat()
            content = os.readlink(path) if path.is_symlink() else sha256(path) if path.is_file() else ""
            found[str(path.relative_to(self.tree))] = (info.st_mode, info.st_nlink, content)
        return found

    def change_much(self, seed):
        rng = random.Random(seed)
        for folder in ("new", "new/deep", "usr/share/more"):
            (self.tree / folder).mkdir()
        for i in range(300):
            (self.tree / f"new/file{i}").write_bytes(rng.randbytes(rng.randrange(30_000)))
        for i in range(0, 300, 7):
            (self.tree / f"new/file{i}").unlink()
        (self.tree / "new/large").write_bytes(rng.randbytes(5_000_000))
        os.truncate(self.tree / "new/large", 3_333_333)
        (self.tree / "etc/hostname").write_text("changed\n")
        (self.tree / "usr/share/words").rename(self.tree / "usr/share/more/words")
        os.link(self.tree / "new/file1", self.tree / "new/deep/link")
        (self.tree / "new/symlink").symlink_to("deep/link")

    def keep_writing(self, stop):
        number = 0
        while not stop.is_set():
            write_synced(self.tree / f"busy{number % 20}", os.urandom(50000))
            number += 1
