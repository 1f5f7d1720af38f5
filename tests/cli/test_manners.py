"""How dadi behaves as a citizen of a shell: streams, exit statuses, help, settings, signals."""
import json
import os
import pathlib
import re
import shlex
import signal
import subprocess
import time

import harness
from harness import CORRUPT, DENIED, FAILURE, NOT_FOUND, OK, UNSUPPORTED, USAGE, environment
from images import Layout, docker_archive, small_debian, tar_of
from registries import Registry
from traces import make_trace

ON_FILES = ["convert", "build", "inspect", "check", "verify", "export", "ls", "cat", "serve", "commit", "flatten", "import",
            "cache", "trace", "optimize", "zfile", "version"]
ON_REGISTRIES = ["copy", "push", "pull", "login", "logout"]
ON_HOSTS = ["attach", "detach", "ps", "upgrade", "stats", "doctor"]  # their examples: test_attach.py
RECORDING = ["record", "resize"]  # test_record_command.py, test_resize.py


class Usage(harness.Test):
    def test_without_a_command_shows_help_on_stderr_and_fails(self):
        run = self.dadi(status=USAGE)
        self.assertEqual(run.stdout, b"")
        self.assertIn("Usage: dadi", run.stderr)

    def test_an_unknown_command_gets_the_nearest_offered(self):
        self.fails(USAGE, "convrt", "a", "b", says=['no command "convrt"', "did you mean convert?"])
        self.fails(USAGE, "zfile", "extrat", "a", "b", says="did you mean extract?")

    def test_an_unknown_option_gets_the_nearest_offered(self):
        self.fails(USAGE, "ls", "--recursiv", "oci:x", says=["no option --recursiv", "did you mean --recursive?"])
        self.fails(USAGE, "ls", "--jsn", "oci:x", says="did you mean --json?")
        self.fails(USAGE, "zfile", "compress", "--compresion=zstd", "a", "b", says="did you mean --compression?")

    def test_what_resembles_nothing_gets_no_guess(self):
        self.assertNotIn("did you mean", self.fails(USAGE, "frobnicate"))

    def test_missing_and_surplus_arguments_are_usage_errors(self):
        self.fails(USAGE, "ls", says="REF")
        self.fails(USAGE, "cat", "oci:x", says="PATH")
        self.fails(USAGE, "version", "surplus", says="surplus")
        self.fails(USAGE, "zfile", says="command is missing")

    def test_a_file_named_like_a_command_is_still_an_argument(self):
        self.fails(NOT_FOUND, "cat", "oci:nowhere", "check", says="nowhere")

    def test_common_options_are_understood_before_and_behind_the_command(self):
        self.assertEqual(self.dadi("--json", "version").json, self.dadi("version", "--json").json)

    def test_bad_values_are_usage_errors(self):
        self.fails(USAGE, "version", "--progress", "loud", says="--progress")
        self.fails(USAGE, "zfile", "compress", "--compression", "gzip", "a", "b", says="gzip")
        self.fails(USAGE, "zfile", "compress", "--block-size", "5K", "a", "b")
        self.fails(USAGE, "zfile", "compress", "--block-size", "4Q", "a", "b", says="4Q")
        self.fails(USAGE, "ls", "oci:")
        self.fails(USAGE, "ls", "layers:")


class Help(harness.Test):
    def commands(self, of=(*ON_FILES, *ON_REGISTRIES, *ON_HOSTS, *RECORDING)):
        return [[]] + [[name] for name in of] + [["zfile", name] for name in ("compress", "extract", "info")] + [
            ["cache", name] for name in ("ls", "prune", "verify")] + [["trace", name] for name in ("show", "merge")]

    def test_every_command_has_help_that_starts_with_examples(self):
        for words in self.commands():
            text = self.dadi(*words, "--help").text
            self.assertRegex(text, r"\AExamples:\n  (sudo )?dadi ", words)
            self.assertIn("Usage: " + " ".join(["dadi", *words]), text)

    def test_the_list_of_commands_is_complete(self):
        text = self.dadi("--help").text
        listed = re.findall(r"^  ([a-z]+) {2,}", text.split("Commands:\n")[1], re.MULTILINE)
        self.assertEqual(sorted(listed), sorted(ON_FILES + ON_REGISTRIES + ON_HOSTS + RECORDING))

    def test_lines_of_help_fit_a_terminal(self):
        for words in self.commands():
            for line in self.dadi(*words, "--help").text.splitlines():
                self.assertLessEqual(len(line), 120, words)

    def serve_for_a_moment(self, example, path):
        """Runs an example that would go on until a signal comes."""
        harness.need_command("openssl")
        for certificate, key in (("ca.pem", "ca.key"), ("cert.pem", "key.pem")):
            subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj",
                            "/CN=localhost", "-keyout", key, "-out", certificate], cwd=self.folder, check=True, capture_output=True)
        with subprocess.Popen(["bash", "-c", f"exec {example}"], cwd=self.folder, text=True, env=environment(PATH=path),
                              stdout=subprocess.PIPE, stderr=subprocess.PIPE) as serving:
            uri = serving.stdout.readline()
            serving.send_signal(signal.SIGTERM)
            _, said = serving.communicate(timeout=60)
        self.assertEqual(serving.returncode, OK, f"{example}\n{said}")
        self.assertRegex(uri, "^nbds?", example)

    def test_examples_around_registries_work_when_pasted(self):
        registry = Registry(self)
        for name in ("debian", "debian-dadi"):
            Layout(self.folder / name).add_image(small_debian())
        docker_archive(self.folder / "saved.tar", small_debian())
        (self.folder / "password.txt").write_text("secret\n")
        path = f"{pathlib.Path(harness.BINARY).parent}:{os.environ['PATH']}"
        for name in ON_REGISTRIES:
            text = self.dadi(name, "--help").text
            for example in re.findall(r"^  (dadi .*)$", text.split("\n\n")[0], re.MULTILINE):
                run = subprocess.run(["bash", "-c", example.replace("localhost:5000", registry.host)], cwd=self.folder, text=True,
                                     env=environment(PATH=path, REGISTRY_AUTH_FILE=str(self.folder / "auth.json")),
                                     capture_output=True, check=False, timeout=600)
                self.assertEqual(run.returncode, OK, f"{example}\n{run.stderr}")

    def test_examples_work_when_pasted(self):
        layout = Layout(self.folder / "debian")
        layout.add_image(small_debian())
        docker_archive(self.folder / "saved.tar", small_debian())
        (self.folder / "app.tar").write_bytes(tar_of(small_debian()[1]))
        (self.folder / "site").mkdir()
        (self.folder / "site/index.html").write_bytes(b"<p>hello")
        for name in ("app", "monday", "tuesday", "one", "two", "three"):
            (self.folder / f"{name}.trace").write_bytes(make_trace([(0, 0, 4096), (1, 8192, 512)]))
        (self.folder / "files.txt").write_text("/etc/hostname\n/usr/**/*.so.*\n/etc/\n")
        registry = Registry(self)
        path = f"{pathlib.Path(harness.BINARY).parent}:{os.environ['PATH']}"
        ran = 0
        for words in self.commands(ON_FILES):
            text = self.dadi(*words, "--help").text
            (self.folder / "disk.img").write_bytes(os.urandom(100_000))  # not what export made of it: 64 GiB
            for example in re.findall(r"^  (dadi .*)$", text.split("\n\n")[0], re.MULTILINE):
                for tool in {"jq", "nbdinfo", "nbdcopy"}.intersection(re.findall(r"[a-z]+", example)):
                    harness.need_command(tool)
                if "localhost:5000" in example:
                    example = example.replace("localhost:5000", registry.host)
                    self.dadi("push", "oci:debian-dadi", f"docker://{registry.host}/debian:dadi")
                    self.dadi("push", "oci:debian", f"docker://{registry.host}/debian:12")
                if example.startswith("dadi serve ") and "--run" not in example:
                    self.serve_for_a_moment(example, path)
                    ran += 1
                    continue
                run = subprocess.run(["bash", "-o", "pipefail", "-c", example], cwd=self.folder, text=True,
                                     env=environment(PATH=path), capture_output=True, check=False, timeout=600)
                self.assertIn(run.returncode, (OK, 128 + signal.SIGPIPE), f"{example}\n{run.stderr}")
                ran += 1
        self.assertGreaterEqual(ran, 2 * len(ON_FILES))


class Streams(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image(small_debian())

    def test_stdout_is_the_answer_and_nothing_else(self):
        run = self.dadi("convert", "-v", "--progress", "json", "oci:image", "oci:done")
        self.assertRegex(run.text, r"\Asha256:[0-9a-f]{64}\n\Z")
        events = [json.loads(line) for line in run.stderr.splitlines() if line.startswith("{")]
        self.assertEqual([e["event"] for e in events if e["event"] == "done"], ["done", "done"])

    def test_quiet_says_nothing_but_errors(self):
        self.assertEqual(self.dadi("-q", "convert", "image", "oci:done").stderr, "")
        self.assertNotEqual(self.dadi("-q", "ls", "oci:nowhere", status=NOT_FOUND).stderr, "")

    def test_a_bare_path_is_understood_and_said_so(self):
        self.assertIn("is taken for oci:", self.dadi("inspect", "image").stderr)

    def test_every_answer_is_json_when_asked_for(self):
        self.assertEqual(self.dadi("--json", "convert", "oci:image", "oci:done").json["images"][0]["platform"], "linux/amd64")
        for words in (["inspect", "oci:image"], ["inspect", "oci:done"], ["check", "oci:done"],
                      ["verify", "oci:image", "oci:done"], ["ls", "oci:done", "/"], ["version"],
                      ["export", "oci:done", "disk.img"], ["flatten", "oci:done", "oci:flat"],
                      ["import", "image/oci-layout", "oci:disk"], ["zfile", "compress", "image/oci-layout", "z"],
                      ["zfile", "info", "z"], ["zfile", "extract", "z", "zz"], ["cache", "ls", "--cache-dir", "c"],
                      ["cache", "prune", "--cache-dir", "c"], ["cache", "verify", "--cache-dir", "c"]):
            self.dadi("--json", *words).json  # pylint: disable=expression-not-assigned

    def test_an_error_is_json_on_stderr_when_json_is_asked_for(self):
        run = self.dadi("--json", "ls", "oci:nowhere", status=NOT_FOUND)
        error = json.loads(run.stderr)["error"]
        self.assertEqual((error["code"], error["exit_status"]), ("not_found", NOT_FOUND))
        self.assertIn("nowhere", error["message"])
        self.assertEqual(run.stdout, b"")

    def test_no_escape_codes_off_a_terminal(self):
        for words in (["ls", "oci:nowhere"], ["convert", "oci:image", "oci:done"], ["--help"]):
            run = self.dadi(*words, status=None, env=environment(NO_COLOR=None, TERM="xterm"))
            self.assertNotIn("\x1b", run.stderr + run.text)

    def test_a_reader_that_goes_away_ends_it_quietly(self):
        self.dadi("convert", "oci:image", "oci:done")
        reading, writing = os.pipe()
        os.close(reading)
        with os.fdopen(writing, "wb") as pipe:
            process = subprocess.run([harness.BINARY, "cat", "oci:done", "/usr/share/words"], cwd=self.folder, stdout=pipe,
                                     stderr=subprocess.PIPE, env=environment(), check=False)
        self.assertEqual((process.returncode, process.stderr), (128 + signal.SIGPIPE, b""))

    def test_a_full_disk_under_stdout_is_a_failure(self):
        with open("/dev/full", "wb") as full:
            run = self.dadi("version", status=FAILURE, stdout=full)
        self.assertIn("No space left", run.stderr)


class Settings(harness.Test):
    def progress_kind(self, *words, **changes):
        """How `words` made dadi report: as "json", "plain" or "none"."""
        (self.folder / "data").write_bytes(b"x" * 5000)
        run = self.dadi("zfile", "compress", "data", "out", *words, env=environment(**changes))
        return "none" if not run.stderr else "json" if run.stderr.startswith("{") else "plain"

    def test_flag_over_variable_over_config_file_over_default(self):
        home = self.folder / "config"
        (home / "dadi").mkdir(parents=True)
        (home / "dadi/config.toml").write_text('progress = "none"\n')
        xdg = {"XDG_CONFIG_HOME": str(home)}
        self.assertEqual(self.progress_kind(), "plain")
        self.assertEqual(self.progress_kind(**xdg), "none")
        self.assertEqual(self.progress_kind(**xdg, DADI_PROGRESS="json"), "json")
        self.assertEqual(self.progress_kind("--progress", "plain", **xdg, DADI_PROGRESS="json"), "plain")

    def test_options_of_a_command_have_variables_and_a_section(self):
        (self.folder / "data").write_bytes(b"x" * 5000)
        (self.folder / "c.toml").write_text('[zfile.compress]\ncompression = "zstd:7"\nblock-size = "16K"\n')
        self.dadi("--config-file", "c.toml", "zfile", "compress", "data", "out", env=environment(DADI_BLOCK_SIZE="8K"))
        info = self.dadi("zfile", "info", "--json", "out").json
        self.assertEqual((info["algorithm"], info["block_size"]), ("zstd", 8192))

    def test_a_config_file_that_was_asked_for_must_exist(self):
        self.fails(USAGE, "--config-file", "missing.toml", "version", says="missing.toml")

    def test_a_setting_that_does_not_exist_is_an_error(self):
        (self.folder / "c.toml").write_text('colour = "blue"\n')
        self.fails(USAGE, "--config-file", "c.toml", "version", says="colour")


class Statuses(harness.Test):
    """Each documented exit status that a command can have; tests/app holds the table itself."""

    def setUp(self):
        super().setUp()
        self.layout = Layout(self.folder / "image")
        self.layout.add_image(small_debian())

    def test_ok(self):
        self.dadi("version", status=OK)

    def test_failure(self):
        with open("/dev/full", "wb") as full:
            self.dadi("--help", status=None, stdout=full)
            self.dadi("version", status=FAILURE, stdout=full)

    def test_usage(self):
        self.fails(USAGE, "version", "--no-such-option")

    def test_corrupt(self):
        (self.folder / "image/index.json").write_text("{")
        self.fails(CORRUPT, "inspect", "oci:image")

    def test_not_found(self):
        self.fails(NOT_FOUND, "inspect", "oci:nowhere")
        self.fails(NOT_FOUND, "inspect", "oci:image:no-such-tag", says="latest")

    def test_denied(self):
        if os.geteuid() == 0:
            # Root is denied little: a read-only file system would do, and is tested where one can be mounted.
            self.skipTest("root is denied nothing")
        locked = self.folder / "locked"
        locked.mkdir(mode=0o500)
        self.fails(DENIED, "convert", "oci:image", f"oci:{locked}/out")

    def test_denied_for_another_user(self):
        harness.need_root()
        locked = self.folder / "locked"
        locked.mkdir(mode=0o700)
        (locked / "file").write_bytes(b"x")
        os.chmod(self.folder, 0o755)

        def become_nobody():
            os.setgid(65534)
            os.setuid(65534)
        if not os.access(harness.BINARY, os.X_OK) or self.dadi("version", status=None, preexec_fn=become_nobody).status:
            self.skipTest("the binary is where other users cannot read it")
        self.fails(DENIED, "zfile", "info", locked / "file", preexec_fn=become_nobody)

    def test_unsupported(self):
        self.fails(UNSUPPORTED, "check", "oci:image", says=["ordinary image", "hint: convert it first"])

    def start_endless(self, **popen):
        """A run that takes long enough to be interrupted, and has begun to write its output."""
        with open(self.folder / "data", "wb") as file:
            file.truncate(1 << 36)
        process = subprocess.Popen([harness.BINARY, "zfile", "compress", "--compression", "zstd:19", "data", "out"],
                                   cwd=self.folder, env=environment(), stderr=subprocess.PIPE, **popen)
        deadline = time.monotonic() + 60
        while len(list(self.folder.iterdir())) < 3:
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        return process

    def test_interrupted(self):
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            process = self.start_endless()
            process.send_signal(number)
            _, stderr = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 128 + number, stderr)
            self.assertEqual(sorted(p.name for p in self.folder.iterdir()), ["data", "image"], "nothing is left behind")

    def test_a_hangup_that_nohup_ignores_stays_ignored(self):
        process = self.start_endless(preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
        process.send_signal(signal.SIGHUP)
        with self.assertRaises(subprocess.TimeoutExpired):
            process.communicate(timeout=1)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 128 + signal.SIGTERM)

    def test_the_third_signal_ends_it_at_once(self):
        self.dadi("convert", "oci:image", "oci:done")
        # Nobody reads the pipe, so that dadi is stuck in a write and cannot end cleanly.
        process = subprocess.Popen([harness.BINARY, "cat", "oci:done", "/usr/share/words"], cwd=self.folder,
                                   env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        stuck = pathlib.Path(f"/proc/{process.pid}/wchan")
        deadline = time.monotonic() + 60
        while "pipe" not in stuck.read_text():
            self.assertLess(time.monotonic(), deadline)
            time.sleep(0.01)
        for _ in range(2):
            process.send_signal(signal.SIGINT)
            time.sleep(0.3)
            self.assertIsNone(process.poll())
        process.send_signal(signal.SIGINT)
        self.assertEqual(process.wait(timeout=60), 128 + signal.SIGINT)
        process.communicate()


if __name__ == "__main__":
    harness.main()
