"""Traces recorded, carried by an image, and replayed where it starts from a registry."""
import os
import time

import harness
from faulty_registry import FaultyRegistry
from harness import NOT_FOUND, UNSUPPORTED, USAGE
from images import Layout, entry, read_manifest, small_debian
from lazy_reading import LazyTest

PLACES = [0, 40960, *range(1 << 20, 32 << 20, 1 << 19)]  # some of them in the file's data
READS = f"h.connect_uri(uri)\nfor at in {PLACES}: assert h.pread(8192, at) == disk[at:at+8192]\n"


class Recorded(LazyTest):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "larger").add_image([[entry("data", os.urandom(20 << 20))]])
        self.dadi("convert", "--virtual-size", "256M", "oci:larger", "oci:image")
        self.publish(FaultyRegistry(self))

    def record(self, image):
        """A trace of READS, by `dadi serve`."""
        self.at = image
        server = self.serve("--record", "app.trace")
        self.nbdsh(server.uri, READS)
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
        self.fails(harness.CORRUPT, "trace", "attach", "oci:image", "text", "oci:traced", says="not a trace")
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
        self.assertIn("the image's trace is not used", server.said())
        run = self.dadi("inspect", self.at)
        self.assertIn("note: the image's trace: ", run.stderr)
        self.assertRegex(run.text, "(?m)^trace +there is one, and it cannot be used$")
        self.assert_reads_right(server)


if __name__ == "__main__":
    harness.main()
