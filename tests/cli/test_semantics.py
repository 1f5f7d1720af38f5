"""The semantics table (what OCI layers mean), row by row, and every kind of archive that people ship: converted, and judged
by check, verify, e2fsck and the kernel. A test is named for its row."""
import gzip
import os
import pathlib
import shutil
import stat
import struct
import subprocess
import tarfile

import harness
from harness import CORRUPT, UNSUPPORTED
from images import LAYER, Layout, device, digest_of, entry, folder, hardlink, opaque, symlink, tar_of, whiteout
from judged import Judged, mount


def names_in(top):
    """All paths below a folder, as the kernel lists them, without lost+found."""
    return {str(path.relative_to(top)) for path in pathlib.Path(top).rglob("*")} - {"lost+found"}


def xattrs_of(path):
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in os.listxattr(path, follow_symlinks=False)}


def pax(**records):
    """A pax header's records; underlines in keys stand for dots, as in GNU_sparse_size."""
    return {"pax_headers": {key.replace("_", "."): str(value) for key, value in records.items()}}


def xattr(name, value):
    return {"pax_headers": {f"SCHILY.xattr.{name}": value}}


class Table(Judged):
    """The rows of the table "OCI semantics", in its order."""

    def test_the_entry_dot_slash_gives_the_roots_metadata(self):
        top = self.mounted([folder("./", mode=0o751, uid=7, gid=8, mtime=123, **xattr("user.root", "yes")), entry("a", b"")])
        info = top.stat()
        self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid, info.st_mtime), (0o751, 7, 8, 123))
        self.assertEqual(os.getxattr(top, "user.root"), b"yes")

    def test_a_root_that_is_no_directory_is_refused(self):
        self.refused(CORRUPT, [[entry("./", b"", type=tarfile.FIFOTYPE)]], "layer 1", 'entry "./"')
        self.refused(CORRUPT, [[entry("a", b""), hardlink(".", "a")]], "layer 1", 'entry "."')

    def test_a_whiteout_hides_lower_layers_and_spares_its_own(self):
        top = self.mounted([entry("both", b"1"), entry("lower", b"1")],
                           [entry("both", b"2"), whiteout("both"), whiteout("lower"), entry("own", b"2"), whiteout("own")])
        self.assertEqual(names_in(top), {"both", "own"})
        self.assertEqual((top / "both").read_bytes(), b"2")

    def test_an_opaque_marker_spares_its_own_layers_paths_in_any_order(self):
        top = self.mounted([folder("d"), entry("d/old", b"1"), entry("d/both", b"1"), folder("d/sub"), entry("d/sub/old", b"1")],
                           [entry("d/before", b"2"), opaque("d"), entry("d/both", b"2"), entry("d/sub/after", b"2")])
        self.assertEqual(names_in(top), {"d", "d/before", "d/both", "d/sub", "d/sub/after"})

    def test_an_opaque_marker_on_a_missing_directory_makes_it(self):
        top = self.mounted([entry("a", b"")], [opaque("new/deep")])
        self.assertEqual(names_in(top), {"a", "new", "new/deep"})

    def test_whiteouts_of_no_name_are_refused(self):
        for name in (".wh.", ".wh..", ".wh..."):
            self.refused(CORRUPT, [[entry(f"d/{name}", b"")]], "layer 1", f'entry "d/{name}"')

    def test_a_parent_that_is_a_file_is_an_error(self):
        self.refused(CORRUPT, [[entry("a", b"")], [entry("a/b/c", b"")]], "layer 2", 'entry "a/b/c"', '"a" is not a directory')

    def test_a_parent_that_is_a_symlink_is_followed_inside_the_root(self):
        top = self.mounted([folder("usr"), folder("usr/bin"), symlink("bin", "usr/bin"), symlink("abs", "/usr"),
                            symlink("up", "../../../../usr/bin")],
                           [entry("bin/a", b"a"), entry("abs/b", b"b"), entry("up/c", b"c"), whiteout("abs/none")])
        self.assertEqual(names_in(top), {"usr", "usr/bin", "bin", "abs", "up", "usr/bin/a", "usr/b", "usr/bin/c"})

    def test_implicit_parents_are_roots_0755_of_1970_or_what_a_later_entry_says(self):
        top = self.mounted([entry("a/b/f", b""), folder("a/b", mode=0o700, mtime=77, uid=5)], [entry("a/c/f", b"")])
        for name, facts in {"a": (0o755, 0, 0), "a/b": (0o700, 5, 77), "a/c": (0o755, 0, 0)}.items():
            info = (top / name).stat()
            self.assertEqual((stat.S_IMODE(info.st_mode), info.st_uid, info.st_mtime), facts, name)

    def test_symlink_targets_are_verbatim(self):
        targets = {"plain": "a", "absolute": "/etc/../x//y/./", "out": "../../../../etc", "long": "t/" * 2000, "fast": "f" * 59,
                   "slow": "s" * 60, "odd": "caf\udce9\n"}
        top = self.mounted([symlink(name, target) for name, target in targets.items()])
        self.assertEqual({name: os.readlink(top / name) for name in targets}, targets)

    def test_times_are_kept_to_the_nanosecond(self):
        times = {"old": "-2147483648", "before": "-1000000000.25", "zero": "0", "now": "1700000000.123456789",
                 "y2038": "2147483648.999999999", "y2106": "4294967296.000000001", "last": "15032385535.999999999"}
        top = self.mounted([entry(name, b"", **pax(mtime=time)) for name, time in times.items()])
        for name, time in times.items():
            whole, _, fraction = time.lstrip("-").partition(".")
            nanoseconds = int(whole) * 10**9 + int(fraction.ljust(9, "0"))
            self.assertEqual((top / name).stat().st_mtime_ns, -nanoseconds if time.startswith("-") else nanoseconds, name)

    def test_times_that_ext4_cannot_hold_become_the_nearest_as_in_the_kernel(self):
        top = self.mounted([entry("ancient", b"", **pax(mtime="-62135596800.5")), entry("far", b"", **pax(mtime=2**40)),
                            entry("fine", b"")])
        self.assertIn("note: layer 1: times of 2 entries", self.converted.stderr)
        self.assertEqual((top / "ancient").stat().st_mtime, -2**31)
        self.assertEqual((top / "far").stat().st_mtime, 2**34 - 2**31 - 1)

    def test_ids_of_32_bits_from_pax_and_base_256(self):
        ids = {"uid": 2**32 - 2, "gid": 2**31 + 5}
        top = self.mounted(tar_of([entry("pax", b"", **ids)]), tar_of([entry("gnu", b"", **ids)], tarfile.GNU_FORMAT))
        for name in ("pax", "gnu"):
            self.assertEqual(((top / name).stat().st_uid, (top / name).stat().st_gid), (2**32 - 2, 2**31 + 5))
        self.refused(UNSUPPORTED, [tar_of([entry("large", b"", uid=2**32)], tarfile.GNU_FORMAT)], "layer 1", 'entry "large"')

    def test_extended_attributes_of_schily_and_libarchive(self):
        capability = struct.pack("<IIIII", 0x02000001, 0x2000, 0, 0, 0).decode()
        top = self.mounted([entry("ping", b"", **xattr("security.capability", capability)),
                            entry("b64", b"", **{"pax_headers": {"LIBARCHIVE.xattr.user.b%20c": "dGhlIHZhbHVl"}}),
                            folder("d", **xattr("trusted.overlay.x", "y")), symlink("l", "d", **xattr("security.x", "link's"))])
        self.assertEqual(xattrs_of(top / "ping"), {"security.capability": capability.encode()})
        if shutil.which("getcap"):
            said = subprocess.run(["getcap", top / "ping"], capture_output=True, text=True, check=True).stdout
            self.assertIn("cap_net_raw=ep", said)
        self.assertEqual(xattrs_of(top / "b64"), {"user.b c": b"the value"})
        self.assertEqual(xattrs_of(top / "d"), {"trusted.overlay.x": b"y"})
        self.assertEqual(xattrs_of(top / "l"), {"security.x": b"link's"})

    def test_a_hardlink_to_a_missing_target_is_an_error(self):
        self.refused(CORRUPT, [[hardlink("a", "usr/none")]], "layer 1", 'entry "a"', '"usr/none"')

    def test_the_last_of_duplicate_entries_wins(self):
        top = self.mounted([entry("f", b"first"), entry("f", b"second", mode=0o600), folder("x"), entry("x/y", b""),
                            entry("x", b"file"), entry("z", b""), symlink("z", "f"), hardlink("h", "f"), entry("f", b"third")])
        self.assertEqual(names_in(top), {"f", "x", "z", "h"})
        self.assertEqual([(top / name).read_bytes() for name in ("f", "h", "x")], [b"third", b"second", b"file"])
        self.assertEqual((top / "f").stat().st_nlink, 1)

    def test_directory_times_are_what_the_archive_last_said(self):
        top = self.mounted([folder("d", mtime=1000), entry("d/a", b"", mtime=5000)], [entry("d/b", b"", mtime=9000)],
                           [folder("e", mtime=30), folder("e", mtime=20), whiteout("d/a")])
        self.assertEqual(((top / "d").stat().st_mtime, (top / "e").stat().st_mtime), (1000, 20))


class Names(Judged):
    def test_names_of_255_bytes_and_of_any_bytes_in_every_dialect(self):
        names = ["n" * 255, "gr\u00fc\u00df", "latin-\udcfc", "new\nline", "\udcff\udcfe", "-", "...", "a b"]
        pax_names = [f"p/{name}" for name in names]
        gnu_names = [f"g/{name}" for name in names]
        top = self.mounted(tar_of([entry(name, b"p") for name in pax_names]),
                           tar_of([entry(name, b"g") for name in gnu_names], tarfile.GNU_FORMAT))
        self.assertEqual(names_in(top), {"p", "g", *pax_names, *gnu_names})

    def test_names_over_255_bytes_and_paths_over_4096_are_refused(self):
        self.refused(UNSUPPORTED, [[entry("n" * 256, b"")]], "layer 1", "a name of 256 bytes, 255 at most")
        path = "directory/" * 410
        self.refused(UNSUPPORTED, [[entry(path + "x", b"")]], "layer 1", "a path of 4101 bytes, 4096 at most")

    def test_long_paths_and_link_targets_in_pax_and_gnu_form(self):
        path = "/".join(["p" * 99] * 30)
        entries = [entry(path, b"deep"), hardlink("h", path), symlink("s", path)]
        top = self.mounted(tar_of(entries), tar_of([(entry("g/" + path, b"deep")), hardlink("gh", "g/" + path)], tarfile.GNU_FORMAT))
        self.assertEqual([(top / name).read_bytes() for name in ("h", "s", "gh")], [b"deep"] * 3)


class Files(Judged):
    def sparse(self, layer, data):
        """Expects "file" of 100,000,000 bytes with `data` at 50,000,000 and "head" in front, and holes between."""
        top = self.mounted(layer)
        info = (top / "file").stat()
        self.assertEqual(info.st_size, 100_000_000)
        self.assertLessEqual(info.st_blocks * 512, 3 * 4096)
        with open(top / "file", "rb") as file:
            self.assertEqual(file.read(6), b"head\0\0")
            file.seek(50_000_000)
            self.assertEqual(file.read(len(data) + 1), data + b"\0")

    MAP = [(0, 4), (50_000_000, 6), (100_000_000, 0)]

    def test_sparse_files_of_gnu_format_0_0_have_holes(self):
        # The same key several times: tarfile's dictionaries cannot say it.
        records = b"".join(record(key, value) for key, value in
                           [("GNU.sparse.size", 100_000_000), ("GNU.sparse.numblocks", 3),
                            *[pair for offset, size in self.MAP
                              for pair in (("GNU.sparse.offset", offset), ("GNU.sparse.numbytes", size))]])
        header, _ = entry("PaxHeader", records, type=tarfile.XHDTYPE)
        self.sparse(header.tobuf(tarfile.USTAR_FORMAT) + records.ljust(512, b"\0") +
                    tar_of([entry("file", b"headmiddle")], tarfile.USTAR_FORMAT), b"middle")

    def test_sparse_files_of_gnu_format_0_1_have_holes(self):
        text = ",".join(f"{offset},{size}" for offset, size in self.MAP)
        self.sparse([entry("GNUSparseFile.1/x", b"headmiddle", **pax(GNU_sparse_size=100_000_000, GNU_sparse_numblocks=3,
                                                                     GNU_sparse_name="file", GNU_sparse_map=text))], b"middle")

    def test_sparse_files_of_gnu_format_1_0_have_holes(self):
        text = "3\n" + "".join(f"{offset}\n{size}\n" for offset, size in self.MAP)
        content = text.encode().ljust(512, b"\0") + b"headmiddle"
        self.sparse([entry("GNUSparseFile.1/x", content, **pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_name="file",
                                                               GNU_sparse_realsize=100_000_000))], b"middle")

    def test_sparse_files_of_the_old_gnu_format_have_holes(self):
        harness.need_command("tar")
        with open(self.folder / "file", "wb") as file:
            file.write(b"head")
            file.seek(50_000_000)
            file.write(b"middle")
            file.truncate(100_000_000)
        subprocess.run(["tar", "-cSf", "old.tar", "--format=oldgnu", "file"], cwd=self.folder, check=True)
        archive = (self.folder / "old.tar").read_bytes()
        self.assertEqual(archive[156:157], b"S")
        self.sparse(archive, b"middle")

    def test_a_file_over_4_gib_with_a_hole(self):
        size = (5 << 30) + 3
        text = f"2\n0\n4\n{size - 3}\n3\n"
        content = text.encode().ljust(512, b"\0") + b"headend"
        top = self.mounted([entry("x", content, **pax(GNU_sparse_major=1, GNU_sparse_minor=0, GNU_sparse_name="large",
                                                      GNU_sparse_realsize=size))])
        self.assertEqual((top / "large").stat().st_size, size)
        with open(top / "large", "rb") as file:
            file.seek(size - 3)
            self.assertEqual(file.read(), b"end")

    def test_a_file_over_4_gib_of_data(self):
        harness.need_long()
        size = (4 << 30) + 4097
        info = tarfile.TarInfo("large")
        info.size = size
        source = self.folder / "plain.tar"
        piece = os.urandom(1 << 20)
        with open(source, "wb") as out:
            out.write(info.tobuf(tarfile.GNU_FORMAT))
            for _ in range(size >> 20):
                out.write(piece)
            out.write(piece[:size % (1 << 20)].ljust(-(-(size % (1 << 20)) // 512) * 512, b"\0") + bytes(1024))
        digest = "sha256:" + harness.sha256_of(source)
        layout = Layout(self.folder / "source")
        length = source.stat().st_size
        source.rename(layout.blob_path(digest))
        layout.add_manifest([{"mediaType": LAYER, "digest": digest, "size": length}], [digest])
        top = mount(self, self.judge("8G"))
        self.assertEqual((top / "large").stat().st_size, size)
        with open(top / "large", "rb") as file:
            for at in (0, 2 << 30, 4 << 30):
                file.seek(at)
                self.assertEqual(file.read(4097), piece[:4097])

    def test_files_in_more_than_four_extents(self):
        small = [entry(f"s{i:04}", bytes([i % 255 + 1]) * 16384) for i in range(1500)]
        holes = [whiteout(f"s{i:04}") for i in range(0, 1500, 2)]
        content = os.urandom(10 << 20)
        disk = self.convert(small, holes, [entry("large", content)], size="32M")
        self.assertEqual((mount(self, disk) / "large").read_bytes(), content)
        harness.need_command("debugfs")
        said = subprocess.run(["debugfs", "-R", "ex /large", disk], capture_output=True, text=True, check=True).stdout
        self.assertGreater(len(said.splitlines()), 100, said)

    def test_devices_and_fifos_and_no_sockets(self):
        top = self.mounted([device("null", tarfile.CHRTYPE, 1, 3, mode=0o666), device("disk", tarfile.BLKTYPE, 259, 70000),
                            device("most", tarfile.CHRTYPE, 4095, 2**20 - 1), entry("fifo", type=tarfile.FIFOTYPE)])
        self.assertEqual((top / "null").stat().st_rdev, os.makedev(1, 3))
        self.assertEqual((top / "disk").stat().st_rdev, os.makedev(259, 70000))
        self.assertEqual((top / "most").stat().st_rdev, os.makedev(4095, 2**20 - 1))
        self.assertTrue(stat.S_ISFIFO((top / "fifo").stat().st_mode))
        # No dialect of tar has a type for sockets; whatever stands there is not taken for a file.
        self.refused(UNSUPPORTED, [[entry("socket", type=b"s")]], "layer 1", 'entry "socket"')


def record(key, value):
    """One pax record."""
    rest = len(f" {key}={value}\n")
    length = rest + 1
    while len(str(length)) + rest != length:
        length = len(str(length)) + rest
    return f"{length} {key}={value}\n".encode()


class Attributes(Judged):
    def acl(self, path):
        return subprocess.run(["getfacl", "-cnp", path], capture_output=True, text=True, check=True).stdout.split()

    def test_access_lists_from_both_schily_records(self):
        harness.need_command("getfacl")
        top = self.mounted([
            folder("d", mode=0o775, pax_headers={
                "SCHILY.acl.access": "user::rwx,user:bob:r-x:1000,group::r-x,group:staff:rwx:50,mask::rwx,other::r-x",
                "SCHILY.acl.default": "user::rwx,group::r-x,group:x:rwx:3000000000,mask::rwx,other::---"}),
            entry("f", b"", mode=0o640, pax_headers={"SCHILY.acl.access": "user::rw-,group::r--,group:7:r--,mask::r--,other::---"})])
        self.assertEqual(self.acl(top / "d"), [
            "user::rwx", "user:1000:r-x", "group::r-x", "group:50:rwx", "mask::rwx", "other::r-x", "default:user::rwx",
            "default:group::r-x", "default:group:3000000000:rwx", "default:mask::rwx", "default:other::---"])
        self.assertEqual(self.acl(top / "f"), ["user::rw-", "group::r--", "group:7:r--", "mask::r--", "other::---"])

    def test_attributes_larger_than_the_inode_and_as_large_as_ext4_can(self):
        sets = {"inode": {"user.a": "x" * 60}, "block": {"user.a": "x" * 200, "security.b": "y" * 1000, "trusted.c": ""},
                "both": {"user.large": "v" * 4000, "user.small": "s" * 40}, "255": {"user." + "n" * 250: "v"}}
        top = self.mounted([entry(name, b"c", pax_headers={f"SCHILY.xattr.{key}": value for key, value in xattrs.items()})
                            for name, xattrs in sets.items()], [folder("d", **xattr("user.x", "z" * 3000))],
                           [folder("d", **xattr("user.x", "w" * 3000))])
        for name, xattrs in {**sets, "d": {"user.x": "w" * 3000}}.items():
            self.assertEqual(xattrs_of(top / name), {key: value.encode() for key, value in xattrs.items()}, name)

    def test_attributes_that_ext4_cannot_hold_are_refused(self):
        for headers in ({"SCHILY.xattr.user.a": "v" * 4100}, {f"SCHILY.xattr.user.{i}": "v" * 300 for i in range(14)},
                        {"SCHILY.xattr.btrfs.x": "v"}, {"SCHILY.xattr.user." + "n" * 256: "v"}):
            self.refused(UNSUPPORTED, [[entry("fine", b""), entry("usr/odd", b"", pax_headers=headers)]], "layer 1",
                         'entry "usr/odd"')


class Links(Judged):
    def test_hardlinked_symlinks_devices_and_fifos(self):
        top = self.mounted([symlink("l", "t" * 100), hardlink("l2", "l"), device("c", tarfile.CHRTYPE, 1, 3), hardlink("c2", "c"),
                            entry("p", type=tarfile.FIFOTYPE)], [hardlink("p2", "p"), hardlink("l3", "l2")])
        for names in (("l", "l2", "l3"), ("c", "c2"), ("p", "p2")):
            infos = [(top / name).lstat() for name in names]
            self.assertEqual(len({info.st_ino for info in infos}), 1)
            self.assertEqual({info.st_nlink for info in infos}, {len(names)})
        self.assertEqual(os.readlink(top / "l3"), "t" * 100)

    def test_65000_links_and_no_more(self):
        links = [entry("f", b"x"), *[hardlink(f"l{i}", "f") for i in range(1, 65000)]]
        disk = self.convert(links)
        self.assertEqual((mount(self, disk) / "l64999").stat().st_nlink, 65000)
        self.refused(UNSUPPORTED, [[*links, hardlink("one-more", "f")]], "layer 1", 'entry "one-more"', "65000 links")


class Directories(Judged):
    def test_a_directory_of_100000_entries_is_a_tree_of_two_levels_and_the_same_each_time(self):
        count = 100_000 if os.environ.get("DADI_LONG") else 30_000
        # Every name is long in the slice: as many blocks as the large one has.
        pad = "" if os.environ.get("DADI_LONG") else "-" * 100
        entries = [entry(f"d/entry-{i:06}{pad}", b"") for i in range(count)]
        disk = self.convert(entries, [entry(f"d/more-{i}", b"") for i in range(100)], size="2G")
        first = harness.sparse_digest(disk)
        if shutil.which("debugfs"):
            said = subprocess.run(["debugfs", "-R", "htree_dump /d", disk], capture_output=True, text=True, check=True).stdout
            self.assertIn("Indirect levels: 1", said)
        top = mount(self, disk)
        self.assertEqual(len(os.listdir(top / "d")), count + 100)
        for i in (0, 1, count // 2, count - 1):  # each is looked up through the tree
            self.assertTrue((top / f"d/entry-{i:06}{pad}").exists())
        (self.folder / "other").mkdir()
        self.dadi("convert", "-j", "3", "--virtual-size", "2G", "oci:../source", "oci:image", cwd=self.folder / "other")
        self.dadi("export", "oci:other/image", "again")
        self.assertEqual(harness.sparse_digest(self.folder / "again"), first)


class Layers(Judged):
    def test_an_entry_added_and_deleted_in_one_layer_stays(self):
        top = self.mounted([folder("d"), entry("d/a", b"")], [entry("d/x", b"new"), whiteout("d/x"), entry("d/y/z", b""), whiteout("d")])
        self.assertEqual(names_in(top), {"d", "d/x", "d/y", "d/y/z"})

    def test_a_layer_that_deletes_everything(self):
        lower = [folder("a"), entry("a/f", os.urandom(100_000)), entry("b", b""), hardlink("c", "a/f"),
                 folder("deep/er", **xattr("user.x", "v" * 2000)), symlink("s", "l" * 300)]
        top = self.mounted(lower, [whiteout(name) for name in ("a", "b", "c", "deep", "s")])
        self.assertEqual(names_in(top), set())

    def test_a_root_made_opaque_deletes_everything_and_spares_its_own(self):
        top = self.mounted([folder("a"), entry("a/f", b"1"), entry("b", b"1")], [entry(".wh..wh..opq", b""), entry("new", b"2")])
        self.assertEqual(names_in(top), {"new"})

    def test_empty_layers_at_the_bottom_between_and_on_top(self):
        top = self.mounted([], [entry("a", b"")], b"", [], [entry("b", b"")], bytes(1024))
        self.assertEqual(names_in(top), {"a", "b"})

    def compressed(self, raw, data, kind):
        layout = Layout(self.folder / "source")
        layout.add_manifest([{"mediaType": LAYER + kind, "digest": layout.put(data), "size": len(data)}], [digest_of(raw)])
        return mount(self, self.judge())

    def test_gzip_of_several_members(self):
        raw = tar_of([entry("a", b"a" * 3000), entry("b", os.urandom(50_000))])
        cuts = [0, 1, 700, 700, 30_000, len(raw)]
        data = b"".join(gzip.compress(raw[start:end]) for start, end in zip(cuts, cuts[1:]))
        self.assertEqual(names_in(self.compressed(raw, data, "+gzip")), {"a", "b"})

    def test_zstd_of_several_frames(self):
        harness.need_command("zstd")
        raw = tar_of([entry("a", b"a" * 3000), entry("b", os.urandom(50_000))])
        frames = [subprocess.run(["zstd", "-c", *options], input=part, capture_output=True, check=True).stdout
                  for part, options in ((raw[:700], ()), (raw[700:700], ()), (raw[700:], ("--no-check", "-19")))]
        skippable = struct.pack("<II", 0x184D2A53, 5) + b"notes"
        self.assertEqual(names_in(self.compressed(raw, skippable.join(frames), "+zstd")), {"a", "b"})

    def test_garbage_after_the_archives_end_is_overlooked(self):
        raw = tar_of([entry("a", b"1")]) + os.urandom(3000) + tar_of([entry("b", b"2")])
        self.assertEqual(names_in(self.mounted(raw)), {"a"})

    def test_numbers_in_base_256(self):
        info, _ = entry("negative", b"", mtime=-86400)
        self.assertEqual((self.mounted(tar_of([(info, b"")], tarfile.GNU_FORMAT)) / "negative").stat().st_mtime, -86400)


if __name__ == "__main__":
    harness.main()
