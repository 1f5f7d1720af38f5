"""Killed at any moment, as nobody can prepare for: whatever has its final name is whole, and the next run finishes the
job, to the same bytes, and clears away what the killed ones left."""
import hashlib
import os
import pathlib
import random
import subprocess
import time

import harness
from harness import NOT_FOUND, OK, environment
from images import Layout, entry, read_manifest, small_debian
from registries import Registry

KILLS = 60 if os.environ.get("DADI_LONG") else 3


class Killed(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(5 << 20))]])
        self.digest = read_manifest(self.folder / "image")[1]["digest"]
        self.seed = int(os.environ.get("DADI_SEED", random.randrange(1 << 30)))
        self.lots = random.Random(self.seed)
        (self.folder / "tmp").mkdir()
        self.env = environment(TMPDIR=str(self.folder / "tmp"))

    def rounds(self, command, judge, finish):
        """As often as KILLS says: `command(ROUND)` is started and killed somewhere on its way, `judge(ROUND, DONE)` looks
        at what is left, and `finish(ROUND)` runs it to its end and compares."""
        begin = time.monotonic()
        self.assertEqual(self.run_for(command("whole"), 600), OK)
        judge("whole", True)
        whole = time.monotonic() - begin
        killed = 0
        for number in range(KILLS * 10):
            after = self.lots.uniform(0, whole)
            with self.subTest(DADI_SEED=self.seed, round=number, after=f"{after:.3f} of {whole:.3f} s"):
                status = self.run_for(command(number), after)
                self.assertIn(status, (OK, -9))
                judge(number, status == OK)
                finish(number)
            killed += status == -9
            if killed >= KILLS:
                break
        self.assertGreaterEqual(killed, KILLS)
        self.assertEqual(list((self.folder / "tmp").iterdir()), [])

    def run_for(self, words, seconds):
        """Starts a program; kills it when its time is over."""
        with subprocess.Popen(list(map(str, words)), cwd=self.folder, env=self.env, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL) as process:
            try:
                return process.wait(timeout=seconds)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()

    def run_dadi(self, *words):
        return self.dadi(*words, env=self.env).text.strip()

    def judge_layout(self, path, digest, done):
        for blob in (path / "blobs/sha256").iterdir() if (path / "blobs/sha256").exists() else []:
            self.assertEqual(hashlib.sha256(blob.read_bytes()).hexdigest(), blob.name)
        if done or (path / "index.json").exists():
            self.assertEqual(read_manifest(path)[1]["digest"], digest)
            self.run_dadi("copy", f"oci:{path}", "oci-archive:copy.tar")

    def into_a_folder(self, *words, digest):
        """Of a command whose last word is missing: the folder."""
        def finish(number):
            path = self.folder / f"out-{number}"
            self.assertEqual(self.run_dadi(*words, f"oci:{path}"), digest)
            self.judge_layout(path, digest, True)
            self.assertEqual(sorted(item.name for item in path.iterdir()), ["blobs", "index.json", "oci-layout"])

        self.rounds(lambda number: [harness.BINARY, *words, f"oci:out-{number}"],
                    lambda number, done: self.judge_layout(self.folder / f"out-{number}", digest, done), finish)

    def into_a_registry(self, *words, digest):
        """Of a command whose last word is missing: a repository that is new each time."""
        def judge(number, done):
            run = self.dadi("pull", f"{self.at}/{number}:1", "oci-archive:pulled.tar", env=self.env, status=None)
            self.assertIn(run.status, (OK,) if done else (OK, NOT_FOUND), run.stderr)
            if run.status == OK:
                self.assertEqual(run.text.strip(), digest)

        def finish(number):
            self.assertEqual(self.run_dadi(*words, f"{self.at}/{number}:1"), digest)
            judge(number, True)

        self.rounds(lambda number: [harness.BINARY, *words, f"{self.at}/{number}:1"], judge, finish)

    def start_registry(self):
        self.at = f"docker://{Registry(self).host}"

    def test_convert(self):
        self.into_a_folder("convert", "oci:image", digest=self.run_dadi("convert", "oci:image", "oci:expected"))

    def test_pull(self):
        self.start_registry()
        self.run_dadi("push", "oci:image", f"{self.at}/image:1")
        self.into_a_folder("pull", f"{self.at}/image:1", digest=self.digest)

    def test_push(self):
        self.start_registry()
        self.into_a_registry("push", "oci:image", digest=self.digest)

    def test_convert_from_registry_to_registry(self):
        self.start_registry()
        self.run_dadi("push", "oci:image", f"{self.at}/image:1")
        self.into_a_registry("convert", f"{self.at}/image:1", digest=self.run_dadi("convert", "oci:image", "oci:expected"))

    def test_writing_a_cache(self):
        blob = self.folder / "blob"
        blob.write_bytes(os.urandom(2 << 20))
        program = pathlib.Path(harness.BINARY).parent / "cached_read"

        def command(_=None):
            return [program, "cache", blob, self.lots.randrange(1 << 30)]

        (self.folder / "cache").mkdir()
        self.rounds(command, lambda *_: None, lambda _: self.assertEqual(self.run_for(command(), 600), OK))


if __name__ == "__main__":
    harness.main()
