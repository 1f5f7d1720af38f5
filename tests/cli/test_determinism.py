"""That the converted bytes depend on input and options alone: not on threads, places, languages, memory or the build.

DADI_OTHER is how to run another build, whose bytes must be the same: "qemu-aarch64-static -L ROOT build/arm64/bin/dadi".
DADI_IMAGES are references of more images that the two are compared on. scripts/test-arm64 sets both.
"""
import glob
import gzip
import os
import pathlib
import shlex
import shutil
import subprocess
import tarfile
import tempfile
import unittest

import harness
from images import (Layout, device, entry, folder, hardlink, opaque, read_manifest, small_debian, symlink, tar_of,
                    whiteout)

COMPRESSIONS = (["--compression", "lz4"], ["--compression", "zstd", "--block-size", "16K"])


def raw(name):
    """A name of any bytes, as tarfile takes it."""
    return name.decode("utf-8", "surrogateescape")


def many(numbers, content):
    """Entries of a directory that needs an index of hashes, over bytes that are negative where char is signed."""
    return [entry(raw(b"many/%05d-\xe9\xa0\xff" % i + b"x" * 60), content) for i in numbers]


def nasty_layers():
    """Layers with what could depend on a locale, on the order of a hash table, or on memory that nobody wrote to."""
    names = [
        folder("names/"), entry(raw(b"names/\xb3\xf3d\xbc"), b"latin 2"), entry("names/łódź", b"composed"),
        entry("names/o\u0301", b"decomposed"), entry(raw(b"names/\xff\xfe\x80"), b"no text"), entry("names/I", b""),
        entry("names/i", b""), entry("names/ı", b""), entry("n" * 255, b"long"), symlink("names/slow", "x/" * 100),
        symlink("names/link", raw(b"\xb3\xf3d\xbc")), entry("names/owner", b"", uname=raw(b"\xb1"), gname="ż", gid=2**31),
    ]
    acl = "user::rwx,user:1000:r-x,group::r-x,mask::rwx,other::---"
    block = {f"SCHILY.xattr.user.{i}": str(i) * 150 for i in range(9)}  # more than the inode has room for
    attributes = [
        entry("attributes", b"in the inode", pax_headers={"SCHILY.xattr.user.small": "\x01\x02", "mtime": "-1.25"}),
        entry("attributes.block", b"", pax_headers=block), entry("attributes.shared", b"", pax_headers=block),
        folder("acl", pax_headers={"SCHILY.acl.access": acl, "SCHILY.acl.default": acl}),
        device("null", tarfile.CHRTYPE, 1, 3), entry("pipe", type=tarfile.FIFOTYPE),
    ]
    content = [folder("content"), entry("content/zeros", bytes(1 << 20)), entry("content/tail", b"t" * 4097),
               entry("content/mixed", b"".join(bytes(8192) + b"%d" % i * 700 for i in range(400)))]
    changed = [whiteout("etc/motd"), opaque("names"), entry(raw(b"names/\xb3\xf3d\xbc"), b"again"),
               hardlink("content/link", "content/tail"), folder("content/mixed"), entry("attributes", b"none now"),
               *(whiteout(info.name) for info, _ in many(range(0, 4000, 3), None)), *many(range(5000, 7000), b"new")]
    return [small_debian()[0] + names + attributes,
            tar_of(names + content + many(range(4000), b"old"), format=tarfile.GNU_FORMAT),  # names without an encoding
            changed, [], [whiteout("many"), opaque("content")], small_debian()[1] + many(range(50), b"last")]


def golden_layers():
    return [gzip.decompress((harness.GOLDEN / f"layers/layer{i}.tgz").read_bytes()) for i in (0, 1)]


class Conversions(harness.Test):
    """One image, converted again and again: each time into a folder of its own."""

    @classmethod
    def setUpClass(cls):
        cls.place = pathlib.Path(tempfile.mkdtemp(prefix="dadi-test-"))
        cls.addClassCleanup(shutil.rmtree, cls.place, ignore_errors=True)
        Layout(cls.place / "source").add_image(nasty_layers())
        cls.source = f"oci:{cls.place}/source"
        cls.expected = None

    def setUp(self):
        super().setUp()
        if self.expected is None:
            type(self).expected = self.layers("first", self.source)
            self.dadi("verify", self.source, "oci:first")
        self.assertEqual(len(self.expected), 6)

    def layers(self, name, source, *arguments, cwd=None, prefix=(), umask=-1, **changes):
        """The digests of the layers that a conversion into the folder `name` gives. `changes` are to the environment."""
        run = self.dadi("convert", *arguments, source, f"oci:{self.folder}/{name}", prefix=prefix, cwd=cwd,
                        umask=umask, env=harness.environment(**changes))
        manifest, descriptor = read_manifest(self.folder / name)
        self.assertEqual(run.text.strip(), descriptor["digest"])
        return [layer["digest"] for layer in manifest["layers"]]

    def same(self, what, *arguments, **changes):
        with self.subTest(what):
            name = f"{self.id().rpartition('.')[2]} {''.join(c if c.isalnum() else '_' for c in what)}"
            self.assertEqual(self.layers(name, self.source, *arguments, **changes), self.expected)


class Determinism(Conversions):
    def test_threads_change_nothing(self):
        for threads in (1, 2, 16):
            self.same(f"-j {threads}", "-j", threads)

    def test_how_far_layers_are_apart_changes_nothing(self):
        """Small layers overtake a large one: planned, and even complete, while that is still being compressed."""
        Layout(self.folder / "source").add_image(
            [[entry(f"layer{i}", os.urandom(3000) * (5000 if i % 8 == 0 else 1))] for i in range(20)])
        source = f"oci:{self.folder}/source"
        expected = self.layers("one", source, "-j", "1", *COMPRESSIONS[1])
        self.assertEqual(len(set(expected)), 20)
        for threads in (2, 16):
            self.assertEqual(self.layers(f"with {threads}", source, "-j", threads, *COMPRESSIONS[1]), expected)
        self.dadi("verify", source, "oci:one")

    def test_folders_umask_and_user_settings_change_nothing(self):
        self.same("the root folder", cwd="/")
        self.same("no folders to speak of", HOME=None, TMPDIR=None, XDG_CACHE_HOME=None, PATH="/nonexistent", USER=None)
        for umask in (0, 0o077):
            self.same(f"umask {umask:03o}", umask=umask)

    def test_time_and_its_zone_change_nothing(self):
        for zone in ("Asia/Kathmandu", "America/St_Johns", "XYZ-13:37:11"):
            self.same(zone, TZ=zone)
        self.same("years ago", E2FSPROGS_FAKE_TIME="1", SOURCE_DATE_EPOCH="1")

    def test_languages_change_nothing(self):
        harness.need_command("localedef")
        self.same("C", LC_ALL="C")
        self.same("C.UTF-8", LC_ALL="C.UTF-8")
        self.same("none that is installed", LC_ALL="tlh_KX.KOI-7", LOCPATH="/nonexistent")
        for language, encoding in (("pl_PL", "ISO-8859-2"), ("tr_TR", "UTF-8"), ("ja_JP", "EUC-JP")):
            name = f"{language}.{encoding}"
            (self.folder / "locales").mkdir(exist_ok=True)
            subprocess.run(["localedef", "--no-archive", "-i", language, "-f", encoding, self.folder / "locales" / name],
                           check=True, capture_output=True)
            self.same(name, LC_ALL=name, LANG=name, LOCPATH=str(self.folder / "locales"))

    def test_the_state_of_memory_changes_nothing(self):
        for fill in ("90", "165"):  # what malloc writes over memory that it gives and takes back
            self.same(f"filled with {fill}", MALLOC_PERTURB_=fill, MALLOC_ARENA_MAX="1")
        self.same("from the kernel", GLIBC_TUNABLES="glibc.malloc.mmap_threshold=4096:glibc.malloc.tcache_count=0")
        if subprocess.run(["setarch", "-R", "true"], check=False, capture_output=True).returncode == 0:
            self.same("at fixed addresses", prefix=["setarch", "-R"])

    def test_another_allocator_changes_nothing(self):
        binary = pathlib.Path(harness.BINARY).read_bytes()
        if b"__asan_init" in binary or b"__tsan_init" in binary:
            self.skipTest("a sanitizer is an allocator of its own")
        found = glob.glob("/usr/lib/*/libjemalloc.so.2")
        if not found:
            self.skipTest("libjemalloc2 is not installed")
        self.same("jemalloc", LD_PRELOAD=found[0], MALLOC_CONF="junk:true")

    def test_a_rerun_into_the_same_layout_changes_no_file(self):
        def files():
            return {path.relative_to(self.folder): (path.stat().st_ino, harness.sha256_of(path))
                    for path in sorted((self.folder / "again").rglob("*")) if path.is_file()}
        self.same("once")
        self.layers("again", self.source)
        before = files()
        self.layers("again", self.source)
        self.assertEqual(files(), before)


@unittest.skipUnless(os.environ.get("DADI_OTHER"), "DADI_OTHER names no other build: scripts/test-arm64")
class OtherBuild(Conversions):
    def both(self, source):
        for options in COMPRESSIONS:
            with self.subTest(source, options=options):
                shutil.rmtree(self.folder, ignore_errors=True)
                self.folder.mkdir()
                one = self.layers("one", source, *options)
                other = f"oci:{self.folder}/other"
                run = subprocess.run([*shlex.split(os.environ["DADI_OTHER"]), "convert", *options, source, other],
                                     check=False, capture_output=True, text=True, cwd=harness.REPOSITORY)
                self.assertEqual(run.returncode, 0, run.stderr)
                manifest, descriptor = read_manifest(self.folder / "other")
                self.assertEqual([layer["digest"] for layer in manifest["layers"]], one)
                self.assertEqual(descriptor["digest"], read_manifest(self.folder / "one")[1]["digest"])
                self.dadi("verify", source, "oci:other")

    def test_another_build_gives_the_same_bytes(self):
        self.both(self.source)

    def test_another_build_gives_the_same_bytes_for_the_golden_layers(self):
        harness.need(harness.GOLDEN)
        golden = self.place / "golden"
        Layout(golden).add_image(golden_layers())
        self.both(f"oci:{golden}")

    def test_another_build_gives_the_same_bytes_for_images_that_were_named(self):
        images = shlex.split(os.environ.get("DADI_IMAGES", ""))
        if not images:
            self.skipTest("DADI_IMAGES names none")
        for image in images:
            self.both(image)


if __name__ == "__main__":
    harness.main()
