"""Lazy reads of an image that mirrors have, too: from the first that answers, and right whatever they send."""
import time

import harness
from faulty_registry import FaultyRegistry
from lazy_reading import LazyTest


class Mirrors(LazyTest):
    def setUp(self):
        super().setUp()
        self.mirror = FaultyRegistry(self)
        self.publish(self.mirror)
        self.registry = FaultyRegistry(self)
        for kind in ("manifests", "types", "blobs"):
            getattr(self.registry, kind).update(getattr(self.mirror, kind))
        self.at = f"docker://{self.registry.host}/a:1"
        conf = self.folder / "registries.conf"
        conf.write_text(f'[[registry]]\nlocation = "{self.registry.host}"\n'
                        f'[[registry.mirror]]\nlocation = "{self.mirror.host}"\n')
        self.env["CONTAINERS_REGISTRIES_CONF"] = str(conf)

    def test_a_mirror_that_has_the_image_is_the_only_one_that_is_asked(self):
        self.assert_reads_right(self.serve())
        self.assertEqual(self.registry.seen, [])

    def test_a_mirror_that_dies_is_left_alone_and_the_registry_asked(self):
        server = self.serve("--chunk-size", "16K", "--no-block-cache")
        self.mirror.seen.clear()
        self.mirror.faults["gone"] = 1 << 30
        begin = time.monotonic()
        self.assert_reads_right(server)
        self.assertLess(time.monotonic() - begin, 25)  # and not three seconds for each of many reads
        self.assertGreater(len(self.asked("/blobs/")), 10)
        asked = len(self.mirror.seen)
        self.assert_reads_right(server)
        self.assertEqual(len(self.mirror.seen), asked)

    def test_what_a_mirror_sends_wrong_is_read_from_the_registry(self):
        server = self.serve()
        self.mirror.faults["wrong"] = 1 << 30
        self.assert_reads_right(server)
        self.assertGreater(len(self.asked("/blobs/")), 0)


if __name__ == "__main__":
    harness.main()
