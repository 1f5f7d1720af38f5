"""Converted layers that are found again: on this host, and in a list that a tag keeps alive."""
import json
import os
import random
import re
import shutil
import signal
import subprocess
import time

import harness
from faulty_registry import FaultyRegistry
from harness import CORRUPT, FAILURE, OK, PARTIAL, USAGE, environment
from images import Layout, entry, folder, read_manifest, small_debian, tar_of
from registries import Registry, free_port
from test_determinism import nasty_layers

# What some layers convert to, with some versions of the libraries. Whoever changes the bytes changes these, and raises
# kBytesVersion in libconvert/layer_cache/kept_layer.h: else conversions would be mixed of old layers and new ones.
BYTES_VERSION = 1
PINNED = {"lz4": "1.9.4", "zstd": "1.5.4", "libext2fs": "1.47.0"}
PINNED_LAYERS = ["sha256:c5ae8816c4ae9bf4320a98a6a9c89d77525452b4861f0fb33130b0e90530616f",
                 "sha256:f32eba9e0606b2d2d904cb34d76a76c502fef74759b2f259e98c55ede91d2ffb"]


class CacheTest(harness.Test):
    def setUp(self):
        super().setUp()
        self.cache = self.folder / "cache"
        self.env = environment(DADI_CACHE_DIR=str(self.cache), DADI_LAYER_CACHE="1G")
        self.names = iter(range(1000))

    def image(self, name, layers, **options):
        Layout(self.folder / name).add_image(layers, **options)
        return f"oci:{name}"

    def convert(self, source, *options, to=None, env=None, **run):
        """The answer of a conversion into a folder of its own."""
        return self.dadi("convert", "--json", *options, source, to or f"oci:out{next(self.names)}", env=env or self.env, **run).json

    def anew(self, source, *options):
        return self.convert(source, *options, env=environment())

    def cached(self, answer):
        return [layer["cached"] for layer in answer["images"][0]["layers"]]

    def blobs(self):
        """The cache's blobs, in the order of their layers."""
        return [self.cache / "layers" / (entry["key"][7:] + ".blob")
                for entry in self.dadi("cache", "ls", "--json", env=self.env).json if entry["kind"] == "layer"]

    def lose_layers(self, name):
        """Of an image's layout, nothing is left but its manifests and config."""
        manifest = read_manifest(self.folder / name)[0]
        for layer in manifest["layers"]:
            (self.folder / name / "blobs" / layer["digest"].replace(":", "/")).unlink()


class OnThisHost(CacheTest):
    def test_a_second_conversion_reads_no_layer_and_gives_the_same_image(self):
        source = self.image("image", small_debian())
        first = self.convert(source)
        self.assertEqual(self.cached(first), [False, False])
        self.lose_layers("image")
        second = self.convert(source)
        self.assertEqual(self.cached(second), [True, True])
        for answer in (first, second):
            answer.pop("reference")
            for layer in answer["images"][0]["layers"]:
                layer.pop("cached")
        self.assertEqual(first, second)
        self.dadi("check", "oci:out1")

    def test_layers_on_top_of_cached_ones_have_the_same_bytes_as_without(self):
        layers = nasty_layers()
        whole = self.image("whole", layers)
        for options, counts in (([], range(1, len(layers))), (["--compression", "zstd", "--virtual-size", "1G"], [3])):
            expected = self.anew(whole, *options)["digest"]
            for count in counts:
                with self.subTest(count=count, options=options):
                    shutil.rmtree(self.cache, ignore_errors=True)
                    self.convert(self.image(f"lower{count}", layers[:count]), *options)
                    answer = self.convert(whole, *options)
                    self.assertEqual(self.cached(answer), [True] * count + [False] * (len(layers) - count))
                    self.assertEqual(answer["digest"], expected)

    def test_other_options_and_other_layers_below_are_other_layers(self):
        source = self.image("image", small_debian())
        self.convert(source)
        for options in (["--compression", "zstd"], ["--compression", "zstd:4"], ["--block-size", "8K"], ["--virtual-size", "1G"]):
            self.assertEqual(self.cached(self.convert(source, *options)), [False, False], options)
            self.assertEqual(self.cached(self.convert(source, *options)), [True, True], options)
        other = self.image("other", [[entry("first", b"")], *small_debian()])
        self.assertEqual(self.cached(self.convert(other)), [False, False, False])
        self.assertEqual(self.cached(self.convert(source, "--media-types", "docker", "-j", "1")), [True, True])

    def test_no_cache_and_a_size_of_nothing_leave_no_folder(self):
        source = self.image("image", small_debian())
        self.convert(source, "--no-cache")
        self.convert(source, "--layer-cache", "0")
        self.assertFalse(self.cache.exists())
        self.convert(source)
        self.assertEqual(self.cached(self.convert(source, "--no-cache")), [False, False])

    def test_what_is_damaged_is_converted_again(self):
        source = self.image("image", small_debian())
        expected = self.convert(source)["digest"]
        flip = lambda data: data[:len(data) // 2] + bytes([data[len(data) // 2] ^ 1]) + data[len(data) // 2 + 1:]  # noqa: E731
        damages = {"flipped": flip, "cut": lambda data: data[:-512], "empty": lambda data: b"", "longer": lambda data: data + b"x",
                   "other": lambda data: bytes(len(data))}
        for ending in (".blob", ".record"):
            for name, damage in damages.items():
                for number in (0, 1):
                    with self.subTest(file=ending, damage=name, layer=number):
                        path = self.blobs()[number].with_suffix(ending)
                        whole = path.read_bytes()
                        path.unlink()  # whoever has a link to it keeps it as it is
                        path.write_bytes(damage(whole))
                        answer = self.convert(source)
                        self.assertEqual(self.cached(answer), [number > 0, False])
                        self.assertEqual(answer["digest"], expected)
                        self.assertEqual(self.cached(self.convert(source)), [True, True])

    def test_damage_below_a_layer_to_be_converted_is_noticed(self):
        layers = nasty_layers()
        self.convert(self.image("lower", layers[:3]))
        blob = self.blobs()[1]
        data = bytearray(blob.read_bytes())
        data[len(data) // 2] ^= 1
        blob.unlink()
        blob.write_bytes(data)
        whole = self.image("whole", layers[:4])
        answer = self.convert(whole)
        self.assertEqual(self.cached(answer), [True, False, False, False])
        self.assertEqual(answer["digest"], self.anew(whole)["digest"])

    def test_a_blob_under_the_wrong_key_is_not_built_upon(self):
        self.convert(self.image("one", small_debian()[:1]))
        right = self.blobs()[0]
        self.convert(self.image("two", [[entry("else", b"x")]]))
        wrong = next(path for path in self.blobs() if path != right)
        # As somebody who can write to the cache, or a bug, would do it: the record is sound in itself.
        text = wrong.with_suffix(".record").read_text().split("\n", 1)[1].replace(wrong.stem, right.stem)
        right.with_suffix(".record").write_text(f"sha256:{harness.hashlib.sha256(text.encode()).hexdigest()}\n{text}")
        shutil.copy(wrong, right)
        whole = self.image("whole", small_debian())
        answer = self.convert(whole)
        self.assertEqual(self.cached(answer), [False, False])
        self.assertEqual(answer["digest"], self.anew(whole)["digest"])

    def test_limits_on_archives_count_cached_layers_too(self):
        source = self.image("image", small_debian())
        said = self.fails(FAILURE, "convert", "--no-cache", "--max-entries", "12", source, "oci:x", env=self.env)
        self.convert(source)
        again = self.fails(FAILURE, "convert", "--max-entries", "12", source, "oci:x", env=self.env)
        self.assertIn("more than 12 entries", said)
        self.assertIn("more than 12 entries", again)
        self.fails(FAILURE, "convert", "--max-size", "100K", source, "oci:x", env=self.env, says="more than 102400 bytes")

    def test_what_was_used_longest_ago_goes_when_there_is_no_room_the_upper_layers_first(self):
        noise = lambda name: [[entry(f"{name}{i}", os.urandom(1 << 20))] for i in range(2)]  # noqa: E731
        one, two, three = (self.image(name, noise(name)) for name in ("one", "two", "three"))
        self.convert(one)
        self.convert(two)
        self.convert(one)
        size = ["--layer-cache", "5500K"]  # five layers
        self.convert(three, *size)
        self.assertEqual(self.cached(self.convert(two, *size)), [True, False])
        self.assertEqual(self.cached(self.convert(three, *size)), [True, True])
        listed = self.dadi("cache", "ls", "--json", env=self.env).json
        self.assertLessEqual(sum(entry["size"] for entry in listed), 5500 << 10)

    def test_cache_shows_verifies_and_removes_layers(self):
        self.convert(self.image("image", small_debian()))
        manifest = read_manifest(self.folder / "out0")[0]
        listed = self.dadi("cache", "ls", "--json", env=self.env).json
        self.assertEqual({(entry["kind"], entry["digest"], entry["size"]) for entry in listed},
                         {("layer", layer["digest"], layer["size"]) for layer in manifest["layers"]})
        self.assertLess(abs(listed[0]["last_used"] - time.time()), 600)
        shown = self.dadi("cache", "ls", env=self.env).text
        self.assertIn("CONVERTED LAYER", shown)
        self.assertIn(manifest["layers"][0]["digest"][:19], shown)
        self.assertEqual([entry["sound"] for entry in self.dadi("cache", "verify", "--json", env=self.env).json], [True, True])
        self.blobs()[1].write_bytes(b"x" * self.blobs()[1].stat().st_size)
        run = self.dadi("cache", "verify", "--json", env=self.env, status=CORRUPT)
        self.assertEqual(sorted(entry["sound"] for entry in run.json), [False, True])
        self.assertEqual(len(self.blobs()), 1)
        self.assertEqual(self.dadi("cache", "prune", "--json", env=self.env).json["layers"], 1)
        self.assertEqual(list((self.cache / "layers").iterdir()), [])

    def test_a_folder_that_others_can_write_to_is_not_used(self):
        (self.cache / "layers").mkdir(parents=True)
        (self.cache / "layers").chmod(0o777)
        run = self.dadi("convert", self.image("image", small_debian()), "oci:out", env=self.env)
        self.assertIn("converted layers are not kept", run.stderr)
        self.assertEqual(list((self.cache / "layers").iterdir()), [])

    def test_a_cache_on_another_file_system_is_filled_by_copies(self):
        shm = harness.pathlib.Path("/dev/shm")
        if not shm.is_dir() or shm.stat().st_dev == self.folder.stat().st_dev:
            self.skipTest("/dev/shm is no other file system")
        elsewhere = shm / self.folder.name
        self.addCleanup(shutil.rmtree, elsewhere, ignore_errors=True)
        source = self.image("image", small_debian())
        expected = self.convert(source, "--cache-dir", elsewhere)["digest"]
        self.lose_layers("image")
        again = self.convert(source, "--cache-dir", elsewhere)
        self.assertEqual((again["digest"], self.cached(again)), (expected, [True, True]))

    def test_conversions_at_the_same_time_share_a_cache(self):
        layers = nasty_layers()
        source = self.image("image", layers)
        expected = self.anew(source)["digest"]
        words = [harness.BINARY, "convert", "-q", "-j", "1", source]
        running = [subprocess.Popen([*words, f"oci:at{i}"], cwd=self.folder, env=self.env, stdout=subprocess.PIPE, text=True)
                   for i in range(4)]
        self.assertEqual({process.communicate(timeout=300)[0].strip() for process in running}, {expected})
        answer = self.convert(source)
        self.assertEqual((answer["digest"], self.cached(answer)), (expected, [True] * len(layers)))

    def test_whenever_a_conversion_is_killed_the_next_one_gives_the_same_image(self):
        rounds = 300 if os.environ.get("DADI_LONG") else 12
        layers = nasty_layers()
        source = self.image("image", layers)
        started = time.monotonic()
        expected = self.anew(source)["digest"]
        length = time.monotonic() - started
        for number in range(rounds):
            if number % 4 == 0:
                shutil.rmtree(self.cache, ignore_errors=True)
            shutil.rmtree(self.folder / "killed", ignore_errors=True)
            with subprocess.Popen([harness.BINARY, "convert", "-q", source, "oci:killed"], cwd=self.folder, env=self.env,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
                time.sleep(random.random() * length)
                process.send_signal(signal.SIGKILL)
            with self.subTest(number=number):
                self.assertEqual(self.convert(source, to="oci:killed")["digest"], expected)
                self.dadi("cache", "verify", env=self.env)
        self.assertEqual([path.name for path in (self.cache / "layers").iterdir() if path.suffix not in (".blob", ".record")], [])

    def test_the_bytes_of_a_layer_change_with_the_version_in_its_key_alone(self):
        libraries = self.dadi("version", "--json").json["libraries"]
        if any(libraries[name] != version for name, version in PINNED.items()):
            self.skipTest("other libraries than those that the digests were made with")
        layers = [tar_of([folder("etc/"), entry("etc/hostname", b"small\n"), entry("zeros", bytes(1 << 20)),
                          entry("text", b"".join(b"line %d\n" % i for i in range(20000)))]), tar_of([entry("second", b"layer")])]
        answer = self.anew(self.image("image", layers))
        found = [layer["digest"] for layer in answer["images"][0]["layers"]]
        source = (harness.REPOSITORY / "libconvert/layer_cache/kept_layer.h").read_text()
        version = int(re.search(r"kBytesVersion = (\d+);", source)[1])
        self.assertEqual((version, found), (BYTES_VERSION, PINNED_LAYERS))


class OnARegistry(CacheTest):
    """Each conversion has a cache of its own on the host: what is found comes from the list."""

    def setUp(self):
        super().setUp()
        self.env = environment()

    def test_a_second_conversion_costs_the_manifests(self):
        registry = FaultyRegistry(self)
        at = f"docker://{registry.host}"
        self.dadi("push", self.image("image", [*small_debian(), [entry("noise", os.urandom(5 << 20))]]), f"{at}/src:source")
        caching = ["--cache-from", f"{at}/dst:cache", "--cache-to", f"{at}/dst:cache"]
        first = self.convert(f"{at}/src:source", *caching, to=f"{at}/dst:first")
        self.assertEqual(self.cached(first), [False] * 3)
        registry.seen.clear()
        second = self.convert(f"{at}/src:source", *caching, to=f"{at}/dst:second")
        self.assertEqual((second["digest"], self.cached(second)), (first["digest"], [True] * 3))
        config = read_manifest(self.folder / "image")[0]["config"]["digest"]
        asked = sorted((method, path) for _, method, path, _ in registry.seen if path != "/v2/")
        blobs = [layer["digest"] for layer in second["images"][0]["layers"]]
        done = json.loads(registry.manifests["second"])
        self.assertEqual(asked, sorted([
            ("GET", "/v2/src/manifests/source"), ("GET", f"/v2/src/blobs/{config}"), ("GET", "/v2/dst/manifests/cache"),
            *(("HEAD", f"/v2/dst/blobs/{digest}") for digest in [*blobs, done["config"]["digest"]]),
            ("PUT", "/v2/dst/manifests/second"), ("GET", "/v2/dst/manifests/cache")]))

    def test_layers_come_from_another_repository_without_being_moved(self):
        registry = Registry(self)
        at = f"docker://{registry.host}"
        source = self.image("image", small_debian())
        first = self.convert(source, "--cache-to", f"{at}/cache:1", to=f"{at}/one:1")
        self.lose_layers("image")
        second = self.convert(source, "--cache-from", f"{at}/cache:1", to=f"{at}/two:1")
        self.assertEqual((second["digest"], self.cached(second)), (first["digest"], [True, True]))
        self.dadi("pull", f"{at}/two:1", "oci:pulled")
        self.dadi("check", "oci:pulled")

    def test_layers_above_those_of_the_list_are_converted_on_them(self):
        registry = Registry(self)
        list_at = f"docker://{registry.host}/team/cache:debian"
        layers = nasty_layers()
        self.convert(self.image("lower", layers[:3]), "--cache-to", list_at)
        whole = self.image("whole", layers)
        answer = self.convert(whole, "--cache-from", list_at, "--cache-to", list_at)
        self.assertEqual(self.cached(answer), [True] * 3 + [False] * 3)
        self.assertEqual(answer["digest"], self.anew(whole)["digest"])
        # What came from the list is kept on the host, if anything is.
        env = environment(DADI_CACHE_DIR=str(self.cache), DADI_LAYER_CACHE="1G")
        self.assertEqual(self.cached(self.convert(whole, "--cache-from", list_at, env=env)), [True] * 6)
        registry.stop()
        self.assertEqual(self.cached(self.convert(whole, env=env)), [True] * 6)

    def test_a_list_in_a_layout_works_the_same(self):
        source = self.image("image", small_debian())
        first = self.convert(source, "--cache-to", "oci:lists:debian")
        self.lose_layers("image")
        second = self.convert(source, "--cache-from", "oci:lists:debian")
        self.assertEqual((second["digest"], self.cached(second)), (first["digest"], [True, True]))

    def test_a_list_grows_and_several_may_write_it_at_the_same_time(self):
        registry = Registry(self)
        list_at = f"docker://{registry.host}/cache:1"
        images = [self.image(f"image{i}", [[entry(f"file{i}", b"x")], [entry("second", b"y")]]) for i in range(5)]
        running = [subprocess.Popen([harness.BINARY, "convert", "-q", "--cache-to", list_at, image, f"oci:at{i}"], cwd=self.folder,
                                    env=self.env, stdout=subprocess.DEVNULL) for i, image in enumerate(images)]
        self.assertEqual([process.wait(timeout=300) for process in running], [OK] * 5)
        # Registries cannot replace a manifest on a condition: what one has overwritten, the next adds.
        found = [self.cached(self.convert(image, "--cache-from", list_at, "--cache-to", list_at)) for image in images]
        self.assertIn([True, True], found)
        for i, image in enumerate(images):
            self.lose_layers(f"image{i}")
            self.assertEqual(self.cached(self.convert(image, "--cache-from", list_at)), [True, True])

    def test_a_list_that_cannot_be_read_is_done_without_and_one_that_cannot_be_written_is_said(self):
        nobody = f"docker://localhost:{free_port()}/cache:1"
        source = self.image("image", small_debian())
        expected = self.anew(source)["digest"]
        run = self.dadi("convert", "--cache-from", nobody, source, "oci:from", env=self.env)
        self.assertEqual(run.text.strip(), expected)
        self.assertIn("nothing is taken from", run.stderr)
        run = self.dadi("convert", "--cache-to", nobody, source, "oci:to", env=self.env, status=PARTIAL)
        self.assertEqual(run.text.strip(), expected)
        self.assertIn("its layers are not in", run.stderr)
        self.dadi("check", "oci:to")
        run = self.dadi("convert", "--cache-to", "oci:to", source, "oci:to", env=self.env, status=PARTIAL)
        self.assertIn("not a list of converted layers", run.stderr)
        self.assertEqual(read_manifest(self.folder / "to")[1]["digest"], expected)
        self.fails(USAGE, "convert", "--no-cache", "--cache-from", nobody, source, "oci:x", env=self.env)
        self.fails(USAGE, "convert", "--cache-to", f"{nobody}@sha256:{'a' * 64}", source, "oci:x", env=self.env)

    def test_no_cache_still_fills_a_list(self):
        source = self.image("image", small_debian())
        self.convert(source, "--no-cache", "--cache-to", "oci:lists:debian")
        self.lose_layers("image")
        self.assertEqual(self.cached(self.convert(source, "--cache-from", "oci:lists:debian")), [True, True])

    def test_a_list_that_lies_or_has_lost_its_blobs_is_not_believed(self):
        source = self.image("image", small_debian())
        expected = self.convert(source, "--cache-to", "oci:lists:debian")["digest"]
        manifest = read_manifest(self.folder / "lists", "debian")[0]
        lost = self.folder / "lists/blobs" / manifest["layers"][1]["digest"].replace(":", "/")
        data = lost.read_bytes()
        for content, cached in ((data[:-1] + b"x", [True, False]), (None, [True, False])):
            lost.unlink()
            if content:
                lost.write_bytes(content)
            answer = self.convert(source, "--cache-from", "oci:lists:debian")
            self.assertEqual((answer["digest"], self.cached(answer)), (expected, cached))


if __name__ == "__main__":
    harness.main()
