"""Traces beside images: put there, found there, and never in the way of a start."""
import json
import os
import time

from faulty_registry import FaultyRegistry
from harness import NOT_FOUND, UNSUPPORTED, USAGE
import harness
from images import Layout, digest_of, entry, read_manifest
from lazy_reading import LazyTest
from registries import Registry
from traces import make_trace

TYPE = "application/vnd.dadi.trace.v1"
READS = "h.connect_uri(uri)\nfor at in range(0, 24 << 20, 3 << 18): assert h.pread(8192, at) == disk[at:at+8192]\n"


class Beside(LazyTest):
    def record(self, name="app.trace", reads=READS):
        """A trace of these reads, by `dadi serve`."""
        at, self.at = getattr(self, "at", None), "oci:image"
        server = self.serve("--record", name)
        self.nbdsh(server.uri, reads)
        server.stop()
        self.at = at

    def attach(self, image=None, trace="app.trace"):
        return self.dadi("trace", "attach", "--json", "--referrer", image or self.at, trace).json

    def trace(self, image=None):
        return self.dadi("inspect", "--json", image or self.at).json.get("trace")

    def digest(self):
        return self.dadi("inspect", "--json", self.at).json["digest"]

    def start(self, *words):
        """A server of the image that has been left alone until nothing more is asked of the registry."""
        server = self.serve("--chunk-size", "16K", *words)
        seen, since = -1, time.monotonic()
        while time.monotonic() - since < 1:
            if seen != (now := len(self.registry.seen)):
                seen, since = now, time.monotonic()
            time.sleep(0.02)
        return server

    def forget(self):
        self.env = self.environment(f"cache{time.monotonic_ns()}")
        self.registry.seen.clear()

    def layer_requests(self):
        return len(self.asked("|".join(self.layers())))


class OnRegistries(Beside):
    def setUp(self):
        super().setUp()
        self.record()

    def test_a_start_finds_the_trace_beside_its_image(self):
        for listing in (True, False):
            self.publish(FaultyRegistry(self, referrers=listing))
            before = self.digest()
            answer = self.attach()
            self.assertEqual(self.digest(), before)
            self.assertEqual((answer["subject"], answer["there"]), (before, False))
            artifact = json.loads(self.registry.manifests[answer["digest"]])
            self.assertEqual((artifact["artifactType"], artifact["subject"]["digest"]), (TYPE, before))
            self.assertEqual([digest_of(self.registry.blobs[artifact["config"]["digest"]]), len(artifact["layers"])], [digest_of(b"{}"), 1])
            if not listing:
                [listed] = json.loads(self.registry.manifests[before.replace(":", "-")])["manifests"]
                self.assertEqual((listed["artifactType"], listed["annotations"]), (TYPE, artifact["annotations"]))
            told = self.trace()
            self.assertEqual((told["artifact"], told["digest"]), (answer["digest"], artifact["layers"][0]["digest"]))
            self.assertEqual(told["reads"], len(self.dadi("trace", "show", "--reads", "--json", "app.trace").json["reads"]))
            self.assertIn(f"beside the image: {answer['digest']}", self.dadi("inspect", self.at).text)
            self.forget()
            server = self.start()
            asked = self.layer_requests()
            self.nbdsh(server.uri, READS)
            self.assertEqual(self.layer_requests(), asked)
            self.assert_reads_right(server)
            server.stop()

    def test_a_real_registry_keeps_it(self):
        self.publish(Registry(self))
        self.assertIsNone(self.trace())
        answer = self.attach()
        self.assertEqual(self.trace()["artifact"], answer["digest"])
        self.assertTrue(self.attach()["there"])
        self.assert_reads_right(self.serve())

    def test_the_latest_counts_and_the_same_again_is_the_same(self):
        (self.folder / "other").write_bytes(make_trace([(0, 4096, 8192)]))
        digests = []
        for listing in (True, False):
            self.publish(FaultyRegistry(self, referrers=listing))
            first = self.attach()
            self.registry.seen.clear()
            again = self.attach()
            self.assertEqual((again["digest"], again["there"]), (first["digest"], True))
            self.assertEqual([method for _, method, *_ in self.registry.seen if method not in ("GET", "HEAD")], [])
            second = self.attach(trace="other")
            self.assertEqual((self.trace()["artifact"], self.trace()["bytes"]), (second["digest"], 8192))
            third = self.attach()
            self.assertEqual(self.trace()["artifact"], third["digest"])
            self.assertEqual(self.trace()["digest"], json.loads(self.registry.manifests[first["digest"]])["layers"][0]["digest"])
            digests.append([one["digest"] for one in (first, second, third)])
            if listing:  # the order in which they are listed is the registry's
                [listed] = self.registry.referrers.values()
                for _ in listed:
                    listed.append(listed.pop(0))
                    self.assertEqual(self.trace()["artifact"], third["digest"])
                # Two of one revision: whoever looks finds the same.
                listed.append(dict(listed[0], digest="sha256:" + "f" * 64, annotations={"dadi.trace.revision": "3"}))
                self.fails_to_use("sha256:" + "f" * 12)
                for nonsense in ("", "-1", "4x", "99999999999999999999999", "9" * 10):
                    listed[-1]["annotations"] = {"dadi.trace.revision": nonsense}
                    self.assertEqual(self.trace()["artifact"], third["digest"], nonsense)
        self.assertEqual(*digests)

    def fails_to_use(self, said):
        run = self.dadi("inspect", "--json", self.at)
        self.assertNotIn("trace", run.json)
        self.assertIn("a trace beside the image: ", run.stderr)
        self.assertIn(said, run.stderr)

    def test_what_is_listed_and_no_trace_of_the_image_is_not_used(self):
        self.publish(FaultyRegistry(self, referrers=True))
        Layout(self.folder / "other").add_image([[entry("a", b"a")]])
        other = f"docker://{self.registry.host}/a:2"
        self.dadi("convert", "--virtual-size", "64M", "oci:other", other)
        artifact = self.attach()
        [listed] = self.registry.referrers.values()
        self.registry.referrers[self.dadi("inspect", "--json", other).json["digest"]] = listed
        at, self.at = self.at, other
        self.fails_to_use("is none")
        server = self.start()
        self.wait_for(lambda: "the image's trace is not used" in server.said())
        server.stop()
        # Damaged on the registry.
        self.at = at
        for document in (b"{}", b"\xff" * 100, self.registry.manifests[artifact["digest"]].replace(b"vnd.dadi.trace", b"vnd.other")):
            self.registry.manifests[artifact["digest"]] = document
            self.forget()
            server = self.start()
            self.wait_for(lambda: "the image's trace is not used" in server.said())
            self.assert_reads_right(server)
            server.stop()

    def test_it_is_asked_for_only_where_it_may_help(self):
        for listing, requests in ((True, 1), (False, 2)):
            self.publish(FaultyRegistry(self, referrers=listing))
            self.dadi("ls", self.at)  # that is no start
            self.forget()
            def asked():
                return len(self.asked("/referrers/.*")) + len(self.asked("/manifests/sha256-.*"))
            self.start().stop()
            self.assertEqual(asked(), requests)
            self.registry.seen.clear()
            self.start().stop()  # it was started here
            self.assertEqual(asked(), 0)
            for words in (["--no-replay"], ["--no-block-cache"], ["--record", "again.trace"]):
                self.forget()
                self.start(*words).stop()
                self.assertEqual(asked(), 0, words)
            traced = f"docker://{self.registry.host}/a:traced"
            self.dadi("trace", "attach", self.at, "app.trace", traced)
            self.forget()
            at, self.at = self.at, traced
            self.start().stop()
            self.assertEqual(asked(), 0)
            self.assertIn("carries a trace on top, which counts", self.dadi("trace", "attach", "--referrer", self.at, "app.trace").stderr)
            self.assertNotIn("artifact", self.trace())
            self.at = at

    def test_a_registry_that_does_not_answer_is_in_nobodys_way(self):
        self.publish(FaultyRegistry(self, referrers=True))
        self.registry.faults["unlisted"] = 1 << 30
        begun = time.monotonic()
        server = self.serve()
        self.assertLess(time.monotonic() - begun, 20)
        self.assertTrue(self.registry.hangs.wait(20))
        self.assert_reads_right(server)
        begun = time.monotonic()
        server.stop()
        self.assertLess(time.monotonic() - begun, 20)

    def test_the_trace_of_a_converted_form_is_found_through_the_ordinary_image(self):
        registry = self.registry = FaultyRegistry(self, referrers=True)
        self.at = f"docker://{registry.host}/team/app:1"
        self.dadi("push", "oci:source", self.at)
        self.fails(UNSUPPORTED, "trace", "attach", "--referrer", self.at, "app.trace", says="convert it first")
        converted = self.dadi("convert", "--json", "--referrer", "--virtual-size", "256M", self.at).json["digest"]
        (self.folder / "list").write_text("/srv/noise\n")
        self.assertEqual(self.attach(trace="list")["subject"], converted)
        self.registry.seen.clear()
        server = self.start()
        asked = self.layer_requests()
        script = "h.connect_uri(uri)\nat = disk.find(%r)\nassert at > 0 and h.pread(1 << 20, at) == disk[at:at + (1 << 20)]\n"
        noise = self.dadi("cat", "oci:image", "srv/noise").stdout
        self.nbdsh(server.uri, script % bytes(noise[:512]))
        self.assertEqual(self.layer_requests(), asked)

    def test_it_needs_a_place_beside_the_image(self):
        self.publish(FaultyRegistry(self, referrers=True))
        self.fails(USAGE, "trace", "attach", "--referrer", self.at, "app.trace", "oci:done", says="no DST")
        self.fails(USAGE, "trace", "attach", self.at, "app.trace", says=["DST is missing", "--referrer"])
        self.dadi("copy", "oci:image", "oci-archive:image.tar")
        self.fails(UNSUPPORTED, "trace", "attach", "--referrer", "oci-archive:image.tar", "app.trace", says="oci:DIR")
        self.fails(NOT_FOUND, "trace", "attach", "--referrer", "oci:nowhere", "app.trace", says="nowhere")


class InLayouts(Beside):
    def setUp(self):
        super().setUp()
        self.record()
        self.at = "oci:image"

    def test_a_layout_lists_it(self):
        before, root = read_manifest(self.folder / "image")
        answer = self.attach()
        index = json.loads((self.folder / "image/index.json").read_text())
        self.assertEqual(index["manifests"][0], root)
        self.assertEqual((index["manifests"][1]["artifactType"], index["manifests"][1]["digest"]), (TYPE, answer["digest"]))
        self.assertNotIn("org.opencontainers.image.ref.name", index["manifests"][1]["annotations"])
        self.assertEqual(self.trace()["artifact"], answer["digest"])
        self.assertEqual(read_manifest(self.folder / "image")[0], before)
        # With and without a tag, the image is the only one there.
        for name in ("oci:image", "oci:image:latest"):
            self.assertEqual(self.dadi("inspect", "--json", name).json["digest"], root["digest"])
        self.assertNotIn(answer["digest"], self.fails(NOT_FOUND, "ls", "oci:image:none", says="latest"))
        self.dadi("check", self.at)
        # As on a registry, to the byte.
        self.publish(FaultyRegistry(self, referrers=True))
        self.assertEqual(self.attach()["digest"], answer["digest"])

    def test_the_latest_counts_and_other_entries_stay(self):
        (self.folder / "other").write_bytes(make_trace([(0, 4096, 8192)]))
        first = self.attach()
        self.assertTrue(self.attach()["there"])
        second = self.attach(trace="other")
        self.assertEqual(self.trace()["artifact"], second["digest"])
        self.dadi("trace", "attach", self.at, "other", "oci:image:traced")
        self.dadi("convert", "--virtual-size", "64M", "oci:source", "oci:image:another")
        entries = json.loads((self.folder / "image/index.json").read_text())["manifests"]
        self.assertEqual([one.get("annotations", {}).get("org.opencontainers.image.ref.name") for one in entries],
                         ["latest", None, None, "traced", "another"])
        self.assertEqual([one["digest"] for one in entries[1:3]], [first["digest"], second["digest"]])
        self.assertEqual(self.trace("oci:image:latest")["artifact"], second["digest"])
        self.assertNotIn("artifact", self.trace("oci:image:traced"))
        self.assertIsNone(self.trace("oci:image:another"))

    def test_one_that_is_damaged_refers_to_nothing(self):
        answer = self.attach()
        path = self.folder / "image/blobs/sha256" / answer["digest"][7:]
        data = path.read_bytes()
        for damage in (data[:-1], data.replace(b"subject", b"subjekt"), os.urandom(len(data))):
            path.write_bytes(damage)
            self.assertIsNone(self.trace())
        path.unlink()
        self.assertIsNone(self.trace())
        self.dadi("check", self.at)


if __name__ == "__main__":
    harness.main()
