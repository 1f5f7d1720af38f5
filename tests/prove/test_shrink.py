"""That a failing case becomes small: judges that are wrong on purpose, and what is left of the images that they condemn."""
import json
import unittest

import images_under_test
from images_under_test import harness
from entries import file
from generator import Case
from judges import Verdict
from oracle import Oracle
from prove import Prover
from shrink import shrink


def tree_of(layers):
    """The paths of an image, by the oracle, as nodes."""
    oracle = Oracle()
    for layer in layers:
        oracle.next_layer()
        for entry in layer:
            args = entry.path, entry.target if entry.kind == "hardlink" else None, None
            node = images_under_test.node_of(entry)
            if not oracle.refuses(*args[:2], node):
                oracle.apply_entry(*args[:2], node)
    return dict(oracle.walk_tree())


def has_fifo_below_a_hidden_name(layers):
    """Wrong on purpose: a fifo in a directory that another layer, or this one, has hidden."""
    entries, tree = [entry for layer in layers for entry in layer], tree_of(layers)
    hidden = {entry.path.replace(b".wh.", b"") for entry in entries if b".wh." in entry.path}
    return any(entry.kind == "fifo" and entry.path.rpartition(b"/")[0] in hidden and entry.path in tree and
               tree[entry.path].type == "fifo" for entry in entries)


class Shrinking(unittest.TestCase):
    def test_a_fifo_in_a_directory_that_came_back_is_all_that_is_left(self):
        found = 0
        for seed in range(1, 150):
            case = Case.from_seed(seed)
            if case.theme in ("crowd", "tight", "sparse", "collide") or not has_fifo_below_a_hidden_name(case.layers):
                continue
            layers = shrink(case.layers, has_fifo_below_a_hidden_name)
            self.assertTrue(has_fifo_below_a_hidden_name(layers))
            entries = [entry for layer in layers for entry in layer]
            self.assertEqual(sorted(entry.kind for entry in entries), ["fifo", "file"], seed)
            for entry in entries:
                self.assertEqual((entry.uid, entry.gid, entry.mtime, entry.xattrs, entry.size, entry.mode),
                                 (0, 0, "0", {}, 0, 0o644))
                self.assertLessEqual(entry.path.count(b"/"), 1)
            found += 1
        self.assertGreater(found, 1)

    def test_what_an_entry_says_goes_unless_it_matters(self):
        def is_wrong(layers):
            return any(b"user.a" in entry.xattrs and entry.uid > 70000 for layer in layers for entry in layer)
        noise = [file(b"n%d" % i, b"noise") for i in range(50)]
        guilty = file(b"deep/down/" + b"n" * 255, b"content" * 1000, uid=100000, gid=5, mtime="7.5",
                      xattrs={b"user.a": b"1", b"user.b": b"2"})
        layers = shrink([noise, noise[:20] + [guilty] + noise[20:], noise], is_wrong)
        self.assertEqual(layers, [[file(b"a", uid=100000, xattrs={b"user.a": b"1"})]])

    def test_what_needs_two_layers_keeps_two(self):
        def is_wrong(layers):
            return len(layers) >= 2 and any(e.path == b"a" for e in layers[0]) and any(e.path == b"b" for e in layers[-1])
        noise = [file(b"n%d" % i) for i in range(9)]
        layers = shrink([noise + [file(b"a")], noise, noise, [file(b"b")] + noise], is_wrong)
        self.assertEqual(layers, [[file(b"a")], [file(b"b")]])


class Keeping(images_under_test.Test):
    def test_a_failing_seed_is_kept_as_a_small_image_that_replays(self):
        judged = self.judge.judge_archives

        def broken(tars, *arguments, **options):
            verdict = judged(tars, *arguments, **options)
            if not verdict.fault and any(b".wh." in tar.read_bytes()[:100] for tar in tars):
                return Verdict("kernel: does not like a layer that begins with a whiteout")
            return verdict
        self.judge.judge_archives = broken
        prover = Prover(self.judge, self.folder / "found")
        seed = 0
        while not prover.faults:
            seed += 1
            prover.prove(seed)
        _, fault, folder = prover.faults[0]
        self.assertIn("begins with a whiteout", fault)
        about = json.loads((folder / "image.json").read_text())
        self.assertEqual([len(layer) for layer in about["layers"]], [1])
        self.assertIn(".wh.", about["layers"][0][0])
        self.judge.judge_archives = judged
        self.assertEqual(self.judge.judge_archives([folder / "layer-0.tar"], about["device"]).fault, "")


if __name__ == "__main__":
    harness.main()
