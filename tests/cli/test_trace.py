"""dadi trace: what a recording says, checked against layers that are searched for files' contents."""
import html
import html.parser
import os
import random
import re
import tarfile

import harness
from browsing import Listener, look_at, need_chromium
from harness import CORRUPT, NOT_FOUND, USAGE
from images import Layout, entry, read_manifest, symlink
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


class OfImage(harness.Test):
    def make_image(self, *layers):
        """Converts an image; self.layers are its block layers, uncompressed."""
        Layout(self.folder / "source").add_image(layers)
        self.dadi("convert", "--virtual-size", "1G", "oci:source", "oci:image")
        self.layers = []
        for number, layer in enumerate(read_manifest(self.folder / "image")[0]["layers"]):
            self.dadi("zfile", "extract", self.folder / "image/blobs/sha256" / layer["digest"][7:], f"layer{number}")
            self.layers.append((self.folder / f"layer{number}").read_bytes())


class ByFile(OfImage):
    def setUp(self):
        super().setUp()
        self.lower, self.upper = os.urandom(10_000), os.urandom(70_000)
        self.make_image([entry("srv/lower", self.lower)], [entry("opt/upper \x1b", self.upper)])

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


class Lists(OfImage):
    """Lists of files, which become traces of an image."""

    def setUp(self):
        super().setUp()
        self.contents = {"/srv/large": os.urandom(3_000_000), "/srv/a b@1+*?": os.urandom(9000),
                         "/lib/libx.so.6": os.urandom(50_000), "/lib/deep/y.so": os.urandom(5000),
                         "/srv/\udcff": os.urandom(700), "/srv/[id].js": os.urandom(6000), "/srv/two\nlines\r": os.urandom(800)}
        names = list(self.contents)
        self.make_image([entry(name[1:], self.contents[name]) for name in names[:4]],
                        [*(entry(name[1:], self.contents[name]) for name in names[4:]),
                         symlink("lib/libx.so", "libx.so.6"), symlink("srv/lib", "/lib"), entry("srv/empty", b"")])

    def attach(self, *lines, end="\n", image="oci:image"):
        """Writes the list, attaches it, and returns the reads of the trace that is carried."""
        (self.folder / "list").write_bytes(os.fsencode(end.join(lines) + end))
        self.run_of_attach = self.dadi("trace", "attach", image, "list", "oci:listed")
        layers = read_manifest(self.folder / "listed")[0]["layers"]
        with tarfile.open(self.folder / "listed/blobs/sha256" / layers[-1]["digest"][7:]) as archive:
            (self.folder / "carried").write_bytes(archive.extractfile("trace").read())
        self.strict_reader("trace", "--modern", self.folder / "carried")
        return [tuple(read.values()) for read in
                self.dadi("trace", "show", "--reads", "--json", "carried").json["reads"]]

    def files(self, reads):
        """The files of which all content is read, in the order in which it first is."""
        found = []
        for name, content in self.contents.items():
            layer = [content[:512] in data for data in self.layers].index(True)
            begin = self.layers[layer].index(content[:512])
            wanted = set(range(begin // 512, -(-(begin + len(content)) // 512)))
            firsts = []
            for number, (where, offset, size) in enumerate(reads):
                sectors = range(offset // 512, -(-(offset + size) // 512))
                if where == layer and wanted.intersection(sectors):
                    firsts.append(number)
                    wanted.difference_update(sectors)
            if not wanted:
                found.append((firsts[0], name))
        return [name for _, name in sorted(found)]

    def test_the_files_of_a_list_are_read_in_its_order(self):
        reads = self.attach("/srv/large", "/lib/libx.so.6")
        self.assertEqual(self.files(reads), ["/srv/large", "/lib/libx.so.6"])
        self.assertLessEqual(max(size for _, _, size in reads), 1 << 20)
        self.assertLess(sum(size for _, _, size in reads), 3_200_000)
        self.assertEqual(self.files(self.attach("lib/libx.so.6", "", "srv/large")), ["/lib/libx.so.6", "/srv/large"])
        self.assertEqual(len(set(reads)), len(reads))

    def test_what_leads_to_them_is_read_too(self):
        self.attach("/lib/libx.so")
        files = self.dadi("trace", "show", "carried", "--image", "oci:image", "--json").json["files"]
        self.assertEqual([file["path"] for file in files], ["(file system)", "/", "/lib/", "/lib/libx.so.6"])

    def test_any_character_may_be_in_a_name(self):
        for name in self.contents:
            if "\n" not in name:
                self.assertEqual(self.files(self.attach(name)), [name])
        self.assertEqual(self.files(self.attach(*reversed(self.contents), end="\0")), [*reversed(self.contents)])

    def test_patterns_symlinks_and_directories(self):
        for line, names in (("/lib/*.so.?", ["/lib/libx.so.6"]), ("**/y.so", ["/lib/deep/y.so"]),
                            ("/lib/", ["/lib/deep/y.so", "/lib/libx.so.6"]), ("srv/lib", ["/lib/deep/y.so", "/lib/libx.so.6"]),
                            ("/srv/lib/libx.so", ["/lib/libx.so.6"]), ("../../lib/[!d]*", ["/lib/libx.so.6"])):
            self.assertEqual(self.files(self.attach(line)), names, line)
            self.assertNotIn("list", self.run_of_attach.stderr)
        self.assertEqual(set(self.files(self.attach("/"))), set(self.contents))

    def test_what_is_not_there_is_noted_and_nothing_at_all_is_an_error(self):
        self.attach("/srv/none\x1b[31m", "/srv/large", *(f"/none{i}" for i in range(50)))
        said = self.run_of_attach.stderr
        self.assertIn("list: /srv/none\\x1b[31m is not in the image", said)
        self.assertIn("list: 41 lines more are not", said)
        before = read_manifest(self.folder / "listed")[0]
        (self.folder / "list").write_text("/srv/none\n")
        self.fails(NOT_FOUND, "trace", "attach", "oci:image", "list", "oci:listed", says="list: nothing of the list")
        self.assertEqual(read_manifest(self.folder / "listed")[0], before)
        (self.folder / "list").write_bytes(os.urandom(5000))
        self.fails(NOT_FOUND, "trace", "attach", "oci:image", "list", "oci:listed", says="it is no recording")
        (self.folder / "list").write_bytes(b"")
        self.fails(USAGE, "trace", "attach", "oci:image", "list", "oci:listed", says="list is empty")

    def test_the_same_list_and_image_give_the_same_bytes(self):
        digests = set()
        for _ in range(2):
            self.attach("/srv/**", "/lib/")
            digests.add(self.run_of_attach.text)
        self.attach("/srv/**", "/lib/", image="oci:listed")  # in place of what is there
        self.assertEqual(digests, {self.run_of_attach.text})

    def test_a_list_is_shown_with_its_image_alone(self):
        (self.folder / "list").write_text("/lib/libx.so\n")
        shown = self.dadi("trace", "show", "list", "--image", "oci:image", "--json").json
        self.assertEqual(shown["files"][-1], {"path": "/lib/libx.so.6", "distinct_bytes": 53248})
        self.fails(USAGE, "trace", "show", "list", says=["list is not a trace, but a list of files", "--image REF"])
        self.fails(USAGE, "trace", "merge", "list", "-o", "merged", says="list is not a trace")


ATTRIBUTES = set("aria-label charset checked class content d for height http-equiv id lang name preserveaspectratio role "
                 "style title transform type viewbox width y".split())


class Markup(html.parser.HTMLParser):
    """The tags and the names of attributes that a page has."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.attributes = set(), set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes.update(name for name, _ in attrs)


class Page(OfImage):
    def write(self, name, *reads):
        (self.folder / name).write_bytes(make_trace(reads))

    def page(self, *arguments):
        return self.dadi("trace", "show", *arguments, "--html").text

    def look(self, text, name="page.html"):
        """What Chromium makes of a page: its document and its console."""
        need_chromium()
        (self.folder / name).write_text(text)
        return look_at(self.folder / name, self.folder / "chromium")

    def marks(self, text):
        """Of each chart of a page, by color: the cells that have it, as (column, row)."""
        charts = []
        for chart in re.findall(r"<svg .*?</svg>", text, re.DOTALL):
            charts.append(cells := {})
            for color, path in re.findall(r'<path class="s(\d) l\d" d="([^"]*)"', chart):
                for column, row, length in re.findall(r"M(\d+) (\d+)h(\d+)", path):
                    cells.setdefault(int(color), set()).update((int(column) + i, int(row)) for i in range(int(length)))
        return charts

    def test_a_page_goes_to_stdout_or_to_a_file(self):
        self.write("t", (0, 4096, 8192), (2, 0, 4096), (0, 4096, 8192))
        page = self.page("t")
        self.assertTrue(page.startswith("<!DOCTYPE html>") and page.endswith("</html>\n"))
        self.assertRegex(page, "<dt>Read</dt><dd>12 KiB</dd><dd>20 KiB with repeats</dd>")
        self.assertEqual(self.dadi("trace", "show", "t", "--html", "-o", "p", "--json").json,
                         {"path": "p", "size": len(page.encode())})
        self.assertEqual((self.folder / "p").read_text(), page)
        self.assertRegex(self.dadi("trace", "show", "t", "--html", "-o", "p").text, r"\Ap: [\d.]+ KiB\n\Z")
        self.fails(USAGE, "trace", "show", "t", "-o", "p", says="-o without --html")
        self.fails(USAGE, "trace", "show", "t", "--html", "--reads", says="--reads")
        self.fails(USAGE, "trace", "show", "t", "--html", "-o", "/dev/null", says="/dev/null")
        self.fails(NOT_FOUND, "trace", "show", "missing", "--html", "-o", "q", says="missing")
        self.assertFalse((self.folder / "q").exists())

    def test_the_chart_shows_what_was_read_when(self):
        size = 1 << 20
        self.write("t", (0, 0, size), (1, 8 * size, 2 * size), (0, 0, size), (0, 1 << 40, size))
        [cells] = self.marks(self.page("t"))
        self.assertEqual(set(cells), {0, 1})
        columns = [[column for column, _ in sorted(cells[color])] for color in (0, 1)]
        rows = [[row for _, row in sorted(cells[color])] for color in (0, 1)]
        self.assertEqual([*dict.fromkeys(columns[0])], [*range(0, 60), *range(180, 240)])  # of 4 MiB, in 240 columns
        self.assertEqual([*dict.fromkeys(columns[1])], [*range(60, 180)])
        self.assertEqual(rows[0], sorted(rows[0]))
        self.assertLess(max(rows[0]), min(rows[1]))  # the second layer lies below the first
        self.assertEqual((min(rows[0]), max(rows[1])), (0, 119))

    def test_files_have_rows_in_the_order_in_which_they_were_first_read(self):
        content = [os.urandom(40960) for _ in range(3)]
        self.make_image([entry("a", content[0]), entry("b", content[1])], [entry("c", content[2])])
        places = [(layer, self.layers[layer].index(data[:512]), 40960) for layer, data in zip((0, 0, 1), content)]
        self.write("t", places[1], places[2], places[0])
        page = self.page("t", "--image", "oci:image")
        self.assertEqual(re.findall(r'<td>(\d)</td><td class="path">(.*?)</td><td>(.*?)</td><td>(.*?)</td><td>(.*?)</td>', page),
                         [("1", "/b", "1", "40 KiB", "0 B"), ("2", "/c", "2", "40 KiB", "40 KiB"), ("3", "/a", "1", "40 KiB", "80 KiB")])
        by_file, by_device = self.marks(page)
        self.assertEqual(by_file, {0: {(i, 0) for i in range(80)} | {(i, 2) for i in range(160, 240)},
                                   1: {(i, 1) for i in range(80, 160)}})
        self.assertEqual(len(by_device), 2)
        self.assertIn("layer 2 (sha256:", page)

    def test_a_page_asks_nobody_runs_nothing_and_shows_names_as_text(self):
        need_chromium()
        listener = Listener(self)
        control = f'<img src="http://{listener.address}/control"><script>console.error("control")</script>'
        _, console = self.look(f"<!DOCTYPE html><body>{control}</body>", "control.html")
        self.assertEqual((listener.asked, len(console)), (["/control"], 1))
        names = ["<script>console.error(1)<", "<img src=http:\\\\%s\\x onerror=console.error(2)>" % listener.address,
                 "\"><b onmouseover='console.error(3)'>", "&lt;i&gt;", "line\n\x1b[31m\x7f", "\u202eevil\u2066", "bad\udcff\udcfe",
                 "</title></style></svg>".replace("/", "\u2215"), "x" * 250, "${7*7}{{7*7}}{}%s"]
        content = [os.urandom(4096) for _ in names]
        self.make_image([entry(name, data) for name, data in zip(names, content)])
        trace = "t<script>console.error(4)<"
        self.write(trace, *((0, self.layers[0].index(data), 4096) for data in content))
        page = self.page(trace, "--image", "oci:image")
        shown = ["/" + name for name in names]
        shown[4:7] = ["/line\\n\\x1b[31m\\x7f", "/\\u202eevil\\u2066", "/bad\\xff\\xfe"]
        for text in (page, self.look(page)[0]):
            self.assertEqual([html.unescape(path) for path in re.findall(r'<td class="path">(.*?)</td>', text)], shown)
            self.assertEqual([html.unescape(name) for name in re.findall(r'<li title="(.*?)">', text)], shown)
            self.assertIn(html.escape(trace, quote=False), text)
        document, console = self.look(page)
        self.assertEqual((listener.asked, console), (["/control"], []))
        for text in (page, document):
            self.assertEqual(Markup(text).tags & {"script", "img", "b", "i", "link", "iframe"}, {"b", "i"})  # its own
            self.assertLessEqual(Markup(text).attributes, ATTRIBUTES)

    def test_a_page_of_a_huge_trace_is_small(self):
        rng = random.Random(1)
        reads = [(rng.randrange(300), rng.randrange(1 << 20) << 12, 4096) for _ in range(100_000)]
        self.write("t", *reads)
        page = self.page("t")
        self.assertLess(len(page), 1_000_000)
        self.assertRegex(page, "<dt>Reads</dt><dd>100000</dd>")
        self.assertIn("other layers", page)
        # As large as numbers get.
        self.write("t", *((layer, 0, (1 << 63) - 1) for layer in range(2000)))
        page = self.page("t")
        self.assertLess(len(page), 1_000_000)
        self.assertRegex(page, '<td class="left">1000 more</td>')

    def test_a_trace_without_reads_has_a_page(self):
        self.write("t")
        self.assertIn("Nothing was read.", self.page("t"))

    def test_what_the_image_does_not_have_is_shown(self):
        self.make_image([entry("a", os.urandom(4096))])
        self.write("t", (0, 0, 1 << 40), (7, 0, 1 << 62))
        page = self.page("t", "--image", "oci:image")
        self.assertIn("layer 8, which the image does not have", page)
        self.assertIn("(nothing: the trace is of another image)", page)


if __name__ == "__main__":
    harness.main()
