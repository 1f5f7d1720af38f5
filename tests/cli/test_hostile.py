"""Archives that want out, or want too much: breakouts by the names that containerd's and umoci's tests have for them, built
anew, and bombs, which must end in bounded time with a message that says what was too much."""
import gzip
import os
import tarfile
import time

import harness
from harness import CORRUPT, FAILURE, UNSUPPORTED
from images import LAYER, Layout, digest_of, entry, folder, hardlink, opaque, symlink, tar_of, whiteout
from judged import Judged

PASSWD = [folder("etc", mode=0o770), entry("/etc/passwd", b"inside")]
BASE = [folder("/etc/"), entry("/etc/passwd", b"inside"), entry("/etc/whitedout", b"here")]


class Breakouts(Judged):
    """Names and links that lead out of the root lead nowhere but back into it."""

    def tree(self, *layers):
        """What the image of these layers has: path -> what ls says. Paths cannot leave it: a file system has no outside."""
        layout = Layout(self.folder / "source")
        layout.manifests.clear()
        layout.add_image(layers)
        self.dadi("convert", "--virtual-size", "16M", "oci:source", "oci:image")
        self.dadi("check", "oci:image")
        self.dadi("verify", "oci:source", "oci:image")
        listed = self.dadi("--json", "ls", "-R", "oci:image").json
        return {e["path"]: e for e in listed if e["path"] != "lost+found"}

    def content(self, path):
        return self.dadi("cat", "oci:image", path).stdout

    def same_file(self, tree, first, second):
        self.assertEqual((tree[first]["links"], tree[second]["links"]), (2, 2))
        self.assertEqual(self.content(first), self.content(second))

    def test_symlinks_of_containerd(self):
        cases = {
            "SymlinkAbsolute": [folder("etc"), symlink("localetc", "/etc"), entry("/localetc/unbroken", b"unbroken")],
            "SymlinkUpAndOut": [folder("etc"), folder("dummy"), symlink("localetc", "/dummy/../etc"),
                                entry("/localetc/unbroken", b"unbroken")],
            "SymlinkMultipleAbsolute": [folder("etc"), folder("dummy"), symlink("/dummy/etc", "/etc"),
                                        symlink("localetc", "/dummy/etc"), entry("/dummy/etc/unbroken", b"unbroken")],
            "SymlinkMultipleRelative": [folder("etc"), folder("dummy"), symlink("/dummy/etc", "/etc"),
                                        symlink("localetc", "./dummy/etc"), entry("/localetc/unbroken", b"unbroken")],
            "SymlinkEmptyFile": [folder("etc"), entry("etc/unbroken", b"not this"), symlink("localetc", "/etc"),
                                 entry("/localetc/unbroken", b"unbroken")],
        }
        for name, layer in cases.items():
            with self.subTest(name):
                tree = self.tree(layer)
                self.assertEqual((tree["etc/unbroken"]["type"], tree["localetc"]["type"]), ("file", "symlink"))
                self.assertEqual(self.content("etc/unbroken"), b"unbroken")

    def test_hardlinks_of_containerd(self):
        cases = {
            "HardlinkRelative": [folder("breakouts"), symlink("breakouts/d1", "../../etc"),
                                 hardlink("mine", "/breakouts/d1/passwd")],
            "HardlinkDownAndOut": [folder("breakouts"), folder("downandout"), symlink("breakouts/d1", "../downandout/../../etc"),
                                   hardlink("mine", "/breakouts/d1/passwd")],
            "HardlinkAbsolute": [symlink("localetc", "/etc"), hardlink("mine", "/localetc/passwd")],
            "HardlinkRelativeLong": [symlink("localetc", "../../../../../../../etc"), hardlink("mine", "/localetc/passwd")],
            "HardlinkDirectRelative": [hardlink("mine", "../../../../../etc/passwd")],
            "HardlinkDirectAbsolute": [hardlink("mine", "/etc/passwd")],
        }
        for name, layer in cases.items():
            with self.subTest(name):
                self.same_file(self.tree([*PASSWD, *layer]), "mine", "etc/passwd")
        # A symlink through a directory that does not exist leads nowhere, in the kernel too; containerd looks at names only.
        with self.subTest("HardlinkRelativeUpAndOut"):
            self.refused(CORRUPT, [[*PASSWD, symlink("localetc", "upandout/../../../etc"), hardlink("mine", "/localetc/passwd")]],
                         'entry "mine"')

    def test_hardlinks_to_symlinks_of_containerd(self):
        for name, target in {"HardlinkSymlinkRelative": "../../../../../etc/passwd", "HardlinkSymlinkAbsolute": "/etc/passwd",
                             "HardlinkSymlinkChmod": "/tmp/none"}.items():
            with self.subTest(name):
                tree = self.tree([*PASSWD, symlink("passwdlink", target), hardlink("localpasswd", "/passwdlink")])
                self.assertEqual([tree[path]["type"] for path in ("passwdlink", "localpasswd")], ["symlink"] * 2)
                self.assertEqual([tree[path]["target"] for path in ("passwdlink", "localpasswd")], [target] * 2)
                self.assertEqual(tree["etc/passwd"]["links"], 1)
        with self.subTest("HardlinkSymlinkBeforeCreateTarget"):
            tree = self.tree([PASSWD[0], symlink("localpasswd", "/etc/passwd"), hardlink("dup", "localpasswd"), PASSWD[1]])
            self.assertEqual((tree["dup"]["type"], tree["dup"]["links"]), ("symlink", 2))
            self.assertEqual(self.content("dup"), b"inside")

    def test_odd_parents_of_containerd(self):
        with self.subTest("SymlinkParentDirectory"):  # over the root itself: refused, as its other disguises
            self.refused(CORRUPT, [[*PASSWD, symlink("..", "/etc/")]], 'entry ".."')
        with self.subTest("SymlinkEmptyFilename"):
            self.refused(CORRUPT, [[*PASSWD, symlink("", "/etc/")]], "an empty name")
        with self.subTest("SymlinkParentRelative"):
            tree = self.tree([*PASSWD, symlink("localetc/sub/..", "/etc/"), hardlink("/localetc/localpasswd", "/etc/passwd")])
            self.assertEqual(tree["localetc"]["type"], "symlink")
            self.same_file(tree, "etc/localpasswd", "etc/passwd")
        with self.subTest("SymlinkSlashEnded"):
            tree = self.tree([*PASSWD, folder("localetc/"), hardlink("/localetc/localpasswd", "/etc/passwd")])
            self.same_file(tree, "localetc/localpasswd", "etc/passwd")

    def test_overrides_of_containerd(self):
        for name, target in {"SymlinkOverrideDirectory": "/etc", "SymlinkOverrideDirectoryRelative": "../../etc"}.items():
            with self.subTest(name):
                tree = self.tree([*BASE, folder("/localetc/")],
                                 [symlink("localetc", target), hardlink("/localetc/localpasswd", "/etc/passwd")])
                self.same_file(tree, "etc/localpasswd", "etc/passwd")
        with self.subTest("DirectoryOverrideSymlink"):
            tree = self.tree([*BASE, symlink("localetc", "/etc")],
                             [folder("/localetc/"), hardlink("/localetc/localpasswd", "/etc/passwd")])
            self.assertEqual(tree["localetc"]["type"], "directory")
            self.same_file(tree, "localetc/localpasswd", "etc/passwd")
        with self.subTest("DirectoryOverrideSymlinkAndHardlink"):
            tree = self.tree([*BASE, symlink("localetc", "etc"), hardlink("/localetc/localpasswd", "/etc/passwd")],
                             [folder("/localetc/"), entry("/localetc/localpasswd", b"different")])
            self.assertEqual((self.content("localetc/localpasswd"), self.content("etc/passwd")), (b"different", b"inside"))

    def test_whiteouts_of_containerd(self):
        for name, path in {"WhiteoutRootParent": ".wh...", "WhiteoutParent": "etc/.wh...", "WhiteoutRoot": ".wh..",
                           "WhiteoutCurrentDirectory": "etc/.wh.."}.items():
            with self.subTest(name):
                self.refused(CORRUPT, [BASE, [entry(path, b"")]], "layer 2", f'entry "{path}"')
        with self.subTest("WhiteoutSymlink"):
            tree = self.tree([*BASE, symlink("localetc", "/etc")], [entry(".wh.localetc", b"")])
            self.assertEqual(set(tree), {"etc", "etc/passwd", "etc/whitedout"})
        with self.subTest("WhiteoutSymlinkPath"):
            tree = self.tree([*BASE, symlink("localetc", "/etc")], [entry("localetc/.wh.whitedout", b"")])
            self.assertEqual(set(tree), {"etc", "etc/passwd", "localetc"})
        with self.subTest("WhiteoutDirectoryName"):
            self.tree(BASE, [entry(".wh.etc/somefile", b"non-empty")])
            self.assertEqual((self.content("etc/passwd"), self.content(".wh.etc/somefile")), (b"inside", b"non-empty"))
        with self.subTest("WhiteoutDeadSymlinkParent"):
            self.tree([*BASE, symlink("localetc", "/dne")], [entry("localetc/.wh.etc", b"")])
            self.assertEqual(self.content("etc/passwd"), b"inside")
        with self.subTest("WhiteoutRelativePath"):
            self.assertEqual(set(self.tree(BASE, [entry("dne/../.wh.etc", b"")])), set())

    def test_paths_of_umoci(self):
        prefixes = {"GarbagePrefix": "/..", "DotDotPrefix": "..", "Deep": "/../../../../../../../../.."}
        for name, prefix in prefixes.items():
            with self.subTest(f"UnpackEntrySanitiseScoping/{name}"):
                self.assertEqual(set(self.tree([entry(f"{prefix}/file", b"container")])), {"file"})
        for prefix in ("/", "/../", "/" + "../" * 15, "/./.././.././.././../", ".."):
            with self.subTest(f"UnpackEntrySymlinkScoping/{prefix}"):
                self.assertEqual(set(self.tree([symlink("link", prefix), entry("link/file", b"container")])), {"link", "file"})
        with self.subTest("UnpackEntryParentDir"):
            self.assertEqual(set(self.tree([entry("a/b/c/file", b"")])), {"a", "a/b", "a/b/c", "a/b/c/file"})

    def test_whiteouts_of_umoci_leave_the_parents_time(self):
        for path in ("rootpath", ".hiddenroot", "some/path/file", "another/path/.hiddenfile"):
            for kind in ("file", "directory"):
                with self.subTest(f"UnpackEntryWhiteout/{path}/{kind}"):
                    parent = path.rpartition("/")[0]
                    lower = [folder(parent or ".", mtime=123), *([entry(path, b"x")] if kind == "file" else
                             [folder(path), entry(f"{path}/f", b""), entry(f"{path}/.sub/f", b"")])]
                    tree = self.tree(lower, [whiteout(path)])
                    self.assertFalse([name for name in tree if name.startswith(path)])
                    if parent:
                        self.assertEqual(tree[parent]["mtime"], "1970-01-01T00:02:03.000000000Z")

    def test_opaque_whiteouts_of_umoci(self):
        bad = "../../../../../../../../../../../../etc/shadow"
        lower = [folder("d"), entry("d/file", b"1"), symlink("d/link", ".."), entry("d/fifo", type=tarfile.FIFOTYPE),
                 folder("d/dir"), entry("d/dir/file", b"1"), symlink("d/dir/verybadlink", bad), folder("d/some/dir"),
                 entry("d/some/dir/somewhere", b"1")]
        upper = {
            "EmptyDir": [], "OneLevel": [symlink("d/link", ".."), symlink("d/badlink", "./nothing")],
            "TwoLevel": [entry("d/file", b"2"), folder("d/dir"), entry("d/dir/file", b"2"), symlink("d/dir/verybadlink", bad)],
            "MissingUpperAncestor": [entry("d/some/dir/somewhere", b"2")],
            "UpperWhiteout": [whiteout("d/file"), entry("d/file", b"2")],
        }
        for name, entries in upper.items():
            for order in (lambda marker, rest: [marker, *rest], lambda marker, rest: [*rest, marker]):
                with self.subTest(f"UnpackOpaqueWhiteout/{name}"):
                    tree = self.tree(lower, order(opaque("d"), entries))
                    own = {info.name for info, _ in entries if ".wh." not in info.name}
                    parents = {"/".join(path.split("/")[:i]) for path in own for i in range(1, path.count("/") + 1)}
                    self.assertEqual(set(tree), own | parents | {"d"})


class Bombs(Judged):
    """Small files that unfold. Each must be over within seconds here, however much it promises."""

    def setUp(self):
        super().setUp()
        start = time.monotonic()
        self.addCleanup(lambda: self.assertLess(time.monotonic() - start, 300))

    def source(self, data, raw_digest="sha256:" + "0" * 64):
        """An image of one gzip layer of these bytes. The diff id is wrong, which shows at the layer's end only."""
        layout = Layout(self.folder / "source")
        layout.manifests.clear()
        layout.add_manifest([{"mediaType": LAYER + "+gzip", "digest": layout.put(data), "size": len(data)}], [raw_digest])

    def member(self, data):
        return gzip.compress(data, compresslevel=9, mtime=0)

    def fails_to_convert(self, *options, says=()):
        said = self.fails(FAILURE, "convert", *options, "oci:source", "oci:image", says=["layer 1 (sha256:", *says])
        self.assertFalse(any((self.folder / "image").rglob("*")))
        return said

    def header(self, name, size=0):
        info = tarfile.TarInfo(name)
        info.size = size
        return info.tobuf(tarfile.GNU_FORMAT)

    def test_a_file_of_64_gib_of_zeros_in_64_kib(self):
        piece = self.member(bytes(1 << 20))
        self.source(self.member(self.header("bomb", 1 << 36)) + piece * 4096)
        said = self.fails_to_convert("--virtual-size", "64M", says=['entry "bomb"'])
        self.assertIn("no free block", said)

    def test_more_bytes_than_max_size(self):
        piece = self.member(bytes(1 << 20))
        self.source(self.member(self.header("bomb", 1 << 36)) + piece * 4096)
        said = self.fails_to_convert("--max-size", "100M", says=['entry "bomb"', "more than 104857600 bytes"])
        self.assertIn("hint: if the image is to be trusted, allow more with --max-size", said)

    def test_zeros_without_end_after_the_archives_end(self):
        piece = self.member(bytes(1 << 20))
        self.source(self.member(tar_of([entry("last", b"x")])) + piece * 4096)
        self.fails_to_convert("--virtual-size", "64M", says=['after entry "last"', "more than 134217728 bytes"])

    def test_content_of_what_is_left_out_counts_too(self):
        piece = self.member(bytes(1 << 20))
        self.source(self.member(self.header(".wh..wh.plnk/1", 1 << 36)) + piece * 4096)
        self.fails_to_convert("--max-size", "100M", says=["more than 104857600 bytes"])

    def test_more_entries_than_max_entries(self):
        self.source(self.member(self.header("f") * 10_000) * 100)
        said = self.fails_to_convert("--max-entries", "30000", says=['entry "f"', "more than 30000 entries"])
        self.assertIn("hint: if the image is to be trusted, allow more with --max-entries", said)

    def test_a_billion_entries_end_at_four_million(self):
        harness.need_long()
        self.source(self.member(self.header("f") * 100_000) * 10_000)
        self.fails_to_convert("--virtual-size", "64G", says=['entry "f"', "more than 4000000 entries"])

    def test_limits_are_for_all_layers_of_an_image_together(self):
        Layout(self.folder / "source").add_image([[entry(f"{i}", b"")] for i in range(10)])
        self.dadi("convert", "--max-entries", "10", "oci:source", "oci:image")
        self.fails(FAILURE, "convert", "--max-entries", "9", "oci:source", "oci:other", says=["layer 10", 'entry "9"'])

    def test_verify_reads_archives_under_the_same_limits(self):
        Layout(self.folder / "source").add_image([[entry(f"{i}", os.urandom(100_000)) for i in range(10)]])
        self.dadi("convert", "--virtual-size", "64M", "oci:source", "oci:image")
        self.dadi("verify", "--max-entries", "10", "--max-size", "2M", "oci:source", "oci:image")
        self.fails(FAILURE, "verify", "--max-entries", "9", "oci:source", "oci:image", says=["layer 1", 'entry "9"', "--max-entries"])
        self.fails(FAILURE, "verify", "--max-size", "500K", "oci:source", "oci:image", says=["layer 1", "--max-size"])

    def test_petabytes_that_are_only_declared(self):
        self.source(self.member(self.header("vast", 1 << 50)) + self.member(bytes(1 << 20)) * 64)
        self.fails(UNSUPPORTED, "convert", "oci:source", "oci:image", says=["layer 1", 'entry "vast"', "17592186040320 at most"])
        cut = self.header("cut", 1 << 43)
        self.source(self.member(cut), digest_of(cut))
        self.fails(CORRUPT, "convert", "oci:source", "oci:image", says=["layer 1", 'entry "cut"', "cut short"])

    def test_sparse_petabytes(self):
        def sparse(size):
            return [entry("hole", b"", pax_headers={"GNU.sparse.size": str(size), "GNU.sparse.numblocks": "0"})]
        self.refused(UNSUPPORTED, [sparse(1 << 50)], "layer 1", 'entry "hole"')
        Layout(self.folder / "holes").add_image([sparse((1 << 44) - 4096)])
        self.dadi("convert", "--virtual-size", "64M", "oci:holes", "oci:sparse")
        self.dadi("check", "oci:sparse")
        self.dadi("verify", "oci:holes", "oci:sparse")

    def test_directories_as_deep_as_a_path_can_say_and_deeper(self):
        deep = "d/" * 2047
        entries = [folder(deep), *[entry(f"{deep}{i % 10}", b"") for i in range(200)]]
        self.convert(entries, size="64M")
        self.refused(UNSUPPORTED, [[folder(deep), symlink("s", "d/" * 1500), entry("s/" + "e/" * 2000 + "f", b"")]], "nested",
                     "layer 1")


if __name__ == "__main__":
    harness.main()
