"""dadi check: sound images, and damage of every kind that it must find."""
import hashlib
import json
import struct

import harness
from harness import CORRUPT, NOT_FOUND, OK, UNSUPPORTED
from images import Layout, read_manifest, small_debian


class Golden(harness.Test):
    def test_stacks_of_the_reference_are_sound_with_notes_on_their_stale_totals(self):
        for folder in ("append", "sparse"):
            reference = f"layers:{self.golden(f'{folder}/0/overlaybd.commit')},{self.golden(f'{folder}/1/overlaybd.commit')}"
            run = self.dadi("--json", "check", reference)
            self.assertTrue(run.json["sound"])
            self.assertTrue(any("stale" in note for note in run.json["notes"]), run.json["notes"])

    def test_a_layer_without_checksums_is_noted(self):
        run = self.dadi("check", f"layers:{self.golden('append/0/raw.lsmt')}")
        self.assertTrue(run.text.startswith("OK: "))
        self.assertIn("checksum", run.stderr)

    def test_an_upper_layer_alone_is_no_file_system(self):
        self.fails(CORRUPT, "check", f"layers:{self.golden('append/1/overlaybd.commit')}", says="file system")

    def test_a_flipped_byte_in_a_block_is_found_and_placed(self):
        data = bytearray(self.golden("append/0/overlaybd.commit").read_bytes())
        data[1536 + 512 + 5000] ^= 1
        (self.folder / "damaged").write_bytes(data)
        said = self.fails(CORRUPT, "check", "layers:damaged", says=["damaged", "block"])
        self.assertRegex(said, r"block \d+")

    def test_damage_of_the_file_system_is_found_and_placed(self):
        reference = f"layers:{self.golden('append/0/raw.lsmt')}"
        self.dadi("export", reference, "disk")
        # The root directory's link count, in inode 2 of the first inode table.
        with open(self.folder / "disk", "r+b") as disk:
            disk.seek(4096 + 8)  # the first group descriptor: inode table
            table = struct.unpack("<I", disk.read(4))[0]
            disk.seek(table * 4096 + 256 + 26)
            position = disk.tell()
            good = disk.read(2)
        data = bytearray(self.golden("append/0/raw.lsmt").read_bytes())
        # The same two bytes within the layer: the disk's page around them is in it verbatim.
        with open(self.folder / "disk", "rb") as disk:
            disk.seek(position - 26)
            inode = disk.read(256)
        at = data.find(inode)
        self.assertGreater(at, 0)
        data[at + 26:at + 28] = struct.pack("<H", struct.unpack("<H", good)[0] + 1)
        (self.folder / "damaged").write_bytes(data)
        self.fails(CORRUPT, "check", "layers:damaged", says="file system")
        run = self.dadi("--json", "check", "layers:damaged", status=CORRUPT)
        self.assertFalse(run.json["sound"])
        self.assertGreater(len(run.json["faults"]), 0)


class Converted(harness.Test):
    """Damage to an image in a layout."""

    def setUp(self):
        super().setUp()
        Layout(self.folder / "source").add_image(small_debian())
        self.dadi("convert", "oci:source", "oci:image")
        self.manifest, self.descriptor = read_manifest(self.folder / "image")

    def blob(self, digest):
        return self.folder / "image/blobs" / digest.replace(":", "/")

    def rewrite(self, manifest, config=None):
        """Puts a changed manifest in place of the image's, with right digests all the way up."""
        layout = Layout(self.folder / "image")
        if config is not None:
            manifest["config"] = layout.put_json(config, manifest["config"]["mediaType"])
        layout.tag(layout.put_json(manifest, self.descriptor["mediaType"]), "latest")

    def test_a_sound_image(self):
        run = self.dadi("check", "oci:image")
        self.assertTrue(run.text.startswith("OK: "))
        facts = self.dadi("--json", "check", "oci:image").json["file_system"]
        self.assertGreaterEqual(facts["files"], 4)

    def test_runs_no_program_and_needs_no_privileges(self):
        self.dadi("check", "oci:image", env=harness.environment(PATH="/nonexistent", HOME=None), status=OK)

    def test_a_flipped_byte_anywhere_in_a_layer(self):
        path = self.blob(self.manifest["layers"][1]["digest"])
        good = path.read_bytes()
        for position in (0, 100, 600, 1540, len(good) // 2, len(good) - 1600, len(good) - 1):
            data = bytearray(good)
            data[position] ^= 0x40
            path.write_bytes(data)
            said = self.fails(CORRUPT, "check", "oci:image", says="layer 2")
            self.assertIn(self.manifest["layers"][1]["digest"][:19], said)
        path.write_bytes(good)
        self.dadi("check", "oci:image")

    def test_a_layer_of_another_size_or_none_at_all(self):
        path = self.blob(self.manifest["layers"][0]["digest"])
        data = path.read_bytes()
        path.write_bytes(data + b"\0")
        self.fails(CORRUPT, "check", "oci:image", says="layer 1")
        path.unlink()
        self.fails(NOT_FOUND, "check", "oci:image", says="layer 1")

    def test_a_manifest_or_config_that_does_not_have_its_digest(self):
        for digest in (self.descriptor["digest"], self.manifest["config"]["digest"]):
            path = self.blob(digest)
            good = path.read_bytes()
            path.write_bytes(good[:-1] + b" ")
            self.fails(CORRUPT, "check", "oci:image", says=digest[7:19])
            path.write_bytes(good)

    def test_annotations_that_contradict_the_layer(self):
        changed = json.loads(json.dumps(self.manifest))
        changed["layers"][0]["annotations"]["containerd.io/snapshot/overlaybd/blob-size"] = "1"
        self.rewrite(changed)
        self.fails(CORRUPT, "check", "oci:image", says=["layer 1", "blob-size"])

    def test_diff_ids_that_are_not_the_layers(self):
        config = json.loads(self.blob(self.manifest["config"]["digest"]).read_bytes())
        config["rootfs"]["diff_ids"].reverse()
        self.rewrite(self.manifest, config)
        self.fails(CORRUPT, "check", "oci:image", says="diff id")

    def test_layers_in_the_wrong_order(self):
        config = json.loads(self.blob(self.manifest["config"]["digest"]).read_bytes())
        config["rootfs"]["diff_ids"].reverse()
        self.manifest["layers"].reverse()
        self.rewrite(self.manifest, config)
        run = self.dadi("check", "oci:image", status=None)
        self.assertIn("parent", run.stderr)

    def test_an_ordinary_image_is_refused_with_a_hint(self):
        self.fails(UNSUPPORTED, "check", "oci:source", says="hint: convert it first")

    def test_layer_blobs_are_named_by_their_content(self):
        for layer, diff_id in zip(self.manifest["layers"],
                                  json.loads(self.blob(self.manifest["config"]["digest"]).read_bytes())["rootfs"]["diff_ids"]):
            data = self.blob(layer["digest"]).read_bytes()
            self.assertEqual("sha256:" + hashlib.sha256(data).hexdigest(), layer["digest"])
            self.assertEqual(layer["digest"], diff_id)


if __name__ == "__main__":
    harness.main()
