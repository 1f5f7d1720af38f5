"""Images laid out by a trace: the same device in other layers, of which a start reads the first bytes in order."""
import io
import random
import tarfile

import harness
from harness import CORRUPT, NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, entry, read_manifest
from registries import Registry
from serving import Server, ServeTest
from traces import make_trace

FACTS = ("uuid", "parent_uuid", "virtual_size", "user_tag", "mapped_bytes")  # of layers, that stay as they are


class Optimized(ServeTest):
    def setUp(self):
        super().setUp()
        self.rng = random.Random(8)

    def blobs(self, name):
        """The files of an image's block layers, bottom first, and that of its trace or None."""
        layers = read_manifest(self.folder / name)[0]["layers"]
        paths = [self.folder / name / "blobs" / layer["digest"].replace(":", "/") for layer in layers]
        traced = "containerd.io/snapshot/overlaybd/acceleration-layer" in layers[-1]["annotations"]
        return (paths[:-1], paths[-1]) if traced else (paths, None)

    def layers(self, name):
        """The block layers' uncompressed bytes."""
        found = []
        for path in self.blobs(name)[0]:
            self.dadi("zfile", "extract", path, "extracted")
            found.append((self.folder / "extracted").read_bytes())
        return found

    def trace_of(self, name):
        """The reads of the trace that an image carries, as (layer, offset, size); its file is `carried`."""
        with tarfile.open(fileobj=io.BytesIO(self.blobs(name)[1].read_bytes())) as archive:
            (self.folder / "carried").write_bytes(archive.extractfile("trace").read())
        self.strict_reader("trace", "--modern", self.folder / "carried")
        return self.reads("carried")

    def reads(self, name):
        return [tuple(read.values()) for read in self.dadi("trace", "show", "--reads", "--json", name).json["reads"]]

    def write_trace(self, *reads, name="app.trace"):
        (self.folder / name).write_bytes(make_trace(reads))

    def random_trace(self, count=200):
        """Reads of whole blocks of both layers, some of them again; each byte once, in order, as (layer, offset, size)."""
        sizes = [len(layer) for layer in self.layers("image")]
        reads = []
        for _ in range(count):
            layer = self.rng.randrange(2)
            mapped = self.dadi_layers[layer]["mapped_bytes"] // 4096
            at = self.rng.randrange(mapped)
            size = min(self.rng.randrange(1, 8), mapped - at)
            self.assertLess(4096 * (at + size), sizes[layer])
            reads.append((layer, 4096 * (1 + at), 4096 * size))
        self.write_trace(*reads)
        self.dadi("trace", "merge", "app.trace", "-o", "once.trace")
        return self.reads("once.trace")

    @property
    def dadi_layers(self):
        return self.dadi("inspect", "--json", "oci:image").json["layers"]

    def expected(self):
        return harness.sparse_digest(self.device())

    def export(self, name):
        self.dadi("export", f"oci:{name}", "other")
        digest = harness.sparse_digest(self.folder / "other")
        (self.folder / "other").unlink()
        return digest

    def assert_same_device(self, name):
        self.assertEqual(self.export(name), self.expected())
        blobs, _ = self.blobs(name)
        self.strict_reader("check", "--modern", *blobs)
        self.dadi("check", f"oci:{name}")

    def assert_in_front(self, name, reads):
        """That each layer's reads are its first data, in their order, and the trace says where."""
        new, old = self.layers(name), self.layers("image")
        ends = [4096] * len(new)
        for layer, offset, size in self.trace_of(name):
            self.assertEqual(offset, ends[layer])
            ends[layer] += size
        for number, layer in enumerate(old):
            recorded = b"".join(layer[at:at + size] for which, at, size in reads if which == number)
            self.assertEqual(len(recorded), ends[number] - 4096)
            self.assertTrue(new[number][4096:].startswith(recorded), number)

    def test_what_was_read_lies_in_front_and_the_device_is_the_same(self):
        reads = self.random_trace()
        answer = self.dadi("optimize", "--json", "oci:image", "app.trace", "oci:done").json
        self.assert_same_device("done")
        self.assert_in_front("done", reads)
        self.assertEqual(answer["recorded_bytes"], sum(size for _, _, size in reads))
        self.assertEqual(answer["left_out_bytes"], 0)
        self.assertEqual(answer["digest"], read_manifest(self.folder / "done")[1]["digest"])
        for before, after in zip(self.dadi_layers, self.dadi("inspect", "--json", "oci:done").json["layers"], strict=True):
            self.assertEqual({key: before[key] for key in FACTS}, {key: after[key] for key in FACTS})
            self.assertEqual(before["compression"]["algorithm"], after["compression"]["algorithm"])
            self.assertNotEqual(before["digest"], after["digest"])
            self.assertEqual(after["annotations"]["containerd.io/snapshot/overlaybd/blob-digest"], after["digest"])
            self.assertEqual(after["annotations"]["containerd.io/snapshot/overlaybd/blob-size"], str(after["size"]))
        config = self.dadi("inspect", "--config", "oci:done").json
        self.assertEqual(config["rootfs"]["diff_ids"],
                         [layer["digest"] for layer in read_manifest(self.folder / "done")[0]["layers"]])

    def test_the_same_files_are_behind_the_trace_in_the_same_order(self):
        self.random_trace()
        self.dadi("optimize", "oci:image", "app.trace", "oci:done")
        self.trace_of("done")
        def files(trace, image):
            return self.dadi("trace", "show", "--json", trace, "--image", image).json["files"]
        self.assertEqual(files("carried", "oci:done"), files("app.trace", "oci:image"))

    def test_a_second_start_reads_the_front_of_each_layer_alone(self):
        places = [self.rng.randrange(0, 250 << 20) // 4096 * 4096 for _ in range(3000)]
        script = f"h.connect_uri(uri)\nfor at in {places}: assert h.pread(8192, at) == disk[at:at+8192]\n"
        def record(image, trace):
            server = Server(self, "--record", trace, image=image)
            self.nbdsh(server.uri, script)
            server.stop()
            return self.reads(trace)
        first = record("oci:image", "first.trace")
        self.assertGreater(len(first), 10)
        self.dadi("optimize", "oci:image", "first.trace", "oci:done")
        second = record("oci:done", "second.trace")
        ends = {}
        for layer, offset, size in second:  # one after the other
            self.assertEqual(offset, ends.get(layer, 4096))
            ends[layer] = offset + size
        self.assertEqual(second, self.trace_of("done"))
        self.assertLess(len(second), len(first) // 4)

    def test_the_bytes_depend_on_nothing_else(self):
        self.random_trace()
        digests = {self.dadi("optimize", "-j", jobs, "oci:image", "app.trace", f"oci:done{jobs}").text for jobs in (1, 4)}
        # What is laid out already stays as it is.
        self.trace_of("done1")
        digests.add(self.dadi("optimize", "oci:done1", "carried", "oci:again").text)
        self.assertEqual(len(digests), 1, digests)
        # The trace takes another's place.
        self.dadi("trace", "attach", "oci:image", "app.trace", "oci:traced")
        self.dadi("optimize", "oci:traced", "app.trace", "oci:replaced")
        self.assertEqual(self.blobs("replaced"), tuple(
            [self.folder / "replaced" / path.relative_to(self.folder / "done1") for path in paths] if isinstance(paths, list)
            else self.folder / "replaced" / paths.relative_to(self.folder / "done1") for paths in self.blobs("done1")))

    def test_other_layers_keep_their_bytes(self):
        def digests(name):
            return [path.name for path in self.blobs(name)[0]]
        self.write_trace((1, 8192, 4096))
        self.dadi("optimize", "oci:image", "app.trace", "oci:upper")
        self.assertEqual(digests("upper")[0], digests("image")[0])
        self.assertNotEqual(digests("upper")[1], digests("image")[1])
        self.assert_same_device("upper")
        # Those of a base image, on request. The trace still leads there.
        Layout(self.folder / "base.source").add_image([[entry("x", b"x")]])
        manifest = read_manifest(self.folder / "image")[0]
        base = Layout(self.folder / "base")
        base.put(self.blobs("image")[0][0].read_bytes())
        base.add_manifest(manifest["layers"][:1], [manifest["layers"][0]["digest"]])
        reads = self.random_trace()
        self.dadi("optimize", "--keep-shared-with", "oci:base", "oci:image", "app.trace", "oci:shared")
        self.assertEqual(digests("shared")[0], digests("image")[0])
        self.assertNotEqual(digests("shared")[1], digests("image")[1])
        self.assertEqual([read for read in self.trace_of("shared") if read[0] == 0], [read for read in reads if read[0] == 0])
        self.assert_same_device("shared")
        self.fails(NOT_FOUND, "optimize", "--keep-shared-with", "oci:nowhere", "oci:image", "app.trace", "oci:x",
                   says="--keep-shared-with oci:nowhere")

    def test_compression_is_that_of_the_layer_or_the_one_that_is_asked_for(self):
        self.dadi("convert", "--virtual-size", "256M", "--compression", "zstd", "--block-size", "32K", "oci:source", "oci:image2")
        self.write_trace((0, 8192, 40960), (1, 8192, 4096))
        def compression(*words):
            self.dadi("optimize", *words, "oci:image2", "app.trace", "oci:done")
            self.assertEqual(self.export("done"), self.expected())
            layers = self.dadi("inspect", "--json", "oci:done").json["layers"]
            return [(layer["compression"]["algorithm"], layer["compression"]["block_size"]) for layer in layers]
        self.assertEqual(compression(), [("zstd", 32768)] * 2)
        self.assertEqual(compression("--block-size", "8K"), [("zstd", 8192)] * 2)
        self.assertEqual(compression("--compression", "lz4"), [("lz4", 32768)] * 2)
        self.fails(USAGE, "optimize", "--compression", "gzip", "oci:image", "app.trace", "oci:x", says="gzip")

    def test_a_trace_of_another_image_is_trimmed_or_refused(self):
        reads = self.random_trace(20)
        self.write_trace(*reads, (9, 0, 4096), (1, 1 << 40, 1 << 20), (0, 0, 4096))
        run = self.dadi("optimize", "--json", "oci:image", "app.trace", "oci:done")
        self.assertIn("1 MiB of the trace are no data of this image", run.stderr)
        self.assertEqual(run.json["left_out_bytes"], (1 << 20) + 8192)
        self.assert_in_front("done", reads)
        self.write_trace((2, 0, 1 << 20), (0, 0, 4096))
        self.fails(USAGE, "optimize", "oci:image", "app.trace", "oci:none", says="the trace reads nothing of this image's data")
        self.assertFalse((self.folder / "none").exists())

    def test_a_gigantic_trace_costs_no_more_than_the_image(self):
        self.write_trace(*((layer, 0, 1 << 62) for _ in range(2000) for layer in (1, 0, 0xFFFFFFFF)))
        self.dadi("optimize", "oci:image", "app.trace", "oci:done")
        self.assert_same_device("done")
        self.assertEqual({layer for layer, _, _ in self.trace_of("done")}, {0, 1})

    def test_what_cannot_be_done_leaves_nothing(self):
        self.write_trace((0, 8192, 4096), name="good")
        (self.folder / "text").write_text("/bin/sh\n")
        (self.folder / "damaged").write_bytes((self.folder / "good").read_bytes()[:-1])
        self.fails(CORRUPT, "optimize", "oci:image", "damaged", "oci:done", says="damaged: 24 bytes of reads are stated")
        self.fails(NOT_FOUND, "optimize", "oci:image", "text", "oci:done",
                   says=["text: nothing of the list is in the image", "no recording", "one path a line"])
        self.fails(UNSUPPORTED, "optimize", "oci:source", "good", "oci:done", says="convert it first")
        blob = self.blobs("image")[0][0]
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.write_bytes(data)
        self.fails(CORRUPT, "optimize", "oci:image", "good", "oci:done", says=["layer 1", blob.name[:12]])
        self.assertFalse((self.folder / "done").exists())

    def test_converting_does_it_in_one_go(self):
        self.random_trace()
        for words, one_by_one in ((["--layout"], ["optimize"]), ([], ["trace", "attach"])):
            answer = self.dadi("convert", "--virtual-size", "256M", "--trace", "app.trace", *words, "--json", "oci:source",
                               "oci:once").json
            self.dadi(*one_by_one, "oci:image", "app.trace", "oci:twice")
            once, twice = (read_manifest(self.folder / name)[0]["layers"] for name in ("once", "twice"))
            self.assertEqual(once, twice) if words else self.assertEqual(once[:-1], twice[:-1])
            self.assertEqual([layer["digest"] for layer in answer["images"][0]["layers"]], [layer["digest"] for layer in once[:-1]])
            self.assertEqual(answer["digest"], read_manifest(self.folder / "once")[1]["digest"])
            self.assertEqual(self.export("once"), self.expected())
        self.trace_of("once")
        self.fails(USAGE, "convert", "--layout", "oci:source", "oci:x", says="--trace FILE")
        self.fails(USAGE, "convert", "--trace", "app.trace", "--all-platforms", "oci:source", "oci:x", says="of one image")
        self.fails(NOT_FOUND, "convert", "--trace", "missing", "oci:source", "oci:x", says="missing")
        self.assertFalse((self.folder / "x").exists())

    def test_a_list_of_files_lays_them_out_in_its_order(self):
        (self.folder / "list").write_text("/srv/noise\n/etc/hostname\n/srv/none\n/srv/1*0\n")
        run = self.dadi("optimize", "oci:image", "list", "oci:done")
        self.assertIn("list: /srv/none is not in the image", run.stderr)
        self.assert_same_device("done")
        self.trace_of("done")
        files = [file["path"] for file in self.dadi("trace", "show", "--json", "carried", "--image", "oci:done").json["files"]]
        self.assertEqual([path for path in files if not path.endswith(("/", ")"))],
                         ["/srv/noise", "/etc/hostname", *(f"/srv/{name}" for name in ("10", *range(100, 200, 10)))])
        self.dadi("convert", "--virtual-size", "256M", "--trace", "list", "--layout", "oci:source", "oci:once")
        self.assertEqual(*(read_manifest(self.folder / name)[0]["layers"] for name in ("once", "done")))
        self.dadi("convert", "--virtual-size", "256M", "--trace", "list", "oci:source", "oci:once")
        self.dadi("trace", "attach", "oci:image", "list", "oci:twice")
        self.assertEqual(*(read_manifest(self.folder / name)[0]["layers"][-1]["digest"] for name in ("once", "twice")))
        (self.folder / "list").write_text("/srv/none\n")
        self.fails(NOT_FOUND, "convert", "--virtual-size", "256M", "--trace", "list", "oci:source", "oci:x", says="nothing of the list")
        self.assertFalse((self.folder / "x").exists())

    def test_from_a_registry_to_a_registry(self):
        registry = Registry(self)
        self.random_trace()
        self.dadi("push", "oci:image", f"docker://{registry.host}/a:1")
        there = self.dadi("optimize", f"docker://{registry.host}/a:1", "app.trace", f"docker://{registry.host}/b:2").text
        self.assertEqual(there, self.dadi("optimize", "oci:image", "app.trace", "oci:done").text)
        self.dadi("export", f"docker://{registry.host}/b:2", "other")
        self.assertEqual(harness.sparse_digest(self.folder / "other"), self.expected())


class Foreign(harness.Test):
    """Layers that the reference's tools wrote."""

    def optimize(self, name, *goldens):
        """Makes an image of files, and one that is laid out by a random trace. Returns that one's layer files."""
        layout, layers, sizes = Layout(self.folder / name), [], []
        for golden in goldens:
            data = self.golden(golden).read_bytes()
            digest = layout.put(data)
            layers.append({"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": digest, "size": len(data),
                           "annotations": {"containerd.io/snapshot/overlaybd/blob-digest": digest,
                                           "containerd.io/snapshot/overlaybd/blob-fs-type": "ext4"}})
        layout.add_manifest(layers, [layer["digest"] for layer in layers])
        shown = self.dadi("inspect", "--json", f"oci:{name}").json["layers"]
        sizes = [layer["mapped_bytes"] for layer in shown]
        rng = random.Random(name)
        places = [(layer, rng.randrange(4096, size), rng.randrange(1, 20000)) for layer, size in enumerate(sizes) for _ in range(40)]
        rng.shuffle(places)
        (self.folder / "t").write_bytes(make_trace(places))
        self.dadi("optimize", f"oci:{name}", "t", f"oci:{name}-done")
        *layers, _ = read_manifest(self.folder / f"{name}-done")[0]["layers"]
        for before, after in zip(shown, self.dadi("inspect", "--json", f"oci:{name}-done").json["layers"], strict=True):
            self.assertNotEqual(before["digest"], after["digest"])
            self.assertEqual({key: before[key] for key in FACTS}, {key: after[key] for key in FACTS})
            self.assertEqual(after["annotations"]["containerd.io/snapshot/overlaybd/blob-fs-type"], "ext4")
        files = [self.folder / f"{name}-done/blobs" / layer["digest"].replace(":", "/") for layer in layers]
        self.strict_reader("check", "--modern", *files)
        return files

    def test_every_form_of_layer_keeps_its_device(self):
        for number, (goldens, label) in enumerate((
                (["append/0/raw.lsmt", "append/1/raw.lsmt"], "append/ro-merged-raw.lsmt"),
                (["append/0/usertag.zfile"], "append/ro-layer0-overlaybd.commit"),
                (["append/0/seal_data"], "append/ro-sealed0"),
                (["append/0/zstd-bs16.zfile", "crafted/mask.lsmt"], "crafted/append-0-under-mask"),
                (["crafted/shuffled.zfile"], "crafted/shuffled"),
                (["sparse/0/overlaybd.commit", "sparse/1/lz4-bs16.zfile"], "sparse/ro-merged-overlaybd.commit"))):
            files = self.optimize(f"image{number}", *goldens)
            self.assertIn(harness.golden_device_sha256(label), self.strict_reader("device", *files), label)

    def test_the_base_layer_of_2021_keeps_its_device(self):
        self.optimize("base", "ext4_64.zfile")
        for name in ("base", "base-done"):
            self.dadi("export", f"oci:{name}", name + ".disk")
        self.assertEqual(*(harness.sparse_digest(self.folder / f"{name}.disk") for name in ("base", "base-done")))


if __name__ == "__main__":
    harness.main()
