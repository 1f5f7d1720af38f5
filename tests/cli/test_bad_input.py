"""Sources that are damaged, cut short or lie: the documented status, an error that names the place, and no output."""
import gzip
import json
import os
import subprocess

import harness
from harness import CORRUPT, FAILURE, NOT_FOUND, UNSUPPORTED, USAGE
from images import LAYER, MANIFEST, Layout, digest_of, entry, folder, hardlink, read_manifest, small_debian, tar_of


class Sources(harness.Test):
    def setUp(self):
        super().setUp()
        self.layout = Layout(self.folder / "source")
        self.layout.add_image(small_debian())
        self.manifest, self.descriptor = read_manifest(self.folder / "source")

    def refused(self, status, *says):
        """Converting fails with `status`, says so, and leaves nothing."""
        said = self.fails(status, "convert", "oci:source", "oci:image", says=says)
        self.assertFalse((self.folder / "image").exists() and any((self.folder / "image").rglob("*")),
                         list((self.folder / "image").rglob("*")))
        return said

    def layer_path(self, number):
        return self.layout.blob_path(self.manifest["layers"][number - 1]["digest"])

    def replace_image(self, change):
        """Rewrites manifest and config with `change(manifest, config)`; all digests above stay right."""
        manifest = json.loads(json.dumps(self.manifest))
        config = json.loads(self.layout.blob_path(manifest["config"]["digest"]).read_bytes())
        change(manifest, config)
        manifest["config"] = self.layout.put_json(config, manifest["config"]["mediaType"])
        self.layout.manifests.clear()
        self.layout.tag(self.layout.put_json(manifest, MANIFEST), "latest")

    def test_a_blob_cut_short(self):
        data = self.layer_path(2).read_bytes()
        for size in (0, 1, len(data) // 2, len(data) - 1):
            self.layer_path(2).write_bytes(data[:size])
            self.refused(CORRUPT, "layer 2")

    def test_flipped_bits(self):
        good = self.layer_path(1).read_bytes()
        for position in (0, 3, 9, 11, len(good) // 3, len(good) // 2, len(good) - 5):
            data = bytearray(good)
            data[position] ^= 0x10
            self.layer_path(1).write_bytes(data)
            self.refused(CORRUPT, "layer 1")

    def test_of_several_damaged_layers_that_are_under_way_the_lowest_is_named(self):
        layout = Layout(self.folder / "source")
        layout.add_image([[entry(f"layer{i}", b"%d\n" % i * 20_000)] for i in range(20)])
        manifest, _ = read_manifest(self.folder / "source")
        for number in (6, 7, 9):
            path = layout.blob_path(manifest["layers"][number - 1]["digest"])
            data = bytearray(path.read_bytes())
            data[len(data) // 2] ^= 0x10
            path.write_bytes(data)
        self.refused(CORRUPT, "layer 6")

    def test_a_missing_blob(self):
        self.layer_path(2).unlink()
        self.refused(NOT_FOUND, "layer 2")

    def test_a_wrong_diff_id(self):
        def change(_, config):
            config["rootfs"]["diff_ids"][1] = "sha256:" + "0" * 64
        self.replace_image(change)
        self.refused(CORRUPT, "layer 2", "diff id")

    def test_a_size_that_lies(self):
        def change(manifest, _):
            manifest["layers"][0]["size"] += 1
        self.replace_image(change)
        self.refused(CORRUPT, "layer 1")

    def test_more_diff_ids_than_layers(self):
        self.replace_image(lambda _, config: config["rootfs"]["diff_ids"].append("sha256:" + "1" * 64))
        self.refused(CORRUPT)

    def test_an_image_without_layers(self):
        def change(manifest, config):
            manifest["layers"], config["rootfs"]["diff_ids"] = [], []
        self.replace_image(change)
        self.refused(UNSUPPORTED)

    def test_documents_that_are_no_json(self):
        for digest in (self.descriptor["digest"], self.manifest["config"]["digest"]):
            path = self.layout.blob_path(digest)
            good = path.read_bytes()
            path.write_bytes(b"{" + good[1:-1] + b"]")
            self.refused(CORRUPT)
            path.write_bytes(good)

    def test_no_layout_no_tag_no_image(self):
        self.fails(NOT_FOUND, "convert", "oci:nowhere", "oci:image")
        self.fails(NOT_FOUND, "convert", "oci:source:other", "oci:image", says="latest")
        self.fails(NOT_FOUND, "convert", "oci-archive:nowhere.tar", "oci:image")
        (self.folder / "noise.tar").write_bytes(os.urandom(20_000))
        self.fails(CORRUPT, "convert", "oci-archive:noise.tar", "oci:image")
        self.fails(CORRUPT, "convert", "docker-archive:noise.tar", "oci:image")

    def test_what_stands_at_the_destination_is_left_alone(self):
        (self.folder / "image").mkdir()
        (self.folder / "image/precious").write_text("mine")
        self.fails(USAGE, "convert", "oci:source", "oci:image")
        self.assertEqual((self.folder / "image/precious").read_text(), "mine")


class Archives(harness.Test):
    """Layers whose digest and diff id are right, and whose content is not a good archive."""

    def refused(self, status, layers, *says):
        layout = Layout(self.folder / "source")
        layout.manifests.clear()
        layout.add_image(layers)
        said = self.fails(status, "convert", "oci:source", "oci:image", says=says)
        self.assertFalse((self.folder / "image").exists() and any((self.folder / "image").rglob("*")))
        return said

    def test_a_layer_that_is_no_archive(self):
        self.refused(CORRUPT, [b"this is no tar archive" * 100], "layer 1")
        self.refused(CORRUPT, [os.urandom(10_240)], "layer 1")

    def test_an_archive_cut_within_an_entry(self):
        self.refused(CORRUPT, [tar_of([entry("whole", b"x"), entry("cut", b"y" * 5000)])[:4000]], "layer 1", "cut")

    def test_a_hardlink_to_nothing_names_the_entry(self):
        self.refused(CORRUPT, [[entry("a", b"")], [hardlink("usr/x", "usr/y")]], "layer 2", "usr/x", "usr/y")

    def test_whiteouts_of_nothing_sensible(self):
        for name in (".wh.", ".wh..", ".wh..."):
            self.refused(CORRUPT, [[entry(f"d/{name}", b"")]], "layer 1", name)

    def test_a_file_on_the_way(self):
        self.refused(CORRUPT, [[entry("a", b"")], [entry("a/b", b"")]], "layer 2", "a/b")

    def test_a_gzip_stream_that_ends_early(self):
        layout = Layout(self.folder / "source")
        raw = tar_of([entry("x", os.urandom(100_000))])
        data = gzip.compress(raw)[:-50_000]
        layout.add_manifest([{"mediaType": LAYER + "+gzip", "digest": layout.put(data), "size": len(data)}],
                            [digest_of(raw)])
        self.fails(CORRUPT, "convert", "oci:source", "oci:image", says="layer 1")


class Limits(harness.Test):
    def test_an_image_larger_than_the_device_names_the_entry_and_a_size_that_fits(self):
        Layout(self.folder / "source").add_image([[entry("fits", b"x"), entry("crosses", os.urandom(40 << 20))]])
        said = self.fails(FAILURE, "convert", "--virtual-size", "32M", "oci:source", "oci:image", says=["layer 1", "crosses"])
        self.assertIn("hint:", said)
        self.assertFalse((self.folder / "image").exists() and any((self.folder / "image").rglob("*")))

    def test_more_files_than_inodes_names_the_entry(self):
        Layout(self.folder / "source").add_image([[entry(f"f{i}", b"") for i in range(5000)]])
        said = self.fails(FAILURE, "convert", "--virtual-size", "16M", "oci:source", "oci:image", says="layer 1")
        self.assertIn("hint:", said)

    def test_a_full_disk_leaves_nothing_and_says_so(self):
        harness.need_root()
        small = self.folder / "small"
        small.mkdir()
        if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", small], check=False).returncode:
            self.skipTest("cannot mount a tmpfs here")
        self.addCleanup(subprocess.run, ["umount", small], check=True)
        Layout(self.folder / "source").add_image([[folder("d"), entry("d/large", os.urandom(8 << 20))]])
        self.fails(FAILURE, "convert", "oci:source", f"oci:{small}/image", says="No space left")
        self.assertEqual([path for path in small.rglob("*") if path.is_file()], [])


if __name__ == "__main__":
    harness.main()
