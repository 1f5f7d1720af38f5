"""Images on registries: convert, copy, push, pull and login against Debian's docker-registry, and skopeo beside them."""
import base64
import os
import pty
import signal
import subprocess
import termios
import time

import harness
from harness import DENIED, HOST_LACKS, NETWORK, NOT_FOUND, USAGE, environment
from images import Layout, entry, read_manifest, small_debian
from registries import PASSWORD, USER, Registry, free_port, make_authority


class RegistryTest(harness.Test):
    def setUp(self):
        super().setUp()
        self.layout = Layout(self.folder / "image")
        # One blob that an upload sends in several chunks.
        self.layout.add_image([*small_debian(), [entry("srv/noise", os.urandom(20 << 20))]])

    def skopeo(self, *words):
        harness.need_command("skopeo")
        subprocess.run(["skopeo", *map(str, words)], cwd=self.folder, check=True, capture_output=True, timeout=600)


class Plain(RegistryTest):
    def setUp(self):
        super().setUp()
        self.registry = Registry(self)
        self.at = f"docker://{self.registry.host}"

    def test_what_is_pushed_is_pulled_with_the_same_digest(self):
        digest = read_manifest(self.folder / "image")[1]["digest"]
        self.assertEqual(self.dadi("push", "oci:image", f"{self.at}/a/b:1").text.strip(), digest)
        self.assertEqual(self.dadi("pull", f"{self.at}/a/b:1", "oci:back:1").text.strip(), digest)
        self.dadi("copy", f"{self.at}/a/b@{digest}", "oci-archive:back.tar")
        blobs = sorted(p.name for p in (self.folder / "image/blobs/sha256").iterdir())
        self.assertEqual(blobs, sorted(p.name for p in (self.folder / "back/blobs/sha256").iterdir()))

    def test_blobs_that_are_there_are_not_sent(self):
        first = self.dadi("push", "--json", "oci:image", f"{self.at}/a:1").json
        self.assertEqual((first["blobs_copied"], first["blobs_there"]), (4, 0))
        again = self.dadi("push", "--json", "oci:image", f"{self.at}/a:2").json
        self.assertEqual((again["blobs_copied"], again["blobs_there"], again["bytes_copied"]), (0, 4, 0))
        mounted = self.dadi("copy", "--json", f"{self.at}/a:1", f"{self.at}/other:1").json
        self.assertEqual((mounted["blobs_copied"], mounted["blobs_there"]), (0, 4))
        self.dadi("pull", f"{self.at}/other:1", "oci:other")

    def test_convert_from_and_to_a_registry_gives_the_same_image_as_between_folders(self):
        self.dadi("push", "oci:image", f"{self.at}/a:1")
        expected = self.dadi("convert", "oci:image", "oci:done").text
        self.assertEqual(self.dadi("convert", f"{self.at}/a:1", f"{self.at}/a:1-dadi").text, expected)
        self.dadi("pull", f"{self.at}/a:1-dadi", "oci:pulled")
        self.dadi("check", "oci:pulled")
        self.dadi("verify", "oci:image", "oci:pulled")

    def test_skopeo_reads_what_dadi_pushed_and_dadi_what_skopeo_pushed(self):
        self.dadi("push", "oci:image", f"{self.at}/ours:1")
        self.skopeo("copy", "--src-tls-verify=false", f"{self.at}/ours:1", "oci:theirs:1")
        self.assertEqual(read_manifest(self.folder / "theirs", "1")[0], read_manifest(self.folder / "image")[0])
        self.skopeo("copy", "--dest-tls-verify=false", "oci:theirs:1", f"{self.at}/theirs:1")
        self.dadi("pull", f"{self.at}/theirs:1", "oci:back:1")
        self.assertEqual(read_manifest(self.folder / "back", "1")[0], read_manifest(self.folder / "image")[0])

    def test_buildah_runs_on_what_dadi_pushed_and_dadi_reads_what_buildah_pushed(self):
        harness.need_root()
        (self.folder / "policy.json").write_text('{"default": [{"type": "insecureAcceptAnything"}]}')
        (self.folder / "small").mkdir()
        Layout(self.folder / "small").add_image(small_debian())
        self.dadi("push", "oci:small", f"{self.at}/ours:1")
        self.buildah("pull", "--tls-verify=false", "--signature-policy", "policy.json", f"{self.at}/ours:1")
        self.buildah("push", "--tls-verify=false", "--signature-policy", "policy.json", f"{self.registry.host}/ours:1",
                     f"{self.at}/theirs:1")
        config = [self.dadi("inspect", "--json", "--config", f"{self.at}/{name}:1").json for name in ("ours", "theirs")]
        self.assertEqual(config[0]["rootfs"], config[1]["rootfs"])
        self.dadi("convert", f"{self.at}/theirs:1", "oci:converted")
        self.dadi("verify", "oci:small", "oci:converted")
        self.dadi("push", "oci:converted", f"{self.at}/converted:1")
        self.dadi("check", f"{self.at}/converted:1")

    def buildah(self, *words):
        harness.need_command("buildah")
        subprocess.run(["buildah", "--root", "storage", "--runroot", "storage-run", "--storage-driver", "vfs", *map(str, words)],
                       cwd=self.folder, check=True, capture_output=True, timeout=600)

    def test_what_is_on_a_registry_can_be_inspected_and_checked(self):
        self.dadi("convert", "oci:image", f"{self.at}/a:dadi")
        self.dadi("push", "oci:image", f"{self.at}/a:1")
        self.assertIn("diff_ids", self.dadi("inspect", "--config", f"{self.at}/a:1").text)
        self.assertIn("OK", self.dadi("check", f"{self.at}/a:dadi").text)

    def test_what_is_not_there_is_not_found_and_the_tags_are_named(self):
        self.dadi("push", "oci:image", f"{self.at}/a:1")
        self.fails(NOT_FOUND, "pull", f"{self.at}/a:2", "oci:x", says="the tags there: 1")
        self.fails(NOT_FOUND, "pull", f"{self.at}/none:1", "oci:x", says="hint: is the name right?")
        self.assertFalse((self.folder / "x").exists())

    def test_without_libcurl_registries_are_what_this_host_lacks_and_local_images_do_not_miss_it(self):
        self.dadi("push", "oci:image", f"{self.at}/a:1")
        (self.folder / "libcurl.so.4").write_text("no library")
        without = environment(LD_LIBRARY_PATH=str(self.folder))
        self.fails(HOST_LACKS, "pull", f"{self.at}/a:1", "oci:x", says="registries need libcurl", env=without)
        self.dadi("convert", "oci:image", "oci:done", env=without)

    def test_a_port_where_nobody_listens_is_the_network(self):
        self.fails(NETWORK, "pull", f"docker://localhost:{free_port()}/a:1", "oci:x")

    def test_push_and_pull_know_their_direction(self):
        self.fails(USAGE, "push", "oci:image", "oci:x", says="not on a registry")
        self.fails(USAGE, "pull", "oci:image", "oci:x", says="not on a registry")


class Guarded(RegistryTest):
    def setUp(self):
        super().setUp()
        self.ca, cert, key = make_authority(self.folder)
        self.registry = Registry(self, tls=(cert, key), password=True)
        self.image = f"docker://{self.registry.host}/a:1"
        self.env = environment(REGISTRY_AUTH_FILE=str(self.folder / "auth.json"))

    def login(self, password=PASSWORD, **options):
        (self.folder / "password").write_text(password + "\n")
        with open(self.folder / "password", "rb") as file:
            return self.dadi("login", "-u", USER, "--ca-file", self.ca, self.registry.host, stdin=file, env=self.env, **options)

    def test_login_push_logout(self):
        self.fails(DENIED, "push", "--ca-file", self.ca, "oci:image", self.image, env=self.env, says="hint: dadi login")
        self.login()
        self.assertEqual((self.folder / "auth.json").stat().st_mode & 0o777, 0o600)
        self.dadi("push", "--ca-file", self.ca, "oci:image", self.image, env=self.env)
        self.dadi("pull", "--ca-file", self.ca, self.image, "oci:back", env=self.env)
        self.dadi("logout", self.registry.host, env=self.env)
        self.fails(DENIED, "pull", "--ca-file", self.ca, self.image, "oci:x", env=self.env)

    def test_a_wrong_password_is_denied_and_neither_kept_nor_shown(self):
        run = self.login("wr0ng-pass", status=DENIED)
        self.assertNotIn("wr0ng-pass", run.stderr + run.text)
        self.assertFalse((self.folder / "auth.json").exists())

    def test_an_authority_that_is_not_trusted_is_denied(self):
        other, _, _ = make_authority(self.folder, "other")
        for words in ([], ["--ca-file", other]):
            self.fails(DENIED, "pull", *words, self.image, "oci:x", env=self.env, says=["not trusted", "hint: "])

    def test_a_credential_helper_is_asked(self):
        helper = self.folder / "docker-credential-here"
        helper.write_text(f'#!/bin/sh\nread server\necho \'{{"Username":"{USER}","Secret":"{PASSWORD}"}}\'\n')
        helper.chmod(0o755)
        (self.folder / "auth.json").write_text(f'{{"credHelpers": {{"{self.registry.host}": "here"}}}}')
        env = dict(self.env, PATH=f"{self.folder}:{os.environ['PATH']}")
        self.dadi("push", "--ca-file", self.ca, "oci:image", self.image, env=env)

    def test_no_secret_is_in_what_is_said(self):
        self.login()
        run = self.dadi("push", "-v", "--progress", "json", "--ca-file", self.ca, "oci:image", self.image, env=self.env)
        encoded = base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        for secret in (PASSWORD, encoded):
            self.assertNotIn(secret, run.stderr + run.text)


class ReadOnly(RegistryTest):
    def test_a_registry_that_takes_nothing_is_denied(self):
        registry = Registry(self, read_only=True)
        self.fails(DENIED, "push", "oci:image", f"docker://{registry.host}/a:1", says="hint: ")


class Prompt(harness.Test):
    def test_ctrl_c_at_the_password_ends_it_and_the_terminal_shows_again_what_is_typed(self):
        terminal, theirs = pty.openpty()
        try:
            with subprocess.Popen([harness.BINARY, "login", "-u", USER, "localhost:1"], stdin=theirs,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()) as process:
                self.assertEqual(process.stderr.read(10), b"Password: ")
                deadline = time.monotonic() + 30
                while termios.tcgetattr(theirs)[3] & termios.ECHO:
                    self.assertLess(time.monotonic(), deadline)
                    time.sleep(0.01)
                process.send_signal(signal.SIGINT)
                self.assertEqual(process.wait(timeout=30), 130)
            self.assertTrue(termios.tcgetattr(theirs)[3] & termios.ECHO)
        finally:
            os.close(terminal)
            os.close(theirs)


if __name__ == "__main__":
    harness.main()
