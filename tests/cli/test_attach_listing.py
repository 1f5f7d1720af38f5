"""What is said of attachments: ps, stats and doctor."""
import json
import pathlib
import re
import socket
import urllib.request

import harness
from attaching import Attached
from harness import NOT_FOUND, USAGE

RUNNING = ("name", "reference", "device", "mount", "pid", "socket", "read_only", "state", "size")


class Listing(Attached):
    def test_ps_has_the_promised_fields(self):
        self.image()
        self.assertEqual(self.ps(), [])
        answer = self.dadi("attach", "--json", "--name", "web", "--mount", "tree", "oci:image").json
        one, = self.ps()
        self.assertEqual(one, answer)
        self.assertEqual(list(one)[:len(RUNNING)], list(RUNNING))
        self.assertEqual((one["name"], one["reference"], one["mount"], one["read_only"], one["state"]),
                         ("web", "oci:image", str(self.folder / "tree"), True, "running"))
        self.assertEqual(one["size"], 64 << 30)
        self.assertEqual(self.servers(), [one["pid"]])
        self.assertTrue(pathlib.Path(one["socket"]).is_socket())
        table = self.dadi("ps").text.splitlines()
        self.assertEqual(table[0].split(), ["NAME", "STATE", "DEVICE", "SIZE", "PID", "MOUNT", "REFERENCE"])
        self.assertEqual(len(table), 2)

    def test_stats_count_what_was_read(self):
        self.random_image("image", 11, size=1_000_000)
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.attach("--name", "second", "oci:image")
        (self.folder / "tree/file0").read_bytes()
        both = self.dadi("stats", "--json").json
        self.assertEqual([one["name"] for one in both], ["second", "web"])
        one, = self.dadi("stats", "--json", "web").json
        self.assertEqual(one["device"], device)
        self.assertGreaterEqual(one["bytes"], 1_000_000)
        self.assertGreater(one["reads"], 0)
        self.assertEqual((one["errors"], one["corruptions"]), (0, 0))
        self.assertGreater(one["cache"]["misses"], 0)
        self.assertEqual(one["cache"]["limit"], 32 << 20)
        latency = one["latency"]
        self.assertTrue(0 < latency["p50"] <= latency["p99"] < 10, latency)
        self.assertEqual(latency["buckets"][-1]["count"], one["reads"])
        table = self.dadi("stats").text.splitlines()
        self.assertEqual(table[0].split()[:5], ["NAME", "DEVICE", "READS", "BYTES", "ERRORS"])
        self.assertEqual(len(table), 3)
        self.fails(NOT_FOUND, "stats", "nothing")

    def test_prometheus_text_has_one_series_a_device(self):
        self.image()
        device = self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.attach("--name", "second", "oci:image")
        text = self.dadi("stats", "--prometheus").text
        self.assertIn("# TYPE dadi_reads_total counter", text)
        labels = f'{{device="{device}",name="second,web",reference="oci:image"'
        self.assertRegex(text, rf"(?m)^dadi_reads_total{re.escape(labels)}}} [1-9][0-9]*$")
        self.assertRegex(text, rf'(?m)^dadi_read_seconds_bucket{re.escape(labels)},le="\+Inf"}} [1-9][0-9]*$')

    def test_metrics_are_served_over_http_on_a_unix_socket_and_on_loopback(self):
        self.image()
        one = self.dadi("attach", "--json", "--name", "web", "--metrics-addr", "127.0.0.1:0", "oci:image").json
        with urllib.request.urlopen(f"http://{one['metrics']}/metrics", timeout=10) as page:
            over_tcp = page.read().decode()
        self.assertIn("dadi_reads_total{", over_tcp)
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(10)
            client.connect(str(pathlib.Path(one["socket"]).with_name("metrics.sock")))
            client.sendall(b"GET /metrics HTTP/1.0\r\n\r\n")
            answer = b"".join(iter(lambda: client.recv(65536), b"")).decode()
        self.assertTrue(answer.startswith("HTTP/1.1 200 OK\r\n"), answer)
        self.assertIn("dadi_reads_total{", answer)
        self.fails(USAGE, "attach", "--metrics-addr", "0.0.0.0:0", "--memory", "16M", self.random_image("other", 1),
                   says="loopback")

    def test_a_control_client_that_talks_nonsense_or_not_at_all_harms_nobody(self):
        self.image()
        one = self.dadi("attach", "--json", "--name", "web", "oci:image").json
        clients = []
        for sent in (b"", b"{", b"nonsense\n", b"[]\n", b'{"request":7}\n', b"x" * 100_000) * 6:
            client = socket.socket(socket.AF_UNIX)
            self.addCleanup(client.close)
            client.settimeout(10)
            client.connect(one["socket"])
            try:
                client.sendall(sent)
            except OSError:
                pass  # it was sent away
            clients.append(client)
        for client in clients:
            client.close()
        self.assertEqual(len(self.dadi("stats", "--json").json), 1)

    def test_doctor_says_line_by_line_what_the_host_can_do(self):
        findings = {one["subject"]: one for one in self.dadi("doctor", "--json").json}
        for subject in ("privileges", "kernel", "backend loop", "e2fsck", "dadid", "state folder"):
            self.assertEqual(findings[subject]["status"], "ok", findings)
        self.assertTrue({"ext4", "state folder", "systemd"} <= set(findings))
        for line in self.dadi("doctor").text.splitlines():
            self.assertRegex(line, r"^(ok|warn|fail) +[^:]+: .+")

    def test_doctor_ends_with_10_when_nothing_can_be_attached(self):
        findings = {one["subject"]: one for one in json.loads(self.without_fuse("doctor", "--json").stdout)}
        self.assertEqual(findings["backend loop"]["status"], "fail")
        self.assertTrue(findings["backend loop"]["remedy"])

    def test_without_fuse_attaching_says_what_the_host_lacks(self):
        self.image()
        run = self.without_fuse("attach", "oci:image")
        self.assertIn("/dev/fuse", run.stderr)
        self.assertIn("hint: ", run.stderr)
        self.assert_nothing_is_left()

    def test_doctor_names_the_dead(self):
        self.image()
        self.attach("--name", "web", "--mount", "tree", "oci:image")
        self.kill_server("web")
        findings = {one["subject"]: one for one in self.dadi("doctor", "--json").json}
        self.assertEqual(findings["attachment web"]["remedy"], "dadi detach web")

    def test_state_is_private(self):
        self.image()
        self.attach("oci:image")
        for path in (self.state / "dadi").rglob("*"):
            self.assertEqual(path.stat().st_mode & 0o077, 0, path)


if __name__ == "__main__":
    harness.main()
