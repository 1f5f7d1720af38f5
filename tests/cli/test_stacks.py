"""Reading stacks of golden layers: layers: and config: references with inspect, ls, cat and export."""
import json
import os
import subprocess

import harness
from harness import CORRUPT, NOT_FOUND, UNSUPPORTED, USAGE, golden_device_sha256, sha256_of


def layers(*paths):
    return "layers:" + ",".join(map(str, paths))


class DeviceTest(harness.Test):
    """Compares exported devices with the golden ones. Each golden device is hashed in full once; what equals it later is
    told by its data alone, since hashing holes takes seconds a gigabyte."""

    known = {}  # golden sha256 -> sparse digest of a device that had it

    def expect_device(self, label, reference):
        self.dadi("export", reference, "disk")
        wanted, found = golden_device_sha256(label), harness.sparse_digest(self.folder / "disk")
        if wanted not in self.known:
            self.assertEqual(sha256_of(self.folder / "disk"), wanted, reference)
            self.known[wanted] = found
        self.assertEqual(found, self.known[wanted], reference)


class Export(DeviceTest):
    def expect(self, label, *names):
        self.expect_device(label, layers(*map(self.golden, names)))

    def test_forms_of_one_layer_give_one_device(self):
        for folder in ("append", "sparse"):
            for name in ("overlaybd.commit", "raw.lsmt", "lz4-bs4.zfile", "zstd-bs16.zfile"):
                self.expect(f"{folder}/ro-layer0-overlaybd.commit", f"{folder}/0/{name}")

    def test_stacks_give_the_devices_of_the_reference(self):
        for folder in ("append", "sparse"):
            self.expect(f"{folder}/ro-merged-overlaybd.commit", f"{folder}/0/zstd-bs4.zfile", f"{folder}/1/overlaybd.commit")
        self.expect("crafted/append-0-under-mask", "append/0/overlaybd.commit", "crafted/mask.lsmt")
        self.expect("append/ro-mergetool-zfile", "append/merged.zfile")

    def test_holes_stay_holes(self):
        self.dadi("export", layers(self.golden("append/0/overlaybd.commit")), "disk")
        stat = (self.folder / "disk").stat()
        self.assertEqual(stat.st_size, 1 << 30)
        self.assertLess(stat.st_blocks * 512, 4 << 20)

    def test_to_standard_output(self):
        reference = layers(self.golden("append/0/overlaybd.commit"))
        piped = subprocess.run(["bash", "-o", "pipefail", "-c", f"'{harness.BINARY}' -q export '{reference}' - | sha256sum"],
                               env=harness.environment(), capture_output=True, text=True, check=True)
        self.assertEqual(piped.stdout.split()[0], golden_device_sha256("append/ro-layer0-overlaybd.commit"))

    def test_replaces_a_file_and_refuses_other_things(self):
        reference = layers(self.golden("append/0/overlaybd.commit"))
        (self.folder / "disk").write_bytes(b"old")
        self.dadi("export", reference, "disk")
        self.assertEqual((self.folder / "disk").stat().st_size, 1 << 30)
        self.fails(USAGE, "export", reference, "/dev/null", says="not a regular file")
        self.fails(NOT_FOUND, "export", reference, "no/such/folder/disk")

    def test_the_strict_reader_sees_the_same_device(self):
        harness.need_long()
        paths = [self.golden("append/0/zstd-bs16.zfile"), self.golden("crafted/mask.lsmt")]
        self.dadi("export", layers(*paths), "disk")
        self.assertIn(sha256_of(self.folder / "disk"), self.strict_reader("device", *paths))


class RuntimeConfigs(DeviceTest):
    def config(self, **document):
        (self.folder / "config.v1.json").write_text(json.dumps({"repoBlobUrl": "", "resultFile": "", **document}))
        return "config:config.v1.json"

    def test_lowers_as_files_and_folders(self):
        harness.need(harness.GOLDEN)
        reference = self.config(lowers=[{"dir": str(harness.GOLDEN / "append/0")},
                                        {"file": str(self.golden("append/1/lz4-bs16.zfile"))}])
        self.expect_device("append/ro-merged-overlaybd.commit", reference)

    def test_an_append_only_upper(self):
        upper = {"data": str(self.golden("append/1/writable_data")), "index": str(self.golden("append/1/writable_index"))}
        reference = self.config(lowers=[{"file": str(self.golden("append/0/overlaybd.commit"))}], upper=upper)
        self.expect_device("append/rw-through-layer1", reference)

    def test_a_sparse_upper_alone(self):
        harness.need(harness.GOLDEN)
        subprocess.run(["tar", "-xzf", harness.GOLDEN / "sparse/0/writable.sparse-tar.gz", "-C", self.folder, "--sparse"],
                       check=True)
        data = next(p for p in self.folder.rglob("*data*") if p.is_file())
        reference = self.config(lowers=[], upper={"data": str(data), "index": str(data.with_name("writable_index"))})
        self.expect_device("sparse/rw-through-layer0", reference)

    def test_what_is_only_on_a_registry_is_refused(self):
        lower = {"digest": "sha256:" + "0" * 64, "size": 1, "dir": str(self.folder / "empty")}
        self.fails(UNSUPPORTED, "inspect", self.config(lowers=[lower]), says="lower 0")

    def test_a_damaged_config(self):
        (self.folder / "config.v1.json").write_text('{"lowers": 7}')
        self.fails(CORRUPT, "inspect", "config:config.v1.json", says="config.v1.json")
        self.fails(NOT_FOUND, "inspect", "config:missing.json", says="missing.json")


class Listing(harness.Test):
    def setUp(self):
        super().setUp()
        self.stack = layers(self.golden("append/0/overlaybd.commit"), self.golden("append/1/overlaybd.commit"))

    def test_names_and_recursion(self):
        top = self.dadi("ls", self.stack).text.splitlines()
        self.assertEqual(top, sorted(top))
        self.assertIn("usr", top)
        everything = self.dadi("ls", "-R", self.stack).text.splitlines()
        self.assertTrue(set(top) < set(everything))
        self.assertTrue(any(name.startswith("usr/") for name in everything))

    def test_json_says_what_ls_l_says(self):
        entries = {e["path"]: e for e in self.dadi("--json", "ls", "-R", self.stack).json}
        self.assertEqual(set(entries), set(self.dadi("ls", "-R", self.stack).text.splitlines()))
        for e in entries.values():
            self.assertRegex(e["mode"], r"^[0-7]{4}$")
            self.assertRegex(e["mtime"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z$")
            self.assertIn(e["type"], {"file", "directory", "symlink", "character-device", "block-device", "fifo", "socket"})
            self.assertEqual("target" in e, e["type"] == "symlink")
        long = self.dadi("ls", "-lR", self.stack).text.splitlines()
        self.assertEqual(len(long), len(entries) + 1)

    def test_a_file_can_be_listed_and_read(self):
        for e in self.dadi("--json", "ls", "-R", self.stack).json:
            if e["type"] == "file":
                self.assertEqual(len(self.dadi("cat", self.stack, e["path"]).stdout), e["size"], e)
                self.assertEqual(self.dadi("--json", "ls", self.stack, e["path"]).json[0]["inode"], e["inode"])

    def test_what_is_not_there(self):
        self.fails(NOT_FOUND, "ls", self.stack, "/no/such/folder", says="/no/such/folder")
        self.fails(NOT_FOUND, "cat", self.stack, "/nothing", says="/nothing")
        self.fails(USAGE, "cat", self.stack, "/usr", says="not a regular file")

    def test_works_for_any_user_without_helpers(self):
        self.assertTrue(self.dadi("ls", self.stack, env=harness.environment(PATH="/nonexistent", HOME=None)).text)


class Inspect(harness.Test):
    def test_facts_of_layers(self):
        run = self.dadi("--json", "inspect", layers(self.golden("append/0/zstd-bs16.zfile"), self.golden("append/1/raw.lsmt")))
        self.assertEqual(run.json["virtual_size"], 1 << 30)
        first, second = run.json["layers"]
        self.assertEqual((first["compression"]["algorithm"], first["compression"]["block_size"]), ("zstd", 16384))
        self.assertIsNone(second["compression"])
        self.assertEqual(second["parent_uuid"], first["uuid"])
        self.assertGreater(first["segments"], 0)

    def test_a_tag_is_shown(self):
        run = self.dadi("--json", "inspect", layers(self.golden("append/0/usertag.zfile")))
        self.assertNotEqual(run.json["layers"][0]["user_tag"], "")

    def test_layers_have_no_manifest(self):
        self.fails(USAGE, "inspect", "--raw", layers(self.golden("append/0/overlaybd.commit")), says="no manifest")

    def test_turbo_oci_is_refused_by_name(self):
        self.fails(UNSUPPORTED, "inspect", layers(self.golden("turbo_ext4/0/ext4.fs.meta")), says="TurboOCI")

    def test_what_is_no_layer(self):
        (self.folder / "noise").write_bytes(os.urandom(10_000))
        (self.folder / "empty").write_bytes(b"")
        for name in ("noise", "empty"):
            self.fails(CORRUPT, "inspect", layers(name), says=name)


if __name__ == "__main__":
    harness.main()
