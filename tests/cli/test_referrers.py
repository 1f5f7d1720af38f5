"""Converted images that are found through the ordinary ones they are made of."""
import json
import urllib.request

import harness
from faulty_registry import FaultyRegistry
from harness import CORRUPT, UNSUPPORTED, USAGE
from images import Layout, entry, small_debian
from registries import Registry

NATIVE = "application/vnd.containerd.overlaybd.native.v1+json"


class Referrers(harness.Test):
    def setUp(self):
        super().setUp()
        Layout(self.folder / "image").add_image([*small_debian(), [entry("srv/hello", b"hello\n")]])

    def converted_at(self, host):
        """The image pushed there and converted beside itself; its reference and the converted form's."""
        image = f"docker://{host}/team/app:1"
        self.dadi("push", "oci:image", image)
        return image, self.answer("convert", "--referrer", "--virtual-size", "64M", image)["reference"]

    def answer(self, *words):
        return self.dadi("--json", *words).json

    def is_found_through_its_source(self, host):
        image, converted = self.converted_at(host)
        self.assertRegex(converted, rf"^docker://{host}/team/app@sha256:[0-9a-f]{{64}}$")
        digest = converted.split("@")[1]
        source = self.dadi("inspect", "--raw", image).json
        manifest = self.dadi("inspect", "--raw", converted).json
        self.assertEqual(manifest["artifactType"], NATIVE)
        self.assertEqual(manifest["subject"]["digest"], self.answer("inspect", image)["digest"])
        self.assertEqual(manifest["subject"]["mediaType"], source["mediaType"])
        self.assertEqual(self.answer("inspect", image)["converted"], [digest])
        run = self.dadi("cat", image, "srv/hello")
        self.assertEqual(run.text, "hello\n")
        self.assertIn(f"its converted form {digest} is taken", run.stderr)
        self.dadi("check", image)
        return image, digest

    def test_a_registry_that_lists_referrers(self):
        registry = FaultyRegistry(self, referrers=True)
        self.is_found_through_its_source(registry.host)
        self.assertFalse([name for name in registry.manifests if name.startswith("sha256-")])

    def test_a_registry_that_lists_none_has_a_tag_for_them(self):
        image, digest = self.is_found_through_its_source(Registry(self).host)
        self.dadi("convert", "--referrer", "--virtual-size", "64M", image)  # again: it is listed already
        self.assertEqual(self.answer("inspect", image)["converted"], [digest])
        other = self.answer("convert", "--referrer", "--virtual-size", "128M", image)["digest"]
        self.assertEqual(self.answer("inspect", image)["converted"], [digest, other])
        self.assertIn(f"its converted form {other} is taken, of 2", self.dadi("ls", image).stderr)

    def test_every_image_of_an_index_and_the_index_have_their_forms(self):
        layout = Layout(self.folder / "many")
        layout.add_index([layout.add_image([[entry("a", content)]], tag=None, architecture=name,
                                           platform={"os": "linux", "architecture": name})
                          for name, content in (("amd64", b"1"), ("arm64", b"2"))])
        registry = Registry(self)
        image = f"docker://{registry.host}/many:1"
        self.dadi("push", "--all-platforms", "oci:many", image)
        answer = self.answer("convert", "--referrer", "--all-platforms", "--virtual-size", "64M", image, f"{image}-dadi")
        index = json.load(urllib.request.urlopen(urllib.request.Request(
            f"http://{registry.host}/v2/many/manifests/{answer['digest']}",
            headers={"Accept": "application/vnd.oci.image.index.v1+json"})))
        self.assertEqual(index["artifactType"], NATIVE)
        self.assertEqual(len(index["manifests"]), 2)
        self.assertEqual(index["subject"]["mediaType"], "application/vnd.oci.image.index.v1+json")
        for platform, content in (("linux/amd64", "1"), ("linux/arm64", "2")):
            self.assertEqual(self.dadi("cat", "--platform", platform, image, "a").text, content)

    def test_without_a_form_the_image_is_ordinary(self):
        for registry in (Registry(self), FaultyRegistry(self, referrers=True)):
            image = f"docker://{registry.host}/app:1"
            self.dadi("push", "oci:image", image)
            self.assertEqual(self.answer("inspect", image)["converted"], [])
            self.fails(UNSUPPORTED, "ls", image, says="hint: convert it first")

    def test_a_form_of_another_image_is_refused(self):
        registry = FaultyRegistry(self, referrers=True)
        image, _ = self.converted_at(registry.host)
        Layout(self.folder / "other").add_image([[entry("srv/hello", b"bye\n")]])
        other = f"docker://{registry.host}/team/app:2"
        self.dadi("push", "oci:other", other)
        [forms] = registry.referrers.values()
        registry.referrers[self.answer("inspect", other)["digest"]] = forms
        self.fails(CORRUPT, "ls", other, says="is listed as a converted form of")
        self.dadi("ls", image)

    def test_it_stays_in_the_repository_of_its_source(self):
        host = Registry(self).host
        self.dadi("push", "oci:image", f"docker://{host}/a:1")
        self.fails(USAGE, "convert", "--referrer", "oci:image", f"docker://{host}/a:2", says="on a registry")
        self.fails(USAGE, "convert", "--referrer", f"docker://{host}/a:1", f"docker://{host}/b:1", says="elsewhere")
        self.fails(USAGE, "convert", "--referrer", "--media-types", "docker", f"docker://{host}/a:1", says="Docker")


if __name__ == "__main__":
    harness.main()
