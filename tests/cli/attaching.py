"""What the tests of attach share: attachments in a state folder of their own, of which nothing is left behind."""
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import time

import harness
from images import Layout, entry, small_debian


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
        for sanitizer in ("ASAN", "LSAN", "UBSAN", "TSAN"):  # of dadid, too, whose standard error nobody hears
            self.env[f"{sanitizer}_OPTIONS"] += f":log_path={self.folder / 'sanitizer'}"
        self.addCleanup(self.assert_no_report)
        self.addCleanup(self.leave_nothing)

    def dadi(self, *arguments, **options):
        return super().dadi(*arguments, **{"env": self.env, **options})

    def leave_nothing(self):
        """Detaches all that is left, so that a test that fails leaves the host as it was."""
        for one in self.ps():
            super().dadi("detach", "--lazy", one["name"], env=self.env, status=None)
        for pid in self.servers():
            os.kill(pid, signal.SIGKILL)

    def assert_no_report(self):
        # That a thread ended while leaks were looked for is no report.
        said = [re.sub(r"==\d+==Unable to get registers from thread \d+\.\n", "", path.read_text())
                for path in self.folder.glob("sanitizer.*")]
        self.assertEqual([text for text in said if text], [])

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

    def wait_until(self, condition):
        deadline = time.monotonic() + 10
        while not condition():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)

    @staticmethod
    def read_ahead(device):
        """KiB that the kernel reads ahead on it."""
        return int(pathlib.Path(f"/sys/block/{os.path.basename(device)}/queue/read_ahead_kb").read_text())

    def wait_until_free(self, device):
        """What a killed process had open is closed some time after it shows as gone."""
        self.wait_until(lambda: not is_ours(device))

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
