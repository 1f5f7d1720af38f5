"""Registries that speak TLS: HTTP/2, certificates of both sides, and those that are no good."""
import re

import harness
from harness import DENIED, NETWORK, USAGE
from images import Layout, entry, small_debian
from registries import Registry, make_authority, make_expired


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
