"""Lazy reads from registries that break off, lie, stall, expire and send elsewhere: right bytes, or an error in time."""
import json
import time

import harness
from faulty_registry import FaultyRegistry
from harness import NETWORK, UNSUPPORTED
from lazy_reading import LazyTest
from registries import PASSWORD


class Faults(LazyTest):
    def start(self, **options):
        self.registry = FaultyRegistry(self, **options)
        if options.get("tokens"):
            self.login()
        self.publish(self.registry)

    def ranges(self, host=None):
        return [headers["Range"] for headers in self.asked("sha256", host=host) if "Range" in headers]

    def reads_right_in_spite_of(self, **faults):
        server = self.serve("--read-time", "9")
        self.registry.faults.update(faults)
        self.assert_reads_right(server)
        for kind in faults:
            self.assertLessEqual(self.registry.faults[kind], 0, kind)

    def test_an_answer_that_breaks_off_goes_on_where_it_broke(self):
        self.start()
        self.reads_right_in_spite_of(cut=3)

    def test_a_registry_that_asks_for_patience_gets_it(self):
        self.start()
        self.reads_right_in_spite_of(status=2)

    def test_one_that_fails_for_a_while_is_asked_again(self):
        self.start()
        self.reads_right_in_spite_of(gone=4)

    def test_another_range_or_all_of_the_blob_is_not_taken_for_the_range(self):
        self.start()
        self.reads_right_in_spite_of(shifted=1)
        self.registry.faults.clear()
        self.env = self.environment("other")
        self.reads_right_in_spite_of(whole=1)

    def test_wrong_bytes_are_fetched_again_and_not_kept(self):
        self.start()
        self.reads_right_in_spite_of(wrong=3)
        self.registry.faults["gone"] = 1 << 30
        self.registry.seen.clear()
        self.dadi("cache", "verify")
        self.registry.faults["gone"] = 0
        self.assert_reads_right(self.serve())
        self.assertEqual(self.ranges(), [])  # what is kept now is right

    def test_wrong_bytes_for_ever_are_errors(self):
        self.start()
        server = self.serve("--read-time", "2")
        self.registry.faults["wrong"] = 1 << 30
        self.assertNotEqual(self.run_tool("nbdcopy", server.uri, "null:", status=None).returncode, 0)
        self.registry.faults["wrong"] = 0
        self.assert_reads_right(server)

    def test_an_answer_that_stalls_or_drips_is_given_up_and_asked_for_again(self):
        self.start()
        for kind in ("stall", "drip"):
            self.env = self.environment(kind)
            begin = time.monotonic()
            server = self.serve("--read-time", "6")
            self.registry.faults[kind] = 1
            self.assert_reads_right(server)
            self.assertLess(time.monotonic() - begin, 20)
            self.assertLessEqual(self.registry.faults[kind], 0)

    def test_a_registry_that_stalls_for_ever_is_an_error_in_time_and_the_next_read_tries_anew(self):
        self.start()
        server = self.serve("--read-time", "2")
        self.registry.faults["stall"] = 1 << 30
        begin = time.monotonic()
        self.assertNotEqual(self.run_tool("nbdcopy", server.uri, "null:", status=None).returncode, 0)
        self.assertLess(time.monotonic() - begin, 30)
        self.registry.faults["stall"] = 0
        self.assert_reads_right(server)

    def test_a_registry_without_ranges_says_so(self):
        self.start()
        self.registry.faults["whole"] = 1 << 30
        self.fails(UNSUPPORTED, "cat", self.at, "srv/noise", says="hint: this registry cannot be read in parts")

    def test_a_registry_that_does_not_answer_is_the_network(self):
        self.start()
        self.registry.faults["gone"] = 1 << 30
        begin = time.monotonic()
        self.fails(NETWORK, "cat", "--read-time", "1", self.at, "etc/hostname", says="503")
        self.assertLess(time.monotonic() - begin, 60)

    def test_tokens_that_expire_between_reads_are_renewed(self):
        self.start(tokens=20)
        server = self.serve("--chunk-size", "16K")
        self.assert_reads_right(server)
        self.assertGreater(len(self.registry.asked(self.registry.auth, "GET", "token")), 3)

    def test_where_the_registry_led_is_used_until_it_fails_and_gets_no_credential(self):
        self.start(tokens=1000, elsewhere=True)
        server = self.serve("--chunk-size", "16K")
        opened = len(self.asked("/blobs/sha256"))
        self.nbdsh(server.uri, "h.connect_uri(uri)\nassert h.pread(1 << 20, 0) == disk[:1 << 20]\n")
        self.assertEqual(len(self.asked("/blobs/sha256")), opened)
        self.registry.faults["expired"] = 1
        self.assert_reads_right(server)
        self.assertGreater(len(self.asked("/blobs/sha256")), opened)
        self.assertLessEqual(self.registry.faults["expired"], 0)
        for headers in self.registry.asked(self.registry.store, "GET", "bucket"):
            self.assertNotIn("Authorization", headers)
            self.assertNotIn("tok-", json.dumps(headers))
        self.assertNotIn(PASSWORD, server.said())


if __name__ == "__main__":
    harness.main()
