"""dadi convert, end to end: the shape of the result, and what is in it."""
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import tarfile

import harness
from harness import NOT_FOUND, UNSUPPORTED, USAGE, sha256_of
from images import (LAYER, MANIFEST, Layout, device, digest_of, docker_archive, entry, folder, hardlink, opaque, read_manifest,
                    small_debian, symlink, tar_of, whiteout)

OVERLAYBD = "containerd.io/snapshot/overlaybd/"


def golden_layers(layout, **options):
    """The golden image of two layers."""
    harness.need(harness.GOLDEN)
    raws = [gzip.decompress((harness.GOLDEN / f"layers/layer{i}.tgz").read_bytes()) for i in (0, 1)]
    layout.add_image(raws, **options)


def alternating(size):
    """An archive of one file, "big", of `size` bytes: blocks of zeros and of numbers by turns; a mebibyte at a time."""
    info, _ = entry("big", size=size)
    yield info.tobuf(tarfile.GNU_FORMAT)
    for at in range(0, size, 1 << 20):
        yield b"".join(bytes(4096) + number.to_bytes(8, "little") * 512 for number in range(at >> 13, (at + (1 << 20)) >> 13))
    yield bytes(1024)


class Shape(harness.Test):
    """What registry-image.md says of a converted image."""

    def setUp(self):
        super().setUp()
        self.source = Layout(self.folder / "source")
        self.source.add_image(small_debian(), config={"Env": ["A=b"], "Unknown": [1, {"x": None}]},
                              history=[{"created_by": "one"}, {"created_by": "two"}], created="2024-01-01T00:00:00Z")
        self.printed = self.dadi("convert", "oci:source", "oci:image").text.strip()
        self.manifest, self.descriptor = read_manifest(self.folder / "image")

    def blob(self, digest):
        return (self.folder / "image/blobs" / digest.replace(":", "/")).read_bytes()

    def test_the_answer_is_the_digest_of_the_manifest(self):
        self.assertEqual(self.printed, self.descriptor["digest"])

    def test_layers_have_the_media_type_and_annotations_that_the_runtime_looks_for(self):
        self.assertEqual(len(self.manifest["layers"]), 2)
        for layer in self.manifest["layers"]:
            self.assertEqual(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar")
            self.assertEqual(layer["annotations"], {OVERLAYBD + "blob-digest": layer["digest"],
                                                    OVERLAYBD + "blob-size": str(layer["size"]),
                                                    OVERLAYBD + "version": "0.1.0"})
            data = self.blob(layer["digest"])
            self.assertEqual((len(data), digest_of(data)), (layer["size"], layer["digest"]))
            self.assertEqual(len(data) % 512, 0)

    def test_config_is_kept_but_for_the_diff_ids(self):
        before, _ = read_manifest(self.folder / "source")
        old = json.loads(self.source.blob_path(before["config"]["digest"]).read_bytes())
        new = json.loads(self.blob(self.manifest["config"]["digest"]))
        self.assertEqual(new["rootfs"]["diff_ids"], [layer["digest"] for layer in self.manifest["layers"]])
        old["rootfs"] = new["rootfs"] = None
        self.assertEqual(new, old)

    def test_uuids_are_the_chain_ids_of_the_source(self):
        before, _ = read_manifest(self.folder / "source")
        diff_ids = json.loads(self.source.blob_path(before["config"]["digest"]).read_bytes())["rootfs"]["diff_ids"]
        chain = [diff_ids[0], digest_of(f"{diff_ids[0]} {diff_ids[1]}".encode())]
        uuids = [f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}".upper() for h in (c[7:39] for c in chain)]
        layers = self.dadi("--json", "inspect", "oci:image").json["layers"]
        self.assertEqual([layer["uuid"] for layer in layers], uuids)
        self.assertEqual([layer["parent_uuid"] for layer in layers], ["00000000-0000-0000-0000-000000000000", uuids[0]])
        self.assertEqual({layer["virtual_size"] for layer in layers}, {64 << 30})

    def test_any_tar_program_unpacks_a_layer_to_overlaybd_commit(self):
        path = self.folder / "image/blobs" / self.manifest["layers"][0]["digest"].replace(":", "/")
        with tarfile.open(path) as archive:
            (member,) = archive.getmembers()
            self.assertEqual((member.name, member.uname, member.mtime), ("overlaybd.commit", "root", 0))

    def test_the_strict_reader_accepts_every_layer_and_sees_the_same_device(self):
        paths = [self.folder / "image/blobs" / layer["digest"].replace(":", "/") for layer in self.manifest["layers"]]
        for path in paths:
            self.assertIn("OK", self.strict_reader("check", "--modern", path))

    def test_an_image_can_be_fetched_as_raw_documents(self):
        self.assertEqual(digest_of(self.dadi("inspect", "--raw", "oci:image").stdout), self.printed)
        self.assertEqual(digest_of(self.dadi("inspect", "--config", "oci:image").stdout), self.manifest["config"]["digest"])


class Compressions(harness.Test):
    def test_every_form_holds_the_same_tree_and_passes_the_strict_reader(self):
        Layout(self.folder / "source").add_image(small_debian())
        devices = set()
        for compression in ("lz4", "zstd", "zstd:9"):
            for block_size in ("4K", "16K", "32K"):
                tag = f"oci:image:{compression.replace(':', '-')}-{block_size}"
                self.dadi("convert", "--compression", compression, "--block-size", block_size, "--virtual-size", "64M",
                          "oci:source", tag)
                self.dadi("check", tag)
                self.dadi("verify", "oci:source", tag)
                self.dadi("export", tag, "disk")
                devices.add(sha256_of(self.folder / "disk"))
                manifest, _ = read_manifest(self.folder / "image", tag.split(":", 2)[2])
                for layer in manifest["layers"]:
                    self.strict_reader("check", "--modern", self.folder / "image/blobs" / layer["digest"].replace(":", "/"))
        self.assertEqual(len(devices), 1)

    def test_the_strict_reader_sees_the_device_that_export_writes(self):
        Layout(self.folder / "source").add_image(small_debian())
        self.dadi("convert", "--virtual-size", "64M", "oci:source", "oci:image")
        self.dadi("export", "oci:image", "disk")
        manifest, _ = read_manifest(self.folder / "image")
        paths = [self.folder / "image/blobs" / layer["digest"].replace(":", "/") for layer in manifest["layers"]]
        self.assertIn(sha256_of(self.folder / "disk"), self.strict_reader("device", *paths))


class ManyRecords(harness.Test):
    """A file of zero and data blocks by turns needs a record for each data block; the runtime's limit is a million."""

    def blob_of(self, size):
        """Converts a file of that size, and gives the layer's blob and what the strict reader counted in it."""
        harness.need_command("zstd")
        layout = Layout(self.folder / "source")
        packed, sha256 = self.folder / "layer.zst", hashlib.sha256()
        with open(packed, "wb") as out, subprocess.Popen(["zstd", "-q", "-1"], stdin=subprocess.PIPE, stdout=out) as zstd:
            for piece in alternating(size):
                sha256.update(piece)
                zstd.stdin.write(piece)
            zstd.stdin.close()
            self.assertEqual(zstd.wait(), 0)
        digest, length = "sha256:" + sha256_of(packed), packed.stat().st_size
        packed.rename(layout.blob_path(digest))
        layout.add_manifest([{"mediaType": LAYER + "+zstd", "digest": digest, "size": length}],
                            ["sha256:" + sha256.hexdigest()])
        self.dadi("convert", "--virtual-size", str(size + size // 32 + (16 << 20)), "oci:source", "oci:image")
        manifest, _ = read_manifest(self.folder / "image")
        blob = self.folder / "image/blobs" / manifest["layers"][0]["digest"].replace(":", "/")
        return blob, int(re.search(r" records=(\d+)", self.strict_reader("check", "--modern", blob))[1])

    def expect_same_device(self, blob):
        self.dadi("export", "oci:image", "disk")
        self.assertIn(sha256_of(self.folder / "disk"), self.strict_reader("device", blob))

    def test_a_record_for_each_block_of_data(self):
        blob, records = self.blob_of(64 << 20)
        self.assertGreater(records, 8 << 10)
        self.expect_same_device(blob)

    def test_near_the_limit_and_past_it(self):
        harness.need_long()
        for gib, least in ((6, 786_432), (8, 900_000)):
            with self.subTest(gib):
                blob, records = self.blob_of(gib << 30)
                self.assertGreaterEqual(records, least)
                self.assertLess(records, 999_937)
                self.expect_same_device(blob)
                shutil.rmtree(self.folder / "image")
                shutil.rmtree(self.folder / "source")


class Golden(harness.Test):
    def test_the_golden_layers_convert_and_the_second_blob_is_small(self):
        golden_layers(Layout(self.folder / "source"))
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("check", "oci:image")
        self.dadi("verify", "oci:source", "oci:image")
        manifest, _ = read_manifest(self.folder / "image")
        self.assertLessEqual(manifest["layers"][1]["size"], 265_000)

    def test_e2fsck_finds_the_export_clean(self):
        harness.need_command("e2fsck")
        golden_layers(Layout(self.folder / "source"))
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("export", "oci:image", "disk")
        run = subprocess.run(["e2fsck", "-fn", self.folder / "disk"], capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, 0, run.stdout)

    def test_without_path_home_or_privileges(self):
        golden_layers(Layout(self.folder / "source"))
        bare = {"PATH": "/nonexistent", "ASAN_OPTIONS": harness.environment()["ASAN_OPTIONS"]}
        self.dadi("convert", "oci:source", "oci:image", env=bare)
        self.dadi("check", "oci:image", env=bare)


class Sources(harness.Test):
    def test_layout_archive_and_docker_archive_give_the_same_layers(self):
        Layout(self.folder / "source").add_image(small_debian(), compress=False)
        subprocess.run(["tar", "-cf", self.folder / "source.tar", "-C", self.folder / "source", "."], check=True)
        docker_archive(self.folder / "saved.tar", small_debian())
        layers = []
        for reference in ("oci:source", "oci-archive:source.tar", "docker-archive:saved.tar"):
            name = f"image-{reference.split(':')[0]}"
            self.dadi("convert", "--media-types", "oci", reference, f"oci:{name}")
            self.dadi("verify", reference, f"oci:{name}")
            layers.append([layer["digest"] for layer in read_manifest(self.folder / name)[0]["layers"]])
        self.assertEqual(layers[0], layers[1])
        self.assertEqual(layers[0], layers[2])

    def test_to_an_archive_and_back(self):
        Layout(self.folder / "source").add_image(small_debian())
        self.dadi("convert", "oci:source", "oci-archive:image.tar")
        self.dadi("check", "oci-archive:image.tar")
        self.dadi("verify", "oci:source", "oci-archive:image.tar")
        with tarfile.open(self.folder / "image.tar") as archive:
            self.assertIn("index.json", [member.name.removeprefix("./") for member in archive])

    def test_compressions_of_layers(self):
        raw = [tar_of(layer) for layer in small_debian()]
        layout = Layout(self.folder / "source")
        harness.need_command("zstd")
        zstd = subprocess.run(["zstd", "-c"], input=raw[1], capture_output=True, check=True).stdout
        layers = [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": layout.put(raw[0]), "size": len(raw[0])},
                  {"mediaType": "application/vnd.oci.image.layer.v1.tar+zstd", "digest": layout.put(zstd), "size": len(zstd)}]
        layout.add_manifest(layers, [digest_of(data) for data in raw])
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("verify", "oci:source", "oci:image")

    def test_platforms_of_an_index(self):
        layout = Layout(self.folder / "source")
        images = [layout.add_image([[entry("arch", name.encode())]], tag=None, architecture=name,
                                   platform={"os": "linux", "architecture": name}) for name in ("amd64", "arm64")]
        attestation = layout.put_json({"schemaVersion": 2, "mediaType": MANIFEST, "layers": [],
                                       "config": layout.put_json({}, "application/vnd.oci.image.config.v1+json")}, MANIFEST)
        attestation["platform"] = {"os": "unknown", "architecture": "unknown"}
        attestation["annotations"] = {"vnd.docker.reference.type": "attestation-manifest",
                                      "vnd.docker.reference.digest": images[0]["digest"]}
        layout.add_index([*images, attestation])
        self.dadi("convert", "--platform", "linux/arm64", "oci:source", "oci:one")
        self.assertEqual(self.dadi("cat", "--platform", "linux/arm64", "oci:one", "/arch").text, "arm64")
        run = self.dadi("convert", "--all-platforms", "oci:source", "oci:all")
        self.assertIn("attestation", run.stderr)
        for name in ("amd64", "arm64"):
            self.assertEqual(self.dadi("cat", "--platform", f"linux/{name}", "oci:all", "/arch").text, name)
        self.fails(NOT_FOUND, "convert", "--platform", "linux/s390x", "oci:source", "oci:none", says="s390x")

    def test_what_is_converted_already_is_refused(self):
        Layout(self.folder / "source").add_image(small_debian())
        self.dadi("convert", "oci:source", "oci:image")
        self.fails(UNSUPPORTED, "convert", "oci:image", "oci:again")

    def test_foreign_and_encrypted_layers_are_refused(self):
        for kind, word in (("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "foreign"),
                           ("application/vnd.oci.image.layer.v1.tar+gzip+encrypted", "encrypted")):
            layout = Layout(self.folder / "source")
            data = gzip.compress(tar_of([entry("x", b"x")]))
            layout.add_manifest([{"mediaType": kind, "digest": layout.put(data), "size": len(data)}],
                                [digest_of(tar_of([entry("x", b"x")]))])
            self.fails(UNSUPPORTED, "convert", "oci:source", "oci:image", says=["layer 1", word])
            self.assertFalse((self.folder / "image").exists())

    def test_options_that_make_no_sense(self):
        Layout(self.folder / "source").add_image(small_debian())
        self.fails(USAGE, "convert", "--block-size", "64K", "oci:source", "oci:image")
        self.fails(USAGE, "convert", "--compression", "zstd:99", "oci:source", "oci:image")
        self.fails(USAGE, "convert", "--virtual-size", "huge", "oci:source", "oci:image")
        self.fails(USAGE, "convert", "--media-types", "windows", "oci:source", "oci:image")

    def test_a_dry_run_writes_nothing(self):
        Layout(self.folder / "source").add_image(small_debian())
        self.assertIn("linux/amd64", self.dadi("convert", "--dry-run", "oci:source", "oci:image").text)
        self.assertFalse((self.folder / "image").exists())

    def test_the_digest_goes_to_a_file(self):
        Layout(self.folder / "source").add_image(small_debian())
        printed = self.dadi("convert", "--digestfile", "digest", "oci:source", "oci:image").text
        self.assertEqual((self.folder / "digest").read_text(), printed)


class Layouts(harness.Test):
    def test_several_processes_into_one_layout_lose_no_tag(self):
        for i in range(4):
            Layout(self.folder / f"source{i}").add_image([[entry("number", b"%d" % i)]])
        runs = [subprocess.Popen([harness.BINARY, "convert", f"oci:source{i}", f"oci:image:tag{i}"], cwd=self.folder,
                                 env=harness.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
                for i in range(4)]
        for run in runs:
            _, stderr = run.communicate(timeout=300)
            self.assertEqual(run.returncode, 0, stderr)
        for i in range(4):
            self.assertEqual(self.dadi("cat", f"oci:image:tag{i}", "number").text, str(i))
        self.dadi("check", "oci:image:tag0")


class Trees(harness.Test):
    """What layers mean, by verify (against our model) and by what ls and cat show."""

    def convert(self, *layers):
        shutil.rmtree(self.folder / "source", ignore_errors=True)
        shutil.rmtree(self.folder / "image", ignore_errors=True)
        Layout(self.folder / "source").add_image(layers)
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("check", "oci:image")
        self.dadi("verify", "oci:source", "oci:image")
        return {e["path"]: e for e in self.dadi("--json", "ls", "-R", "oci:image").json if e["path"] != "lost+found"}

    def test_whiteouts_hide_lower_layers_only(self):
        tree = self.convert([folder("d"), entry("d/a", b"1"), entry("d/b", b"1")],
                            [entry("d/a", b"2"), whiteout("d/a"), whiteout("d/b")])
        self.assertEqual(set(tree), {"d", "d/a"})
        self.assertEqual(self.dadi("cat", "oci:image", "d/a").text, "2")

    def test_an_opaque_directory_spares_its_own_layer(self):
        tree = self.convert([folder("d"), entry("d/old", b"1")], [entry("d/new", b"2"), opaque("d")])
        self.assertEqual(set(tree), {"d", "d/new"})

    def test_types_replace_each_other(self):
        tree = self.convert([folder("x"), entry("x/y", b"1"), entry("z", b"1")], [entry("x", b"file"), folder("z"), symlink("l", "z")])
        self.assertEqual({path: e["type"] for path, e in tree.items()}, {"x": "file", "z": "directory", "l": "symlink"})

    def test_hardlinks_reach_into_lower_layers(self):
        tree = self.convert([entry("a", b"shared")], [hardlink("b", "a")], [entry("a", b"replaced")])
        self.assertEqual((tree["b"]["links"], tree["a"]["links"]), (1, 1))
        self.assertEqual(self.dadi("cat", "oci:image", "b").text, "shared")

    def test_odd_names_ids_times_and_attributes(self):
        odd = "n" * 255
        tree = self.convert([
            entry(odd, b"x", uid=2**32 - 2, gid=2**31, mode=0o7777),
            entry("time", b"", pax_headers={"mtime": "1000000000.123456789"}),
            entry("xattr", b"", pax_headers={"SCHILY.xattr.user.a": "value", "SCHILY.xattr.user.empty": ""}),
            device("null", tarfile.CHRTYPE, 1, 3), device("disk", tarfile.BLKTYPE, 259, 70000), entry("fifo", type=tarfile.FIFOTYPE),
            entry("new\nline\x1b[31m", b""),
        ])
        self.assertEqual((tree[odd]["uid"], tree[odd]["gid"], tree[odd]["mode"]), (2**32 - 2, 2**31, "7777"))
        self.assertEqual(tree["time"]["mtime"], "2001-09-09T01:46:40.123456789Z")
        self.assertEqual(tree["disk"]["device"], [259, 70000])
        self.assertIn("new\nline\x1b[31m", tree)

    def test_hostile_names_do_not_reach_a_terminal(self):
        self.convert([entry("a\x1b[31mb\nc", b"")])
        import pty  # pylint: disable=import-outside-toplevel
        parent, child = pty.openpty()
        self.dadi("ls", "oci:image", stdout=child)
        self.dadi("ls", "-l", "oci:image", stdout=child)
        os.close(child)
        shown = b""
        try:
            while piece := os.read(parent, 65536):
                shown += piece
        except OSError:  # the other side is closed
            pass
        os.close(parent)
        self.assertIn(b"a\\x1b[31mb\\nc", shown)
        self.assertNotIn(b"\x1b", shown)

    def test_an_empty_layer_and_an_empty_file(self):
        tree = self.convert([entry("a", b"")], [], [whiteout("a")])
        self.assertEqual(tree, {})


if __name__ == "__main__":
    harness.main()
