"""Images on registries that are read as they are needed: against docker-registry and one whose requests are counted."""
import os
import subprocess

import harness
from faulty_registry import FaultyRegistry
from harness import DENIED
from images import Layout, entry
from lazy_reading import LazyTest
from registries import Registry, make_authority


class Commands(LazyTest):
    def setUp(self):
        super().setUp()
        self.publish(Registry(self))

    def test_an_image_on_a_registry_looks_as_it_does_in_a_folder(self):
        for words in (["ls", "-lR"], ["ls", "--json"]):
            self.assertEqual(self.dadi(*words, self.at).text, self.dadi(*words, "oci:image").text)
        self.assertEqual(self.dadi("cat", self.at, "srv/text").text, self.dadi("cat", "oci:image", "srv/text").text)
        ours, theirs = (self.dadi("inspect", "--json", ref).json["layers"] for ref in (self.at, "oci:image"))
        self.assertEqual(ours, theirs)
        self.assertIn("OK", self.dadi("check", self.at).text)
        self.dadi("verify", "oci:source", self.at)
        self.dadi("export", self.at, "exported")
        self.assertEqual(harness.sha256_of(self.folder / "exported"), self.expected())

    def test_reads_without_a_cache_are_right_and_leave_nothing(self):
        server = self.serve("--no-block-cache")
        self.assert_reads_right(server)
        self.assertFalse((self.folder / "cache").exists())

    def test_a_cache_that_cannot_be_used_is_told_of_and_gone_around(self):
        (self.folder / "cache").write_text("no folder")
        server = self.serve()
        self.assert_reads_right(server)
        self.assertIn("nothing is cached", server.said())

    def test_when_the_registry_is_gone_what_was_read_stays_and_the_rest_fails_until_it_is_back(self):
        server = self.serve("--read-time", "3", "--chunk-size", "16K")
        script = "h.connect_uri(uri)\nassert h.pread(65536, 0) == disk[:65536]\n"
        self.nbdsh(server.uri, script)
        self.registry.stop()
        self.nbdsh(server.uri, script)
        self.assertNotEqual(self.run_tool("nbdcopy", server.uri, "null:", status=None).returncode, 0)
        self.registry.start()
        self.assert_reads_right(server)

    def test_a_registry_that_restarts_is_waited_for(self):
        server = self.serve()
        self.registry.stop()
        with subprocess.Popen(["nbdcopy", server.uri, self.folder / "copy"]) as copy:
            with self.assertRaises(subprocess.TimeoutExpired):
                copy.wait(timeout=1)
            self.registry.start()
            self.assertEqual(copy.wait(timeout=60), 0)
        self.assertEqual(harness.sha256_of(self.folder / "copy"), self.expected())

    def test_after_a_download_the_registry_is_not_needed(self):
        server = self.serve("--download")
        self.wait_for(lambda: "all of the image is on this host" in server.said())
        self.assertEqual({digest for digest, one in self.cached().items() if one["whole"]}, set(self.layers()))
        self.registry.stop()
        self.assert_reads_right(server)

    def test_a_download_keeps_to_its_rate_and_begins_after_its_delay(self):
        # 3 MB of noise do not compress: at 1M a second they take longer than this waits.
        server = self.serve("--download", "--download-rate", "1M")
        with self.assertRaises(AssertionError):
            self.wait_for(lambda: "all of the image" in server.said(), seconds=1.5)
        self.wait_for(lambda: "all of the image" in server.said())
        late = self.serve("--download", "--download-delay", "3600", env=self.environment("other"))
        self.assertFalse(any(one["whole"] for one in self.cached(self.environment("other")).values()))
        self.assertNotIn("all of the image", late.said())


class Guarded(LazyTest):
    def setUp(self):
        super().setUp()
        self.ca, cert, key = make_authority(self.folder)
        self.registry = Registry(self, tls=(cert, key), password=True)
        self.login("--ca-file", self.ca)
        self.publish(self.registry, "--ca-file", self.ca)

    def test_tls_and_a_password_are_no_hindrance(self):
        server = self.serve("-v", "--ca-file", self.ca)
        requests, _, _ = self.opening(server)
        self.assertLessEqual(requests, 12)
        self.assert_reads_right(server)

    def test_what_is_cached_is_not_given_to_who_may_not_read_the_image(self):
        self.dadi("export", "--ca-file", self.ca, self.at, "exported")
        self.dadi("logout", self.registry.host)
        self.fails(DENIED, "cat", "--ca-file", self.ca, self.at, "etc/hostname", says="hint: dadi login")
        self.fails(DENIED, "cat", self.at, "etc/hostname", says="not trusted")


class Counted(LazyTest):
    def setUp(self):
        super().setUp()
        self.publish(FaultyRegistry(self))

    def test_a_layer_is_opened_by_two_requests_and_the_second_time_by_none(self):
        self.opening(self.serve("-v"))
        self.assertLessEqual(len(self.asked("/blobs/.*")), 1 + 2 * 2)  # the config
        self.assertEqual({headers.get("Range") is not None for headers in self.asked("|".join(self.layers()))}, {True})
        self.registry.seen.clear()
        self.opening(self.serve("-v"))
        self.assertEqual(self.asked("|".join(self.layers())), [])
        self.assertEqual(len(self.asked("/manifests/")), 1)

    def test_twenty_layers_are_opened_in_four_round_trips(self):
        rounds = 1  # seconds: much longer than all that a busy machine adds
        Layout(self.folder / "source").add_image([[entry(f"file{i}", os.urandom(200_000))] for i in range(20)], tag="many")
        self.dadi("convert", "oci:source:many", f"docker://{self.registry.host}/a:many")
        self.at = f"docker://{self.registry.host}/a:many"
        self.registry.seen.clear()
        self.registry.delay = rounds
        requests, got, seconds = self.opening(self.serve("-v"))
        self.registry.delay = 0
        self.assertLessEqual(len([path for *_, path, _ in self.registry.seen if "blobs" in path]), 1 + 2 * 20)
        self.assertLessEqual(seconds, 4 * rounds)
        self.assertLessEqual(got, 20 * 64 * 1024)
        self.assertGreater(requests, 20)

    def test_a_small_read_brings_its_chunk_and_no_more(self):
        server = self.serve("--chunk-size", "64K")
        before = len(self.asked("/blobs/.*"))
        self.nbdsh(server.uri, "h.connect_uri(uri)\nassert h.pread(4096, 1024) == disk[1024:5120]\n")
        ranges = [headers["Range"] for headers in self.asked("/blobs/.*")[before:]]
        self.assertLessEqual(len(ranges), 1)
        for begin, end in (map(int, text.removeprefix("bytes=").split("-")) for text in ranges):
            self.assertLessEqual(end - begin, 64 << 10)

    def test_reads_one_after_the_other_go_over_the_connections_that_are_there(self):
        server = self.serve("--chunk-size", "16K")
        before = self.registry.connections, len(self.asked("/blobs/.*"))
        self.nbdsh(server.uri, "h.connect_uri(uri)\n"
                               "for at in range(0, 16 << 20, 4096): assert h.pread(4096, at) == disk[at:at+4096]\n")
        requests = len(self.asked("/blobs/.*")) - before[1]
        self.assertGreater(requests, 5)
        self.assertLessEqual(self.registry.connections - before[0], 1)

    def test_a_tier_is_filled_and_spares_the_registry(self):
        tier = self.folder / "tier"
        self.assert_reads_right(self.serve("--cache-tier", tier))
        self.registry.seen.clear()
        other = self.serve("--cache-tier", tier, env=self.environment("other"))
        self.assert_reads_right(other)
        self.assertEqual(self.asked("|".join(self.layers())), [])
        # What is damaged there is fetched from the registry.
        for path in tier.glob("*.data"):
            data = bytearray(path.read_bytes())
            data[1000::4096] = b"\xff" * len(data[1000::4096])
            path.write_bytes(data)
        self.assert_reads_right(self.serve("--cache-tier", tier, env=self.environment("third")))
        self.assertNotEqual(self.asked("|".join(self.layers())), [])

    def test_the_rate_that_is_allowed_is_kept(self):
        server = self.serve("--max-rate", "1M", "--no-block-cache")
        with subprocess.Popen(["nbdcopy", server.uri, "null:"]) as copy:
            with self.assertRaises(subprocess.TimeoutExpired):
                copy.wait(timeout=1.5)
            self.assertEqual(copy.wait(timeout=60), 0)

    def test_words_that_make_no_sense_are_refused(self):
        for words in (["--chunk-size", "100K"], ["--chunk-size", "4K"], ["--cache-size", "x"],
                      ["--download", "--no-block-cache"], ["--download-rate", "fast"]):
            self.fails(harness.USAGE, "serve", *words, self.at)


if __name__ == "__main__":
    harness.main()
