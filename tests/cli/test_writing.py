"""The kernel as judge for writing: converted images mounted read-write. An idle mount writes nothing, unmounting little; and
after hard work in directories and files that dadi laid out, e2fsck finds nothing and every file is what was written."""
import errno
import os
import pathlib
import random
import shutil
import subprocess
import time

import harness
from images import Layout, device, entry, folder, hardlink, opaque, symlink, whiteout

SECTOR = 512


class Writable:
    """A disk image on a loop device, mounted for writing."""

    def __init__(self, test, disk):
        harness.need_root()
        harness.need_command("losetup", "mount", "e2fsck")
        self.test, self.disk, self.point = test, disk, test.folder / "mounted"
        self.point.mkdir(exist_ok=True)
        run = subprocess.run(["losetup", "--find", "--show", disk], capture_output=True, text=True, check=False)
        if run.returncode:
            test.skipTest(f"no loop device here: {run.stderr.strip()}")
        self.loop = run.stdout.strip()
        test.addCleanup(subprocess.run, ["losetup", "-d", self.loop], check=True)

    def mount(self):
        subprocess.run(["mount", "-t", "ext4", self.loop, self.point], check=True)
        self.test.addCleanup(self.unmount)
        return self.point

    def unmount(self):
        if os.path.ismount(self.point):
            subprocess.run(["umount", self.point], check=True)

    def written(self):
        """Sectors written so far, as the kernel counts them."""
        return int(pathlib.Path(f"/sys/block/{os.path.basename(self.loop)}/stat").read_text().split()[6])

    def expect_clean(self):
        run = subprocess.run(["e2fsck", "-fn", self.loop], capture_output=True, text=True, check=False)
        self.test.assertEqual(run.returncode, 0, run.stdout)


class Idle(harness.Test):
    def test_an_idle_mount_writes_nothing_and_unmounting_writes_a_block(self):
        """At the default size, where a kernel that found work to do, such as clearing inode tables, would write gigabytes."""
        Layout(self.folder / "source").add_image([[entry("file", b"x" * 100000), folder("d")], [entry("d/f", b"y")]])
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("export", "oci:image", "disk")
        disk = Writable(self, self.folder / "disk")
        before = disk.written()
        disk.mount()
        os.sync()
        mounted = disk.written()
        self.assertLessEqual(mounted - before, 16)
        time.sleep(10)
        os.sync()
        self.assertEqual(disk.written() - mounted, 0, "an idle mount wrote")
        disk.unmount()
        self.assertLessEqual(disk.written() - mounted, 16)
        self.assertEqual((disk.mount() / "d/f").read_bytes(), b"y")
        disk.unmount()
        disk.expect_clean()


def long_name(i):
    return f"{i * 2654435761 % (1 << 32)}".ljust(255, "-")


def rich_image():
    """Layers with what a writer can get wrong: directories of every form, files in pieces, links, attributes."""
    holes = b"".join(bytes([i % 255 + 1]) * 3000 + bytes(9000) for i in range(400))
    base = [
        folder("small"), *[entry(f"small/{i}", b"s" * i) for i in range(30)],
        folder("tree"), *[entry(f"tree/name-{i}", b"t%d" % i) for i in range(1500)],
        entry("linked", b"one inode"), folder("huge"), *[hardlink(f"huge/{long_name(i)}", "linked") for i in range(6000)],
        entry("big", bytes(range(256)) * 20000), entry("pieces", holes),
        entry("attributes", b"a", pax_headers={"SCHILY.xattr.user.large": "v" * 3000, "SCHILY.xattr.user.small": "w"}),
        symlink("long", "l" * 1000), device("null", b"3", 1, 3),
        folder("keep"), *[entry(f"keep/{i}", bytes([i]) * 5000) for i in range(50)],
    ]
    middle = [*[whiteout(f"tree/name-{i}") for i in range(0, 1500, 2)], *[entry(f"tree/more-{i}", b"m") for i in range(900)],
              *[whiteout(f"huge/{long_name(i)}") for i in range(0, 6000, 7)], entry("big", b"smaller" * 3000)]
    top = [opaque("small"), *[entry(f"small/new-{i}", b"n") for i in range(200)],
           *[hardlink(f"huge/{long_name(i)}", "linked") for i in range(6000, 6400)]]
    return [base, middle, top]


def files_below(point):
    """Path.rglob() of some Pythons fails at symlinks that are too long to follow."""
    return [pathlib.Path(folder, name) for folder, _, names in os.walk(point) for name in names]


class Work:
    """Random changes in a mounted tree, and what its files should hold then."""

    def __init__(self, point, seed):
        self.point, self.random, self.files = point, random.Random(seed), {}
        for path in files_below(point):
            if not path.is_symlink() and path.is_file() and path.parent.name not in ("huge", "keep"):
                self.files[path] = path.read_bytes()
        self.directories = [point / name for name in ("small", "tree", "huge", "tree/new")]

    def run(self, count):
        (self.point / "tree/new").mkdir(exist_ok=True)
        acts = [self.create] * 6 + [self.remove] * 4 + [self.rename] * 3 + [self.truncate, self.append, self.link,
                                                                           self.attribute, self.replace, self.directory]
        for _ in range(count):
            self.random.choice(acts)()

    def new_path(self):
        name = self.random.choice(["c%d", "c%d" + "-" * 240, "created-%d"]) % self.random.randrange(10 ** 9)
        return self.random.choice(self.directories) / name

    def any_file(self):
        return self.random.choice(list(self.files))

    def write(self, path, content):
        with open(path, "wb") as file:
            file.write(content)
            if self.random.random() < 0.2:
                file.flush()
                os.fsync(file.fileno())
        self.files[path] = content

    def create(self):
        self.write(self.new_path(), self.random.randbytes(self.random.choice([0, 10, 5000, 40000])))

    def remove(self):
        path = self.any_file()
        path.unlink()
        del self.files[path]

    def rename(self):
        old, new = self.any_file(), self.new_path()
        old.rename(new)
        self.files[new] = self.files.pop(old)

    def replace(self):
        old, new = self.any_file(), self.any_file()
        if old != new and not old.samefile(new):
            old.replace(new)
            self.files[new] = self.files.pop(old)

    def truncate(self):
        path, size = self.any_file(), self.random.choice([0, 1, 4096, 6000, 70000])
        os.truncate(path, size)
        self.changed(path, self.files[path][:size].ljust(size, b"\0"))

    def append(self):
        path, more = self.any_file(), self.random.randbytes(3000)
        with open(path, "ab") as file:
            file.write(more)
        self.changed(path, self.files[path] + more)

    def changed(self, path, content):
        """The content of a file, by all its names."""
        for other in [path] if path.lstat().st_nlink == 1 else [each for each in self.files if each.samefile(path)]:
            self.files[other] = content

    def link(self):
        old, new = self.any_file(), self.new_path()
        os.link(old, new)
        self.files[new] = self.files[old]

    def attribute(self):
        path = self.any_file()
        for name in os.listxattr(path):
            os.removexattr(path, name)
        os.setxattr(path, "user.work", self.random.randbytes(self.random.choice([1, 50, 200, 3000])))

    def directory(self):
        path = self.new_path()
        path.mkdir()
        (path / "f").symlink_to("x" * self.random.choice([5, 59, 60, 1000]))
        if self.random.random() < 0.5:
            shutil.rmtree(path)

    def fill(self):
        """Until no block is left, then until no inode is; and gives back what that took."""
        crowd = self.point / "tree/new/crowd"
        crowd.mkdir()
        full = []
        try:
            with open(crowd / "filler", "wb", buffering=0) as file:
                while True:
                    file.write(bytes(1 << 20))
        except OSError as error:
            full.append(error.errno)
        (crowd / "filler").unlink()
        try:
            for i in range(1 << 20):
                (crowd / f"{i}").touch()
        except OSError as error:
            full.append(error.errno)
        shutil.rmtree(crowd)
        return full

    def difference(self):
        """The first file that is not what it should be."""
        for path, content in self.files.items():
            if path.read_bytes() != content:
                return path
        return None


class Stress(harness.Test):
    def test_after_work_over_several_mounts_e2fsck_finds_nothing(self):
        Layout(self.folder / "source").add_image(rich_image())
        self.dadi("convert", "--virtual-size", "192M", "oci:source", "oci:image")
        self.dadi("export", "oci:image", "disk")
        disk = Writable(self, self.folder / "disk")
        disk.expect_clean()
        for seed in range(4):
            work = Work(disk.mount(), seed)
            work.run(600)
            if seed == 1:
                self.assertEqual(work.fill(), [errno.ENOSPC, errno.ENOSPC])
            if seed == 2:  # all of the directory of two levels but a few names
                for path in list((disk.point / "huge").iterdir())[5:]:
                    if not path.is_symlink() and path.is_file():
                        path.unlink()
                        work.files.pop(path, None)
            disk.unmount()
            disk.expect_clean()
            disk.mount()
            self.assertIsNone(work.difference())
            for i in range(50):
                self.assertEqual((disk.point / f"keep/{i}").read_bytes(), bytes([i]) * 5000)
            shutil.rmtree(disk.point / "tree/new")
            disk.unmount()
            disk.expect_clean()


if __name__ == "__main__":
    harness.main()
