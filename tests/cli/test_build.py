"""dadi build: archives and folders that become layers of a converted image."""
import gzip
import json
import os
import re
import socket
import subprocess
import tarfile
import threading

import harness
from faulty_registry import FaultyRegistry
from harness import CORRUPT, FAILURE, NETWORK, NOT_FOUND, UNSUPPORTED, USAGE, environment, sparse_digest
from images import Layout, entry, folder, hardlink, opaque, read_manifest, small_debian, symlink, tar_of, whiteout
from judged import e2fsck
from test_determinism import golden_layers, nasty_layers, raw


class BuildTest(harness.Test):
    """A base of small_debian()'s layers, converted: oci:base. What is built on it is looked at by every judge."""

    size = "64M"

    def setUp(self):
        super().setUp()
        self.source = Layout(self.folder / "source")
        self.base()

    def base(self, layers=None, to="base", options=(), **config):
        """Converts an image of these layers."""
        self.source.manifests.clear()
        self.layers = small_debian() if layers is None else layers
        self.config = config
        self.source.add_image(self.layers, **config)
        self.dadi("convert", "--virtual-size", self.size, *options, "oci:source", f"oci:{to}")

    def tar(self, name, entries):
        path = self.folder / name
        path.write_bytes(entries if isinstance(entries, bytes) else tar_of(entries))
        return path

    def build(self, *words, base="oci:base", to="oci:built", **options):
        return self.dadi("build", "--json", base, *words, to, **options).json

    def digests(self, name):
        return [layer["digest"] for layer in read_manifest(self.folder / name)[0]["layers"]]

    def config_of(self, name):
        return json.loads(self.dadi("inspect", "--config", f"oci:{name}").stdout)

    def disk(self, name):
        path = self.folder / f"{name}.img"
        self.dadi("export", f"oci:{name}", path)
        return path

    def listing(self, name):
        return {one["path"]: one for one in self.dadi("ls", "-R", "--json", f"oci:{name}").json}

    def judge(self, name="built"):
        self.dadi("check", f"oci:{name}")
        disk = self.disk(name)
        e2fsck(self, disk)
        for digest in set(self.digests(name)) - set(self.digests("base")):
            self.strict_reader("check", "--modern", self.folder / name / "blobs" / digest.replace(":", "/"))
        return disk

    def assert_is_conversion(self, *added, name="built"):
        """The same tree, and the same device, as the conversion of an image with the archives as its further layers."""
        whole = Layout(self.folder / f"whole-{name}")
        whole.add_image([*self.layers, *added], **self.config)
        self.dadi("verify", f"oci:whole-{name}", f"oci:{name}")
        self.dadi("convert", "--virtual-size", self.size, f"oci:whole-{name}", f"oci:expected-{name}")
        self.assertEqual(sparse_digest(self.judge(name)), sparse_digest(self.disk(f"expected-{name}")))


class Archives(BuildTest):
    def test_an_added_archive_gives_what_its_conversion_as_a_layer_gives(self):
        layers = nasty_layers()
        self.size = "256M"
        for count in (1, 2, 5):
            with self.subTest(base=count):
                self.base(layers[:count], to=f"base{count}")
                added = [tar_of(layer) if isinstance(layer, list) else layer for layer in layers[count:]]
                words = [word for i, data in enumerate(added) for word in ("--add", self.tar(f"{i}.tar", data))]
                answer = self.build(*words, base=f"oci:base{count}", to=f"oci:built{count}")
                self.assertEqual(self.digests(f"built{count}")[:count], self.digests(f"base{count}"))
                self.assertEqual([layer["digest"] for layer in answer["layers"]], self.digests(f"built{count}")[count:])
                self.assert_is_conversion(*added, name=f"built{count}")

    def test_whiteouts_in_an_added_archive_hide_what_is_below(self):
        change = [whiteout("etc/os-release"), opaque("usr"), entry("usr/new", b"new"), whiteout("srv")]
        self.build("--add", self.tar("change.tar", change))
        paths = self.listing("built")
        for gone in ("etc/os-release", "usr/share", "srv", "srv/empty"):
            self.assertNotIn(gone, paths)
        self.assertEqual(self.dadi("cat", "oci:built", "/usr/new").stdout, b"new")
        self.assertIn("etc/hostname", paths)
        self.assert_is_conversion(tar_of(change))

    def test_every_form_of_an_archive_gives_the_same_image(self):
        data = tar_of([folder("app/"), entry("app/run", b"#!/bin/sh\n" * 5000, mode=0o755)])
        expected = self.build("--add", self.tar("app.tar", data))["digest"]
        gz = self.tar("app.tgz", gzip.compress(data))
        self.assertEqual(self.build("--add", gz)["digest"], expected)
        harness.need_command("zstd")
        zst = self.tar("app.zst", subprocess.run(["zstd", "-c"], input=data, capture_output=True, check=True).stdout)
        self.assertEqual(self.build("--add", zst)["digest"], expected)
        with open(gz, "rb") as stdin:  # a file is a file, and a pipe is one too
            self.assertEqual(self.build("--add", "-", stdin=stdin)["digest"], expected)
        with subprocess.Popen(["sh", "-c", "cat app.zst; sleep 0.3"], cwd=self.folder, stdout=subprocess.PIPE) as piped:
            self.assertEqual(self.build("--add", "-", stdin=piped.stdout)["digest"], expected)
        os.mkfifo(self.folder / "fifo")
        writer = threading.Thread(target=lambda: (self.folder / "fifo").write_bytes(data))
        writer.start()
        self.assertEqual(self.build("--add", "fifo")["digest"], expected)
        writer.join()

    def test_two_builds_give_the_layers_of_one(self):
        one, two = self.tar("1.tar", [entry("one", b"1")]), self.tar("2.tar", [entry("two", b"2" * 9000)])
        self.build("--add", one, "--add", two)
        self.build("--add", one, to="oci:first")
        self.build("--add", two, base="oci:first", to="oci:second")
        self.assertEqual(self.digests("second"), self.digests("built"))
        self.assertEqual(len(set(self.digests("built"))), 4)
        self.build("--add", two, "--add", one, to="oci:reversed")
        self.assertNotEqual(self.digests("reversed")[2:], self.digests("built")[2:])

    def test_layers_name_those_below_them(self):
        self.build("--add", self.tar("1.tar", [entry("one", b"1")]), "--add", self.tar("2.tar", [entry("two", b"2")]))
        layers = self.dadi("inspect", "--json", "oci:built").json["layers"]
        for below, above in zip(layers, layers[1:]):
            self.assertEqual(above["parent_uuid"], below["uuid"])
        self.assertEqual(len({layer["uuid"] for layer in layers}), 4)

    def test_an_empty_archive_is_a_layer_that_changes_nothing(self):
        self.build("--add", self.tar("empty.tar", []))
        self.assert_is_conversion(tar_of([]))

    def test_a_base_with_a_trace_loses_it_with_a_note(self):
        from traces import make_trace  # pylint: disable=import-outside-toplevel
        (self.folder / "a.trace").write_bytes(make_trace([(0, 0, 4096)]))
        self.dadi("trace", "attach", "oci:base", "a.trace", "oci:traced")
        app = self.tar("app.tar", [entry("app", b"1")])
        run = self.dadi("build", "oci:traced", "--add", app, "oci:built")
        self.assertIn("trace", run.stderr)
        self.build("--add", app, to="oci:untraced")
        self.assertEqual(self.digests("built"), self.digests("untraced"))

    def test_a_base_of_the_reference_is_built_upon(self):
        """Its file systems are made with other options, and its layers have names of their own."""
        layout = Layout(self.folder / "reference")
        layout.add_block_image(self.golden("append/0/overlaybd.commit").read_bytes())
        lower, upper = golden_layers()
        self.build("--add", self.tar("upper.tar", upper), base="oci:reference")
        Layout(self.folder / "whole").add_image([lower, upper])
        self.dadi("verify", "oci:whole", "oci:built")
        self.dadi("check", "oci:built")


class Determinism(BuildTest):
    def same(self, *words):
        """Builds again and again, with everything different that must not matter."""
        expected = self.build(*words)["digest"]
        for i, (jobs, zone, mask) in enumerate(((1, "Asia/Kathmandu", 0o077), (4, "America/St_Johns", 0), (2, "UTC", 0o022))):
            place = self.folder / f"elsewhere {i}"
            place.mkdir(exist_ok=True)
            answer = self.build("-j", jobs, *words, base=f"oci:{self.folder}/base", to="oci:out", cwd=place, umask=mask,
                                env=environment(TZ=zone, LC_ALL="C", HOME=None, E2FSPROGS_FAKE_TIME="7"))
            self.assertEqual(answer["digest"], expected)
        return expected

    def test_an_archive_gives_the_same_image_whenever_wherever_and_however_fast(self):
        big = [entry(f"f{i}", os.urandom(50_000)) for i in range(60)]
        self.same("--add", self.tar("big.tar", big), "--add", self.tar("more.tar", [entry("f3", b"other")]), "--env", "A=b", "-m", "x")

    def test_a_folder_gives_the_same_image_wherever_it_lies(self):
        for i in (1, 2):
            make_tree(self.folder / f"tree{i}", backwards=i == 2)
        self.assertEqual(self.same("--add", self.folder / "tree1"), self.same("--add", f"{self.folder}/tree2"))
        self.assertNotEqual(self.build("--add", "tree1:/srv")["digest"], self.build("--add", "tree1")["digest"])


def make_tree(path, backwards=False):
    """A folder with one of everything, made in one order or the other."""
    steps = [
        lambda: (path / "app").mkdir(), lambda: (path / "app/run").write_bytes(b"#!/bin/sh\n"),
        lambda: (path / "app/data").write_bytes(os.urandom(0) + bytes(range(256)) * 300),
        lambda: (path / "app/zeros").write_bytes(bytes(70_000)), lambda: (path / "app/link").symlink_to("../app/run"),
        lambda: (path / "empty").write_bytes(b""), lambda: (path / "ł ó\n").write_bytes(b"text"),
        lambda: (path / os.fsdecode(b"no\xfftext")).write_bytes(b"none"), lambda: (path / "dangling").symlink_to("/nowhere"),
    ]
    path.mkdir()
    os.mkdir(path / "dir")
    for step in [steps[0], *(reversed(steps[1:]) if backwards else steps[1:])]:
        step()
    os.link(path / "app/data", path / "dir/again")
    os.link(path / "app/data", path / "a-first")
    os.mkfifo(path / "pipe")
    (path / "app/run").chmod(0o4755)
    (path / "dir").chmod(0o1777)
    os.setxattr(path / "empty", "user.note", b"\x00\xff kept")
    for at, _, files in os.walk(path, topdown=False):
        for name in [*files, ""]:
            os.utime(os.path.join(at, name), ns=(0, 1_234_567_890_123_456_789), follow_symlinks=False)


class Folders(BuildTest):
    def setUp(self):
        super().setUp()
        self.tree = self.folder / "tree"

    def entries_of(self, prefix="", **owner):
        """What the archive of make_tree() should hold, in our tests' terms."""
        owner = {"uid": 0, "gid": 0, "mtime": 1_234_567_890, "pax_headers": {"mtime": "1234567890.123456789"}, **owner}
        data = bytes(range(256)) * 300
        return [
            entry(f"{prefix}a-first", data, **owner), folder(f"{prefix}app", **owner),
            hardlink(f"{prefix}app/data", f"{prefix}a-first", **owner), symlink(f"{prefix}app/link", "../app/run", mode=0o777, **owner),
            entry(f"{prefix}app/run", b"#!/bin/sh\n", **{"mode": 0o4755, **owner}), entry(f"{prefix}app/zeros", bytes(70_000), **owner),
            symlink(f"{prefix}dangling", "/nowhere", mode=0o777, **owner), folder(f"{prefix}dir", **{**owner, "mode": 0o1777}),
            hardlink(f"{prefix}dir/again", f"{prefix}a-first", **owner),
            entry(f"{prefix}empty", b"", **{**owner, "pax_headers": {**owner["pax_headers"], "SCHILY.xattr.user.note": "\x00\udcff kept"}}),
            entry(raw(prefix.encode() + b"no\xfftext"), b"none", **owner), entry(f"{prefix}pipe", type=tarfile.FIFOTYPE, **owner),
            entry(f"{prefix}ł ó\n", b"text", **owner),
        ]

    def assert_holds_tree(self, prefix="", **owner):
        added = self.tar("expected.tar", tar_of(self.entries_of(prefix, **owner))).read_bytes()
        whole = Layout(self.folder / "whole")
        whole.manifests.clear()
        whole.add_image([*self.layers, added])
        self.dadi("verify", "oci:whole", "oci:built")
        self.judge()

    def test_a_folder_becomes_a_layer_of_what_is_in_it(self):
        make_tree(self.tree)
        self.build("--add", self.tree)
        self.assert_holds_tree()

    def test_a_folder_goes_where_it_is_told_to(self):
        make_tree(self.tree)
        for word in ("tree:/opt/the app", f"{self.tree}:/opt/./x/../the app/"):
            self.build("--add", word)
            self.assert_holds_tree("opt/the app/")
        self.assertNotIn(str(self.folder).encode(), (self.folder / "built/index.json").read_bytes())

    def test_where_a_folder_goes_to_stays_as_it_is(self):
        self.tree.mkdir(mode=0o700)
        (self.tree / "file").write_bytes(b"x")
        before = self.listing("base")
        self.build("--add", self.tree, "--add", f"{self.tree}:/tmp")
        after = self.listing("built")
        self.assertEqual([after[path]["mode"] for path in ("tmp", "etc")], [before[path]["mode"] for path in ("tmp", "etc")])
        self.assertIn("tmp/file", after)
        self.assertIn("file", after)

    def test_files_are_roots_or_whose_one_says(self):
        harness.need_root()
        make_tree(self.tree)
        for path in [self.tree, *self.tree.rglob("*")]:
            os.chown(path, 1234, 99999, follow_symlinks=False)
        (self.tree / "app/run").chmod(0o4755)  # chown takes the bit away
        self.build("--add", self.tree)
        self.assert_holds_tree()
        self.build("--add", self.tree, "--chown", "7:8")
        self.assert_holds_tree(uid=7, gid=8)
        self.build("--add", self.tree, "--keep-owner")
        self.assert_holds_tree(uid=1234, gid=99999)

    def test_attributes_go_along_where_they_mean_the_same(self):
        harness.need_root()
        harness.need_command("setfacl")
        self.tree.mkdir()
        (self.tree / "file").write_bytes(b"x")
        os.setxattr(self.tree / "file", "user.a", b"1")
        os.setxattr(self.tree / "file", "trusted.overlay.opaque", b"y")
        capability = bytes.fromhex("0100000200200000000000000000000000000000")
        os.setxattr(self.tree / "file", "security.capability", capability)
        if subprocess.run(["setfacl", "-m", "u:7:r", self.tree / "file"], check=False, capture_output=True).returncode:
            self.skipTest("no access control lists here")
        acl = os.getxattr(self.tree / "file", "system.posix_acl_access")
        self.build("--add", self.tree)
        disk = self.judge()
        shown = subprocess.run(["debugfs", "-R", "ea_list /file", disk], capture_output=True, check=True).stdout
        self.assertIn(b"user.a", shown)
        self.assertNotIn(b"trusted", shown)
        for name, value in (("security.capability", capability), ("system.posix_acl_access", acl)):
            self.assertIn(name.encode(), shown)
        whole = Layout(self.folder / "whole")
        status = os.stat(self.tree / "file")
        pax = {"mtime": f"{status.st_mtime_ns // 10**9}.{status.st_mtime_ns % 10**9:09d}",
               **{f"SCHILY.xattr.{name}": value.decode("utf-8", "surrogateescape")
                  for name, value in (("user.a", b"1"), ("security.capability", capability), ("system.posix_acl_access", acl))}}
        whole.add_image([*self.layers, [entry("file", b"x", mode=status.st_mode & 0o7777, pax_headers=pax)]])
        self.dadi("verify", "oci:whole", "oci:built")

    def test_sockets_are_left_out_with_a_note(self):
        self.tree.mkdir()
        (self.tree / "file").write_bytes(b"x")
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(self.tree / "s.sock"))
            run = self.dadi("build", "oci:base", "--add", "tree:/srv", "oci:built")
        self.assertIn('1 socket left out, as in "s.sock"', run.stderr)
        self.assertEqual({path for path in self.listing("built") if path.startswith("srv/")}, {"srv/empty", "srv/file"})

    def test_names_that_would_delete_are_refused(self):
        (self.tree / "sub").mkdir(parents=True)
        (self.tree / "sub/.wh.etc").write_bytes(b"")
        self.fails(USAGE, "build", "oci:base", "--add", "tree", "oci:built", says='"sub/.wh.etc"')
        self.fails(USAGE, "build", "oci:base", "--add", "tree:/.wh.x/y", "oci:built", says=".wh.x")
        self.assertFalse((self.folder / "built").exists())

    def test_places_that_make_no_sense_are_refused(self):
        self.tree.mkdir()
        self.tar("a.tar", [])
        for word, status, says in (("nowhere", NOT_FOUND, "nowhere"), ("nowhere:/srv", NOT_FOUND, "nowhere"),
                                   ("tree:srv", USAGE, "begin with /"), ("tree:", USAGE, "begin with /"),
                                   ("a.tar:/srv", USAGE, "its own paths")):
            self.fails(status, "build", "oci:base", "--add", word, "oci:built", says=[f"--add {word}", says])
        self.fails(USAGE, "build", "oci:base", "--add", "tree", "--chown", "root", "oci:built", says="--chown root")
        self.fails(USAGE, "build", "oci:base", "--add", "tree", "--chown", "1:2", "--keep-owner", "oci:built")
        self.fails(USAGE, "build", "oci:base", "--add", "-", "--add", "-", "oci:built", says="once")
        (self.folder / "a:b").mkdir()
        (self.folder / "a:b/file").write_bytes(b"")
        self.build("--add", "a:b")
        self.assertIn("file", self.listing("built"))


class Configs(BuildTest):
    OLD = {"created": "2020-02-02T02:02:02Z", "author": "somebody", "x.unknown": {"kept": [1, None]},
           "config": {"Env": ["PATH=/bin", "A=1"], "Cmd": ["sh"], "Entrypoint": ["/init"], "Labels": {"one": "1", "two": "2"},
                      "Volumes": {"/data": {}}, "StopSignal": "SIGINT", "User": "root"},
           "history": [{"created_by": "one"}, {"created_by": "two", "empty_layer": True}, {"created_by": "three"}]}

    def setUp(self):
        super().setUp()
        self.base(**self.OLD)

    def test_changes_are_in_the_config_and_everything_else_is_kept(self):
        self.build("--env", "A=2", "--env", "B=x=y,z", "--label", "two=II", "--label", "three=", "--user", "5:6", "--workdir", "/srv",
                   "--entrypoint", '["/bin/app","a b"]', "--cmd", '["-v"]')
        new, old = self.config_of("built"), self.config_of("base")
        self.assertEqual(new.pop("config"), {
            **old.pop("config"), "Env": ["PATH=/bin", "A=2", "B=x=y,z"], "Labels": {"one": "1", "two": "II", "three": ""}, "User": "5:6",
            "WorkingDir": "/srv", "Entrypoint": ["/bin/app", "a b"], "Cmd": ["-v"]})
        self.assertEqual(new, old)
        self.assertEqual(self.digests("built"), self.digests("base"))

    def test_commands_are_lists_or_go_to_a_shell(self):
        self.build("--entrypoint", "exec app $HOME")
        config = self.config_of("built")["config"]
        self.assertEqual(config["Entrypoint"], ["/bin/sh", "-c", "exec app $HOME"])
        self.assertNotIn("Cmd", config)  # it was arguments of another program
        self.build("--cmd", "[]")
        self.assertNotIn("Cmd", self.config_of("built")["config"])
        self.assertEqual(self.config_of("built")["config"]["Entrypoint"], ["/init"])

    def test_an_added_layer_is_in_the_history(self):
        answer = self.build("--add", self.tar("a.tar", [entry("a", b"")]), "-m", "why not")
        new, old = self.config_of("built"), self.config_of("base")
        self.assertEqual(new["history"][:3], old["history"])
        self.assertEqual(new["history"][3:], [{"created": self.OLD["created"], "comment": "why not",
                                               "created_by": f"dadi build --add {answer['layers'][0]['diff_id']}"}])
        self.assertEqual(new["rootfs"]["diff_ids"], self.digests("built"))
        self.assertEqual({**new, "history": 0, "rootfs": 0}, {**old, "history": 0, "rootfs": 0})

    def test_words_that_make_no_sense_are_refused(self):
        for words in (["--env", "A"], ["--env", "=x"], ["--label", "x"], ["--cmd", "[1]"], ["--entrypoint", "[\"a\""], []):
            self.fails(USAGE, "build", "oci:base", *words, "oci:built")
        self.assertFalse((self.folder / "built").exists())


class Refused(BuildTest):
    def refused(self, status, data, *says, options=()):
        """Nothing is published: not in a new place, and not over an image that is there."""
        self.tar("bad.tar", data)
        self.fails(status, "build", *options, "oci:base", "--add", "bad.tar", "oci:new", says=["--add bad.tar", *says])
        self.assertFalse((self.folder / "new").exists())
        self.dadi("copy", "oci:base", "oci:there")
        before = sorted(path.name for path in (self.folder / "there").rglob("*"))
        self.fails(status, "build", *options, "oci:base", "--add", "bad.tar", "oci:there", says=says)
        self.assertEqual(sorted(path.name for path in (self.folder / "there").rglob("*")), before)
        self.assertEqual(self.digests("there"), self.digests("base"))

    def test_archives_that_cannot_be_a_layer_are_refused_with_the_entry_named(self):
        self.refused(CORRUPT, [symlink("..", "/etc/")], 'entry ".."')
        self.refused(CORRUPT, [hardlink("x", "/nowhere")], 'entry "x"')
        self.refused(CORRUPT, [entry("etc/hostname/y", b"")], 'entry "etc/hostname/y"')
        self.refused(CORRUPT, [entry("etc/.wh..", b"")], 'entry "etc/.wh.."')
        self.refused(CORRUPT, tar_of([entry("whole", b"x" * 5000)])[:3000], '"whole"')
        self.refused(CORRUPT, b"this is no archive" * 100)
        self.refused(CORRUPT, gzip.compress(tar_of([entry("a", os.urandom(9000))]))[:-100], "gzip")

    def test_paths_that_want_out_stay_within_the_image(self):
        outside = self.folder / "outside"
        self.build("--add", self.tar("a.tar", [entry(f"../../../..{outside}", b"x"), symlink("out", "/"), entry("out/inside", b"y")]))
        self.assertFalse(outside.exists())
        self.assertEqual(self.dadi("cat", "oci:built", "/inside").stdout, b"y")

    def test_archives_that_want_too_much_are_given_up(self):
        self.refused(FAILURE, [entry(f"f{i}", b"") for i in range(50)], "more than 20 entries", options=["--max-entries", "20"])
        self.refused(FAILURE, gzip.compress(bytes(8 << 20)), "1048576 bytes", options=["--max-size", "1M"])
        (self.folder / "folder").mkdir()
        (self.folder / "folder/f").write_bytes(bytes(2 << 20))
        self.fails(FAILURE, "build", "--max-size", "1M", "oci:base", "--add", "folder", "oci:new", says="1048576 bytes")

    def test_a_full_device_is_told_with_what_to_do(self):
        self.size = "16M"
        self.base()
        self.refused(FAILURE, [entry(f"big{i}", os.urandom(3 << 20)) for i in range(9)], 'entry "big', "hint: ", "dadi resize")

    def test_bases_that_are_none_are_refused(self):
        self.tar("a.tar", [entry("a", b"")])
        self.fails(UNSUPPORTED, "build", "oci:source", "--add", "a.tar", "oci:new", says="convert it first")
        blob = self.folder / "base/blobs" / self.digests("base")[0].replace(":", "/")
        self.fails(UNSUPPORTED, "build", f"layers:{blob}", "--add", "a.tar", "oci:new", says="oci:DIR:TAG")
        self.fails(NOT_FOUND, "build", "oci:nowhere", "--add", "a.tar", "oci:new")
        self.assertFalse((self.folder / "new").exists())

    def test_a_damaged_base_is_noticed(self):
        """Wherever planning looks at it; what it does not look at is copied, and verified so."""
        self.tar("a.tar", [entry("etc/a", b"")])
        blob = self.folder / "base/blobs" / self.digests("base")[0].replace(":", "/")
        whole = blob.read_bytes()
        for at in range(1600, len(whole), len(whole) // 17):
            blob.write_bytes(whole[:at] + bytes([whole[at] ^ 255]) + whole[at + 1:])
            with self.subTest(at=at):
                self.fails(CORRUPT, "build", "oci:base", "--add", "a.tar", "oci:new")
                self.assertFalse((self.folder / "new").exists())

    def test_no_more_layers_than_a_device_has_room_for(self):
        words = [word for i in range(254) for word in ("--add", self.tar(f"{i}.tar", [entry(f"f{i}", b"")]))]
        self.fails(FAILURE, "build", "oci:base", *words, "oci:new", says="room for 255")
        self.assertFalse((self.folder / "new").exists())


class Cached(BuildTest):
    def setUp(self):
        super().setUp()
        self.env = environment(DADI_CACHE_DIR=str(self.folder / "cache"), DADI_LAYER_CACHE="1G")
        self.one = self.tar("1.tar", [folder("app/"), entry("app/one", b"1" * 9000)])
        self.two = self.tar("2.tar", [entry("app/two", b"2" * 9000)])

    def cached(self, *words, **options):
        answer = self.build(*words, env=self.env, **options)
        self.last = answer["digest"]
        return [layer["cached"] for layer in answer["layers"]]

    def test_unchanged_steps_are_taken_from_the_cache_and_give_the_same_image(self):
        both = ["--add", self.one, "--add", self.two]
        expected = self.build(*both)["digest"]
        self.assertEqual(self.cached(*both), [False, False])
        self.assertEqual(self.last, expected)
        self.assertEqual(self.cached(*both, to="oci:again"), [True, True])
        self.assertEqual(self.last, expected)
        self.assertEqual(self.cached(*both, "--env", "A=b"), [True, True])
        self.assertEqual(self.cached(*both, "--no-cache"), [False, False])
        self.judge("again")

    def test_a_changed_step_is_made_on_top_of_the_cached_ones(self):
        other = self.tar("3.tar", [whiteout("app/one"), entry("app/three", b"3")])
        self.assertEqual(self.cached("--add", self.one, "--add", self.two), [False, False])
        self.assertEqual(self.cached("--add", self.one, "--add", other), [True, False])
        self.assertEqual(self.last, self.build("--add", self.one, "--add", other)["digest"])
        self.assert_is_conversion(self.one.read_bytes(), other.read_bytes())

    def test_other_bases_and_options_are_other_layers(self):
        self.assertEqual(self.cached("--add", self.one), [False])
        for options in (["--compression", "zstd"], ["--block-size", "8K"]):
            self.assertEqual(self.cached(*options, "--add", self.one), [False], options)
            self.assertEqual(self.cached(*options, "--add", self.one), [True], options)
        self.base([*small_debian(), [entry("first", b"")]], to="other")
        self.assertEqual(self.cached("--add", self.one, base="oci:other"), [False])
        self.base(to="recompressed", options=["--compression", "zstd"])
        self.assertEqual(self.cached("--add", self.one, base="oci:recompressed"), [False])
        self.assertEqual(self.cached("--add", self.one), [True])

    def test_what_is_damaged_is_made_again(self):
        both = ["--add", self.one, "--add", self.two]
        self.assertEqual(self.cached(*both), [False, False])
        expected = self.last
        for blob in (self.folder / "cache/layers").glob("*.blob"):
            data = blob.read_bytes()
            blob.unlink()
            blob.write_bytes(data[:-1] + b"?")
        self.assertEqual(self.cached(*both, to="oci:again"), [False, False])
        self.assertEqual(self.last, expected)


class OnRegistries(BuildTest):
    def test_of_a_base_on_a_registry_only_what_planning_needs_is_read(self):
        self.size = "64G"
        self.base([*small_debian(), [folder("big/"), *(entry(f"big/{i}", os.urandom(1 << 20)) for i in range(16))]])
        registry = FaultyRegistry(self)
        at = f"docker://{registry.host}/a"
        self.dadi("push", "oci:base", f"{at}:base")
        registry.seen.clear()
        app = self.tar("app.tar", [folder("app/"), entry("app/run", b"x" * 5000), whiteout("etc/motd"), whiteout("big/7")])
        env = environment(DADI_CACHE_DIR=str(self.folder / "cache"))
        self.build("--add", app, base=f"{at}:base", to=f"{at}:built", env=env)
        whole = sum((self.folder / "base/blobs" / digest.replace(":", "/")).stat().st_size for digest in self.digests("base"))
        read = 0
        for headers in registry.asked(registry.host, "GET", "/blobs/"):
            wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", headers.get("Range", ""))
            read += int(wanted[2]) - int(wanted[1]) + 1 if wanted else 20_000  # the config
        self.assertGreater(whole, 16 << 20)
        self.assertLess(read, whole // 32)
        self.assertLess(sum(int(h["Content-Length"]) for h in registry.asked(registry.host, "PATCH", "/up/")), 200_000)
        self.dadi("copy", f"{at}:built", "oci:built")
        self.dadi("check", "oci:built")
        whole = Layout(self.folder / "whole")
        whole.add_image([*self.layers, app.read_bytes()])
        self.dadi("verify", "oci:whole", "oci:built")

    def test_a_registry_that_goes_away_while_a_layer_is_planned_is_no_corruption(self):
        self.base([*small_debian(), [entry(f"big/{i}", os.urandom(1 << 20)) for i in range(8)]])
        registry = FaultyRegistry(self)
        at = f"docker://{registry.host}/a"
        self.dadi("push", "oci:base", f"{at}:base")
        app = self.tar("app.tar", [entry("app/run", b"x" * 5000)])
        words = ["build", "--read-time", "1", f"{at}:base", "--add", app, "oci:new"]
        reads = lambda: len(registry.asked(registry.host, "GET", "/blobs/"))  # noqa: E731
        registry.seen.clear()
        self.dadi(*words[:-1], f"{at}:built", env=environment(DADI_CACHE_DIR=str(self.folder / "one")))
        needed, known = reads(), registry.goes_wrong
        self.assertGreater(needed, 4)
        for last in (needed - 1, needed - 2):
            registry.seen.clear()
            registry.goes_wrong = lambda kind, last=last: known(kind) or kind == "gone" and reads() > last
            self.fails(NETWORK, *words, env=environment(DADI_CACHE_DIR=str(self.folder / f"two{last}")))
            self.assertFalse((self.folder / "new").exists())

    def test_a_base_comes_from_a_registry_whole_when_the_result_goes_elsewhere(self):
        registry = FaultyRegistry(self)
        self.dadi("push", "oci:base", f"docker://{registry.host}/a:base")
        app = self.tar("app.tar", [entry("app", b"x")])
        answer = self.build("--add", app, base=f"docker://{registry.host}/a:base")
        self.assertEqual(answer["blobs_copied"], 2)
        self.assert_is_conversion(app.read_bytes())

    def test_a_build_may_go_over_its_own_base(self):
        app = self.tar("app.tar", [entry("app", b"x")])
        expected = self.build("--add", app)["digest"]
        self.assertEqual(self.build("--add", app, to="oci:base")["digest"], expected)
        self.assertEqual(len(self.digests("base")), 3)


class Manners(BuildTest):
    def test_the_digest_is_the_answer(self):
        self.tar("a.tar", [entry("a", b"")])
        run = self.dadi("build", "--digestfile", "digest", "oci:base", "--add", "a.tar", "oci:built:tag")
        self.assertRegex(run.text, r"\Asha256:[0-9a-f]{64}\n\Z")
        self.assertEqual((self.folder / "digest").read_text(), run.text)
        self.assertEqual(read_manifest(self.folder / "built", "tag")[1]["digest"] + "\n", run.text)

    def test_nothing_is_left_in_temporary_folders(self):
        place = self.folder / "tmp"
        place.mkdir()
        make_tree(self.folder / "tree")
        with open(self.tar("a.tar", [entry("a", b"")]), "rb") as stdin:
            self.build("--add", "tree", "--add", "-", env=environment(TMPDIR=str(place)), stdin=stdin)
        self.assertEqual(list(place.iterdir()), [])


if __name__ == "__main__":
    harness.main()
