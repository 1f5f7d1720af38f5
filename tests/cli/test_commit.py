"""dadi commit, flatten and import: images of what a device holds."""
import json
import os
import pathlib
import random
import subprocess
import unittest

import harness
from harness import BUSY, CORRUPT, HOST_LACKS, NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, read_manifest
from registries import Registry
from serving import ServeTest

FORMS = ("append", "sparse")


class DeviceImageTest(ServeTest):
    def blob(self, digest, layout="image"):
        return self.folder / layout / "blobs" / digest.replace(":", "/")

    def config(self, layout, tag="latest"):
        manifest, _ = read_manifest(self.folder / layout, tag)
        return json.loads(self.blob(manifest["config"]["digest"], layout).read_text())

    def judge(self, layout, tag="latest"):
        """That check and the independent reader accept an image. Returns its layers' files."""
        self.dadi("check", f"oci:{layout}:{tag}")
        manifest, _ = read_manifest(self.folder / layout, tag)
        self.assertEqual(self.config(layout, tag)["rootfs"]["diff_ids"], [layer["digest"] for layer in manifest["layers"]])
        files = [self.blob(layer["digest"], layout) for layer in manifest["layers"]]
        self.read_strictly(files)
        return files

    def read_strictly(self, files):
        if (harness.SHARED / "tools/strict_reader.py").exists():
            self.strict_reader("check", "--modern", *files)

    def export(self, reference, name="exported"):
        (self.folder / name).unlink(missing_ok=True)
        self.dadi("export", reference, name)
        return self.folder / name

    def same(self, first, second):
        self.assertEqual(harness.sparse_digest(first), harness.sparse_digest(second))


class Commit(DeviceImageTest):
    def write(self, script, folder="changes", form="append", image="oci:image", copied=False):
        """Writes to an image through a writable layer. If it is to be copied, returns the device as it was served then."""
        server = self.serve(f"--writable={folder}", "--writable-form", form, image=image)
        if script:
            self.nbdsh(server.uri, f"h.connect_uri(uri)\n{script}\nh.flush()\n")
        if copied:
            self.run_tool("nbdcopy", server.uri, f"served-{folder}")
        server.stop()
        return self.folder / f"served-{folder}"

    def written(self, script, **options):
        return self.write(script, copied=True, **options)

    def test_the_device_of_the_image_is_the_one_that_was_served(self):
        for form in FORMS:
            with self.subTest(form):
                served = self.written("""
import random
for at, size in ((90 << 20, 4096), (91 << 20, 512), ((92 << 20) + 1536, 70144), ((256 << 20) - 4096, 4096)):
    h.pwrite(os.urandom(size), at)
content = disk.find(random.Random(5).randbytes(1 << 20))  # of a file
assert content > 0 and content % 4096 == 0
h.zero(65536, content)
h.trim(200 << 10, content + (1 << 20) + 512)
h.pwrite(disk[:1 << 20], 0)  # what is there
""", folder=form, form=form)
                run = self.dadi("--json", "commit", form, f"oci:{form}-image", "-m", "why")
                files = self.judge(f"{form}-image")
                self.same(served, self.export(f"oci:{form}-image"))
                self.assertEqual(len(files), 3)
                self.assertEqual((run.json["blobs_copied"], run.json["blobs_there"]), (2, 0))
                top = self.dadi("--json", "inspect", f"oci:{form}-image").json["layers"]
                self.assertEqual((top[2]["parent_uuid"], top[2]["user_tag"]), (top[1]["uuid"], "why"))
                # The layer in the folder is as it was.
                self.same(served, self.written("", folder=form, form=form))

    def test_only_the_new_layer_is_written_and_little_of_it(self):
        self.write("h.pwrite(os.urandom(1 << 20), 64 << 20)")
        before = {path.name: path.stat().st_ino for path in (self.folder / "image/blobs/sha256").iterdir()}
        run = self.dadi("--json", "commit", "changes", "oci:image:changed")
        self.assertEqual((run.json["blobs_copied"], run.json["blobs_there"]), (0, 2))
        after = {path.name: path.stat() for path in (self.folder / "image/blobs/sha256").iterdir()}
        self.assertEqual({name: after[name].st_ino for name in before}, before)
        new = sum(stat.st_size for name, stat in after.items() if name not in before)
        self.assertLess(new, 3 << 20)
        self.assertGreater(new, 1 << 20)

    def test_the_same_content_gives_the_same_image_however_it_came_about(self):
        data = "a, b = bytes(range(256)) * 400, bytes(range(255, -1, -1)) * 400\n"
        self.write(data + "h.pwrite(a, 1 << 20)\nh.pwrite(b, 9 << 20)\nh.zero(1 << 20, 32 << 20)", folder="one")
        self.write(data + """
h.pwrite(b'x' * 2000896, 1 << 19)
h.pwrite(b, 9 << 20)
h.flush()
h.pwrite(disk[1 << 19:(1 << 19) + 2000896], 1 << 19)
h.pwrite(b'y' * (1 << 20), 32 << 20)
for i in range(0, len(a), 512):
    h.pwrite(a[i:i + 512], (1 << 20) + i)
h.pwrite(bytes(1 << 20), 32 << 20)
""", folder="two", form="sparse")
        first = self.dadi("commit", "one", "oci:first").text
        self.assertEqual(self.dadi("commit", "one", "oci:again", "--jobs", "1").text, first)
        self.assertEqual(self.dadi("commit", "two", "oci:second").text, first)
        self.assertNotEqual(self.dadi("commit", "two", "oci:other", "--compression", "zstd").text, first)
        self.same(self.export("oci:first", "first-disk"), self.export("oci:other"))

    def test_commits_can_be_stacked_and_replace_the_tag_that_they_are_on(self):
        served = self.written("h.pwrite(b'1' * 4096, 0x700000)")
        self.dadi("commit", "changes", "oci:image")
        self.same(served, self.export("oci:image"))
        self.dadi("commit", "changes", "oci:again")  # its base is found by digest
        self.same(served, self.export("oci:again"))
        served = self.written("h.pwrite(b'2' * 4096, 0x700000 + 4096)", folder="more")
        self.dadi("commit", "more", "oci:image:two")
        self.same(served, self.export("oci:image:two"))
        self.assertEqual(len(self.judge("image", "two")), 4)

    def test_layers_below_can_be_squashed_into_the_new_one(self):
        served = self.written("h.pwrite(b'1' * 4096, 0x5a00000)\nh.zero(4096, 0x5b00000)")
        base = [layer["digest"] for layer in read_manifest(self.folder / "image")[0]["layers"]]
        uuids = [layer["uuid"] for layer in self.dadi("--json", "inspect", "oci:image").json["layers"]]
        for count in (1, 2):
            self.dadi("commit", "changes", f"oci:squashed{count}", "--squash", count)
            self.assertEqual(len(self.judge(f"squashed{count}")), 3 - count)
            self.same(served, self.export(f"oci:squashed{count}"))
        self.assertEqual(read_manifest(self.folder / "squashed1")[0]["layers"][0]["digest"], base[0])
        self.assertEqual(self.dadi("--json", "inspect", "oci:squashed1").json["layers"][1]["parent_uuid"], uuids[0])
        self.dadi("commit", "changes", "oci:two")
        self.dadi("flatten", "oci:two", "oci:flat")
        flat, squashed = (read_manifest(self.folder / name)[0]["layers"] for name in ("flat", "squashed2"))
        self.assertEqual(flat, squashed)  # one content, one layer
        self.fails(USAGE, "commit", "changes", "oci:no", "--squash", "3", says="2 layers")

    def test_a_change_that_is_none_makes_no_layer(self):
        self.write("h.pwrite(disk[:1 << 20], 0)")
        run = self.dadi("--json", "commit", "changes", "oci:same", "--user", "nobody")
        self.assertIsNone(run.json["layer"])
        self.assertIn("nothing", run.stderr)
        self.assertEqual(len(self.judge("same")), 2)
        self.assertEqual(self.config("same")["config"]["User"], "nobody")

    def test_message_and_options_are_in_the_config(self):
        Layout(self.folder / "plain").add_image([[]], history=[{"created_by": "one"}], created="2024-01-01T00:00:00Z",
                                                config={"Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Labels": {"x": "y"}, "Other": 7})
        self.dadi("convert", "--virtual-size", "256M", "oci:plain", "oci:base")
        self.write("h.pwrite(b'1' * 4096, 0x700000)", image="oci:base")
        self.dadi("commit", "changes", "oci:done", "-m", "the message", "--env", "A=2=3", "--env", "B=", "--label", "k=v",
                  "--entrypoint", '["/bin/app", "-x"]', "--cmd", "run it", "--user", "1:2", "--workdir", "/srv")
        config = self.config("done")
        self.assertEqual(config["config"], {
            "Env": ["PATH=/bin", "A=2=3", "B="], "Labels": {"x": "y", "k": "v"}, "Other": 7, "Entrypoint": ["/bin/app", "-x"],
            "Cmd": ["/bin/sh", "-c", "run it"], "User": "1:2", "WorkingDir": "/srv"})
        self.assertEqual(config["history"][1], {"created": "2024-01-01T00:00:00Z", "created_by": "dadi commit", "comment": "the message"})
        for words in (["--env", "A"], ["--label", "=x"], ["--cmd", "[1]"], ["--entrypoint", "[oops"]):
            self.fails(USAGE, "commit", "changes", "oci:no", *words, says=words[0])

    def test_what_cannot_be_committed(self):
        self.fails(NOT_FOUND, "commit", "nowhere", "oci:no", says="serve --writable")
        (self.folder / "odd").mkdir()
        for text in ("", "{", "[]", '{"reference": 7, "platform": ""}', '{"reference": "", "platform": ""}'):
            (self.folder / "odd/image.json").write_text(text)
            self.assertIn("dadi: error", self.dadi("commit", "odd", "oci:no", status=None).stderr)
        server = self.serve("--writable=changes")
        self.fails(BUSY, "commit", "changes", "oci:no", says=["in use", "hint"])
        server.stop()
        self.write("super = bytearray(h.pread(1024, 1024))\nsuper[0x3A] &= ~1\nh.pwrite(bytes(super), 1024)")
        self.fails(CORRUPT, "commit", "changes", "oci:no", says=["not cleanly unmounted", "e2fsck"])
        self.assertFalse((self.folder / "no").exists() and any((self.folder / "no/blobs/sha256").iterdir()))
        (self.folder / "changes/image.json").write_text(json.dumps({"reference": "oci:gone", "platform": ""}))
        self.fails(NOT_FOUND, "commit", "changes", "oci:no", says="gone")

    def test_a_device_without_ext4_is_not_asked_whether_it_is_clean(self):
        served = self.written("h.pwrite(os.urandom(8192), 0)")
        self.dadi("commit", "changes", "oci:done")
        self.same(served, self.export("oci:done"))

    def test_of_an_image_on_a_registry_only_what_is_missing_is_fetched(self):
        registry = Registry(self)
        self.dadi("push", "oci:image", f"docker://{registry.host}/base:1")
        served = self.written("h.pwrite(b'1' * 4096, 0x700000)", image=f"docker://{registry.host}/base:1")
        self.dadi("commit", "changes", f"docker://{registry.host}/base:2", env=harness.environment(XDG_CACHE_HOME=str(self.folder / "cache")))
        fetched = sum(path.stat().st_blocks * 512 for path in (self.folder / "cache").rglob("*") if path.is_file())
        base = sum(path.stat().st_size for path in (self.folder / "image/blobs/sha256").iterdir())
        self.assertLess(fetched, base)
        self.same(served, self.export(f"docker://{registry.host}/base:2"))
        self.dadi("commit", "changes", f"docker://{registry.host}/elsewhere:1")
        self.dadi("commit", "changes", "oci:here")
        self.same(served, self.export("oci:here"))
        self.judge("here")

    @unittest.skipUnless(os.geteuid() == 0, "mounts")
    def test_what_was_written_through_a_mount_is_in_the_image(self):
        for tool in ("nbdfuse", "e2fsck", "mount"):
            harness.need_command(tool)
        if not pathlib.Path("/dev/fuse").exists():
            self.skipTest("no FUSE here")
        server = self.serve("--writable=changes")
        point = self.folder / "point"
        point.mkdir()
        (self.folder / "device").touch()
        fuse = subprocess.Popen(["nbdfuse", str(self.folder / "device"), server.uri], stderr=subprocess.DEVNULL)
        try:
            while (self.folder / "device").stat().st_size == 0:
                self.assertIsNone(fuse.poll())
            self.run_tool("mount", "-o", "loop", self.folder / "device", point)
            try:
                (point / "etc/hostname").write_bytes(b"committed\n")
                (point / "srv/text").unlink()
                (point / "new").write_bytes(random.Random(3).randbytes(1_000_000))
            finally:
                self.run_tool("umount", point)
        finally:
            subprocess.run(["umount", self.folder / "device"], check=False, capture_output=True)
            fuse.terminate()
            fuse.wait(timeout=60)
        server.stop()
        run = self.dadi("--json", "commit", "changes", "oci:done")
        self.assertLess(run.json["layer"]["size"], 3 << 20)
        self.judge("done")
        self.run_tool("e2fsck", "-fn", self.export("oci:done"))
        self.assertEqual(self.dadi("cat", "oci:done", "/etc/hostname").stdout, b"committed\n")
        self.assertEqual(self.dadi("cat", "oci:done", "/new").stdout, random.Random(3).randbytes(1_000_000))
        self.fails(NOT_FOUND, "cat", "oci:done", "/srv/text")


class GoldenLayers(DeviceImageTest):
    def test_writable_layers_of_the_reference_are_committed(self):
        layout = Layout(self.folder / "golden")
        layout.add_block_image(self.golden("append/0/overlaybd.commit").read_bytes())
        folder = self.folder / "writable"
        folder.mkdir()
        for file in ("writable_data", "writable_index"):
            (folder / file).write_bytes(self.golden(f"append/1/{file}").read_bytes())
        (folder / "image.json").write_text(json.dumps({"reference": f"oci:{layout.path}", "platform": "linux/amd64"}))
        run = self.dadi("commit", folder, "oci:done", status=None)
        if run.status == CORRUPT and "not cleanly unmounted" in run.stderr:
            self.skipTest("the golden file system was in use when it was kept")
        self.assertEqual(run.status, 0, run.stderr)
        self.assertEqual(harness.sha256_of(self.export("oci:done")), harness.golden_device_sha256("append/rw-through-layer1"))


class Flatten(DeviceImageTest):
    def test_one_layer_holds_the_same_device(self):
        run = self.dadi("--json", "flatten", "oci:image", "oci:flat")
        self.assertEqual(len(self.judge("flat")), 1)
        self.same(self.device(), self.export("oci:flat"))
        self.dadi("verify", "oci:source", "oci:flat")
        self.assertEqual(run.json["layer"]["size"], self.judge("flat")[0].stat().st_size)
        self.assertEqual(self.dadi("flatten", "oci:image", "oci:again", "-j", "1").text.strip(), run.json["digest"])
        self.assertNotEqual(self.dadi("flatten", "oci:image", "oci:small", "--compression", "zstd").text.strip(), run.json["digest"])

    def test_the_config_keeps_everything_else(self):
        Layout(self.folder / "plain").add_image([[], []], created="2024-01-01T00:00:00Z", config={"Env": ["A=1"]}, docker_version="x",
                                                history=[{"created_by": "one"}, {"created_by": "env", "empty_layer": True}, {"created_by": "two"}])
        self.dadi("convert", "--virtual-size", "256M", "oci:plain", "oci:base")
        self.dadi("flatten", "oci:base", "oci:flat")
        before, after = self.config("base"), self.config("flat")
        self.assertEqual([entry["created_by"] for entry in after["history"]], ["env", "dadi flatten"])
        for config in (before, after):
            del config["history"], config["rootfs"]
        self.assertEqual(list(before.items()), list(after.items()))

    def test_what_has_no_config_is_refused(self):
        self.fails(UNSUPPORTED, "flatten", "oci:source", "oci:no", says="convert it first")
        manifest, _ = read_manifest(self.folder / "image")
        layer = self.blob(manifest["layers"][0]["digest"])
        self.fails(UNSUPPORTED, "flatten", f"layers:{layer}", "oci:no", says="dadi import")


class Import(DeviceImageTest):
    def test_a_disk_is_one_layer_and_its_holes_take_no_room(self):
        disk = self.folder / "raw"
        noise = random.Random(1).randbytes(1_000_000)
        with open(disk, "wb") as file:
            for at in (0, 100 << 20, (1 << 30) - 1234):
                file.seek(at)
                file.write(noise)
            size = file.tell()
        run = self.dadi("--json", "import", "raw", "oci:disk", "--platform", "linux/arm64", "--env", "A=1")
        padded = self.export("oci:disk")
        self.assertEqual(padded.stat().st_size, (size + 511) // 512 * 512)
        os.truncate(padded, size)
        self.same(disk, padded)
        self.assertLess(run.json["layer"]["data_size"], 3_100_000)
        self.read_strictly([self.blob(layer["digest"], "disk") for layer in read_manifest(self.folder / "disk")[0]["layers"]])
        config = self.config("disk")
        self.assertEqual((config["os"], config["architecture"], config["config"]), ("linux", "arm64", {"Env": ["A=1"]}))
        self.assertNotIn("created", config)
        self.assertEqual(self.dadi("import", "raw", "oci:again", "--platform", "linux/arm64", "--env", "A=1").text.strip(), run.json["digest"])

    def test_an_exported_image_comes_back_as_it_was(self):
        self.dadi("import", self.device(), "oci:back")
        self.judge("back")
        self.same(self.device(), self.export("oci:back"))
        self.dadi("verify", "oci:source", "oci:back")

    def test_other_formats_are_read_by_qemu_img(self):
        harness.need_command("qemu-img")
        plain = self.dadi("import", self.device(), "oci:plain").text
        for name in ("qcow2", "vdi", "vhdx"):
            self.run_tool("qemu-img", "convert", "-f", "raw", "-O", name, self.device(), f"disk.{name}")
            self.assertEqual(self.dadi("import", f"disk.{name}", f"oci:{name}").text, plain, name)
        self.fails(HOST_LACKS, "import", "disk.qcow2", "oci:no", says=["qemu-img", "hint"],
                   env=harness.environment(PATH="/nonexistent"))
        with open(self.folder / "disk.qcow2", "r+b") as file:
            file.truncate(file.seek(0, 2) // 2)
        self.assertIn("qemu-img", self.dadi("import", "disk.qcow2", "oci:no", status=None).stderr)

    def test_an_image_that_names_other_files_is_refused(self):
        harness.need_command("qemu-img")
        (self.folder / "secret").write_bytes(b"secret" * 1000)
        self.run_tool("qemu-img", "create", "-f", "qcow2", "-b", self.folder / "secret", "-F", "raw", "backed.qcow2")
        self.fails(UNSUPPORTED, "import", "backed.qcow2", "oci:no", says="backing file")
        self.run_tool("qemu-img", "create", "-f", "qcow2", "-o", f"data_file={self.folder / 'data'}", "outside.qcow2", "1M")
        self.fails(UNSUPPORTED, "import", "outside.qcow2", "oci:no", says="another file")
        (self.folder / "disk.vmdk").write_bytes(b"# Disk DescriptorFile\nRW 1 FLAT \"secret\" 0\n")
        self.fails(UNSUPPORTED, "import", "disk.vmdk", "oci:no", says="VMDK")

    def test_other_file_systems_are_named(self):
        for name, at, magic in (("xfs", 0, b"XFSB"), ("ntfs", 3, b"NTFS    "), ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
                                ("btrfs", 0x10040, b"_BHRfS_M"), (None, 1080, b"\x53\xef"), (None, 0, b"X")):
            disk = bytearray(1 << 17)
            disk[at:at + len(magic)] = magic
            (self.folder / "raw").write_bytes(disk)
            self.dadi("import", "raw", "oci:disk")
            [layer] = read_manifest(self.folder / "disk")[0]["layers"]
            self.assertEqual(layer["annotations"].get("containerd.io/snapshot/overlaybd/blob-fs-type"), name)

    def test_what_is_no_disk(self):
        self.fails(NOT_FOUND, "import", "nowhere", "oci:no", says="nowhere")
        (self.folder / "empty").touch()
        self.fails(UNSUPPORTED, "import", "empty", "oci:no", says="empty")
        (self.folder / "zeros").write_bytes(bytes(4096))
        self.fails(UNSUPPORTED, "import", "zeros", "oci:no", says="zeros")
        self.fails(USAGE, "import", "/dev/null", "oci:no")


if __name__ == "__main__":
    harness.main()
