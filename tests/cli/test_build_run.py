"""dadi build --run: what commands change in an image becomes layers of it."""
import json
import os
import pathlib
import re
import shlex
import shutil
import signal
import stat
import subprocess
import time

import harness
from attaching import Attached
from harness import BINARY, DENIED, FAILURE, NOT_FOUND, USAGE, environment
from images import Layout, entry, folder, read_manifest, tar_of, whiteout
from judged import e2fsck
from registries import Registry
from test_record_command import programs

MIB = 1 << 20
TOOLS = ("cat", "chown", "head", "id", "ln", "ls", "mkdir", "rm", "sh", "sleep", "sync", "true")


class BuildRunTest(Attached):
    def setUp(self):
        super().setUp()
        self.temporary = self.folder / "temporary"
        self.temporary.mkdir()
        self.env["TMPDIR"] = str(self.temporary)
        self.env["XDG_CACHE_HOME"] = str(self.folder / "cache")
        self.layers = [[*(folder(name) for name in ("proc", "dev", "tmp", "run", "var", "var/tmp", "srv", "etc")),
                        *programs(*TOOLS), entry("etc/resolv.conf", b"nameserver 192.0.2.1\n"), entry("srv/big", os.urandom(8 * MIB))]]
        Layout(self.folder / "source").add_image(self.layers, history=[{"created_by": "the base"}], config={
            "Env": ["COLOR=blue", "PATH=/bin"], "WorkingDir": "/srv"})
        self.dadi("convert", "-q", "--virtual-size", "1G", "oci:source", "oci:base")

    def tar(self, name, *entries):
        (self.folder / name).write_bytes(tar_of(entries))
        return self.folder / name

    def build(self, *words, base="oci:base", to="oci:built", **options):
        run = self.dadi("build", "--json", base, *words, to, **options)
        self.assert_clean()
        return run

    def refused(self, status, *words, says=(), **options):
        said = self.fails(status, "build", "oci:base", *words, "oci:built", says=says, **{"env": self.env, **options})
        self.assertFalse((self.folder / "built").exists())
        self.assert_clean()
        return said

    def assert_clean(self):
        if (self.state / "dadi").exists():
            self.assert_nothing_is_left()
        self.assertEqual(list(self.temporary.iterdir()), [])

    def digests(self, name):
        return [layer["digest"] for layer in read_manifest(self.folder / name)[0]["layers"]]

    def cat(self, path, name="built"):
        return self.dadi("cat", f"oci:{name}", path).stdout

    def paths(self, name="built"):
        return {one["path"]: one for one in self.dadi("ls", "-R", "--json", f"oci:{name}").json}

    def judge(self, name="built"):
        """Returns the disk, of which every judge approves."""
        self.dadi("check", f"oci:{name}")
        disk = self.folder / f"{name}.img"
        disk.unlink(missing_ok=True)
        self.dadi("export", f"oci:{name}", disk)
        e2fsck(self, disk)
        for digest in self.digests(name):
            self.strict_reader("check", "--modern", self.folder / name / "blobs" / digest.replace(":", "/"))
        return disk


class Run(BuildRunTest):
    def test_steps_are_done_in_their_order(self):
        first, last = self.tar("1.tar", entry("one", b"1")), self.tar("2.tar", entry("two", b"2"), whiteout("one"))
        answer = self.build("--add", first, "--run", "cat /one > seen; ls / > all", "--run", "ln seen again; rm all",
                            "--add", last, "--run", "cat /two seen > /both; ls / > /roots").json
        self.judge()
        self.assertEqual(self.cat("/both"), b"21")
        self.assertEqual(self.cat("/srv/again"), b"1")
        self.assertNotIn(b"one", self.cat("/roots").split())
        self.assertNotIn("srv/all", self.paths())
        digests = self.digests("built")
        self.assertEqual(digests[0], self.digests("base")[0])
        self.assertEqual([layer["digest"] for layer in answer["layers"]], digests[1:])
        self.assertEqual([layer.get("run") for layer in answer["layers"]],
                         [None, "cat /one > seen; ls / > all", "ln seen again; rm all", None, "cat /two seen > /both; ls / > /roots"])
        layers = self.dadi("inspect", "--json", "oci:built").json["layers"]
        for below, above in zip(layers, layers[1:]):
            self.assertEqual(above["parent_uuid"], below["uuid"])
        self.dadi("build", "oci:base", "--add", first, "oci:added")
        self.assertEqual(self.digests("added"), digests[:2])

    def test_history_and_config_tell_of_it(self):
        self.build("--run", "cat big > copy", "-m", "why", "--env", "MODE=fast")
        config = json.loads(self.dadi("inspect", "--config", "oci:built").stdout)
        self.assertEqual([one["created_by"] for one in config["history"]], ["the base", "RUN /bin/sh -c cat big > copy"])
        self.assertEqual(config["history"][1]["comment"], "why")
        self.assertEqual(config["config"]["Env"], ["COLOR=blue", "PATH=/bin", "MODE=fast"])
        self.assertEqual(self.cat("/srv/copy"), self.cat("/srv/big"))
        self.judge()

    def test_a_command_has_the_images_environment_and_little_else(self):
        run = self.build("--run", "echo $COLOR $PATH $TMPDIR; cat; id; cat /proc/net/dev; echo made by >&2; "
                                  "echo x > /tmp/x; echo x > /run/x; echo x > /var/tmp/x; echo x > /dev/shm/x; echo x > here; chown 7:8 here")
        self.assertIn("blue /bin\nuid=0", run.stderr)
        self.assertIn("made by\n", run.stderr)
        self.assertEqual(re.findall(r"^ *(\w+):", run.stderr.split("Inter-")[1], re.MULTILINE), ["lo"])
        before, after = self.paths("base"), self.paths()
        self.assertEqual(set(after) - set(before), {"srv/here"})
        self.assertEqual((after["srv/here"]["uid"], after["srv/here"]["gid"]), (7, 8))
        self.assertEqual(self.cat("/etc/resolv.conf"), b"nameserver 192.0.2.1\n")

    def test_the_hosts_network_is_there_when_asked_for(self):
        run = self.build("--host-network", "--run", "cat /proc/net/dev > devices")
        here = pathlib.Path("/proc/net/dev").read_text()
        self.assertEqual(self.cat("/srv/devices").count(b"\n"), here.count("\n"), run.stderr)

    def test_a_command_that_changes_nothing_makes_no_layer(self):
        run = self.build("--run", "cat big > /dev/null; ls -lR / > /dev/null; echo x > /tmp/x")
        self.assertEqual(run.json["layers"], [])
        self.assertEqual(run.json["digest"], read_manifest(self.folder / "base")[1]["digest"])
        self.assertIn("no layer is added", run.stderr)

    def test_what_was_deleted_again_is_not_in_the_layer(self):
        answer = self.build("--run", "cat big big > twice; sync; rm twice; sync; echo > small").json
        self.assertLess(answer["layers"][0]["size"], 200_000)
        self.judge()

    def test_the_file_system_does_not_tell_of_the_mount(self):
        self.build("--run", "echo > small")
        disk = self.judge()
        self.dadi("export", "oci:base", "base.img")
        superblock, before = (subprocess.run(["head", "-c", "2048", path], check=True, capture_output=True).stdout[1024:]
                              for path in (disk, self.folder / "base.img"))
        for at, size in ((0x2C, 10), (0x88, 64), (0x178, 8)):  # times and counts of mounts, the mount point, what was written
            self.assertEqual(superblock[at:at + size], before[at:at + size], hex(at))
        self.assertNotEqual(superblock, before)

    def test_a_tag_can_be_built_upon_again_and_again(self):
        for i in range(3):
            self.build("--run", f"echo {i} >> lines", to="oci:base")
        self.assertEqual(self.cat("/srv/lines", "base"), b"0\n1\n2\n")
        self.assertEqual(len(self.digests("base")), 4)

    def cached(self, *words, **options):
        """Of a build, which layers came from the cache."""
        run = self.build(*words, env={**self.env, "DADI_LAYER_CACHE": "1G"}, **options)
        self.said = run.stderr
        self.judge(options.get("to", "oci:built").removeprefix("oci:"))
        return [layer["cached"] for layer in run.json["layers"]]

    def test_commands_do_not_run_again_where_nothing_has_changed(self):
        tar, other = self.tar("1.tar", entry("one", b"1")), self.tar("2.tar", entry("one", b"2"))
        steps = ["--run", "cat /proc/sys/kernel/random/uuid > uuid", "--add", tar, "--run", "cat uuid /one > both; rm /one"]
        self.assertEqual(self.cached(*steps), [False] * 3)
        first = self.digests("built")
        self.assertEqual(self.cached(*steps), [True] * 3)  # the destination has them
        self.assertEqual(self.digests("built"), first)
        self.assertIn("--run cat /proc/sys/kernel/random/uuid > uuid: from the cache", self.said)
        shutil.rmtree(self.folder / "built")
        self.assertEqual(self.cached(*steps), [True] * 3)
        self.assertEqual(self.digests("built"), first)
        # What comes after what is new is done anew, on top of what was there.
        self.assertEqual(self.cached(*steps, "--run", "cat both > again"), [True] * 3 + [False])
        self.assertEqual(self.cat("/srv/again"), self.cat("/srv/both"))
        self.assertEqual(self.digests("built")[:-1], first)
        self.assertEqual(self.cached(*steps[:2], "--add", other, *steps[4:]), [True, False, False])
        self.assertTrue(self.cat("/srv/both").endswith(b"\n2"))
        self.assertEqual(self.cached("--run", "echo > new", *steps[2:4]), [False, False])
        # A command that is run again gives something else, and so is all that lies on it.
        self.assertEqual(self.cached("--no-cache", *steps), [False] * 3)
        self.assertNotIn(self.digests("built")[1], first)
        self.assertEqual(self.cached(*steps), [True] * 3)
        self.assertEqual(self.digests("built"), first)

    def test_what_a_command_is_given_decides_whether_it_runs_again(self):
        command = ["--run", "echo $COLOR > color"]
        self.assertEqual(self.cached(*command), [False])
        self.assertEqual(self.cached(*command), [True])
        for options in (["--host-network"], ["-m", "why"], ["--compression", "zstd"]):
            self.assertEqual(self.cached(*options, *command), [False], options)
            self.assertEqual(self.cached(*options, *command), [True], options)
        self.dadi("build", "oci:base", "--env", "COLOR=green", "oci:green")
        self.assertEqual(self.cached(*command, base="oci:green"), [False])
        self.assertEqual(self.cat("/srv/color"), b"green\n")
        self.assertEqual(self.cached(*command), [True])
        self.assertEqual(self.cat("/srv/color"), b"blue\n")

    def test_a_command_runs_again_when_its_layer_is_damaged_or_it_failed(self):
        self.assertEqual(self.cached("--run", "echo 1 > one"), [False])
        for blob in (self.folder / "cache").rglob("*.blob"):
            data = blob.read_bytes()
            blob.unlink()
            blob.write_bytes(data[:-1] + b"?")
        shutil.rmtree(self.folder / "built")
        self.assertEqual(self.cached("--run", "echo 1 > one"), [False])
        self.assertIn("not usable", self.said)
        shutil.rmtree(self.folder / "built")
        self.refused(FAILURE, "--run", "echo 1 > one", "--run", "echo 2 > two; false", says="exit status 1")
        self.assertEqual(self.cached("--run", "echo 1 > one", "--run", "echo 2 > two; true"), [True, False])

    def test_what_a_step_needs_must_be_there_before_it(self):
        late = self.tar("late.tar", entry("late", b"1"))
        self.refused(FAILURE, "--run", "cat /late", "--add", late, says="exit status 1")

    def test_examples_work_when_pasted(self):
        self.dadi("copy", "-q", "oci:base", "oci:debian-dadi")
        (self.folder / "site").mkdir()
        (self.folder / "site/index.html").write_bytes(b"<p>")
        example, = re.findall(r"^  sudo (dadi .*)$", self.dadi("build", "--help").text.split("\n\n")[0], re.MULTILINE)
        run = subprocess.run(["bash", "-c", example], cwd=self.folder, capture_output=True, text=True, check=False,
                             env={**self.env, "PATH": f"{pathlib.Path(BINARY).parent}:{os.environ['PATH']}"})
        self.assertEqual(run.returncode, 0, run.stderr)
        self.assertIn(b"index.html\n", self.cat("/srv/index", "indexed"))


class Failures(BuildRunTest):
    def test_a_command_that_fails_fails_the_build(self):
        self.refused(FAILURE, "--run", "echo > made", "--run", "echo sorry >&2; exit 7",
                     says=("--run echo sorry", "exit status 7", "\nsorry\n"))
        self.refused(FAILURE, "--run", "kill -9 $$", says="signal 9")
        self.refused(FAILURE, "--run", "cat /dev/zero > /full", says="exit status 1")
        before = read_manifest(self.folder / "base")[1]["digest"]
        self.fails(FAILURE, "build", "oci:base", "--run", "echo > made; exit 1", "oci:base", env=self.env)
        self.assertEqual(read_manifest(self.folder / "base")[1]["digest"], before)
        self.assert_clean()

    def test_an_image_without_a_shell_is_refused(self):
        Layout(self.folder / "empty").add_image([[folder("tmp")]])
        self.dadi("convert", "-q", "--virtual-size", "64M", "oci:empty", "oci:base")
        self.refused(NOT_FOUND, "--run", "true", says="in the image: /bin/sh")

    def test_words_that_make_no_sense_are_refused_before_anything_runs(self):
        self.refused(USAGE, "--run", "", says="--run")
        self.refused(USAGE, "--run", "echo \udcff", says="UTF-8")
        self.refused(NOT_FOUND, "--run", "echo ran >&2", "--add", "nowhere.tar", says="nowhere.tar")

    def test_it_is_roots(self):
        harness.need_command("setpriv")
        self.folder.chmod(0o755)
        run = subprocess.run(["setpriv", "--reuid", "65534", "--clear-groups", BINARY, "build", "oci:base", "--run", "true", "oci:built"],
                             cwd=self.folder, env=environment(HOME="/nowhere"), capture_output=True, text=True, check=False)
        self.assertEqual(run.returncode, DENIED, run.stderr)
        self.assertIn("--run", run.stderr)
        self.assertIn("hint: sudo", run.stderr)

    def test_interrupted_it_leaves_nothing(self):
        for number, script in ((signal.SIGINT, "echo > made; sleep 1000"),
                               (signal.SIGTERM, "trap '' TERM; while true; do sleep 0.1; done")):
            script = f"echo started >&2; {script}"
            process = subprocess.Popen([BINARY, "build", "-q", "oci:base", "--run", script, "oci:built"], cwd=self.folder,
                                       env=self.env, stderr=subprocess.PIPE, text=True)
            self.assertEqual(process.stderr.readline(), "started\n")
            self.assertEqual([one["name"] for one in self.ps()], ["base-building"])
            started = time.monotonic()
            process.send_signal(number)
            _, said = process.communicate(timeout=60)
            self.assertEqual(process.returncode, 128 + number, said)
            self.assertLess(time.monotonic() - started, 30)
            self.assertFalse((self.folder / "built").exists())
            self.assert_clean()

    def test_killed_it_leaves_an_attachment_that_can_be_detached(self):
        process = subprocess.Popen([BINARY, "build", "-q", "oci:base", "--run", "echo started >&2; sleep 1000", "oci:built"],
                                   cwd=self.folder, env=self.env, stderr=subprocess.PIPE, text=True)
        self.assertEqual(process.stderr.readline(), "started\n")
        process.kill()
        self.assertEqual(process.stderr.read(), "")  # until the last who has it open is gone: the command, too
        process.wait()
        process.stderr.close()
        self.dadi("detach", "base-building")
        self.assert_nothing_is_left()
        self.fails(NOT_FOUND, "inspect", "oci:built", env=self.env)

    def test_a_process_that_goes_on_alone_ends_with_the_command(self):
        self.build("--run", "(sleep 1000 > open &) ; echo done > made")
        self.assertEqual(self.cat("/srv/made"), b"done\n")
        self.judge()

    def test_a_link_to_the_host_leads_nowhere(self):
        outside = self.folder / "outside"
        outside.mkdir()
        self.build("--run", f"ln -s {shlex.quote(str(outside))} /escape; echo x > /escape/x; true")
        self.assertEqual(list(outside.iterdir()), [])
        self.assertTrue(stat.S_ISDIR(outside.stat().st_mode))


class Far(BuildRunTest):
    def test_a_base_on_a_registry_is_read_as_it_is_needed(self):
        registry = Registry(self)
        self.dadi("push", "-q", "oci:base", f"docker://{registry.host}/base:1")
        app = self.tar("app.tar", entry("app", b"1"))
        answer = self.build("--add", app, "--run", "cat /app > seen", "--run", "cat seen seen > more", base=f"docker://{registry.host}/base:1",
                            to=f"docker://{registry.host}/base:2").json
        self.assertEqual((answer["blobs_copied"], answer["blobs_there"]), (0, 1))
        cached = sum(path.stat().st_blocks * 512 for path in (self.folder / "cache").rglob("*") if path.is_file())
        self.assertLess(cached, 6 * MIB)
        self.dadi("pull", "-q", f"docker://{registry.host}/base:2", "oci:built")
        self.assertEqual(self.cat("/srv/more"), b"11")
        self.judge()
        self.fails(FAILURE, "build", f"docker://{registry.host}/base:1", "--run", "exit 1", f"docker://{registry.host}/base:3", env=self.env)
        self.fails(NOT_FOUND, "inspect", f"docker://{registry.host}/base:3", env=self.env)


if __name__ == "__main__":
    harness.main()
