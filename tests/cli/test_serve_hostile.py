"""dadi serve, and clients that mean no good: nonsense, floods, silence, and the wrong certificates."""
import os
import pathlib
import ssl
import struct
import time

import harness
from serving import (ABORT, ACK, EXPORT_NAME, GO, GREETING, INFO, INVALID, LIST, LIST_META, OPTION_MAGIC, POLICY,
                     SET_META, STARTTLS, STRUCTURED_REPLY, TLS_REQUIRED, TOO_BIG, UNKNOWN, UNSUPPORTED, ServeTest)

EPERM, EINVAL, ENOSPC = 1, 22, 28
READ, WRITE, DISCONNECT, FLUSH, TRIM, CACHE, WRITE_ZEROES, BLOCK_STATUS = range(8)


def u32(value):
    return struct.pack(">I", value)


class BadPeers(ServeTest):
    def check_alive(self, server):
        self.check_served(server.connect().greet())

    def check_served(self, client):
        client.go()
        client.request(READ, 1024, 1024)
        self.assertEqual(client.simple_reply(1024), (0, self.superblock))
        client.request(DISCONNECT, 0, 0)
        self.assertTrue(client.ended())

    def setUp(self):
        super().setUp()
        with open(self.device(), "rb") as disk:
            disk.seek(1024)
            self.superblock = disk.read(1024)

    def test_handshakes_that_break_the_protocol_are_cut_off(self):
        server = self.serve()
        option = OPTION_MAGIC
        for said in (u32(4), u32(0xFFFFFFFF), b"GET / HTTP/1.1\r\n\r\n", u32(3) + b"IHAVEOPU" + u32(LIST) + u32(0),
                     u32(3) + option + u32(EXPORT_NAME) + u32(5) + b"other",
                     u32(3) + option + u32(EXPORT_NAME) + u32(0xFFFFFFFF), os.urandom(4096)):
            client = server.connect()
            client.receive(18)
            client.send(said)
            self.assertTrue(client.ended(), said[:40])
            self.check_alive(server)

    def test_handshakes_that_end_early_harm_nobody(self):
        server = self.serve()
        whole = u32(3) + OPTION_MAGIC + u32(GO) + u32(6) + u32(0) + b"\0\0" + struct.pack(">IHHQQI", 0x25609513, 0, READ, 1, 0, 512)
        for size in range(len(whole)):
            client = server.connect()
            client.send(whole[:size])
            client.socket.close()
        self.check_alive(server)

    def test_options_that_make_no_sense_are_answered_and_the_handshake_goes_on(self):
        server = self.serve()
        client = server.connect().greet()
        for number, data, kind in ((4, b"", UNSUPPORTED), (11, b"x" * 30000, UNSUPPORTED), (2**32 - 1, b"", UNSUPPORTED),
                                   (LIST, b"x", INVALID), (STARTTLS, b"", POLICY), (INFO, b"", INVALID),
                                   (GO, u32(2**32 - 1), INVALID), (GO, u32(1) + b"\0\0", INVALID),
                                   (GO, u32(0) + b"\0\2\0\3", INVALID), (GO, u32(0) + b"\0\0\0", INVALID),
                                   (GO, u32(1) + b"x\0\0", UNKNOWN), (INFO, u32(4097) + b"x" * 4097 + b"\0\0", INVALID),
                                   (LIST_META, u32(0) + u32(0), INVALID), (STRUCTURED_REPLY, b"x", INVALID),
                                   (STRUCTURED_REPLY, b"", ACK), (SET_META, u32(0) + u32(2**32 - 1), INVALID),
                                   (SET_META, u32(0) + u32(1) + u32(2**32 - 1), INVALID), (SET_META, u32(0) + u32(1) + u32(1) + b"x", INVALID),
                                   (SET_META, u32(1) + b"x" + u32(0), UNKNOWN), (SET_META, u32(0) + u32(1) + u32(6) + b"qemu:x", ACK),
                                   (GO, b"x" * 200_000, TOO_BIG), (ABORT, b"ignored", ACK)):
            client.option(number, data)
            self.assertEqual(client.reply()[0], kind, (number, data[:20]))
        self.assertTrue(client.ended())
        self.check_alive(server)

    def test_requests_that_make_no_sense_are_errors_of_those_requests(self):
        server = self.serve()
        client = server.connect().greet().go()
        size = 256 << 20
        for command, offset, length, flags, error in (
                (READ, size, 1, 0, EINVAL), (READ, 2**64 - 1, 2, 0, EINVAL), (READ, 0, 2**32 - 1, 0, EINVAL),
                (READ, 0, 512, 0xFFFF, EINVAL), (FLUSH, 0, 0, 0, EINVAL), (TRIM, 0, 512, 0, EPERM),
                (WRITE_ZEROES, 0, 2**32 - 1, 0, EPERM), (BLOCK_STATUS, 0, 512, 0, EINVAL), (CACHE, size, 1, 0, EINVAL),
                (8, 0, 0, 0, EINVAL), (65535, 2**64 - 1, 2**32 - 1, 65535, EINVAL), (WRITE, 0, 0, 0, EPERM)):
            client.request(command, offset, length, flags)
            self.assertEqual(client.simple_reply()[0], error, (command, offset, length, flags))
        client.request(WRITE, 0, 40 << 20)
        for _ in range(40):
            client.send(bytes(1 << 20))
        self.assertEqual(client.simple_reply()[0], EPERM)
        client.request(READ, 1024, 1024)
        self.assertEqual(client.simple_reply(1024), (0, self.superblock))
        client.send(b"no request at all, but long enough for one")
        self.assertTrue(client.ended())
        self.check_alive(server)

    def test_a_flood_of_reads_that_nobody_takes_is_bounded_and_harms_nobody(self):
        server = self.serve()
        floods = [server.connect().greet().go() for _ in range(4)]
        for client in floods:
            client.socket.settimeout(0.2)
            try:
                while True:
                    client.request(READ, 0, 32 << 20)
            except TimeoutError:
                pass
        begin = time.monotonic()
        self.check_alive(server)
        self.assertLess(time.monotonic() - begin, 5)
        status = pathlib.Path(f"/proc/{server.process.pid}/status").read_text()
        resident = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS"))
        if not harness.is_sanitized():
            self.assertLess(resident, (4 * 34 + 100) << 10)

    def admitted(self, server):
        """A client that has been greeted, once the server has noticed that somebody else is gone."""
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            client = server.connect()
            if client.receive(18) == GREETING:
                client.send(u32(3))
                return client
            client.socket.close()
            time.sleep(0.05)
        return self.fail("no room for a client")

    def test_clients_that_say_nothing_leave_room_for_others(self):
        server = self.serve("--max-clients", 20)
        silent = [server.connect() for _ in range(19)]
        self.check_alive(server)
        silent.append(self.admitted(server))
        self.assertTrue(server.connect().ended())  # one too many
        silent.pop(0).socket.close()
        self.check_served(self.admitted(server))
        self.assertIn("turned away", server.said())


class Tls(ServeTest):
    def setUp(self):
        super().setUp()
        harness.need_command("openssl")
        for authority in ("ca", "stranger"):
            self.openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={authority}",
                         "-days", "2", "-keyout", f"{authority}.key", "-out", f"{authority}.pem")
        self.certificate("server", "ca")
        self.certificate("client", "ca")
        self.certificate("impostor", "stranger")

    def openssl(self, *arguments):
        self.run_tool("openssl", *arguments)

    def certificate(self, name, authority):
        self.openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", f"/CN={name}",
                     "-keyout", f"{name}.key", "-out", f"{name}.csr")
        (self.folder / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1\n")
        self.openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{authority}.pem", "-CAkey", f"{authority}.key",
                     "-CAcreateserial", "-days", "2", "-extfile", "names", "-out", f"{name}.pem")

    def credentials(self, authority, client=None):
        """A folder as libnbd wants it."""
        folder = self.folder / f"credentials-{authority}-{client}"
        folder.mkdir()
        files = {"ca-cert.pem": f"{authority}.pem"}
        if client:
            files.update({"client-cert.pem": f"{client}.pem", "client-key.pem": f"{client}.key"})
        for name, source in files.items():
            (folder / name).write_bytes((self.folder / source).read_bytes())
        return folder

    def serve_tls(self, *arguments):
        return self.serve("--port", 0, "--tls-cert", "server.pem", "--tls-key", "server.key", *arguments)

    def uri(self, server, credentials):
        return f"nbds://localhost:{server.port}/?tls-certificates={credentials}"

    def test_certificates_decide_who_may_read(self):
        server = self.serve_tls("--tls-ca", "ca.pem")
        self.assertTrue(server.uri.startswith("nbds://127.0.0.1:"))
        good = self.uri(server, self.credentials("ca", "client"))
        self.run_tool("nbdcopy", good, "copy")
        self.run_tool("cmp", "copy", self.device())
        for credentials in (self.credentials("ca", "impostor"), self.credentials("ca"), self.credentials("stranger", "client")):
            run = self.run_tool("nbdinfo", self.uri(server, credentials), status=None)
            self.assertNotEqual(run.returncode, 0, credentials)
        run = self.run_tool("nbdinfo", f"nbd://localhost:{server.port}/", status=None)
        self.assertNotEqual(run.returncode, 0)  # no TLS at all
        self.run_tool("nbdinfo", good)

    def test_without_an_authority_any_client_may_but_with_tls_alone(self):
        server = self.serve_tls()
        self.run_tool("nbdinfo", self.uri(server, self.credentials("ca")))
        client = server.connect().greet()
        for number in (LIST, INFO, GO, STRUCTURED_REPLY, SET_META, 77):
            client.option(number)
            self.assertEqual(client.reply()[0], TLS_REQUIRED, number)
        client.option(STARTTLS, b"x")
        self.assertEqual(client.reply()[0], INVALID)
        client.option(EXPORT_NAME)
        self.assertTrue(client.ended())

    def test_plain_text_before_or_instead_of_tls_is_cut_off(self):
        server = self.serve_tls()
        client = server.connect().greet()
        client.send(OPTION_MAGIC + u32(STARTTLS) + u32(0) + OPTION_MAGIC + u32(LIST) + u32(0))
        client.receive(20)
        self.assertTrue(client.ended())
        client = server.connect().greet()
        client.option(STARTTLS)
        self.assertEqual(client.reply()[0], ACK)
        client.option(LIST)
        client.receive(100)  # an alert
        self.assertTrue(client.ended())
        self.run_tool("nbdinfo", self.uri(server, self.credentials("ca")))

    def test_tls_older_than_1_2_is_refused(self):
        server = self.serve_tls()
        for version, works in ((ssl.TLSVersion.TLSv1_1, False), (ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_3, True)):
            client = server.connect().greet()
            client.option(STARTTLS)
            self.assertEqual(client.reply()[0], ACK)
            context = ssl.create_default_context(cafile=self.folder / "ca.pem")
            context.set_ciphers("ALL:@SECLEVEL=0")
            context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, version
            try:
                with context.wrap_socket(client.socket, server_hostname="localhost"):
                    self.assertTrue(works, version)
            except ssl.SSLError as error:
                self.assertFalse(works, (version, error))

    def test_keys_that_do_not_fit_are_refused_at_once(self):
        self.fails(harness.USAGE, "serve", "oci:image", "--port", "0", "--tls-cert", "server.pem", "--tls-key", "client.key",
                   says="client.key")
        self.fails(harness.USAGE, "serve", "oci:image", "--port", "0", "--tls-cert", "names", "--tls-key", "client.key", says="names")
        self.fails(harness.USAGE, "serve", "oci:image", "--port", "0", "--tls-cert", "server.pem", "--tls-key", "server.key",
                   "--tls-ca", "names", says="names")


if __name__ == "__main__":
    harness.main()
