"""A fixed set of random images, against every judge. More of them, for hours: scripts/prove."""
import images_under_test
from images_under_test import LONG, harness
from generator import collisions
from prove import Prover


class RandomImages(images_under_test.Test):
    def test_every_judge_agrees_on_a_fixed_set_of_seeds(self):
        prover = Prover(self.judge, self.folder / "found")
        for seed in [*range(1, 1000 if LONG else 61), 318]:  # the last one: a directory of two levels
            prover.prove(seed)
        for _, fault, folder in prover.faults:
            print((folder / "image.json").read_text())
        self.assertEqual(prover.faults, [])
        # What the set is there for; its seeds do not change.
        for name in ("device: htree", "device: htree2", "device: extent_tree", "device: xattr_block", "device: long_symlink",
                     "opaque, and own paths before it", "directory with own paths hidden", "symlink among parents",
                     "hardlinked lower file replaced", "lower directory replaced by file", "lower file replaced by directory",
                     "directory made where a symlink points"):
            self.assertGreater(prover.reached[name], 0, name)

    def test_names_that_should_collide_do(self):
        """As e2fsprogs hashes them; a block of a directory holds 15 of the long ones."""
        harness.need_command("debugfs")
        for names in collisions():
            self.assertGreater(len(names), 15)
            for name in (names[0], names[-1]):
                run = images_under_test.run(["debugfs", "-R", f"dx_hash -h half_md4 {name.decode()}"])
                self.assertIn("is 0x5a5a5a5a ", run, name)


if __name__ == "__main__":
    harness.main()
