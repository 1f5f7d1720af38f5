"""What the kernel and other programs make of a converted image: mounted, and held against what umoci unpacks."""
import gzip
import hashlib
import os
import pathlib
import stat
import subprocess

import harness
from images import Layout
from judged import e2fsck, mount


def tree_of(top):
    """Everything below a folder: path -> what stat, content and extended attributes say."""
    top, found, groups = pathlib.Path(top), {}, {}
    for path in [top, *top.rglob("*")]:
        name = str(path.relative_to(top))
        if name == "lost+found":
            continue
        info = path.lstat()
        facts = {"mode": info.st_mode, "owner": (info.st_uid, info.st_gid), "mtime": info.st_mtime_ns,
                 "xattrs": {key: os.getxattr(path, key, follow_symlinks=False)
                            for key in os.listxattr(path, follow_symlinks=False)}}
        if stat.S_ISREG(info.st_mode):
            facts["content"] = hashlib.sha256(path.read_bytes()).hexdigest()
            groups.setdefault(info.st_ino, []).append(name)
        elif stat.S_ISLNK(info.st_mode):
            facts["target"] = os.readlink(path)
        elif stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
            facts["device"] = info.st_rdev
        found[name] = facts
    for names in groups.values():
        for name in names:
            found[name]["linked"] = tuple(sorted(names))
    return found


def compare_with_umoci(test, mounted, implicit=()):
    """Compares a mounted tree with what umoci unpacks of test.folder/source. `implicit`: folders without an entry."""
    harness.need_command("umoci")
    subprocess.run(["umoci", "unpack", "--image", f"{test.folder}/source:latest", test.folder / "bundle"], check=True,
                   capture_output=True)
    ours, theirs = tree_of(mounted), tree_of(test.folder / "bundle/rootfs")
    test.assertEqual(sorted(ours), sorted(theirs))
    for name, facts in theirs.items():
        if name in implicit:  # umoci stamps the clock, dadi 1970
            test.assertEqual(ours[name].pop("mtime"), 0, name)
            facts.pop("mtime")
        test.assertEqual(ours[name], facts, name)


def golden_source(test):
    """Makes test.folder/source of the golden layers; returns its folders that have no entry of their own."""
    harness.need(harness.GOLDEN)
    layers = [gzip.decompress((harness.GOLDEN / f"layers/layer{i}.tgz").read_bytes()) for i in (0, 1)]
    Layout(test.folder / "source").add_image(layers)
    deep = ["n" * 90, "deep" * 10, "deeper" * 10]
    return [".", *("/".join(["usr/share", *deep[:i]]) for i in (1, 2, 3))]


class Mounted(harness.Test):
    def compare_with_umoci(self, implicit=()):
        """Converts self.folder/source, mounts the export and compares its tree with what umoci unpacks."""
        harness.need_root()
        harness.need_command("umoci", "e2fsck")
        self.dadi("convert", "oci:source", "oci:image")
        self.dadi("export", "oci:image", "disk")
        e2fsck(self, self.folder / "disk")
        compare_with_umoci(self, mount(self, self.folder / "disk"), implicit)

    def test_the_golden_layers_are_what_umoci_unpacks(self):
        self.compare_with_umoci(golden_source(self))

    def test_a_debian_image_of_four_layers_is_what_umoci_unpacks(self):
        harness.need_long()
        harness.need_root()
        harness.need_command("mmdebstrap", "umoci", "jq")
        subprocess.run([harness.REPOSITORY / "scripts/make-image", "layers", self.folder / "source"], check=True,
                       capture_output=True)
        self.compare_with_umoci()

    def test_an_image_that_skopeo_saved(self):
        harness.need_root()
        harness.need_command("skopeo")
        harness.need(harness.GOLDEN)
        layers = [gzip.decompress((harness.GOLDEN / f"layers/layer{i}.tgz").read_bytes()) for i in (0, 1)]
        Layout(self.folder / "source").add_image(layers)
        saved = self.folder / "saved.tar"
        subprocess.run(["skopeo", "copy", "--insecure-policy", f"oci:{self.folder}/source:latest",
                        f"docker-archive:{saved}:small:latest"], check=True, capture_output=True)
        self.dadi("convert", "docker-archive:saved.tar", "oci:image")
        self.dadi("check", "oci:image")
        self.dadi("verify", "oci:source", "oci:image")


if __name__ == "__main__":
    harness.main()
