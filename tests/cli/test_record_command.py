"""dadi record: a command of an image's runs with the image as its root, and what it reads is kept."""
import os
import pathlib
import re
import shutil
import signal
import subprocess
import time

import harness
from attaching import Attached
from faulty_registry import FaultyRegistry
from harness import NOT_FOUND, OK, USAGE, UNSUPPORTED
from images import Layout, entry, folder, read_manifest, symlink


def programs(*names):
    """Entries for programs of this host, and for the libraries that they need, under the paths that they look in."""
    found = {}
    for name in names:
        path = shutil.which(name)
        found[f"bin/{name}"] = os.path.realpath(path)
        libraries = subprocess.run(["ldd", path], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"(/\S+)", libraries):
            found[library.lstrip("/")] = os.path.realpath(library)
    return [entry(name, pathlib.Path(path).read_bytes(), mode=0o755) for name, path in sorted(found.items())]


class Record(Attached):
    def setUp(self):
        super().setUp()
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self.env["TMPDIR"] = str(self.temporary)
        layers = [[*(folder(name) for name in ("proc", "dev", "tmp", "run", "var", "srv")), symlink("var/tmp", "/etc"),
                   *programs("sh", "cat", "sleep", "true"), entry("srv/read", os.urandom(300_000)),
                   *(entry(f"srv/part{i}", os.urandom(5000)) for i in range(4)),
                   entry("srv/not", os.urandom(300_000))]]
        Layout(self.folder / "source").add_image(layers, config={
            "Env": ["COLOR=blue", "PATH=/bin"], "WorkingDir": "/srv", "Entrypoint": ["cat"], "Cmd": ["read"]})
        self.dadi("convert", "-q", "--virtual-size", "1G", "oci:source", "oci:image")

    def record(self, *words, **options):
        run = self.dadi("record", "oci:image", "-o", "app.trace", *words, **options)
        self.assert_clean()
        return run

    def assert_clean(self):
        self.assert_nothing_is_left()
        self.assertEqual(list(self.temporary.iterdir()), [])

    def shell(self, script, **options):
        return self.record("-q", "--", "/bin/sh", "-c", script, **options).text

    def files(self):
        self.strict_reader("trace", "--modern", self.folder / "app.trace")
        files = self.dadi("trace", "show", "--json", "app.trace", "--image", "oci:image").json["files"]
        return {file["path"]: file["distinct_bytes"] for file in files}

    def test_what_it_reads_is_kept_and_what_it_says_is_passed_on(self):
        run = self.record("--", "/bin/cat", "/srv/read")
        self.assertEqual(len(run.stdout), 300_000)
        self.assertIn("app.trace: ", run.stderr)
        files = self.files()
        self.assertGreaterEqual(files["/srv/read"], 300_000)
        self.assertIn("/bin/cat", files)
        self.assertNotIn("/srv/not", files)
        self.assertNotIn("/bin/sleep", files)

    def test_little_is_read_around_what_it_reads(self):
        seen = "cat /sys/block/loop*/queue/read_ahead_kb > seen; grep -qx 32 seen"
        self.record("--for", "10s", "--until", seen, "--", "/bin/sleep", "60")
        self.assertIn("32", (self.folder / "seen").read_text().split())

    def test_without_a_command_it_runs_what_the_image_says(self):
        answer = self.record("--json")
        self.assertEqual(len(answer.stderr.encode("utf-8", "replace")) > 300_000, True)
        self.assertEqual(answer.json["path"], str(self.folder / "app.trace"))
        self.assertEqual(answer.json["exit_status"], 0)
        self.assertEqual(answer.json["image"], read_manifest(self.folder / "image")[1]["digest"])
        self.assertEqual(answer.json["bytes"], sum(read["size"] for read in self.dadi(
            "trace", "show", "--reads", "--json", "app.trace").json["reads"]))
        self.assertIn("/srv/read", self.files())
        self.assertEqual(self.shell("echo $COLOR $PATH; pwd"), "blue /bin\n/srv\n")

    def test_the_trace_has_the_images_name_by_default(self):
        self.dadi("record", "oci:image", "--", "/bin/true")
        self.assertTrue((self.folder / "image.trace").exists())

    def test_its_exit_status_is_passed_on(self):
        self.shell("exit 7", status=7)
        self.shell("kill -9 $$", status=128 + 9)
        self.assertIn("/bin/sh", self.files())

    def test_what_cannot_run_leaves_no_trace(self):
        self.fails(NOT_FOUND, "record", "oci:image", "-o", "app.trace", "--", "/bin/nothing", says="in the image: /bin/nothing")
        self.fails(NOT_FOUND, "record", "oci:nowhere", "-o", "app.trace", "--", "/bin/true")
        self.fails(UNSUPPORTED, "record", "oci:source", "-o", "app.trace", "--", "/bin/true", says="convert it first")
        self.fails(USAGE, "record", "oci:image", "--for", "soon", "--", "/bin/true", says="--for soon")
        self.assertFalse((self.folder / "app.trace").exists())
        self.assert_clean()

    def test_it_sees_itself_alone_and_cannot_reach_out(self):
        self.assertEqual(self.shell("echo $$; echo x > /tmp/x && cat /tmp/x; echo x > /dev/null; echo /proc/[0-9]*"),
                         "2\nx\n/proc/1 /proc/2\n")
        self.assertIn("Read-only file system", self.record("-q", "--", "/bin/sh", "-c", "echo x > /srv/x", status=2).stderr)
        devices = self.shell("cat /proc/net/dev").splitlines()[2:]
        self.assertEqual([line.split(":")[0].strip() for line in devices], ["lo"])
        status = self.shell("cat /proc/self/status")
        allowed = int(re.search(r"CapBnd:\t([0-9a-f]+)", status)[1], 16)
        for capability in (2, 12, 16, 17, 18, 19, 21, 22, 25, 27):  # … NET_ADMIN, SYS_MODULE, SYS_ADMIN, MKNOD
            self.assertEqual(allowed & (1 << capability), 0, capability)
        self.assertEqual(allowed, int(re.search(r"CapEff:\t([0-9a-f]+)", status)[1], 16))
        self.assertRegex(status, r"NoNewPrivs:\t1")
        with_network = self.record("-q", "--host-network", "--", "/bin/cat", "/proc/net/dev").text
        self.assertEqual(with_network.count("\n"), pathlib.Path("/proc/net/dev").read_text().count("\n"))
        # A link in the image to somewhere on the host led nowhere: nothing was mounted over that.
        self.assertNotIn(" /etc tmpfs", pathlib.Path("/proc/mounts").read_text())

    def test_it_cannot_write_what_is_the_systems(self):
        pattern = pathlib.Path("/proc/sys/kernel/core_pattern")
        before = pattern.read_text()
        for path in (pattern, "/proc/sys/vm/overcommit_ratio", "/proc/sysrq-trigger", "/proc/sys/kernel/modprobe"):
            if pathlib.Path(path).exists():  # opening for appending writes nothing
                said = self.record("-q", "--", "/bin/sh", "-c", f": >> {path}", status=2).stderr
                self.assertIn("Read-only file system", said)
        for path in ("/proc/kcore", "/proc/keys", "/proc/timer_list"):
            self.assertEqual(self.shell(f"! test -e {path} || cat {path}"), "")
        self.assertEqual(pattern.read_text(), before)
        self.shell("echo x > /proc/self/comm")  # its own is

    def test_it_is_ended_after_a_time_or_once_something_holds(self):
        begun = time.monotonic()
        self.record("--for", "1s", "--", "/bin/sleep", "600")
        self.assertTrue(1 <= time.monotonic() - begun < 30)
        self.assertIn("/bin/sleep", self.files())
        # One that does not want to end is ended; what it has started, too.
        script = "trap '' TERM; sleep 600 & while :; do sleep 1; done"
        self.record("--for", "1", "--", "/bin/sh", "-c", script)
        self.record("--until", "test \"$(cat $DADI_ROOT/srv/read | wc -c)\" = 300000 && kill -0 $DADI_PID", "--", "/bin/sleep", "600")
        self.assertIn("/srv/read", self.files())

    def test_it_is_ended_once_nothing_is_read_any_more(self):
        begun = time.monotonic()
        self.record("--until-idle", "2s", "--", "/bin/sleep", "600")
        self.assertTrue(2 <= time.monotonic() - begun < 30)
        self.assertIn("/bin/sleep", self.files())
        # What is read now and then keeps it going, to its own end.
        script = "for i in 0 1 2 3; do sleep 1; cat part$i > /dev/null; done; exit 7"
        self.record("-q", "--until-idle", "3s", "--", "/bin/sh", "-c", script, status=7)
        self.assertEqual({path for path in self.files() if path.startswith("/srv/part")}, {f"/srv/part{i}" for i in range(4)})
        # And one that reads no more of what it has read is idle, however busy it is.
        self.record("-q", "--until-idle", "1s", "--", "/bin/sh", "-c", "while :; do cat /srv/read > /dev/null; done")
        self.fails(USAGE, "record", "oci:image", "--until-idle", "soon", "--", "/bin/true", says="--until-idle soon")

    def test_an_interrupt_ends_the_recording_and_not_the_trace(self):
        with subprocess.Popen([harness.BINARY, "record", "oci:image", "-o", "app.trace", "--", "/bin/sh", "-c", "echo on; sleep 600"],
                              cwd=self.folder, env=self.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            self.assertEqual(running.stdout.readline(), "on\n")
            running.send_signal(signal.SIGINT)
            _, said = running.communicate(timeout=60)
        self.assertEqual(running.returncode, OK, said)
        self.assertIn("/bin/sleep", self.files())
        self.assert_clean()

    def test_a_recording_lays_the_image_out(self):
        self.record("-q", "--", "/bin/cat", "/srv/read")
        self.dadi("optimize", "oci:image", "app.trace", "oci:done")
        self.dadi("record", "-q", "oci:done", "-o", "again.trace", "--", "/bin/cat", "/srv/read")
        end = 4096
        for read in self.dadi("trace", "show", "--reads", "--json", "again.trace").json["reads"]:
            self.assertLessEqual(read["offset"], end + (4 << 20))  # the kernel's read-ahead differs a little
            end = max(end, read["offset"] + read["size"])
        self.assertLess(end, 4 << 20)

    def test_what_was_recorded_goes_along_with_the_image_at_once(self):
        registry = FaultyRegistry(self, referrers=True)
        at = f"docker://{registry.host}/app:1"
        self.dadi("push", "oci:image", at)
        for image in (at, "oci:image"):
            before = self.dadi("inspect", "--json", image).json["digest"]
            run = self.dadi("record", image, "--push", "--json", "--", "/bin/cat", "/srv/read")
            self.assert_clean()
            self.assertFalse((self.folder / "image.trace").exists() or (self.folder / "app.trace").exists())
            told = self.dadi("inspect", "--json", image).json
            self.assertEqual((told["digest"], run.json["image"]), (before, before))
            self.assertEqual(told["trace"]["artifact"], run.json["pushed"]["digest"])
            self.assertEqual((told["trace"]["reads"], told["trace"]["bytes"]), (run.json["reads"], run.json["bytes"]))
            self.assertGreater(told["trace"]["bytes"], 300_000)
            self.assertNotIn("path", run.json)
        # As a copy with the trace on top, and as a file too.
        run = self.record(f"--push=docker://{registry.host}/app:traced", "--", "/bin/cat", "/srv/part1")
        self.assertIn(f"pushed: docker://{registry.host}/app:traced", run.stderr)
        self.assertIn("/srv/part1", self.files())
        told = self.dadi("inspect", "--json", f"docker://{registry.host}/app:traced").json["trace"]
        self.assertNotIn("artifact", told)
        self.assertEqual(told["bytes"], sum(read["size"] for read in self.dadi(
            "trace", "show", "--reads", "--json", "app.trace").json["reads"]))

    def test_what_failed_is_not_pushed(self):
        before = (self.folder / "image/index.json").read_bytes()
        run = self.record("--push", "--", "/bin/sh", "-c", "exit 7", status=7)
        self.assertIn("nothing is pushed: the command failed, with status 7", run.stderr)
        self.assertIn("/bin/sh", self.files())
        self.assertEqual((self.folder / "image/index.json").read_bytes(), before)
        [layer] = read_manifest(self.folder / "image")[0]["layers"]
        self.fails(USAGE, "record", f"layers:image/blobs/sha256/{layer['digest'][7:]}", "--push", "--", "/bin/true", says="manifest")
        self.dadi("copy", "oci:image", "oci-archive:image.tar")
        self.fails(UNSUPPORTED, "record", "oci-archive:image.tar", "--push", "--", "/bin/true", says="--push=DST")
        self.fails(USAGE, "record", "oci:image", "--push=docker://a b", "--", "/bin/true", says="--push")
        self.assert_clean()

    def test_examples_work_when_pasted(self):
        (self.folder / "image").rename(self.folder / "debian-dadi")
        (self.folder / "started").write_text("")
        text = self.dadi("record", "--help").text
        examples = re.findall(r"^  sudo (dadi .*)$", text.split("\n\n")[0], re.MULTILINE)
        self.assertGreaterEqual(len(examples), 3)
        path = f"{pathlib.Path(harness.BINARY).parent}:{os.environ['PATH']}"
        for example in examples:
            run = subprocess.run(["bash", "-c", example], cwd=self.folder, env=dict(self.env, PATH=path), capture_output=True,
                                 text=True, check=False, timeout=60)
            self.assertEqual(run.returncode, OK, f"{example}\n{run.stderr}")


if __name__ == "__main__":
    harness.main()
