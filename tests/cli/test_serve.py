"""dadi serve, as other people's NBD clients and service managers see it."""
import hashlib
import json
import os
import pathlib
import select
import signal
import socket
import subprocess
import sys
import time

import harness
from harness import BUSY, NOT_FOUND, USAGE
from serving import ServeTest
from test_mount import mount, tree_of


class Clients(ServeTest):
    def test_nbdinfo_sees_what_the_export_can_do(self):
        server = self.serve("--export-name", "os")
        facts = json.loads(self.run_tool("nbdinfo", "--json", server.uri).stdout)
        self.assertEqual((facts["protocol"], facts["structured"], facts["TLS"]), ("newstyle-fixed", True, False))
        [export] = facts["exports"]
        self.assertEqual(export["export-name"], "os")
        self.assertEqual(export["export-size"], 256 << 20)
        self.assertEqual(export["contexts"], ["base:allocation"])
        expected = {"is_read_only": True, "can_df": True, "can_multi_conn": True, "can_cache": True, "can_flush": False,
                    "can_fua": False, "can_trim": False, "can_zero": False, "is_rotational": False,
                    "block_size_minimum": 1, "block_size_preferred": 4096, "block_size_maximum": 32 << 20}
        self.assertEqual({name: export[name] for name in expected}, expected)
        listed = json.loads(self.run_tool("nbdinfo", "--list", "--json", server.uri.replace("/os?", "/?")).stdout)
        self.assertEqual([each["export-name"] for each in listed["exports"]], ["os"])

    def test_nbdinfo_maps_all_of_the_device_and_what_is_no_data_is_zeros(self):
        extents = json.loads(self.run_tool("nbdinfo", "--map", "--json", self.serve().uri).stdout)
        disk, at, kinds = self.device().read_bytes(), 0, set()
        for extent in extents:
            self.assertEqual(extent["offset"], at)
            at += extent["length"]
            kinds.add(extent["type"])
            if extent["type"] != 0:
                self.assertFalse(disk[extent["offset"]:at].strip(b"\0"), extent)
        self.assertEqual(at, len(disk))
        self.assertGreaterEqual(kinds, {0, 3})

    def test_nbdcopy_of_all_is_what_export_writes(self):
        server = self.serve()
        for options in ([], ["--connections=4", "--requests=64"], ["--synchronous", "--no-extents"]):
            self.run_tool("nbdcopy", *options, server.uri, "copy")
            self.run_tool("cmp", "copy", self.device())
            (self.folder / "copy").unlink()

    def test_qemu_img_copies_and_compares(self):
        server = self.serve()
        self.run_tool("qemu-img", "compare", "-f", "raw", "-F", "raw", server.uri, self.device())
        self.run_tool("qemu-img", "convert", "-f", "raw", "-O", "qcow2", server.uri, "copy.qcow2")
        self.run_tool("qemu-img", "compare", "-F", "raw", "copy.qcow2", self.device())

    def test_qemu_io_reads_at_random_and_may_not_write(self):
        server = self.serve()
        disk = self.device()
        for offset, size in ((0, 512), (1024, 4096), (1 << 20, 1 << 20), (12345 * 512, 100 * 512)):
            commands = ["-c", f"read -v {offset} {size}"]
            reads = [self.run_tool("qemu-io", "-r", "-f", "raw", *commands, where).stdout.split("\nread ")[0]
                     for where in (server.uri, disk)]
            self.assertEqual(reads[0], reads[1])
        self.assertNotEqual(self.run_tool("qemu-io", "-f", "raw", "-c", "write 0 512", server.uri, status=None).returncode, 0)

    def test_each_feature_of_the_protocol_with_libnbd(self):
        self.nbdsh(self.serve().uri, """
h.set_strict_mode(0)
h.add_meta_context('base:allocation')
h.connect_uri(uri)
assert h.get_size() == len(disk) and h.is_read_only() and h.get_structured_replies_negotiated()
for size, offset in ((1, 0), (511, 1025), (4096, 1024), (65537, 3), (1 << 20, 1 << 20), (32 << 20, 0)):
    assert bytes(h.pread(size, offset)) == disk[offset:offset + size], (size, offset)

chunks = []
def chunk(data, offset, status, error):
    chunks.append((offset, len(data), status))
h.pread_structured(8 << 20, 0, chunk)
assert {status for _, _, status in chunks} >= {nbd.READ_DATA, nbd.READ_HOLE}, chunks
chunks = []
h.pread_structured(8 << 20, 0, chunk, nbd.CMD_FLAG_DF)
assert chunks == [(0, 8 << 20, nbd.READ_DATA)], chunks

found = []
def extents(context, offset, entries, error):
    assert context == 'base:allocation'
    found.append((offset, list(entries)))
h.block_status(64 << 20, 0, extents)
[(_, entries)] = found
assert sum(entries[::2]) == 64 << 20 and len(entries) > 4
found = []
h.block_status(64 << 20, 0, extents, nbd.CMD_FLAG_REQ_ONE)
assert len(found[0][1]) == 2 and found[0][1][0] == entries[0]
h.cache(len(disk), 0)

def refused(number, call, *arguments):
    try:
        call(*arguments)
    except nbd.Error as error:
        assert error.errnum == number, (error, call)
    else:
        raise AssertionError(f'{call} {arguments} was not refused')
refused(errno.EPERM, h.pwrite, b'x' * 512, 0)
refused(errno.EPERM, h.zero, 512, 0)
refused(errno.EPERM, h.trim, 512, 0)
refused(errno.EINVAL, h.flush)
refused(errno.EINVAL, h.pread, 512, len(disk))
refused(errno.EINVAL, h.pread, 512, 0, nbd.CMD_FLAG_REQ_ONE)
refused(errno.EINVAL, h.block_status, 512, len(disk), extents)

buffers = [(offset, nbd.Buffer(size)) for size in (512, 4096, 300000) for offset in range(0, 16 << 20, 1 << 20)]
cookies = {h.aio_pread(buffer, offset) for offset, buffer in buffers}
while cookies:
    h.poll(-1)
    cookies -= {cookie for cookie in cookies if h.aio_command_completed(cookie)}
for offset, buffer in buffers:
    assert bytes(buffer.to_bytearray()) == disk[offset:offset + buffer.size()]
h.shutdown()
""")

    def test_simple_replies_old_and_new_ways_in_and_options(self):
        self.nbdsh(self.serve("--export-name", "os").uri, """
h.set_request_structured_replies(False)
h.connect_uri(uri)
assert not h.get_structured_replies_negotiated()
assert bytes(h.pread(3 << 20, 77)) == disk[77:77 + (3 << 20)]
h.shutdown()

h = nbd.NBD()
h.set_opt_mode(True)
h.set_full_info(True)
h.connect_uri(uri)
names = []
h.opt_list(lambda name, description: names.append((name, description)))
assert names == [('os', 'oci:image')], names
h.set_export_name('other')
try:
    h.opt_info()
    raise AssertionError('an unknown export')
except nbd.Error as error:
    assert error.errnum == errno.ENOENT, error
h.set_export_name('')
h.opt_info()
assert h.get_canonical_export_name() == 'os' and h.get_export_description() == 'oci:image'
contexts = []
h.opt_list_meta_context(contexts.append)
assert contexts == ['base:allocation'], contexts
h.set_export_name('os')
h.opt_go()
assert bytes(h.pread(4096, 0)) == disk[:4096]
h.shutdown()

h = nbd.NBD()
h.set_opt_mode(True)
h.connect_uri(uri)
h.opt_abort()
assert h.aio_is_closed()
""")

    def test_nbdfuse_loop_and_mount_give_the_tree(self):
        harness.need_root()
        harness.need_command("nbdfuse")
        point = self.folder / "fuse"
        point.mkdir()
        run = subprocess.Popen(["nbdfuse", point, self.serve().uri], stderr=subprocess.PIPE)  # pylint: disable=consider-using-with
        self.addCleanup(run.communicate, timeout=60)
        self.addCleanup(subprocess.run, ["umount", point], check=False)
        for _ in range(500):
            if (point / "nbd").exists() or run.poll() is not None:
                break
            time.sleep(0.02)
        if run.poll() is not None:
            self.skipTest(f"nbdfuse does not run here: {run.stderr.read().decode().strip()}")
        served = tree_of(mount(self, point / "nbd"))
        self.assertEqual(served["etc/hostname"]["content"], hashlib.sha256(b"upper\n").hexdigest())
        self.assertNotIn("srv/gone", served)
        self.assertEqual(served, tree_of(mount(self, self.device(), "exported")))


class Damage(ServeTest):
    def test_a_damaged_block_is_an_error_there_and_nowhere_else(self):
        disk = self.device().read_bytes()
        blobs = sorted((self.folder / "image/blobs/sha256").iterdir(), key=lambda path: path.stat().st_size)
        data = bytearray(blobs[-1].read_bytes())
        data[len(data) // 2] ^= 1
        blobs[-1].write_bytes(data)
        server = self.serve()
        failed = self.nbdsh(server.uri, """
h.connect_uri(uri)
failed = 0
for offset in range(0, len(disk), 4096):
    try:
        data = bytes(h.pread(4096, offset))
        assert data == disk[offset:offset + 4096], offset
    except nbd.Error as error:
        assert error.errnum == errno.EIO, error
        failed += 1
print(failed)
""")
        self.assertIn(int(failed), (1, 2))  # a block of the ZFile may lie in two of the device
        self.assertEqual(len(disk), 256 << 20)
        self.assertRegex(server.said(), r"client 1: read of 4096 bytes at \d+: .*layer 1.*: .*block \d+")


class Manners(ServeTest):
    def test_the_socket_is_private_and_gone_afterwards(self):
        runtime = self.folder / "run"
        runtime.mkdir()
        server = self.serve(env=harness.environment(XDG_RUNTIME_DIR=str(runtime)))
        path = pathlib.Path(server.path)
        self.assertEqual(path.parents[2], runtime)
        self.assertEqual([oct(p.stat().st_mode & 0o777) for p in (path, path.parent)], ["0o600", "0o700"])
        self.assertEqual(server.facts["pid"], server.process.pid)
        server.stop()
        self.assertFalse(path.parent.exists())

    def test_every_signal_that_ends_it_ends_it_well(self):
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            server = self.serve("--socket", "here")
            server.connect().greet().go()
            server.stop(number)
            self.assertFalse((self.folder / "here").exists())

    def test_run_ends_with_the_status_of_its_command(self):
        self.dadi("serve", "oci:image", "--run", "exit 7", status=7)
        self.dadi("serve", "oci:image", "--run", "kill -9 $$", status=137)
        run = self.dadi("serve", "oci:image", "--socket", "a b", "--export-name", "n",
                        "--run", 'echo "$uri" "$exportname"; test -S "$socket"')
        self.assertEqual(run.text, f"nbd+unix:///n?socket={self.folder}/a%20b n\n")
        self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["image", "source"])

    def test_run_is_told_of_a_signal(self):
        process = subprocess.Popen([harness.BINARY, "serve", "oci:image", "--run", "trap 'exit 5' TERM; echo on; sleep 60 & wait"],
                                   cwd=self.folder, stdout=subprocess.PIPE, env=harness.environment())
        self.addCleanup(process.stdout.close)
        self.assertEqual(process.stdout.readline(), b"on\n")
        process.terminate()
        self.assertEqual(process.wait(timeout=60), 5)

    def test_exit_with_parent(self):
        script = ("import subprocess, sys, time\n"
                  "p = subprocess.Popen(sys.argv[1:], stdout=subprocess.PIPE)\n"
                  "p.stdout.readline(); print(p.pid, flush=True); time.sleep(60)\n")
        parent = subprocess.Popen([sys.executable, "-c", script, harness.BINARY, "serve", "oci:image", "--socket", "here",
                                   "--exit-with-parent"], cwd=self.folder, stdout=subprocess.PIPE, env=harness.environment())
        self.addCleanup(parent.stdout.close)
        server = os.pidfd_open(int(parent.stdout.readline()))
        self.addCleanup(os.close, server)
        parent.kill()
        parent.wait()
        poll = select.poll()
        poll.register(server, select.POLLIN)
        self.assertTrue(poll.poll(30_000), "the server lives on")
        self.assertFalse((self.folder / "here").exists())

    def test_a_service_manager_hands_over_sockets_and_is_told(self):
        listening = socket.socket(socket.AF_UNIX)
        listening.bind(str(self.folder / "activated"))
        listening.listen()
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(self.folder / "notify"))
        notify.settimeout(30)
        self.addCleanup(listening.close)
        self.addCleanup(notify.close)
        launch = ("import os, sys\nos.dup2(int(sys.argv[1]), 3)\n"
                  "os.environ.update(LISTEN_PID=str(os.getpid()), LISTEN_FDS='1')\nos.execv(sys.argv[2], sys.argv[2:])\n")
        process = subprocess.Popen([sys.executable, "-c", launch, str(listening.fileno()), harness.BINARY, "serve", "oci:image"],
                                   cwd=self.folder, stdout=subprocess.PIPE, pass_fds=[listening.fileno()],
                                   env=harness.environment(NOTIFY_SOCKET=str(self.folder / "notify")))
        self.addCleanup(process.stdout.close)
        self.assertEqual(notify.recv(100), b"READY=1\n")
        uri = process.stdout.readline().decode().strip()
        self.assertEqual(uri, f"nbd+unix:///?socket={self.folder}/activated")
        self.run_tool("nbdinfo", uri)
        process.terminate()
        self.assertEqual(notify.recv(100), b"STOPPING=1\n")
        self.assertEqual(process.wait(timeout=60), 0)
        self.assertTrue((self.folder / "activated").exists())  # it is the manager's

    def test_options_that_make_no_sense(self):
        for options, says in ((["--socket", "a", "--port", "0"], "not both"), (["--port", "70000"], "not a port"),
                              (["--bind", "127.0.0.1"], "--port"), (["--tls-cert", "a"], "--port"),
                              (["--port", "0", "--tls-cert", "a"], "--tls-key"),
                              (["--socket", "x" * 200], "a socket's path"), (["--socket", "image"], "no socket"),
                              (["--port", "0", "--bind", "no.such.host.invalid"], "no.such.host.invalid")):
            self.fails(USAGE, "serve", "oci:image", *options, says=says)
        self.fails(NOT_FOUND, "serve", "oci:image", "--port", "0", "--tls-cert", "a", "--tls-key", "b", says="a:")
        self.fails(NOT_FOUND, "serve", "oci:nothing")
        server = self.serve("--socket", "here")
        self.fails(BUSY, "serve", "oci:image", "--socket", "here", says="somebody listens")
        server.stop()


if __name__ == "__main__":
    harness.main()
