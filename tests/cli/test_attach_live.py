"""Committing what is attached while it goes on in a fresh layer: commit --live."""
import json
import os
import random
import re
import socket
import subprocess
import threading
import time

import harness
from harness import BUSY, CORRUPT, UNSUPPORTED, USAGE
from writing_attached import Written, write_synced

ROUNDS = 10 if os.environ.get("DADI_LONG") else 3


class Live(Written):
    def layers_of(self, layout):
        folder = self.folder / layout
        digest = json.loads((folder / "index.json").read_text())["manifests"][0]["digest"]
        return json.loads((folder / "blobs/sha256" / digest.removeprefix("sha256:")).read_text())["layers"]

    def layers_in(self, at):
        """How many layers there are in a folder, as it says and as there are."""
        folder = self.folder / at
        said = json.loads((folder / "image.json").read_text()).get("layers", ["."])
        there = [str(path.parent.relative_to(folder)) for path in folder.rglob("writable_data")]
        self.assertEqual(sorted(said), sorted(there))
        return len(said)

    def assert_sound_on(self, image, at, expected):
        """That the folder can be written to on top of the image, and holds that tree."""
        self.dadi("attach", "--name", "again", "--mount", "again", f"--writable={at}", image)
        tree, self.tree = self.tree, self.folder / "again"
        self.assertEqual(self.files(), expected)
        write_synced(self.tree / "once-more", b"more")
        self.tree = tree
        self.dadi("detach", "again")
        self.dadi("commit", at, "oci:once-more")  # refuses one that is not clean
        self.dadi("check", "oci:once-more")

    def test_each_commit_writes_what_is_new_and_the_attachment_goes_on(self):
        for at, form, options in (("append", "append", []), ("sparse", "sparse", ["--journal"]),
                                  ("journal", "append", ["--journal", "--mount-options", "data=journal"])):
            with self.subTest(at):
                self.attach_writable("--writable-form", form, *options, at=at)
                self.dadi("detach", "work")
                self.attach_writable(*options, at=at)
                below = len(self.layers_of("image"))
                self.change_much(1)
                held = open(self.tree / "new/file1", "rb")
                (self.tree / "new/file2").unlink()
                first = self.files()
                reader = os.pread(held.fileno(), 1 << 20, 0)
                self.dadi("commit", "work", f"oci:{at}-1", "--live")
                self.assertEqual(self.layers_in(at), 1)
                self.assertFalse((self.folder / at / "writable_data").exists())
                [index] = (self.folder / at).glob("layer-*/writable_index")
                self.assertEqual(index.stat().st_size == 0, form == "sparse")  # the fresh layer has the form of the one before
                self.assertEqual(self.files(), first)
                self.assertEqual(os.pread(held.fileno(), 1 << 20, 0), reader)
                self.assert_committed(f"{at}-1", first)

                write_synced(self.tree / "little", b"little\n" * 1000)
                second = self.files()
                answer = self.dadi("--json", "commit", "work", f"oci:{at}-2", "--live").json
                self.assertLess(answer["layer"]["data_size"], 300_000)
                self.assertEqual(self.layers_in(at), 1)
                layers = self.layers_of(f"{at}-2")
                self.assertEqual(len(layers), below + 2)
                self.assertEqual(layers[:-1], self.layers_of(f"{at}-1"))
                self.assert_committed(f"{at}-2", second)

                (self.tree / "little").unlink()
                third = self.files()
                self.dadi("commit", "work", f"oci:{at}-3")  # and without --live
                self.assertEqual(self.layers_in(at), 1)
                self.assertEqual(self.layers_of(f"{at}-3")[:-1], layers)
                self.assert_committed(f"{at}-3", third)
                held.close()
                self.assertEqual(self.files(), third)
                self.dadi("detach", "work")

                self.fails(USAGE, "attach", f"--writable={at}", "oci:image", says=["on top of", f"{at}-2@sha256:"])
                self.assert_sound_on(f"oci:{at}-2", at, third)

    def test_who_writes_meanwhile_loses_nothing(self):
        self.attach_writable(at="changes")
        stop = threading.Event()
        writer = threading.Thread(target=self.keep_writing, args=(stop,))
        writer.start()
        for number in range(ROUNDS):
            self.dadi("commit", "work", f"oci:busy{number}", "--live")
            self.dadi("check", f"oci:busy{number}")
        stop.set()
        writer.join()
        expected = self.files()
        self.dadi("commit", "work", "oci:last", "--live")
        self.assert_committed("last", expected)
        self.assertEqual(self.files(), expected)
        self.dadi("detach", "work")
        self.assert_sound_on("oci:last", "changes", expected)

    def test_commits_at_the_same_time(self):
        self.attach_writable(at="changes")
        for number in range(ROUNDS):
            write_synced(self.tree / f"file{number}", random.Random(number).randbytes(3_000_000))
            commits = [subprocess.Popen([harness.BINARY, "commit", "work", f"oci:{name}{number}", "--live"], env=self.env,
                                        cwd=self.folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
                       for name in "ab"]
            ended = [(commit.communicate(timeout=300), commit.returncode) for commit in commits]
            self.assertIn(0, [status for _, status in ended], ended)
            for _, status in ended:
                self.assertIn(status, (0, BUSY), ended)
            self.assertEqual(self.layers_in("changes"), 1)
        expected = self.files()
        self.dadi("commit", "work", "oci:done", "--live")
        self.assert_committed("done", expected)
        self.dadi("detach", "work")
        self.assert_sound_on("oci:done", "changes", expected)

    def test_what_fails_loses_nothing_and_the_next_commit_has_it_all(self):
        self.attach_writable(at="changes")
        self.change_much(2)
        self.dadi("commit", "work", "docker://127.0.0.1:1/no/such:image", "--live", status=None)
        self.assertEqual(self.layers_in("changes"), 1)  # it got nowhere
        late = ["--digestfile", "no/such/folder", "--live"]  # once everything else is done
        self.dadi("commit", "work", "oci:late", *late, status=harness.NOT_FOUND)
        self.assertEqual(self.layers_in("changes"), 2)
        write_synced(self.tree / "later", b"later")
        self.dadi("commit", "work", "oci:late", *late, status=harness.NOT_FOUND)
        self.assertEqual(self.layers_in("changes"), 3)
        (self.tree / "later").unlink()
        (self.tree / "latest").write_bytes(b"latest")
        expected = self.files()
        self.dadi("commit", "work", "oci:plain")
        self.assert_committed("plain", expected)
        [stats] = self.dadi("stats", "work", "--json").json
        self.assertGreater(stats["writable"]["data"], 1_000_000)  # of all layers
        self.dadi("detach", "work")
        self.dadi("commit", "changes", "oci:folder")
        self.assert_committed("folder", expected)
        self.attach_writable(at="changes")  # on the image that it was on
        self.assertEqual(self.files(), expected)
        write_synced(self.tree / "latest", b"the very latest")
        expected = self.files()
        self.dadi("commit", "work", "oci:done", "--live")
        self.assertEqual(self.layers_in("changes"), 1)
        self.assert_committed("done", expected)
        self.dadi("detach", "work")
        self.assert_sound_on("oci:done", "changes", expected)

    def test_a_killed_commit_leaves_what_the_next_one_goes_on_with(self):
        self.attach_writable(at="changes")
        rng = random.Random(5)
        for number in range(10 * ROUNDS):
            write_synced(self.tree / f"file{number % 7}", rng.randbytes(200_000))
            commit = subprocess.Popen([harness.BINARY, "commit", "work", f"oci:killed{number}", "--live"], env=self.env,
                                      cwd=self.folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            time.sleep(rng.random() * 0.2)
            commit.kill()
            commit.wait()
        expected = self.files()
        self.dadi("commit", "work", "oci:done")
        self.assert_committed("done", expected)
        self.dadi("detach", "work")
        image = json.loads((self.folder / "changes/image.json").read_text())["reference"]
        self.assert_sound_on(image, "changes", expected)

    def test_a_full_disk_leaves_it_on_the_layer_that_it_has(self):
        changes = self.folder / "changes"
        changes.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "none", changes], check=True)
        self.addCleanup(subprocess.run, ["umount", "-l", changes], check=True)
        self.attach_writable("--writable-form", "sparse", "--journal", "--mount-options", "data=journal", at="changes")
        self.change_much(3)
        subprocess.run(["sync", "-f", self.tree], check=True)
        expected = self.files()
        room = os.statvfs(changes)
        with open(changes / "ballast", "wb") as file:
            os.posix_fallocate(file.fileno(), 0, (room.f_bavail - 20) * room.f_bsize)
        said = self.dadi("commit", "work", "oci:full", "--live", status=None)
        self.assertNotEqual(said.status, 0)
        self.assertIn("No space left on device", said.stderr)
        (changes / "ballast").unlink()
        self.assertEqual(self.layers_in("changes"), 1)
        self.assertEqual(self.files(), expected)
        write_synced(self.tree / "later", b"later")  # it does not stand still any more
        expected = self.files()
        self.dadi("commit", "work", "oci:done", "--live")
        self.assert_committed("done", expected)
        self.dadi("detach", "work")
        self.assert_sound_on("oci:done", "changes", expected)

    def test_squashed_and_without_a_folder(self):
        self.attach_writable(at=None)
        for number in range(2):
            write_synced(self.tree / f"file{number}", b"content")
            expected = self.files()
            self.dadi("commit", "work", f"oci:squashed{number}", "--live", "--squash", str(number))
            self.assert_committed(f"squashed{number}", expected)
        self.assertEqual(len(self.layers_of("squashed1")), len(self.layers_of("squashed0")))
        self.assertEqual(self.files(), expected)
        self.dadi("detach", "work")
        self.assert_nothing_is_left()

    def test_a_killed_dadid_leaves_a_folder_that_goes_on(self):
        self.attach_writable(at="changes")
        write_synced(self.tree / "file", b"content")
        self.dadi("commit", "work", "oci:first", "--live")
        write_synced(self.tree / "later", b"later")
        expected = self.files()
        self.kill_server("work")
        self.dadi("detach", "work")
        self.attach_again("oci:first")
        self.assertEqual(self.files(), expected)
        self.dadi("commit", "work", "oci:second", "--live")
        self.assert_committed("second", expected)

    def test_of_a_killed_dadid_with_a_temporary_layer_nothing_is_lost(self):
        self.attach_writable(at=None)
        self.dadi("commit", "work", "oci:first", "--live")
        write_synced(self.tree / "later", b"later")
        expected = self.files()
        self.kill_server("work")
        again = ["attach", "--name", "work", "--mount", "tree", "--writable"]
        said = self.fails(USAGE, *again, "oci:image", says=["on top of", "oci:", "first@sha256:"])
        folder = re.search(r"the writable layer is left in (\S+)", said)[1]
        self.dadi("attach", "--name", "work", "--mount", "tree", f"--writable={folder}", "oci:first")
        self.assertEqual(self.files(), expected)
        self.dadi("detach", "work")
        self.attach_writable(at=None)
        self.dadi("commit", "work", "oci:second", "--live")
        self.kill_server("work")
        self.assertIn("hint: attach that image, or give up on it", self.fails(BUSY, *again, "oci:second"))
        self.dadi("detach", "work")

    def ask(self, **request):
        """What the dadid of `work` answers."""
        with socket.socket(socket.AF_UNIX) as to:
            to.connect(self.listed("work")["socket"])
            to.sendall(json.dumps(request).encode() + b"\n")
            return json.loads(to.makefile().readline())

    def test_dadid_goes_on_in_nothing_that_it_should_not(self):
        self.attach_writable(at="changes")
        before = (self.folder / "changes/image.json").read_bytes()
        changes = self.ask(request="changes")["changes"]
        name = "layer-11111111-2222-3333-4444-555555555555"
        for request in ({"layer": 5, "changes": changes}, {"layer": name}, {"layer": name, "changes": "1"}, {"changes": changes},
                        {"layer": "../x", "changes": changes}, {"layer": name, "changes": changes - 1}, {"layer": name, "changes": changes}):
            self.assertIn("error", self.ask(request="go_on_in", **request), request)
        for request in ({"layer": name}, {"layer": name, "image": 7}, {"layer": name, "image": json.loads(before)}, {"image": {}}):
            self.assertIn("error", self.ask(request="put_on_image", **request), request)
        self.assertEqual((self.folder / "changes/image.json").read_bytes(), before)
        # What was made before something was written is not put on top of that.
        (self.folder / "changes" / name).mkdir(exist_ok=True)
        for file in ("writable_data", "writable_index"):
            (self.folder / "changes" / name / file).write_bytes((self.folder / "changes" / file).read_bytes())
        write_synced(self.tree / "written", b"meanwhile")
        self.assertIn("written to meanwhile", str(self.ask(request="go_on_in", layer=name, changes=changes)))
        self.assertEqual((self.folder / "changes/image.json").read_bytes(), before)
        expected = self.files()
        self.dadi("detach", "work")
        self.assert_sound_on("oci:image", "changes", expected)

    def test_layers_that_are_not_its_own_are_left_alone(self):
        name = "layer-11111111-2222-3333-4444-555555555555"
        other = self.folder / "changes" / name
        self.attach_writable(at="changes")
        other.mkdir()
        (other / "writable_data").write_bytes(b"somebody's")
        self.dadi("commit", "work", "oci:first", "--live")
        self.dadi("detach", "work")
        self.dadi("attach", "--name", "work", "--writable=changes", "oci:first")
        self.dadi("detach", "work")
        self.assertEqual((other / "writable_data").read_bytes(), b"somebody's")
        (self.folder / "changes/image.json").unlink()
        self.fails(CORRUPT, "attach", "--writable=changes", "oci:first", says="no image.json")
        self.fails(CORRUPT, "serve", "--writable=changes", "oci:image", says="no image.json")

    def attach_again(self, image):
        self.dadi("attach", "--name", "work", "--mount", "tree", "--writable=changes", image)

    def test_what_cannot_be_committed_live(self):
        self.attach_writable(at="changes")
        self.dadi("detach", "work")
        self.fails(USAGE, "commit", "changes", "oci:no", "--live", says="--live is for what is attached")
        self.attach_writable(at="changes")
        self.fails(UNSUPPORTED, "commit", "work", "oci-archive:no.tar", "--live", says=["an archive is replaced", "hint: "])
        self.dadi("detach", "work")
        self.attach_writable(at="changes", mount=None)
        self.fails(UNSUPPORTED, "commit", "work", "oci:no", "--live", says=["is not mounted here", "hint: "])
        self.assertFalse((self.folder / "no").exists())


if __name__ == "__main__":
    harness.main()
