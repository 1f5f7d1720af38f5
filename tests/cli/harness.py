"""What the tests of the command line share: running dadi, temporary folders, and reasons to skip.

Each test file runs alone: DADI_BINARY=build/release/bin/dadi python3 tests/cli/test_ls.py [-v] [NAME…]. ctest sets the
variable. DADI_SHARED is the folder with the golden blobs and the strict reader, by default ../shared beside the checkout.
"""
import gzip
import hashlib
import json
import mmap
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ.get("DADI_BINARY", str(REPOSITORY / "build/release/bin/dadi"))
SHARED = pathlib.Path(os.environ.get("DADI_SHARED", REPOSITORY.parent / "shared"))
GOLDEN = SHARED / "golden"
ALL_SKIPPED = 77  # tells ctest that a file could test nothing here
LEAKS_OF_OTHERS = REPOSITORY / "tests/leaks-of-others.supp"
SANITIZER_STATUS = 99  # no exit status of dadi

# Exit statuses, as documented.
OK, FAILURE, USAGE, PARTIAL, CORRUPT, NOT_FOUND, DENIED, NETWORK, UNSUPPORTED, BUSY, HOST_LACKS = range(11)


class Run:
    """A finished run of dadi."""

    def __init__(self, process, stdout, stderr):
        self.status, self.stdout = process.returncode, stdout
        self.stderr = stderr.decode(errors="replace")

    @property
    def text(self):
        return self.stdout.decode()

    @property
    def json(self):
        return json.loads(self.stdout)


def environment(**changes):
    """The environment that dadi runs in: nothing of the user's own settings, layers converted anew, and `changes` (None
    removes)."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("DADI_")}
    env.update({"XDG_CONFIG_HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent", "DADI_LAYER_CACHE": "0", "NO_COLOR": "1",
                "ASAN_OPTIONS": f"exitcode={SANITIZER_STATUS}", "LSAN_OPTIONS": f"exitcode={SANITIZER_STATUS}:print_suppressions=0:suppressions={LEAKS_OF_OTHERS}",
                "UBSAN_OPTIONS": f"exitcode={SANITIZER_STATUS}:print_stacktrace=1",
                "TSAN_OPTIONS": f"exitcode={SANITIZER_STATUS}"})
    for name, value in changes.items():
        env.pop(name, None)
        if value is not None:
            env[name] = value
    return env


class Test(unittest.TestCase):
    """A test with a temporary folder of its own, self.folder, and ways to run dadi in it."""

    maxDiff = None

    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="dadi-test-"))
        self.addCleanup(shutil.rmtree, self.folder, ignore_errors=True)

    def dadi(self, *arguments, status=OK, env=None, cwd=None, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
             prefix=(), **popen):
        """Runs dadi, by the command `prefix`, and expects an exit status (None: any). No message of a sanitizer is ever
        acceptable."""
        process = subprocess.Popen([*prefix, BINARY, *map(str, arguments)], env=env or environment(), cwd=cwd or self.folder,
                                   stdin=stdin, stdout=stdout, stderr=subprocess.PIPE, **popen)
        run = Run(process, *process.communicate(timeout=600))
        run.status = process.returncode
        for mark in ("Sanitizer", "runtime error:"):
            self.assertNotIn(mark, run.stderr, arguments)
        if status is not None:
            self.assertEqual(run.status, status, f"dadi {' '.join(map(str, arguments))}\n{run.stderr}")
        return run

    def fails(self, status, *arguments, says=(), **options):
        """Runs dadi, which must fail with `status`, answer nothing, and say why on stderr. Returns what it said."""
        run = self.dadi(*arguments, status=status, **options)
        self.assertEqual(run.stdout, b"", arguments)
        self.assertTrue(run.stderr.startswith("dadi: error: ") or "\ndadi: error: " in run.stderr, run.stderr)
        for text in [says] if isinstance(says, str) else says:
            self.assertIn(text, run.stderr)
        return run.stderr

    def strict_reader(self, *arguments, status=0):
        """Runs the independent reader, and gives its output."""
        need(SHARED / "tools/strict_reader.py")
        run = subprocess.run([sys.executable, SHARED / "tools/strict_reader.py", *map(str, arguments)],
                             capture_output=True, text=True, check=False, timeout=1200)
        self.assertEqual(run.returncode, status, run.stdout + run.stderr)
        return run.stdout

    def golden(self, name):
        """A golden file; one that is kept gzipped is unpacked into the test's folder."""
        path = GOLDEN / name
        need(GOLDEN)
        if path.exists():
            return path
        copy = self.folder / name.replace("/", "_")
        if not copy.exists():
            with gzip.open(f"{path}.gz") as packed, open(copy, "wb") as out:
                shutil.copyfileobj(packed, out)
        return copy


def golden_device_sha256(label):
    """What shared/golden says that the device of `label` hashes to."""
    need(GOLDEN)
    for line in (GOLDEN / "DEVICE_SHA256").read_text().splitlines():
        if line.split()[0] == label:
            return line.split()[-2]
    raise KeyError(label)


def need(path):
    """Skips the test when something outside of the repository is not here."""
    if not pathlib.Path(path).exists():
        raise unittest.SkipTest(f"{path} is not here (DADI_SHARED)")


def need_root():
    if os.geteuid() != 0:
        raise unittest.SkipTest("needs root")


def need_command(*names):
    for name in names:
        if shutil.which(name) is None:
            raise unittest.SkipTest(f"{name} is not installed")


def is_sanitized():
    """Whether dadi was built with a sanitizer, whose memory is not dadi's."""
    with open(BINARY, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        return content.find(b"__asan_init") >= 0 or content.find(b"__tsan_init") >= 0


def need_long():
    if not os.environ.get("DADI_LONG"):
        raise unittest.SkipTest("takes minutes: scripts/test --long")


def sha256_of(path):
    """Of a file's content. coreutils is three times as fast as some Pythons are, and disks are large."""
    return subprocess.run(["sha256sum", "-b", path], check=True, capture_output=True, text=True).stdout.split()[0].lstrip("\\")


def sparse_digest(path):
    """A digest of a file's content that reads its data only: the blocks of 4 KiB that are not zeros, and where they are."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        at = 0
        while at < size:
            try:
                at = os.lseek(file.fileno(), at, os.SEEK_DATA) & ~4095
            except OSError:  # only a hole is left
                break
            block = os.pread(file.fileno(), 4096, at)
            if block.strip(b"\0"):
                digest.update(at.to_bytes(8, "little") + block)
            at += 4096
    return f"{size}:{digest.hexdigest()}"


def main():
    """Runs the tests of the file; ends with ALL_SKIPPED when each was skipped. Reasons to skip are printed."""
    program = unittest.main(module="__main__", exit=False, verbosity=1)
    for test, reason in program.result.skipped:
        print(f"SKIPPED {test.id()}: {reason}")
    # A class that skips as a whole counts as skipped, not as run.
    ran = program.result.testsRun - sum(isinstance(test, unittest.TestCase) for test, _ in program.result.skipped)
    if program.result.wasSuccessful() and program.result.skipped and ran == 0:
        sys.exit(ALL_SKIPPED)
    sys.exit(not program.result.wasSuccessful())
