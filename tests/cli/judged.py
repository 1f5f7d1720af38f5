"""Who judges a converted image: our own check and verify, e2fsck, and the kernel, which mounts it."""
import subprocess

import harness
from images import Layout


def mount(test, disk, name="mounted"):
    """Mounts a disk image read-only for the length of a test, on a folder of that name."""
    harness.need_root()
    point = test.folder / name
    point.mkdir()
    run = subprocess.run(["mount", "-o", "loop,ro,noload", disk, point], capture_output=True, text=True, check=False)
    if run.returncode:
        test.skipTest(f"cannot mount a loop device here: {run.stderr.strip()}")
    test.addCleanup(subprocess.run, ["umount", point], check=True)
    return point


def e2fsck(test, disk):
    harness.need_command("e2fsck")
    run = subprocess.run(["e2fsck", "-fn", disk], capture_output=True, text=True, check=False)
    test.assertEqual(run.returncode, 0, run.stdout)


class Judged(harness.Test):
    """Tests that convert layers, each a list of entries or the bytes of an archive, and look at what became of them."""

    size = "64M"

    def convert(self, *layers, size=None, options=()):
        """Converts an image of these layers, of which check, verify and e2fsck approve. Returns the disk's path."""
        Layout(self.folder / "source").add_image(layers)
        return self.judge(size, options)

    def judge(self, size=None, options=()):
        """The same for the image in self.folder/source."""
        self.converted = self.dadi("convert", "--virtual-size", size or self.size, *options, "oci:source", "oci:image")
        self.dadi("check", "oci:image")
        self.dadi("verify", *options, "oci:source", "oci:image")
        disk = self.folder / "disk"
        self.dadi("export", "oci:image", disk)
        e2fsck(self, disk)
        return disk

    def mounted(self, *layers, size=None, options=()):
        """The same, mounted by the kernel. Returns the folder."""
        return mount(self, self.convert(*layers, size=size, options=options))

    def refused(self, status, layers, *says, options=()):
        """Converts an image of these layers, which must fail and leave nothing. Returns what was said."""
        layout = Layout(self.folder / "source")
        layout.manifests.clear()
        layout.add_image(layers)
        said = self.fails(status, "convert", "--virtual-size", self.size, *options, "oci:source", "oci:refused", says=says)
        self.assertFalse(any((self.folder / "refused").rglob("*")))
        return said
