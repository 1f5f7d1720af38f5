"""Peak memory of convert and verify: at most 256 MiB up to 200,000 entries, and 1 KiB an entry beyond for convert, whatever their shape."""
import hashlib
import shutil
import subprocess

import harness
from images import LAYER, Layout

KIB_FOR_200000 = 256 << 10


def header(name, kind=b"0", size=0, target=b""):
    """One ustar header, written fast: there are millions."""
    block = bytearray(512)
    block[0:len(name)] = name
    block[100:148] = b"0000644\0" b"0000000\0" b"0000000\0" b"%011o\0" b"14524735400\0" % size
    block[148:157] = b" " * 8 + kind
    block[157:157 + len(target)] = target
    block[257:265] = b"ustar\x0000"
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(key, value):
    rest = len(key) + len(value) + 3
    length = rest + 1
    while len(str(length)) + rest != length:
        length = len(str(length)) + rest
    body = b"%d %s=%s\n" % (length, key, value)
    return header(b"PaxHeader", b"x", len(body)) + body + bytes(-len(body) % 512)


def one_directory(i):
    return header(b"d/a-file-number-%07d" % i)


def small_files(i):
    return header(b"usr/lib/dir%05d/file-%07d.py" % (i // 50, i), size=1) + b"x" + bytes(511)


def deep_tree(i):
    return header(b"/".join(b"%x" % (i // 16 >> 4 * level & 15) for level in range(6, -1, -1)) + b"/f%x" % i)


def directories(i):
    return header(b"t/%04d/dir-%07d/" % (i // 1000, i), b"5")


def small_attributes(i):
    return pax(b"SCHILY.xattr.user.label", b"a label of file %07d" % i) + header(b"x/%05d/file-%07d" % (i // 100, i))


def large_attributes(i):
    return pax(b"SCHILY.xattr.user.label", b"%07d" % i * 60) + header(b"x/%05d/file-%07d" % (i // 100, i))


def hardlinks(i):
    target = b"h/%05d/target" % (i // 1000)
    return header(target) if i % 1000 == 0 else header(b"h/%05d/link-to-it-%07d" % (i // 1000, i), b"1", 0, target)


def symlinks(i):
    return header(b"s/%05d/link-%07d" % (i // 100, i), b"2", 0, b"../../" + b"somewhere/else/" * 5 + b"%07d" % i)


def long_names(i):
    path = b"l/%05d/" % (i // 100) + b"n" * 240 + b"%07d" % i
    return pax(b"path", path) + header(path[:100])


SHAPES = [one_directory, small_files, deep_tree, directories, small_attributes, large_attributes, hardlinks, symlinks, long_names]


class Memory(harness.Test):
    def setUp(self):
        super().setUp()
        harness.need_command("time")
        if harness.is_sanitized():
            self.skipTest("a sanitizer's memory is not dadi's")

    def source(self, shape, count):
        """An image of one layer with so many entries, uncompressed."""
        source = self.folder / f"source-{count}"
        layout, archive, digest = Layout(source), self.folder / "layer", hashlib.sha256()
        with open(archive, "wb") as out:
            for start in range(0, count, 10_000):
                piece = b"".join(shape(i) for i in range(start, min(count, start + 10_000)))
                digest.update(piece)
                out.write(piece)
            digest.update(bytes(1024))
            out.write(bytes(1024))
        size = archive.stat().st_size
        name = "sha256:" + digest.hexdigest()
        archive.rename(layout.blob_path(name))
        layout.add_manifest([{"mediaType": LAYER, "digest": name, "size": size}], [name])
        return source

    def peak(self, shape, count, command="convert"):
        """The most memory that dadi had, in KiB; `verify` needs what `convert` made."""
        source = self.source(shape, count) if command == "convert" else self.folder / f"source-{count}"
        # Not by wait4 from here: a child's peak counts this program's own memory until it became another program.
        run = subprocess.run(["time", "-f", "%M", "-o", self.folder / "peak", harness.BINARY, command, f"oci:{source}",
                              f"oci:{source}-image"], capture_output=True, text=True, check=False, env=harness.environment())
        self.assertEqual(run.returncode, 0, run.stderr)
        return int((self.folder / "peak").read_text())

    def test_an_entry_takes_less_than_1_kib(self):
        for shape in (one_directory, directories, large_attributes, symlinks):
            with self.subTest(shape.__name__):
                for command in ("convert", "verify"):
                    # What threads have in hand differs by a MiB from run to run.
                    more = self.peak(shape, 60_000, command) - self.peak(shape, 20_000, command)
                    self.assertLessEqual(more, 40_000, command)

    def test_200000_entries_fit_into_256_mib(self):
        harness.need_long()
        for shape in SHAPES:
            with self.subTest(shape.__name__):
                self.assertLessEqual(self.peak(shape, 200_000), KIB_FOR_200000)
                self.assertLessEqual(self.peak(shape, 200_000, "verify"), KIB_FOR_200000)

    def test_millions_of_entries_take_less_than_1_kib_each(self):
        harness.need_long()
        for shape, count in [*[(shape, 1_000_000) for shape in SHAPES[:-1]], (one_directory, 4_000_000), (small_files, 4_000_000)]:
            with self.subTest(f"{count} {shape.__name__}"):
                self.assertLessEqual(self.peak(shape, count), KIB_FOR_200000 + count - 200_000)
                shutil.rmtree(self.folder / f"source-{count}")
                shutil.rmtree(self.folder / f"source-{count}-image")


if __name__ == "__main__":
    harness.main()
