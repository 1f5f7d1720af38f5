"""dadi serve --writable: what NBD clients write is there later, and on top of that image alone."""
import json
import os
import pathlib
import shutil
import signal
import subprocess
import unittest

import harness
from harness import BUSY, USAGE
from images import Layout, entry
from serving import ServeTest

FORMS = ("append", "sparse")


class Writable(ServeTest):
    def serve_writable(self, form="append", *arguments, folder="changes"):
        return self.serve(f"--writable={folder}", "--writable-form", form, *arguments)

    def test_what_fio_writes_it_reads_back_now_and_after_a_restart(self):
        harness.need_command("fio")
        for form in FORMS:
            with self.subTest(form):
                server = self.serve_writable(form, folder=form)
                job = ["fio", "--name=j", "--ioengine=nbd", f"--uri={server.uri}", "--rw=randwrite", "--size=64M",
                       "--bssplit=512/10:4k/70:64k/20", "--blockalign=512", "--iodepth=16", "--fsync=64", "--io_size=24M",
                       "--randrepeat=1", "--norandommap=0", "--verify=crc32c", "--minimal"]
                self.run_tool(*job, "--do_verify=1")
                self.run_tool("nbdcopy", server.uri, "before")
                server.stop()
                server = self.serve_writable(form, folder=form)
                self.run_tool("nbdcopy", server.uri, "after")
                self.run_tool("cmp", "before", "after")
                self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, "before")
                self.assertEqual(server.said(), "")
                server.stop()
                # Where nothing was written there is the image.
                self.assertEqual((self.folder / "after").read_bytes()[64 << 20:],
                                 self.device().read_bytes()[64 << 20:])

    def test_what_was_flushed_survives_kill_9(self):
        for form in FORMS:
            with self.subTest(form):
                server = self.serve_writable(form, folder=form)
                self.nbdsh(server.uri, """
h.connect_uri(uri)
assert not h.is_read_only() and h.can_flush() and h.can_fua() and h.can_trim() and h.can_zero()
for i in range(300):
    h.pwrite(bytes([i % 255 + 1]) * 4096, i * 8192, nbd.CMD_FLAG_FUA if i % 50 == 49 else 0)
h.zero(1 << 20, 32 << 20)
h.trim(1 << 20, 64 << 20)
h.pwrite(b'half' * 128, (64 << 20) + 512)
h.flush()
h.pwrite(b'x' * 4096, 48 << 20)
""")
                server.stop(signal.SIGKILL, -signal.SIGKILL)
                server = self.serve_writable(form, folder=form)
                self.nbdsh(server.uri, """
h.connect_uri(uri)
for i in range(300):
    assert bytes(h.pread(4096, i * 8192)) == bytes([i % 255 + 1]) * 4096, i
    assert bytes(h.pread(4096, i * 8192 + 4096)) == disk[i * 8192 + 4096:(i + 1) * 8192], i
assert bytes(h.pread(1 << 20, 32 << 20)) == bytes(1 << 20)
assert bytes(h.pread(1 << 20, 64 << 20)) == bytes(512) + b'half' * 128 + bytes((1 << 20) - 1024)
assert bytes(h.pread(4096, 48 << 20)) in (b'x' * 4096, disk[48 << 20:(48 << 20) + 4096])
""")
                server.stop()

    def test_small_flushes_are_in_a_file_of_their_own_until_the_layer_is_closed(self):
        folder, early = self.folder / "changes", self.folder / "early"
        server = self.serve_writable()
        self.nbdsh(server.uri, f"""
import shutil
h.connect_uri(uri)
for i in range(250):
    h.pwrite(bytes([i % 255 + 1]) * 4096, i * 8192, nbd.CMD_FLAG_FUA)
    if i == 150:
        h.pwrite(b'l' * (1 << 20), 64 << 20, nbd.CMD_FLAG_FUA)
        # As it is on the disk until so much is flushed again, if nothing but what is synced gets there.
        shutil.copytree({str(folder)!r}, {str(early)!r})
h.trim(1 << 16, 0)
h.zero(4096, 1 << 20, nbd.CMD_FLAG_FUA)
""")
        self.run_tool("nbdcopy", server.uri, "served")
        server.stop(signal.SIGKILL, -signal.SIGKILL)
        self.assertTrue((folder / "writable_flushes").exists())
        self.assertGreater((folder / "writable_data").stat().st_size, (early / "writable_data").stat().st_size)
        # The two files that others know have all of it, too, since the system went on.
        self.assert_holds("served", folder, "killed")
        shutil.copytree(folder, self.folder / "alone")
        (self.folder / "alone/writable_flushes").unlink()
        self.assert_holds("served", self.folder / "alone", "alone")
        # Had power gone, there would be what was there early, and the third file.
        shutil.copy(folder / "writable_flushes", early)
        self.assert_holds("served", early, "early")
        server = self.serve_writable(folder="early")
        self.assertEqual(server.said(), "")
        self.run_tool("nbdcopy", server.uri, "after")
        self.run_tool("cmp", "served", "after")
        server.stop()
        self.assertFalse((early / "writable_flushes").exists())
        self.assert_holds("served", early, "closed")

    def assert_holds(self, expected, folder, name):
        """That a config file with the folder's layer on top is this device."""
        read = lambda digest: self.folder / "image/blobs/sha256" / digest.removeprefix("sha256:")
        [manifest] = json.loads((self.folder / "image/index.json").read_text())["manifests"]
        lowers = [{"file": str(read(layer["digest"]))}
                  for layer in json.loads(read(manifest["digest"]).read_text())["layers"]]
        upper = {"data": str(folder / "writable_data"), "index": str(folder / "writable_index")}
        (self.folder / "config.json").write_text(json.dumps({"lowers": lowers, "upper": upper}))
        self.dadi("export", "config:config.json", f"exported-{name}")
        self.run_tool("cmp", expected, f"exported-{name}")

    def test_files_are_those_that_a_config_file_names(self):
        for form in FORMS:
            with self.subTest(form):
                server = self.serve_writable(form, folder=form)
                self.nbdsh(server.uri, "h.connect_uri(uri)\nh.trim(1 << 20, 0)\nh.pwrite(b'y' * 65536, 4096 * 1000)\nh.flush()\n")
                self.run_tool("nbdcopy", server.uri, "served")
                server.stop()
                self.assert_holds("served", self.folder / form, form)

    def test_a_layer_without_a_name_is_gone_at_the_end(self):
        temporary = self.folder / "tmp"
        temporary.mkdir()
        server = self.serve("--writable", env={**harness.environment(), "TMPDIR": str(temporary)})
        self.nbdsh(server.uri, "h.connect_uri(uri)\nh.pwrite(b'z' * 4096, 0)\nassert bytes(h.pread(4096, 0)) == b'z' * 4096\n")
        self.assertEqual(len(list(temporary.glob("dadi-writable-*"))), 1)
        server.stop()
        self.assertEqual(list(temporary.glob("dadi-writable-*")), [])

    def test_a_full_layer_is_no_space_and_keeps_what_was_flushed(self):
        server = self.serve_writable("append", "--writable-size", "1M")
        self.nbdsh(server.uri, """
h.connect_uri(uri)
h.pwrite(b'a' * 524288, 0)
h.flush()
try:
    h.pwrite(b'b' * 1048576, 0)
    raise AssertionError('more than there is room for')
except nbd.Error as error:
    assert error.errnum == errno.ENOSPC, error
for i in range(20):  # over and over, what was there first makes room
    h.pwrite(bytes([i + 1]) * 262144, 0)
h.flush()
assert bytes(h.pread(524288, 0)) == bytes([20]) * 262144 + b'a' * 262144
""")

    def test_it_belongs_to_its_image_and_to_one_server(self):
        server = self.serve_writable()
        self.assertIn("in use", self.dadi("serve", "--writable=changes", "oci:image", status=BUSY).stderr)
        server.stop()
        Layout(self.folder / "source2").add_image([[entry("other", b"other")]])
        self.dadi("convert", "--virtual-size", "256M", "oci:source2", "oci:other")
        refused = self.dadi("serve", "--writable=changes", "oci:other", status=USAGE)
        self.assertIn("on top of", refused.stderr)
        self.dadi("serve", "--writable-size", "1M", "oci:image", status=USAGE)

    @unittest.skipUnless(os.geteuid() == 0, "mounts")
    def test_a_file_system_that_is_written_through_a_mount_is_sound(self):
        for tool in ("nbdfuse", "e2fsck", "mount"):
            harness.need_command(tool)
        if not pathlib.Path("/dev/fuse").exists():
            self.skipTest("no FUSE here")
        server = self.serve_writable()
        point = self.folder / "point"
        point.mkdir()
        (self.folder / "device").touch()
        fuse = subprocess.Popen(["nbdfuse", str(self.folder / "device"), server.uri], stderr=subprocess.DEVNULL)
        try:
            while (self.folder / "device").stat().st_size == 0:
                self.assertIsNone(fuse.poll())
            self.run_tool("mount", "-o", "loop", self.folder / "device", point)
            try:
                for i in range(50):
                    (point / f"new{i}").write_bytes(os.urandom(20000) + b"%d" % i)
                (point / "etc/hostname").write_bytes(b"changed\n")
                (point / "srv/text").unlink()
                kept = {path.name: path.read_bytes() for path in point.glob("new*")}
            finally:
                self.run_tool("umount", point)
        finally:
            subprocess.run(["umount", self.folder / "device"], check=False, capture_output=True)
            fuse.wait(timeout=60)
        server.stop()
        server = self.serve_writable()
        self.run_tool("nbdcopy", server.uri, "disk-after")
        self.run_tool("e2fsck", "-fn", "disk-after")
        self.run_tool("mount", "-o", "loop,ro", self.folder / "disk-after", point)
        try:
            self.assertEqual({path.name: path.read_bytes() for path in point.glob("new*")}, kept)
            self.assertEqual((point / "etc/hostname").read_bytes(), b"changed\n")
            self.assertFalse((point / "srv/text").exists())
            self.assertEqual((point / "srv/0").read_bytes(), b"0\n")
        finally:
            self.run_tool("umount", point)


if __name__ == "__main__":
    harness.main()
