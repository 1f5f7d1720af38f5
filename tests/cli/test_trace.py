"""dadi trace: what a recording says, checked against layers that are searched for files' contents."""
import os

import harness
from harness import CORRUPT, NOT_FOUND, USAGE
from images import Layout, entry, read_manifest
from traces import make_trace


class Files(harness.Test):
    def write(self, name, *reads):
        (self.folder / name).write_bytes(make_trace(reads))

    def reads(self, name):
        return [tuple(read.values()) for read in self.dadi("trace", "show", "--reads", "--json", name).json["reads"]]

    def test_a_trace_is_shown_by_layer(self):
        self.write("t", (0, 4096, 8192), (2, 0, 100), (0, 8192, 4096), (0, 0, 4096))
        self.assertEqual(self.dadi("trace", "show", "--json", "t").json, {"layers": [
            {"layer": 0, "reads": 3, "bytes": 16384, "distinct_bytes": 12288},
            {"layer": 2, "reads": 1, "bytes": 100, "distinct_bytes": 100}]})
        text = self.dadi("trace", "show", "t").text
        self.assertRegex(text, r"(?m)^ +1 +3 +16 KiB +12 KiB$")
        self.assertRegex(text, r"(?m)^ +all +4 +16.1 KiB +12.1 KiB$")

    def test_the_references_recording_is_shown(self):
        shown = self.dadi("trace", "show", self.golden("trace/trace"), "--json").json
        self.assertEqual([layer["reads"] for layer in shown["layers"]], [5, 7])

    def test_recordings_are_merged(self):
        self.write("a", (0, 0, 4096), (1, 0, 512))
        self.write("b", (0, 4096, 4096), (0, 0, 8192), (5, 0, 3 << 20))
        self.dadi("trace", "merge", "a", "b", "-o", "both")
        self.assertEqual(self.reads("both"), [(0, 0, 8192), (1, 0, 512), *((5, i << 20, 1 << 20) for i in range(3))])
        self.assertEqual(self.dadi("trace", "merge", "a", "b", "-o", "c", "--seen-in", "2", "--json").json,
                         {"path": "c", "reads": 1, "bytes": 4096})
        self.assertEqual(self.reads("c"), [(0, 0, 4096)])
        self.strict_reader("trace", "--modern", self.folder / "both")

    def test_what_is_no_trace_is_refused(self):
        self.write("good", (0, 0, 4096))
        bad = bytearray((self.folder / "good").read_bytes())
        bad[-1] ^= 1
        (self.folder / "bad").write_bytes(bad)
        self.fails(CORRUPT, "trace", "show", "bad", says="bad: checksum")
        self.fails(CORRUPT, "trace", "merge", "good", "bad", "-o", "out", says="bad: checksum")
        self.assertFalse((self.folder / "out").exists())
        self.fails(NOT_FOUND, "trace", "show", "missing", says="missing")
        self.fails(USAGE, "trace", "merge", "good", "-o", "out", "--seen-in", "2", says="--seen-in 2, of 1 trace")
        self.fails(USAGE, "trace", "merge", "good", says="--output")


class ByFile(harness.Test):
    def setUp(self):
        super().setUp()
        self.lower, self.upper = os.urandom(10_000), os.urandom(70_000)
        layout = Layout(self.folder / "source")
        layout.add_image([[entry("srv/lower", self.lower)], [entry("opt/upper \x1b", self.upper)]])
        self.dadi("convert", "--virtual-size", "1G", "oci:source", "oci:image")
        layers = []
        for number, layer in enumerate(read_manifest(self.folder / "image")[0]["layers"]):
            self.dadi("zfile", "extract", self.folder / "image/blobs/sha256" / layer["digest"][7:], f"layer{number}")
            layers.append((self.folder / f"layer{number}").read_bytes())
        self.layers = layers

    def show(self, *reads):
        (self.folder / "t").write_bytes(make_trace(reads))
        shown = self.dadi("trace", "show", "t", "--image", "oci:image", "--json").json
        return [(file["path"], file["distinct_bytes"]) for file in shown["files"]]

    def test_a_read_is_of_the_file_whose_content_is_there(self):
        lower = self.layers[0].index(self.lower[:512])
        upper = self.layers[1].index(self.upper[:512])
        self.assertEqual(self.show((0, lower, 4096), (1, upper + 65536, 4096), (0, lower + 4096, 1000), (1, upper, 512)),
                         [("/srv/lower", 5096), ("/opt/upper \x1b", 4608)])
        text = self.dadi("trace", "show", "t", "--image", "oci:image").text
        self.assertRegex(text, r"(?m)^ +2 +4\.5 KiB +/opt/upper ")

    def test_other_reads_have_their_names_too(self):
        size = len(self.layers[0])
        self.assertEqual(self.show((0, size - 4096, 8192), (7, 0, 512)),
                         [("(headers and indexes of layers)", 4096), ("(nothing: the trace is of another image)", 4608)])
        superblock = self.layers[0].index(b"\x53\xef\x01\x00") - 0x38  # magic and state, at 1080 of the device
        self.assertEqual(self.show((0, superblock, 1024)), [("(file system)", 1024)])
        content = self.layers[0].index(b"lower\0\0\0")  # a directory's entry
        self.assertEqual(self.show((0, content, 8)), [("/srv/", 8)])

    def test_every_byte_of_a_gigantic_trace_is_counted_once(self):
        whole = self.show(*((0, 0, 1 << 40) for _ in range(1000)))
        self.assertEqual(sum(size for _, size in whole), 1 << 40)
        self.assertIn(("/srv/lower", 12288), whole)


if __name__ == "__main__":
    harness.main()
