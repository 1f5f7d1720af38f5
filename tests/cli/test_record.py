"""Traces recorded, carried by an image, and replayed where it starts from a registry."""
import json
import os
import time

import harness
from faulty_registry import FaultyRegistry
from harness import NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, digest_of, entry, read_manifest, small_debian
from lazy_reading import LazyTest
from traces import make_trace

FIRST = "h.connect_uri(uri)\nfor at in range(0, 48 << 20, 1 << 20): h.pread(1 << 20, at)\n"  # of any image
PLACES = [0, 40960, *range(1 << 20, 32 << 20, 1 << 19)]  # some of them in the file's data
READS = f"h.connect_uri(uri)\nfor at in {PLACES}: assert h.pread(8192, at) == disk[at:at+8192]\n"


class Recorded(LazyTest):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "larger").add_image([[entry("data", os.urandom(20 << 20))]])
        self.dadi("convert", "--virtual-size", "256M", "oci:larger", "oci:image")
        self.publish(FaultyRegistry(self))

    def record(self, image, reads=READS):
        """A trace of READS, by `dadi serve`."""
        self.at = image
        server = self.serve("--record", "app.trace")
        self.nbdsh(server.uri, reads)
        server.stop()
        return self.folder / "app.trace"

    def traced(self):
        """The image on the registry, with a trace on top, as its own reference."""
        self.record("oci:image")
        self.at = f"docker://{self.registry.host}/a:1"
        to = f"docker://{self.registry.host}/a:traced"
        self.dadi("trace", "attach", self.at, "app.trace", to)
        return to

    def layer_requests(self):
        return len(self.asked("|".join(self.layers())))

    def wait_until_quiet(self):
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 1:
            if seen != (now := len(self.registry.seen)):
                seen, since = now, time.monotonic()
            time.sleep(0.02)

    def test_what_was_read_is_recorded_and_nothing_else(self):
        trace = self.record("oci:image")
        self.strict_reader("trace", "--modern", trace)
        reads = self.dadi("trace", "show", "--json", "--reads", "--image", "oci:image", "app.trace").json
        self.assertLessEqual(sum(read["size"] for read in reads["reads"]), len(PLACES) * 8192)
        self.assertGreater(len(reads["reads"]), 0)
        self.assertNotIn("(nothing: the trace is of another image)", [file["path"] for file in reads["files"]])

    def test_a_recording_of_a_registrys_image_is_the_same(self):
        local = self.record("oci:image").read_bytes()
        self.assertEqual(self.record(f"docker://{self.registry.host}/a:1").read_bytes(), local)

    def test_an_image_with_a_trace_has_one_layer_more_and_is_the_same_device(self):
        self.record("oci:image")
        self.dadi("trace", "attach", "oci:image", "app.trace", "oci:traced")
        self.dadi("trace", "attach", "oci:image", "app.trace", "oci:again")
        manifest, root = read_manifest(self.folder / "traced")
        self.assertEqual(root["digest"], read_manifest(self.folder / "again")[1]["digest"])
        *blocks, top = manifest["layers"]
        self.assertEqual(blocks, read_manifest(self.folder / "image")[0]["layers"])
        self.assertEqual(top["annotations"]["containerd.io/snapshot/overlaybd/acceleration-layer"], "yes")
        self.assertEqual(len(self.dadi("inspect", "--json", "oci:traced").json["layers"]), len(blocks))
        self.dadi("check", "oci:traced")
        self.dadi("export", "oci:traced", "other")
        self.assertEqual(harness.sha256_of(self.folder / "other"), self.expected())
        config = self.dadi("inspect", "--config", "oci:traced").json
        self.assertEqual(config["rootfs"]["diff_ids"][-1], top["digest"])
        # So much is said of it.
        reads = self.dadi("trace", "show", "--json", "--reads", "app.trace").json["reads"]
        told = self.dadi("inspect", "--json", "oci:traced").json["trace"]
        self.assertEqual((told["digest"], told["reads"], told["bytes"]),
                         (top["digest"], len(reads), sum(read["size"] for read in reads)))
        self.assertRegex(self.dadi("inspect", "oci:traced").text, rf"(?m)^trace +{len(reads)} reads, [0-9.]+ KiB$")
        self.assertNotIn("trace", self.dadi("inspect", "--json", "oci:image").json)
        # Another trace takes its place.
        self.dadi("trace", "attach", "oci:traced", "app.trace", "oci:third")
        self.assertEqual(read_manifest(self.folder / "third")[1]["digest"], root["digest"])

    def test_a_start_finds_what_the_trace_says(self):
        self.at = self.traced()
        self.registry.seen.clear()
        server = self.serve("--chunk-size", "16K")
        self.wait_until_quiet()
        before = self.layer_requests()
        self.nbdsh(server.uri, READS)
        self.assertEqual(self.layer_requests(), before)
        self.assert_reads_right(server)

    def test_without_replay_it_asks_when_it_reads(self):
        self.at = self.traced()
        server = self.serve("--chunk-size", "16K", "--no-replay")
        self.wait_until_quiet()
        before = self.layer_requests()
        self.nbdsh(server.uri, READS)
        self.assertGreater(self.layer_requests(), before)

    def test_a_trace_that_is_none_is_refused_and_one_in_an_image_is_noted(self):
        (self.folder / "text").write_text("/bin/sh\n")
        self.fails(NOT_FOUND, "trace", "attach", "oci:image", "text", "oci:traced", says="nothing of the list is in the image")
        self.assertFalse((self.folder / "traced").exists())
        self.fails(NOT_FOUND, "trace", "attach", "oci:image", "missing", "oci:traced", says="missing")
        self.fails(USAGE, "serve", "oci:image", "--record", "/dev/null", says="/dev/null")
        Layout(self.folder / "ordinary").add_image(small_debian())
        self.record("oci:image")
        self.fails(UNSUPPORTED, "trace", "attach", "oci:ordinary", "app.trace", "oci:traced", says="convert it first")
        # Bytes of the trace that somebody changed: the layer's digest says so, and the image starts all the same.
        self.at = self.traced()
        top = self.registry.blobs
        digest = next(key for key, data in top.items() if data[:6] == b"trace\0")
        top[digest] = top[digest][:600] + b"\xff" + top[digest][601:]
        server = self.serve()
        self.wait_for(lambda: "the image's trace is not used" in server.said())  # nobody waits for it
        run = self.dadi("inspect", self.at)
        self.assertIn("note: the image's trace: ", run.stderr)
        self.assertRegex(run.text, "(?m)^trace +there is one, and it cannot be used$")
        self.assert_reads_right(server)

    # Which image a trace is of.

    def origin(self, name="app.trace"):
        return json.loads((self.folder / f"{name}.image").read_bytes())

    def make_version(self, name, *layers):
        """Another image, of these layers' content; its base is that of every version made of the same."""
        Layout(self.folder / f"{name}.source").add_image([[entry(f"file{i}", content)] for i, content in enumerate(layers)])
        self.dadi("convert", "--virtual-size", "256M", f"oci:{name}.source", f"oci:{name}")
        return [layer["digest"] for layer in read_manifest(self.folder / name)[0]["layers"]]

    def test_a_recording_says_which_image_it_is_of(self):
        trace = self.record("oci:image")
        manifest, root = read_manifest(self.folder / "image")
        self.assertEqual(self.origin(), {"trace": digest_of(trace.read_bytes()), "image": root["digest"],
                                         "layers": [layer["digest"] for layer in manifest["layers"]]})
        self.assertEqual(self.dadi("trace", "show", "--json", "app.trace").json["image"], root["digest"])
        self.assertTrue(self.dadi("trace", "show", "app.trace").text.startswith(f"recorded on {root['digest']}\n"))
        self.strict_reader("trace", "--modern", trace)
        # One of an image on top of which a trace lies is of the same layers.
        self.dadi("trace", "attach", "oci:image", "app.trace", "oci:traced")
        self.record("oci:traced")
        self.assertNotEqual(self.origin()["image"], root["digest"])
        self.assertEqual(self.origin()["layers"], [layer["digest"] for layer in manifest["layers"]])
        self.assertNotIn("recorded on", self.dadi("trace", "attach", "oci:image", "app.trace", "oci:again").stderr)
        # One of files is of no image, and does not leave what another one said.
        [layer] = manifest["layers"]
        self.record(f"layers:{self.folder}/image/blobs/sha256/{layer['digest'][7:]}")
        self.assertFalse((self.folder / "app.trace.image").exists())
        self.assertNotIn("image", self.dadi("trace", "show", "--json", "app.trace").json)

    def test_a_trace_of_another_version_is_trimmed_to_what_both_have(self):
        base, *tops = (os.urandom(2 << 20) for _ in range(4))
        old = self.make_version("old", base, tops[0])
        new = self.make_version("new", base, tops[1], tops[2])
        self.assertEqual(old[0], new[0])
        self.record("oci:old", FIRST)
        reads = self.dadi("trace", "show", "--json", "app.trace").json["layers"]
        self.assertEqual([layer["layer"] for layer in reads], [0, 1])
        for words in (["trace", "attach", "oci:new", "app.trace", "oci:done"], ["optimize", "oci:new", "app.trace", "oci:done"],
                      ["convert", "--virtual-size", "256M", "--trace", "app.trace", "oci:new.source", "oci:done"]):
            said = self.dadi(*words).stderr
            self.assertIn(f"app.trace was recorded on {self.origin()['image']}: ", said)
            self.assertIn("of layers that this image does not have, and left out", said)
            told = self.dadi("inspect", "--json", "oci:done").json["trace"]
            self.assertGreaterEqual(told["bytes"], reads[0]["distinct_bytes"])
            self.assertLess(told["bytes"], reads[0]["distinct_bytes"] + 65536)
        shown = self.dadi("trace", "show", "--json", "app.trace", "--image", "oci:new").json
        self.assertEqual([file["path"] for file in shown["files"] if file["path"].startswith("/file")], ["/file0"])

    def test_a_layer_is_found_wherever_it_lies_now(self):
        self.record("oci:image")
        manifest = read_manifest(self.folder / "image")[0]
        below = Layout(self.folder / "below")
        other = self.make_version("other", b"x" * 5000)
        data = (self.folder / "other/blobs/sha256" / other[0][7:]).read_bytes()
        layers = [dict(read_manifest(self.folder / "other")[0]["layers"][0], digest=below.put(data)), manifest["layers"][0]]
        below.put((self.folder / "image/blobs/sha256" / layers[1]["digest"][7:]).read_bytes())
        below.add_manifest(layers, [layer["digest"] for layer in layers])
        self.assertNotIn("recorded on", self.dadi("trace", "attach", "oci:below", "app.trace", "oci:done").stderr)
        before, after = (self.dadi("trace", "show", "--json", *words).json["layers"] for words in
                         (["app.trace"], ["app.trace", "--image", "oci:below"]))
        self.assertEqual([layer["layer"] for layer in after], [1])
        self.assertEqual(before[0]["distinct_bytes"], after[0]["distinct_bytes"])

    def test_a_trace_of_something_else_is_refused(self):
        other = self.make_version("other", os.urandom(1 << 20))
        self.record("oci:image")
        image = self.origin()["image"]
        for words in (["trace", "attach", "oci:other", "app.trace", "oci:done"], ["optimize", "oci:other", "app.trace", "oci:done"],
                      ["convert", "--virtual-size", "256M", "--trace", "app.trace", "oci:other.source", "oci:done"]):
            self.fails(USAGE, *words, says=[f"recorded on {image}", "none of the layers", "dadi record", "app.trace.image"])
            self.assertFalse((self.folder / "done").exists())
        # Without that file it is used as it is, as the reference's recordings are.
        (self.folder / "app.trace.image").unlink()
        self.dadi("trace", "attach", "oci:other", "app.trace", "oci:done")
        self.assertEqual(len(other), 1)

    def test_what_is_beside_another_trace_says_nothing(self):
        self.make_version("other", os.urandom(1 << 20))
        self.record("oci:image")
        (self.folder / "app.trace").write_bytes(make_trace([(0, 4096, 4096)]))
        self.dadi("trace", "attach", "oci:other", "app.trace", "oci:done")
        self.assertNotIn("image", self.dadi("trace", "show", "--json", "app.trace").json)
        for damage in (b"", b"{}", b"[1]", b'{"trace": 1}', b"\xff" * 100, b" " * (2 << 20)):
            (self.folder / "app.trace.image").write_bytes(damage)
            self.fails(harness.CORRUPT, "trace", "show", "app.trace", says=["app.trace.image", "which image it is of"])
        (self.folder / "app.trace.image").unlink()
        (self.folder / "app.trace.image").mkdir()
        self.fails(USAGE, "serve", "oci:image", "--record", "app.trace", says="app.trace.image")

    def test_traces_of_several_images_are_not_joined(self):
        self.make_version("other", os.urandom(1 << 20))
        for name in ("one", "two"):
            self.record("oci:image").rename(self.folder / name)
            (self.folder / "app.trace.image").rename(self.folder / f"{name}.image")
        self.record("oci:other", FIRST)
        self.dadi("trace", "merge", "one", "two", "-o", "both")
        self.assertEqual(self.origin("both")["image"], self.origin("one")["image"])
        self.assertEqual(self.origin("both")["trace"], digest_of((self.folder / "both").read_bytes()))
        (self.folder / "unknown").write_bytes(make_trace([(0, 4096, 4096)]))
        self.fails(USAGE, "trace", "merge", "unknown", "one", "app.trace", "-o", "both", says=["app.trace was recorded on", "not the same"])
        self.dadi("trace", "merge", "unknown", "one", "-o", "both")
        self.assertFalse((self.folder / "both.image").exists())


if __name__ == "__main__":
    harness.main()
