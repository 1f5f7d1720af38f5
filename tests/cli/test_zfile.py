"""dadi zfile: round trips, damage, and what the independent reader says of our files."""
import os
import random

import harness
from harness import CORRUPT, NOT_FOUND, USAGE

CHUNK = 1 << 20  # what dadi reads at once


def sample(size, seed=1):
    """Bytes of which about half compress well."""
    source = random.Random(seed)
    pieces = []
    while sum(map(len, pieces)) < size:
        pieces.append(source.randbytes(3000) if source.random() < 0.5 else bytes([source.randrange(256)]) * 5000)
    return b"".join(pieces)[:size]


class RoundTrips(harness.Test):
    def round_trip(self, data, *options):
        (self.folder / "in").write_bytes(data)
        self.dadi("zfile", "compress", *options, "in", "packed")
        self.dadi("zfile", "extract", "packed", "out")
        self.assertEqual((self.folder / "out").read_bytes(), data)
        return self.dadi("zfile", "info", "--json", "packed").json

    def test_every_compression_and_block_size(self):
        data = sample(300_001)
        for compression in ("lz4", "zstd", "zstd:1", "zstd:19"):
            for block_size in ("4K", "8K", "16K", "32K"):
                info = self.round_trip(data, "--compression", compression, "--block-size", block_size)
                self.assertEqual(info["algorithm"], compression.split(":")[0])
                self.assertEqual(info["block_size"], int(block_size[:-1]) * 1024)
                self.assertEqual(info["raw_size"], len(data))

    def test_sizes_around_blocks_and_chunks(self):
        for size in (0, 1, 4095, 4096, 4097, CHUNK - 1, CHUNK, CHUNK + 1):
            info = self.round_trip(sample(size))
            self.assertEqual(info["blocks"], -(-size // 4096))

    def test_incompressible_and_empty_content(self):
        self.round_trip(os.urandom(100_000), "--block-size", "32K")
        self.round_trip(bytes(3 * CHUNK))

    def test_the_same_input_gives_the_same_bytes(self):
        (self.folder / "in").write_bytes(sample(100_000))
        self.dadi("zfile", "compress", "in", "a")
        self.dadi("zfile", "compress", "in", "b")
        self.assertEqual((self.folder / "a").read_bytes(), (self.folder / "b").read_bytes())

    def test_what_was_extracted_from_a_golden_layer_packs_into_one_that_the_strict_reader_accepts(self):
        layer = self.golden("append/0/overlaybd.commit")
        self.dadi("zfile", "extract", layer, "raw")
        self.assertEqual((self.folder / "raw").read_bytes(), self.golden("append/0/raw.lsmt").read_bytes())
        for options in (["lz4", "4K"], ["zstd:3", "16K"], ["lz4", "32K"]):
            self.dadi("zfile", "compress", "--compression", options[0], "--block-size", options[1], "raw", "packed")
            self.assertIn("OK", self.strict_reader("check", "--modern", self.folder / "packed"))


class Refusals(harness.Test):
    def setUp(self):
        super().setUp()
        (self.folder / "in").write_bytes(sample(50_000))
        self.dadi("zfile", "compress", "in", "packed")

    def damaged(self, position, value=None):
        data = bytearray((self.folder / "packed").read_bytes())
        data[position] = data[position] ^ 0xFF if value is None else value
        (self.folder / "damaged").write_bytes(data)
        return "damaged"

    def test_a_damaged_block_is_named_and_nothing_is_written(self):
        self.fails(CORRUPT, "zfile", "extract", self.damaged(600), "out", says="block 0")
        self.assertFalse((self.folder / "out").exists())
        self.assertEqual([p.name for p in self.folder.glob(".*")], [])

    def test_every_flipped_byte_is_noticed_or_harmless(self):
        original = (self.folder / "in").read_bytes()
        size = (self.folder / "packed").stat().st_size
        source = random.Random(7)
        for position in [*range(0, 96, 5), *range(size - 512, size - 416, 7), *(source.randrange(size) for _ in range(20))]:
            run = self.dadi("zfile", "extract", self.damaged(position), "out", status=None)
            if run.status == 0:
                self.assertEqual((self.folder / "out").read_bytes(), original, position)
            else:
                self.assertIn(run.status, (USAGE, CORRUPT, harness.UNSUPPORTED), (position, run.stderr))

    def test_truncated_files(self):
        data = (self.folder / "packed").read_bytes()
        for size in (0, 1, 511, 512, 1023, len(data) // 2, len(data) - 1):
            (self.folder / "cut").write_bytes(data[:size])
            self.assertNotEqual(self.dadi("zfile", "info", "cut", status=None).status, 0, size)

    def test_other_files(self):
        self.fails(USAGE, "zfile", "info", "in", says="not a ZFile")
        self.fails(NOT_FOUND, "zfile", "info", "missing", says="missing")
        self.fails(USAGE, "zfile", "compress", ".", "out")
        os.mkfifo(self.folder / "pipe")  # nobody will ever write into it
        self.fails(USAGE, "zfile", "info", "pipe", says="is not a file or block device")

    def test_output_replaces_only_regular_files(self):
        self.fails(USAGE, "zfile", "compress", "in", "/dev/null", says="not a regular file")
        (self.folder / "link").symlink_to("in")
        self.fails(USAGE, "zfile", "extract", "packed", "link", says="not a regular file")
        self.dadi("zfile", "extract", "packed", "packed.out")
        self.dadi("zfile", "extract", "packed", "packed.out")

    def test_output_into_a_folder_that_does_not_exist(self):
        self.fails(NOT_FOUND, "zfile", "extract", "packed", "no/such/folder/out")


if __name__ == "__main__":
    harness.main()
