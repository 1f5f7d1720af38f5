"""Registries that speak TLS: HTTP/2, certificates of both sides, and those that are no good."""
import re
import select
import socket
import struct
import threading
import time

import harness
from harness import DENIED, NETWORK, USAGE
from images import Layout, entry, small_debian
from registries import Registry, make_authority, make_expired


class ResetsWhoDoesNotWait:
    """Stands before a registry that speaks TLS 1.3, and resets every connection on which something is sent right after the
    handshake, before what the registry says of that is passed on: what a slow host sees where a certificate is refused."""

    HANDSHAKE = 2  # records, encrypted, of a client's second flight without a certificate

    def __init__(self, test, registry_port):
        self.registry_port, self.resets = registry_port, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        test.addCleanup(self.listener.close)
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.pass_on, args=(client,), daemon=True).start()

    def pass_on(self, client):
        with client, socket.create_connection(("127.0.0.1", self.registry_port)) as registry:
            sent, quiet_since = b"", time.monotonic()
            while True:
                # Once the client has answered, the registry is heard only when the client waits for it.
                answered = encrypted_records(sent) > 0
                waits = time.monotonic() - quiet_since > 0.3
                readable, _, _ = select.select([client] + [registry] * (waits or not answered), [], [], 0.05)
                if client in readable:
                    data = client.recv(1 << 16)
                    sent, quiet_since = sent + data, time.monotonic()
                    if encrypted_records(sent) > self.HANDSHAKE:
                        self.resets += 1
                        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if not data:
                        return
                    registry.sendall(data)
                if registry in readable:
                    data = registry.recv(1 << 16)
                    if not data:
                        return
                    client.sendall(data)


def encrypted_records(stream):
    count = 0
    while len(stream) >= 5:
        count += stream[0] == 0x17  # application data, in which TLS 1.3 hides all else
        stream = stream[5 + int.from_bytes(stream[3:5], "big"):]
    return count


class Tls(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", bytes(range(256)) * 40000)]])
        self.ca, self.cert, self.key = make_authority(self.folder)

    def at(self, registry):
        return f"docker://{registry.host}/a:1"

    def test_http_2_is_used_where_it_is_offered(self):
        registry = Registry(self, tls=(self.cert, self.key))
        self.dadi("push", "--ca-file", self.ca, "oci:image", self.at(registry))
        self.dadi("pull", "--ca-file", self.ca, self.at(registry), "oci:back")
        used = re.findall(r'"(?:GET|HEAD|POST|PATCH|PUT) \S+ (HTTP/[0-9.]+)"', registry.log.read_text())
        self.assertGreater(len(used), 10)
        self.assertEqual(set(used), {"HTTP/2.0"})

    def test_a_certificate_of_ours_is_shown_and_without_it_we_are_denied(self):
        ours, cert, key = make_authority(self.folder, "clients")
        _, other, other_key = make_authority(self.folder, "strangers")
        registry = Registry(self, tls=(self.cert, self.key), clients_of=ours)
        words = ["--ca-file", self.ca, "oci:image", self.at(registry)]
        for shown in ([], ["--client-cert", other, "--client-key", other_key]):
            self.fails(DENIED, "push", *shown, *words, says="hint: show it one that it knows: --client-cert")
        self.dadi("push", "--client-cert", cert, "--client-key", key, *words)
        both = self.folder / "both.pem"
        both.write_text(cert.read_text() + key.read_text())
        self.dadi("pull", "--client-cert", both, "--ca-file", self.ca, self.at(registry), "oci:back")

    def test_a_refusal_that_is_hidden_from_who_sends_at_once_is_heard_all_the_same(self):
        ours, *_ = make_authority(self.folder, "clients")
        registry = Registry(self, tls=(self.cert, self.key), clients_of=ours)
        hidden = ResetsWhoDoesNotWait(self, registry.port)
        self.fails(DENIED, "push", "--ca-file", self.ca, "oci:image", f"docker://localhost:{hidden.port}/a:1",
                   says="hint: show it one that it knows: --client-cert")
        self.assertGreater(hidden.resets, 0)

    def test_a_connection_that_is_reset_for_no_reason_is_the_network(self):
        registry = Registry(self, tls=(self.cert, self.key))
        hidden = ResetsWhoDoesNotWait(self, registry.port)
        self.fails(NETWORK, "pull", "--ca-file", self.ca, f"docker://localhost:{hidden.port}/a:1", "oci:x")
        self.assertGreater(hidden.resets, 0)

    def test_a_certificate_of_ours_that_cannot_be_used_is_said_before_anything_is_sent(self):
        registry = Registry(self, tls=(self.cert, self.key))
        (self.folder / "no.pem").write_text("no certificate\n")
        self.fails(USAGE, "push", "--client-cert", "no.pem", "--ca-file", self.ca, "oci:image", self.at(registry), says="certificate")
        self.fails(USAGE, "push", "--ca-file", "no.pem", "oci:image", self.at(registry), says="certificate")

    def test_a_certificate_that_has_expired_is_denied(self):
        cert, key = make_expired(self.folder, self.ca, self.folder / "ca.key")
        registry = Registry(self, tls=(cert, key))
        self.fails(DENIED, "pull", "--ca-file", self.ca, self.at(registry), "oci:x", says=["expired", "hint: ", "clock"])

    def test_plain_http_to_where_tls_is_spoken_gives_no_image(self):
        registry = Registry(self, tls=(self.cert, self.key))
        run = self.dadi("pull", "--plain-http", self.at(registry), "oci:x", status=None)
        self.assertNotEqual(run.status, 0)
        self.assertFalse((self.folder / "x").exists())

    def test_a_host_without_a_name_is_the_network(self):
        self.fails(NETWORK, "pull", "docker://no-such-registry.invalid/a:1", "oci:x", says="no-such-registry.invalid")


if __name__ == "__main__":
    harness.main()
