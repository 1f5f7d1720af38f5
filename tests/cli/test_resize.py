"""dadi resize: a larger device, and a file system that fills it, as one layer more."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import harness
from harness import BINARY, CORRUPT, DENIED, FAILURE, HOST_LACKS, NOT_FOUND, UNSUPPORTED, USAGE, environment
from images import Layout, entry, read_manifest, small_debian
from registries import Registry
from test_build import BuildTest

MIB = 1 << 20
RESIZE2FS = shutil.which("resize2fs", path=os.environ["PATH"] + ":/usr/sbin:/sbin")


class ResizeTest(BuildTest):
    def setUp(self):
        harness.need_root()
        if RESIZE2FS is None:
            self.skipTest("resize2fs is not installed")
        super().setUp()
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()

    def resize(self, size, *words, base="oci:base", to="oci:built", **options):
        options.setdefault("env", environment(TMPDIR=str(self.temporary)))
        answer = self.dadi("resize", "--json", base, size, to, *words, **options).json
        self.assertEqual(list(self.temporary.iterdir()), [])
        return answer

    def sizes(self, name):
        """Of the device, and of the file system on it."""
        facts = self.dadi("check", "--json", f"oci:{name}").json["file_system"]
        return self.disk(name).stat().st_size, facts["blocks"] * facts["block_size"]


class Resize(ResizeTest):
    def test_device_and_file_system_have_the_new_size_and_hold_the_same(self):
        self.base(history=[{"created_by": "one"}, {"created_by": "two"}])
        self.assertEqual(self.sizes("base"), (64 * MIB, 64 * MIB))
        below = {digest: (self.folder / "base/blobs" / digest.replace(":", "/")).read_bytes() for digest in self.digests("base")}
        answer = self.resize("300M", "-m", "room")
        self.judge()
        self.assertEqual(self.sizes("built"), (300 * MIB, 300 * MIB))
        self.dadi("verify", "oci:source", "oci:built")
        self.assertEqual(self.listing("built"), self.listing("base"))
        self.assertEqual(self.digests("built"), [*below, answer["layer"]["digest"]])
        for digest, content in below.items():
            self.assertEqual((self.folder / "built/blobs" / digest.replace(":", "/")).read_bytes(), content)
        self.assertLess(answer["layer"]["size"], 100_000)
        last = self.config_of("built")["history"][-1]
        self.assertEqual((last["created_by"], last["comment"]), (f"dadi resize {300 * MIB}", "room"))
        layers = self.dadi("inspect", "--json", "oci:built").json["layers"]
        self.assertEqual(layers[2]["parent_uuid"], layers[1]["uuid"])

    def test_what_had_no_room_has_it_then(self):
        big = self.tar("big.tar", [entry("big", os.urandom(100 * MIB))])
        self.fails(FAILURE, "build", "oci:base", "--add", big, "oci:small")
        self.resize("512M", to="oci:large")
        self.build("--add", big, base="oci:large")
        self.judge()
        self.assertEqual(self.sizes("built"), (512 * MIB, 512 * MIB))

    def test_it_can_be_done_again_and_flattened(self):
        self.resize("100M", to="oci:once")
        self.resize("200M", base="oci:once", to="oci:twice")
        self.dadi("flatten", "oci:twice", "oci:built")
        self.judge()
        self.assertEqual(self.sizes("built"), (200 * MIB, 200 * MIB))
        self.dadi("verify", "oci:source", "oci:built")

    def test_groups_are_added_far_beyond_the_ones_there_were(self):
        """So many that their descriptors need more room than there is, and what is in the way is moved."""
        self.size = "64G"
        self.base(to="default")
        self.resize("65G", base="oci:default")
        self.judge()
        answer = self.resize("1T")
        self.assertLess(answer["layer"]["size"], 20_000_000)
        self.dadi("check", "oci:built")
        self.dadi("verify", "oci:source", "oci:built")

    def test_the_same_image_and_size_give_the_same_image(self):
        expected = self.resize("256M")["digest"]
        time.sleep(1.1)
        for i, changes in enumerate(({"TZ": "Asia/Kathmandu", "E2FSPROGS_FAKE_TIME": "7"}, {"SOURCE_DATE_EPOCH": "9"})):
            self.assertEqual(self.resize("256M", "-j", i + 1, to=f"oci:again{i}",
                                         env=environment(TMPDIR=str(self.temporary), **changes))["digest"], expected)
        self.assertNotEqual(self.resize("257M", to="oci:other")["digest"], expected)

    def test_of_an_image_on_a_registry_little_is_fetched(self):
        registry = Registry(self)
        self.size = "1G"
        self.base([*small_debian(), [entry("big", os.urandom(16 * MIB))]])
        self.dadi("push", "oci:base", f"docker://{registry.host}/base:1")
        answer = self.resize("2G", base=f"docker://{registry.host}/base:1", to=f"docker://{registry.host}/base:2",
                             env=environment(TMPDIR=str(self.temporary), XDG_CACHE_HOME=str(self.folder / "cache")))
        self.assertEqual((answer["blobs_copied"], answer["blobs_there"]), (0, 3))
        cached = sum(path.stat().st_blocks * 512 for path in (self.folder / "cache").rglob("*") if path.is_file())
        self.assertLess(cached, 6 * MIB)
        self.dadi("pull", f"docker://{registry.host}/base:2", "oci:built")
        self.judge()
        self.assertEqual(self.sizes("built"), (2048 * MIB, 2048 * MIB))

    def test_what_resize2fs_does_badly_is_not_published(self):
        """An image of the reference: resize2fs 1.47 frees one block too many where the last group ended, later ones may not."""
        layout = Layout(self.folder / "reference")
        layout.add_block_image(self.golden("append/0/overlaybd.commit").read_bytes())
        run = self.dadi("resize", "oci:reference", "100G", "oci:built", status=None)
        if run.status:
            self.assertEqual(run.status, UNSUPPORTED, run.stderr)
            self.assertIn("resize2fs has left a fault", run.stderr)
            self.assertIn("hint: ", run.stderr)
            self.assertFalse((self.folder / "built").exists())
        else:
            self.assertEqual(self.sizes("built"), (100 << 30, 100 << 30))
            self.assertEqual(self.listing("built"), self.listing("reference"))

    def test_interrupted_it_leaves_nothing(self):
        process = subprocess.Popen([BINARY, "resize", "oci:base", "1T", "oci:built"], cwd=self.folder,
                                   env=environment(TMPDIR=str(self.temporary)), stderr=subprocess.PIPE)
        deadline = time.monotonic() + 60
        while not list(self.temporary.glob("*/writable_data")):
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + signal.SIGINT, stderr)
        self.assertEqual(list(self.temporary.iterdir()), [])
        self.assertFalse((self.folder / "built").exists())

    def test_a_size_that_is_not_larger_is_refused(self):
        for size in ("64M", "63M", "1M"):
            self.fails(USAGE, "resize", "oci:base", size, "oci:built", says=("64 MiB already", "hint: "))
        for size in ("2T", "65537K", "99999999T", "much"):
            self.fails(USAGE, "resize", "oci:base", size, "oci:built", says="SIZE")
        self.fails(NOT_FOUND, "resize", "oci:nowhere", "1G", "oci:built")
        self.assertFalse((self.folder / "built").exists())

    def test_what_is_no_image_of_ext4_is_refused(self):
        self.fails(UNSUPPORTED, "resize", "oci:source", "1G", "oci:built", says="convert it first")
        (self.folder / "noise").write_bytes(os.urandom(2 * MIB))
        self.dadi("import", "noise", "oci:imported")
        self.fails(UNSUPPORTED, "resize", "oci:imported", "1G", "oci:built", says="ext4")

    def test_a_file_system_that_is_damaged_is_left_alone(self):
        disk = self.disk("base")
        with open(disk, "r+b") as file:  # its root directory
            content = file.read(4 * MIB)
            file.seek(content.index(b"lost+found") & ~4095)
            file.write(bytes(4096))
        self.dadi("import", disk, "oci:damaged")
        self.fails(CORRUPT, "resize", "oci:damaged", "1G", "oci:built", says="its file system: ")

    def test_examples_work_when_pasted(self):
        self.base(to="debian-dadi")
        path = f"{pathlib.Path(BINARY).parent}:{os.environ['PATH']}"
        examples = re.findall(r"^  sudo (dadi .*)$", self.dadi("resize", "--help").text.split("\n\n")[0], re.MULTILINE)
        self.assertEqual(len(examples), 2)
        for example in examples:
            run = subprocess.run(["bash", "-c", example], cwd=self.folder, capture_output=True, text=True,
                                 env=environment(PATH=path), check=False)
            self.assertEqual(run.returncode, 0, f"{example}\n{run.stderr}")

    def test_a_host_without_resize2fs_is_told_so(self):
        harness.need_command("unshare", "mount")
        run = subprocess.run(["unshare", "-m", "sh", "-c", f'mount --bind /dev/null {RESIZE2FS} && exec "$@"', "sh", BINARY,
                              "resize", "oci:base", "1G", "oci:built"], cwd=self.folder, capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, HOST_LACKS, run.stderr)
        self.assertIn("resize2fs", run.stderr)
        self.assertIn("hint: ", run.stderr)

    def test_without_root_it_takes_a_namespace(self):
        harness.need_command("setpriv", "unshare")
        self.folder.chmod(0o755)
        (self.folder / "out").mkdir()
        os.chown(self.folder / "out", 65534, 65534)
        nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]

        def run(*words):
            return subprocess.run([*nobody, *words, BINARY, "resize", "oci:base", "100M", "oci:out/built"], cwd=self.folder,
                                  env=environment(HOME=str(self.folder / "out"), TMPDIR=str(self.folder / "out")),
                                  capture_output=True, text=True, check=False)

        alone = run()
        self.assertEqual(alone.returncode, DENIED, alone.stderr)
        self.assertIn("unshare -rm", alone.stderr)
        self.assertFalse((self.folder / "out/built").exists())
        if subprocess.run([*nobody, "unshare", "-rm", "true"], capture_output=True, check=False).returncode:
            self.skipTest("no user namespaces for users here")
        inside = run("unshare", "-rm")
        self.assertEqual(inside.returncode, 0, inside.stderr)
        self.assertEqual(read_manifest(self.folder / "out/built")[1]["digest"], self.resize("100M")["digest"])
        self.assertEqual(list((self.folder / "out").iterdir()), [self.folder / "out/built"])


if __name__ == "__main__":
    harness.main()
