"""A virtual machine, whose kernel has nbd: devices of that driver, and of dadi serve as the machine's own disk."""
import hashlib
import os
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "cli"))
import guest  # noqa: E402
import harness  # noqa: E402
import images  # noqa: E402

PROGRAMS = pathlib.Path(harness.BINARY).parent

SERVED = """
step served
cmp /dev/vda /dev/vdb >/run/log 2>&1 || fail "another device"
blockdev --getro /dev/vdb | grep -q 1 || fail "it can be written"
"""

UNIT_TESTS = """
step unit-tests
test_runtime --gtest_filter='NbdKernel*:KernelNbd*' --gtest_color=no >/run/log 2>&1 || fail "a unit test failed"
grep -q PASSED /run/log && ! grep -q SKIPPED /run/log || fail "some were skipped"
"""


def content(size, seed):
    """Bytes of which half compress."""
    noise = random.Random(seed)
    return b"".join(noise.randbytes(512) + bytes(512) for _ in range(size // 1024))


def layers():
    base = [images.folder("./"), images.folder("data/")]
    base += [images.entry(f"data/large{i}", content(4 << 20, i)) for i in range(4)]
    base += [images.entry(f"data/small{i}", b"%d\n" % i * 100) for i in range(200)]
    above = [images.whiteout("data/small7"), images.entry("data/large1", content(2 << 20, 9)),
             images.entry("data/new", b"new\n")]
    return [base, above]


def files_of(stack):
    """What each regular file of the layers holds in the end."""
    files = {}
    for layer in stack:
        for info, data in layer:
            folder, name = os.path.split(info.name)
            if name.startswith(".wh."):
                files.pop(f"{folder}/{name[4:]}")
            elif data is not None:
                files[info.name] = data
    return files


class KernelNbd(unittest.TestCase):
    """One boot; each test asks how a step of the script in the guest ended."""

    @classmethod
    def setUpClass(cls):
        guest.kernel_folder()  # skips
        if harness.is_sanitized() and not os.environ.get("DADI_LONG"):
            raise unittest.SkipTest("an emulated machine is slow enough without sanitizers: scripts/test --long")
        folder = pathlib.Path(tempfile.mkdtemp(prefix="dadi-guest-"))
        cls.addClassCleanup(shutil.rmtree, folder, ignore_errors=True)
        machine = guest.Guest(folder)
        for name in ("dadi", "dadid", "test_runtime", "device_reader"):
            machine.program(PROGRAMS / name)
        machine.program(shutil.which("e2fsck") or "/sbin/e2fsck")
        cls.add_image(machine, folder)
        machine.disk(cls.serve(folder))
        machine.disk(cls.empty_disk(folder), writable=True)
        scripts = [(HERE / name).read_text() for name in ("attach.sh", "write.sh")]
        cls.steps = machine.run(SERVED + UNIT_TESTS + "".join(scripts), seconds=1000)

    @classmethod
    def add_image(cls, machine, folder):
        stack = layers()
        images.Layout(folder / "source").add_image(stack)
        for arguments in (["convert", f"oci:{folder}/source", f"oci:{folder}/image", "--virtual-size", "256M"],
                          ["export", f"oci:{folder}/image", folder / "raw"]):
            subprocess.run([harness.BINARY, *map(str, arguments)], check=True, capture_output=True,
                           env=harness.environment())
        sums = [f"{hashlib.sha256(data).hexdigest()}  ./{name}\n" for name, data in sorted(files_of(stack).items())]
        (folder / "sums").write_text("".join(sums))
        (folder / "extents").write_text("".join(f"{at} {length}\n" for at, length in guest.data_of(folder / "raw")))
        machine.tree(folder / "image", "image")
        machine.file(folder / "sums", "sums")
        machine.file(folder / "extents", "extents")
        machine.disk(folder / "raw")

    @classmethod
    def empty_disk(cls, folder):
        with open(folder / "empty", "wb") as file:
            file.truncate(512 << 20)
        subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", folder / "empty"], check=True, capture_output=True)
        return folder / "empty"

    @classmethod
    def serve(cls, folder):
        """The image, to qemu; returns the URI."""
        server = subprocess.Popen([harness.BINARY, "serve", f"oci:{folder}/image"], stdout=subprocess.PIPE, text=True,
                                  env=harness.environment())
        cls.addClassCleanup(server.communicate)
        cls.addClassCleanup(server.terminate)
        return server.stdout.readline().strip()

    def step(self, name):
        self.assertEqual(self.steps.get(name, "not reached"), "ok")

    def test_a_machine_reads_all_of_a_served_image_from_its_virtio_disk(self):
        self.step("served")

    def test_what_the_kernel_and_the_backend_do_by_themselves(self):
        self.step("unit-tests")

    def test_an_image_is_attached_and_mounted_and_everything_is_read(self):
        self.step("attach")
        self.step("everything-is-read")

    def test_attachments_of_one_image_share_a_device(self):
        self.step("attached-twice")

    def test_a_busy_device_is_not_detached(self):
        self.step("busy")

    def test_reads_in_flight_finish_when_a_killed_dadid_has_a_successor(self):
        self.step("killed")

    def test_a_dadid_that_stands_by_follows_a_killed_one_by_itself(self):
        self.step("stand-by")

    def test_an_upgrade_under_io_is_not_noticed(self):
        self.step("upgrade")

    def test_an_upgrade_to_a_bad_program_never_costs_the_mount(self):
        self.step("upgrade-to-what-is-no-dadid")
        self.step("upgrade-to-what-fails")
        self.step("upgrade-to-what-dies")

    def test_detaching_leaves_nothing(self):
        self.step("detach")
        self.step("detach-of-the-dead")

    def test_a_lazy_detach_takes_effect_when_the_last_user_is_done(self):
        self.step("detach-lazily")

    def test_what_is_written_is_there_in_a_successor_of_a_killed_dadid_and_after_an_upgrade(self):
        self.step("write")
        self.step("write-killed")
        self.step("write-upgrade")

    def test_a_killed_dadid_that_had_not_flushed_what_it_confirmed_has_no_successor(self):
        self.step("write-unflushed")

    def test_a_detach_flushes_what_was_written(self):
        self.step("write-detach")

    def test_after_a_live_commit_successors_go_on_on_the_new_image(self):
        self.step("write-live")

    def test_what_is_written_does_not_wait_for_memory_that_only_its_writing_frees(self):
        self.step("write-without-memory")


if __name__ == "__main__":
    harness.main()
