"""What the tests of `dadi serve` share: a converted image, a server of it, and raw connections to that."""
import json
import os
import random
import signal
import socket
import struct
import subprocess

import harness
from images import Layout, entry, folder, symlink, whiteout

SYSTEM_PYTHON = "/usr/bin/python3"  # the one that has libnbd's module
NBD_MAGIC, OPTION_MAGIC, OPTION_REPLY_MAGIC = b"NBDMAGIC", b"IHAVEOPT", 0x3E889045565A9
GREETING = NBD_MAGIC + OPTION_MAGIC + b"\0\3"
REQUEST_MAGIC, SIMPLE_REPLY_MAGIC = 0x25609513, 0x67446698
EXPORT_NAME, ABORT, LIST, STARTTLS, INFO, GO, STRUCTURED_REPLY, LIST_META, SET_META = 1, 2, 3, 5, 6, 7, 8, 9, 10
ACK, UNSUPPORTED, POLICY, INVALID, TLS_REQUIRED, UNKNOWN, TOO_BIG = 1, *(2**31 + n for n in (1, 2, 3, 5, 6, 9))


def make_image(test):
    """Two layers as oci:image: files large and small, one that does not compress, one removed. 256 MiB of device."""
    noise = random.Random(5)
    lower = [folder("etc"), entry("etc/hostname", b"dadi\n"), folder("srv"), entry("srv/noise", noise.randbytes(3_000_000)),
             entry("srv/text", b"".join(b"line %d\n" % i for i in range(300_000))), symlink("srv/link", "text"),
             entry("srv/gone", b"x" * 100_000), *(entry(f"srv/{i}", b"%d\n" % i) for i in range(200))]
    upper = [entry("etc/hostname", b"upper\n"), whiteout("srv/gone"), entry("srv/zeros", bytes(2_000_000) + b"end")]
    Layout(test.folder / "source").add_image([lower, upper])
    test.dadi("convert", "--virtual-size", "256M", "oci:source", "oci:image")


class Server:
    """A running `dadi serve`."""

    def __init__(self, test, *arguments, image="oci:image", **popen):
        self.test = test
        popen.setdefault("env", harness.environment())
        self.stderr = open(test.folder / "serve.stderr", "w+b")  # pylint: disable=consider-using-with
        self.process = subprocess.Popen([harness.BINARY, "serve", image, "--json", *map(str, arguments)],
                                        cwd=test.folder, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                        stderr=self.stderr, **popen)
        test.addCleanup(self.stop)
        answer = b""
        while not answer.endswith(b"}\n"):
            line = self.process.stdout.readline()
            test.assertTrue(line, self.said())
            answer += line
        self.facts = json.loads(answer)
        self.uri, self.path, self.port = (self.facts.get(name) for name in ("uri", "socket", "port"))

    def said(self):
        self.stderr.flush()
        return (self.test.folder / "serve.stderr").read_text()

    def stop(self, number=signal.SIGTERM, status=0):
        if self.process.poll() is None:
            self.process.send_signal(number)
            self.test.assertEqual(self.process.wait(timeout=60), status, self.said())
            for mark in ("Sanitizer", "runtime error:"):
                self.test.assertNotIn(mark, self.said())
        self.process.stdout.close()
        self.stderr.close()

    def connect(self):
        if self.path:
            raw = socket.socket(socket.AF_UNIX)
            raw.settimeout(60)
            raw.connect(self.path)
        else:
            raw = socket.create_connection(("127.0.0.1", self.port), timeout=60)
        return Raw(self.test, raw)


class Raw:
    """A connection that says what it is told to."""

    def __init__(self, test, raw):
        self.test, self.socket = test, raw
        test.addCleanup(raw.close)

    def send(self, *parts):
        self.socket.sendall(b"".join(parts))

    def receive(self, size):
        """Exactly `size` bytes; fewer at the end of the stream."""
        data = b""
        while len(data) < size:
            try:
                piece = self.socket.recv(size - len(data))
            except ConnectionResetError:
                piece = b""
            if not piece:
                break
            data += piece
        return data

    def greet(self, flags=3):
        self.test.assertEqual(self.receive(18), GREETING)
        self.send(struct.pack(">I", flags))
        return self

    def option(self, number, data=b""):
        self.send(OPTION_MAGIC, struct.pack(">II", number, len(data)), data)

    def reply(self):
        """The kind and data of an option's next reply."""
        magic, _, kind, size = struct.unpack(">QIII", self.receive(20))
        self.test.assertEqual(magic, OPTION_REPLY_MAGIC)
        return kind, self.receive(size)

    def go(self, name=b""):
        self.option(GO, struct.pack(">I", len(name)) + name + b"\0\0")
        while (kind := self.reply()[0]) == 3:
            pass
        self.test.assertEqual(kind, ACK)
        return self

    def request(self, command, offset, length, flags=0, cookie=7):
        self.send(struct.pack(">IHHQQI", REQUEST_MAGIC, flags, command, cookie, offset, length))

    def simple_reply(self, size=0):
        """The error number of a simple reply, and its data."""
        magic, error, _ = struct.unpack(">IIQ", self.receive(16))
        self.test.assertEqual(magic, SIMPLE_REPLY_MAGIC)
        return error, self.receive(size if error == 0 else 0)

    def ended(self):
        return self.receive(1) == b""


class ServeTest(harness.Test):
    def setUp(self):
        super().setUp()
        make_image(self)

    def serve(self, *arguments, **options):
        return Server(self, *arguments, **options)

    def device(self):
        """The device as a file."""
        if not (self.folder / "disk").exists():
            self.dadi("export", "oci:image", "disk")
        return self.folder / "disk"

    def run_tool(self, *arguments, status=0, text=True, **options):
        harness.need_command(str(arguments[0]))
        run = subprocess.run([*map(str, arguments)], capture_output=True, text=text, check=False, timeout=300,
                             cwd=self.folder, **options)
        if status is not None:
            self.assertEqual(run.returncode, status, run.stderr)
        return run

    def nbdsh(self, uri, script):
        """Runs a script with a connected handle `h`, the device's bytes as `disk`, and `nbd`."""
        if subprocess.run([SYSTEM_PYTHON, "-c", "import nbd"], capture_output=True, check=False).returncode:
            self.skipTest("python3-libnbd is not installed")
        prelude = ("import nbd, os, errno, mmap\nh = nbd.NBD()\nuri = os.environ['uri']\n"
                   "disk = mmap.mmap(os.open(os.environ['disk'], os.O_RDONLY), 0, prot=mmap.PROT_READ)\n")
        env = dict(os.environ, uri=uri, disk=str(self.device()))
        return self.run_tool(SYSTEM_PYTHON, "-c", prelude + script, env=env).stdout
