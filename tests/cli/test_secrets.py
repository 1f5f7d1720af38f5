"""Passwords and tokens are nowhere but in the file of credentials and in requests to who they are for: every command that
reaches registries is run, well and badly, and everything that it says, sends elsewhere and leaves is searched."""
import base64
import json
import os
import pathlib
import subprocess
import threading
import urllib.parse

import harness
from faulty_registry import FaultyRegistry
from harness import environment
from images import Layout, entry, small_debian
from registries import PASSWORD, USER

IDENTITY = "id3ntity-4e1b-" + "y" * 20


class ProcessList(threading.Thread):
    """What ps shows of dadi's processes, their environment too, looked at all the time."""

    def __init__(self):
        super().__init__(daemon=True)
        self.seen, self.ended = set(), threading.Event()

    def run(self):
        while not self.ended.wait(0.005):
            for process in pathlib.Path("/proc").glob("[0-9]*"):
                try:
                    words = (process / "cmdline").read_bytes()
                    if b"dadi" in words:
                        self.seen |= {words, (process / "environ").read_bytes()}
                except OSError:
                    pass  # it has ended


def without_holes(path):
    """What there is of a file's content; of an exported device, that is little."""
    parts = []
    with open(path, "rb") as file:
        end, size = 0, os.fstat(file.fileno()).st_size
        while end < size:
            try:
                begin = os.lseek(file.fileno(), end, os.SEEK_DATA)
            except OSError:  # only a hole is left
                break
            end = os.lseek(file.fileno(), begin, os.SEEK_HOLE)
            parts.append(os.pread(file.fileno(), end - begin, begin))
    return b"".join(parts)


class Secrets(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/noise", os.urandom(2 << 20))]])
        self.registry = FaultyRegistry(self, tokens=1000, elsewhere=True)
        self.at = f"docker://{self.registry.host}/a:1"
        self.authfile = self.folder / "auth.json"
        folders = {"HOME": "home", "XDG_CACHE_HOME": "cache", "XDG_RUNTIME_DIR": "run", "TMPDIR": "tmp"}
        for name in folders.values():
            (self.folder / name).mkdir()
        self.env = environment(REGISTRY_AUTH_FILE=str(self.authfile),
                               **{name: str(self.folder / path) for name, path in folders.items()})
        self.said = []

    def run_all(self):
        """Every command that may reach a registry. Whether it ends well does not matter here."""
        converted = self.at.replace(":1", ":dadi")
        for words in (["push", "oci:image", self.at], ["pull", self.at, "oci:back"], ["copy", self.at, self.at + "-copy"],
                      ["convert", self.at, converted], ["inspect", self.at], ["inspect", "--config", self.at],
                      ["inspect", converted], ["check", converted], ["ls", converted], ["cat", converted, "/etc/os-release"],
                      ["verify", self.at, converted], ["export", converted, "disk.img"], ["pull", self.at + "-none", "oci:none"],
                      ["serve", "--run", "true", converted], ["cache", "ls"], ["doctor"]):
            for more in ([], ["-v", "--json", "--progress", "json"]):
                self.note(words[0], *more, *words[1:])

    def note(self, *words, **options):
        run = self.dadi(*words, env=self.env, status=None, **options)
        self.said.append((words, run.stdout + run.stderr.encode()))
        return run

    def login(self, password):
        (self.folder / "home/password").write_text(password)
        with open(self.folder / "home/password", "rb") as file:
            run = self.note("login", "-v", "-u", USER, self.registry.host, stdin=file)
        (self.folder / "home/password").unlink()
        return run.status

    def secrets(self):
        pair = f"{USER}:{PASSWORD}"
        found = [PASSWORD, base64.b64encode(pair.encode()).decode(), base64.b64encode(PASSWORD.encode()).decode().rstrip("="),
                 IDENTITY, *(token for token in self.registry.uses if token)]
        return {spelling.encode() for secret in found for spelling in (secret, urllib.parse.quote(secret, safe=""))}

    def assert_without_secrets(self, what, data):
        for secret in self.secrets():
            self.assertNotIn(secret, data, what)

    def search(self, processes):
        for words, text in self.said:
            self.assert_without_secrets(words, text)
        for words in processes.seen:
            self.assert_without_secrets("process list", words)
        for path in self.folder.rglob("*"):
            if path.is_file() and path != self.authfile:
                self.assert_without_secrets(path, without_holes(path))
        for host, method, path, headers in self.registry.seen:
            self.assert_without_secrets("address", path.encode())
            if host == self.registry.store:
                self.assert_without_secrets("redirected request", json.dumps(headers).encode())

    def test_they_are_found_nowhere(self):
        processes = ProcessList()
        processes.start()
        self.assertNotEqual(self.login("wrong-" + PASSWORD), 0)
        self.assertEqual(self.login(PASSWORD), 0)
        self.run_all()
        self.assertGreater(len(self.registry.asked(self.registry.store, "GET", "bucket")), 4)
        for fault in ("gone", "status", "wrong", "other"):
            self.registry.faults[fault] = 4
            self.note("pull", "-v", self.at, f"oci:{fault}")
            self.registry.faults[fault] = 0
        self.registry.tokens = 0  # it knows no token any more
        self.registry.uses = dict.fromkeys(self.registry.uses, 0)
        self.note("logout", self.registry.host)
        self.note("pull", "-v", self.at, "oci:last")
        self.authfile.write_text(json.dumps({"auths": {self.registry.host: {"identitytoken": IDENTITY}}}))
        self.registry.tokens = 5
        self.note("pull", "-v", self.at, "oci:identity")
        self.authfile.write_text(f'{{"auths": {{"{self.registry.host}": {{"auth": "{PASSWORD}"')  # no JSON
        self.note("pull", "-v", self.at, "oci:broken")
        processes.ended.set()
        processes.join()
        self.assertGreater(len(processes.seen), 2)
        self.search(processes)

    def test_the_search_does_find_one(self):
        self.registry.uses["tok-1"] = 1
        with self.assertRaises(AssertionError):
            self.assert_without_secrets("", f"Authorization: Basic {base64.b64encode(f'{USER}:{PASSWORD}'.encode()).decode()}".encode())
        with subprocess.Popen(["sh", "-c", "sleep 0.3; : dadi " + PASSWORD], stdout=subprocess.DEVNULL):
            processes = ProcessList()
            processes.start()
            processes.ended.wait(0.2)
            processes.ended.set()
            processes.join()
        with self.assertRaises(AssertionError):
            self.search(processes)


if __name__ == "__main__":
    harness.main()
