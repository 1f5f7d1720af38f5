"""A virtual machine that loses its power while it writes through a writable layer: what it had flushed is there."""
import os
import pathlib
import random
import re
import shutil
import subprocess
import sys
import tempfile
import time
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cli"))
import guest  # noqa: E402
import harness  # noqa: E402
import images  # noqa: E402

PROGRAMS = pathlib.Path(harness.BINARY).parent
CUTS = 15 if os.environ.get("DADI_LONG") else 1  # of each form of layer
OFFSET = 32 << 20  # on the device, where the file system of the image has nothing
BOOTED = 300

SCRIPT = """
words() { sed 's/.*power_cut=//; s/,/ /g' /proc/cmdline; }
set -- $(words)
step attach
mkdir /data
mount -t ext4 /dev/vda /data || fail "mount"
device=$(dadi attach --backend nbd --name w --writable=/data/changes --writable-form $1 oci:/image:latest 2>/run/log) ||
  fail "attach: $?"
grep -v 'made by backend' /run/log | sed 's/^/@@said /'
shift
step write
flushed_writer $device "$@" || fail "the writer: $?"
"""


class PowerCut(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        guest.kernel_folder()  # skips
        if shutil.which("mke2fs") is None:
            raise unittest.SkipTest("mke2fs is not installed (scripts/install test)")
        if harness.is_sanitized() and not os.environ.get("DADI_LONG"):
            raise unittest.SkipTest("an emulated machine is slow enough without sanitizers: scripts/test --long")

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dadi-guest-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)
        self.machine = guest.Guest(self.folder, modules=("virtio_pci", "virtio_blk", "nbd", "ext4"))
        for name in ("dadi", "dadid", "flushed_writer"):
            self.machine.program(PROGRAMS / name)
        images.Layout(self.folder / "source").add_image([[images.entry("file", bytes(range(256)) * 4000)]])
        subprocess.run([harness.BINARY, "convert", f"oci:{self.folder}/source", f"oci:{self.folder}/image", "--virtual-size", "64M"],
                       check=True, capture_output=True, env=harness.environment())
        self.machine.tree(self.folder / "image", "image")
        self.disk = self.folder / "disk"  # of the machine; it outlives its power
        with open(self.disk, "wb") as file:
            file.truncate(256 << 20)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", self.disk], check=True, capture_output=True)
        self.machine.disk(self.disk, writable=True)
        self.machine.pack(SCRIPT)

    def log(self):
        return self.machine.log.read_text(errors="replace") if self.machine.log.exists() else ""

    def said(self, pattern):
        text = self.log()
        found = re.findall(rf"^@@({pattern})\r?$", text, re.MULTILINE)
        wrong = re.search(r"^@@(wrong|failed) .*", text, re.MULTILINE)
        self.assertIsNone(wrong, text[-5000:])
        return found

    def flushed(self):
        return [int(line.split()[1]) for line in self.said(r"flushed \d+")]

    def write_until_the_power_is_cut(self, parameters, rng):
        """Boots; a random while after its first flush the machine is gone. Returns the last round that it said to have flushed."""
        self.machine.log.unlink(missing_ok=True)
        machine = subprocess.Popen(self.machine.command(parameters), stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        try:
            end = time.monotonic() + BOOTED
            while not self.flushed():
                self.assertIsNone(machine.poll(), "the machine has ended\n" + self.log())
                self.assertLess(time.monotonic(), end, "it flushed nothing\n" + self.log())
                time.sleep(0.05)
            time.sleep(rng.uniform(0, 3))
        finally:
            machine.kill()  # its memory, page cache and all, is gone
            machine.communicate()
        return self.flushed()[-1]

    def cut_again_and_again(self, form):
        seed = random.randrange(1 << 30)
        rng = random.Random(seed)
        history = []
        for boot in range(CUTS + 1):  # the last looks at what the last cut has left
            start = boot * 1_000_000 + 1
            parameters = f"power_cut={','.join([form, str(OFFSET), str(seed), *history, str(start)])}"
            last = self.write_until_the_power_is_cut(parameters, rng)
            compared, = self.said("compared .*")
            print(f"{form}, seed {seed}, cut {boot + 1}: {compared}; {last - start + 1} rounds;", *self.said("said .*"), flush=True)
            if boot > 0:
                self.assertGreater(int(compared.split()[1]), 0)
            history.append(f"{start}:{last}")

    def test_what_was_flushed_to_an_append_only_layer_is_there_after_power_cuts(self):
        self.cut_again_and_again("append")

    def test_what_was_flushed_to_a_sparse_layer_is_there_after_power_cuts(self):
        self.cut_again_and_again("sparse")


if __name__ == "__main__":
    harness.main()
