"""Builds OCI layouts and tar archives, odd ones included, with the standard library only."""
import gzip
import hashlib
import io
import json
import pathlib
import tarfile

LAYER = "application/vnd.oci.image.layer.v1.tar"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


def entry(name, content=None, **fields):
    """A member of a tar archive and its content. `fields` are TarInfo's: type, mode, uid, linkname, pax_headers …"""
    info = tarfile.TarInfo(name)
    info.mode = 0o755 if fields.get("type") == tarfile.DIRTYPE else 0o644
    info.mtime = 1_700_000_000
    for field, value in fields.items():
        setattr(info, field, value)
    if content is not None:
        info.size = len(content)
    return info, content


def folder(name, **fields):
    return entry(name, type=tarfile.DIRTYPE, **fields)


def symlink(name, target, **fields):
    return entry(name, type=tarfile.SYMTYPE, linkname=target, **fields)


def hardlink(name, target, **fields):
    return entry(name, type=tarfile.LNKTYPE, linkname=target, **fields)


def device(name, kind, major, minor, **fields):
    return entry(name, type=kind, devmajor=major, devminor=minor, **fields)


def whiteout(path):
    parent, _, name = path.rpartition("/")
    return entry(f"{parent}/.wh.{name}" if parent else f".wh.{name}", b"")


def opaque(path):
    return entry(f"{path}/.wh..wh..opq", b"")


def tar_of(entries, format=tarfile.PAX_FORMAT):  # pylint: disable=redefined-builtin
    """The archive of a list of entries, in their order. Bytes that are no UTF-8 stand in names as surrogates."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=format, encoding="utf-8") as archive:
        for info, content in entries:
            archive.addfile(info, io.BytesIO(content) if content is not None else None)
    return out.getvalue()


class Layout:
    """An OCI layout folder that is being filled. Attributes of the last image are kept, to be damaged by tests."""

    def __init__(self, path):
        self.path = pathlib.Path(path)
        (self.path / "blobs/sha256").mkdir(parents=True, exist_ok=True)
        (self.path / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        self.manifests = []

    def blob_path(self, digest):
        return self.path / "blobs" / digest.replace(":", "/")

    def put(self, data):
        digest = digest_of(data)
        self.blob_path(digest).write_bytes(data)
        return digest

    def put_json(self, document, media_type):
        data = json.dumps(document, separators=(",", ":")).encode()
        return {"mediaType": media_type, "digest": self.put(data), "size": len(data)}

    def add_image(self, layers, tag="latest", compress=True, architecture="amd64", platform=None, **config):
        """An image of layers, each a list of entries or the bytes of a tar archive. Returns its manifest's descriptor."""
        descriptors, diff_ids = [], []
        for layer in layers:
            raw = layer if isinstance(layer, bytes) else tar_of(layer)
            data = gzip.compress(raw, compresslevel=1, mtime=0) if compress else raw
            diff_ids.append(digest_of(raw))
            descriptors.append({"mediaType": LAYER + ("+gzip" if compress else ""), "digest": self.put(data),
                                "size": len(data)})
        return self.add_manifest(descriptors, diff_ids, tag, architecture, platform, **config)

    def add_manifest(self, layers, diff_ids, tag="latest", architecture="amd64", platform=None, **config):
        document = {"architecture": architecture, "os": "linux", "rootfs": {"type": "layers", "diff_ids": diff_ids},
                    **config}
        manifest = {"schemaVersion": 2, "mediaType": MANIFEST, "config": self.put_json(document, CONFIG),
                    "layers": layers}
        descriptor = self.put_json(manifest, MANIFEST)
        if platform:
            descriptor["platform"] = platform
        if tag:
            self.tag(descriptor, tag)
        return descriptor

    def add_block_image(self, layer):
        """An image of one block layer, its bytes, as the reference describes it."""
        name = "containerd.io/snapshot/overlaybd/"
        digest = self.put(layer)
        annotations = {name + "blob-digest": digest, name + "blob-size": str(len(layer)), name + "version": "0.1.0"}
        return self.add_manifest([{"mediaType": LAYER, "digest": digest, "size": len(layer), "annotations": annotations}], [digest])

    def add_index(self, descriptors, tag="latest"):
        self.tag(self.put_json({"schemaVersion": 2, "mediaType": INDEX, "manifests": descriptors}, INDEX), tag)

    def tag(self, descriptor, tag):
        self.manifests.append(dict(descriptor, annotations={"org.opencontainers.image.ref.name": tag}))
        index = {"schemaVersion": 2, "mediaType": INDEX, "manifests": self.manifests}
        (self.path / "index.json").write_text(json.dumps(index))


def docker_archive(path, layers, name="small:latest"):
    """What `docker save` writes: manifest.json, a config, and a tar archive for each layer."""
    raws = [tar_of(layer) for layer in layers]
    config = json.dumps({"architecture": "amd64", "os": "linux",
                         "rootfs": {"type": "layers", "diff_ids": [digest_of(raw) for raw in raws]}}).encode()
    names = [f"{digest_of(raw)[7:]}/layer.tar" for raw in raws]
    config_name = f"{digest_of(config)[7:]}.json"
    manifest = json.dumps([{"Config": config_name, "RepoTags": [name], "Layers": names}]).encode()
    members = [entry(config_name, config), *map(entry, names, raws), entry("manifest.json", manifest)]
    pathlib.Path(path).write_bytes(tar_of(members))


def read_manifest(path, tag="latest"):
    """The manifest of a tag in a layout folder, and its descriptor."""
    index = json.loads((pathlib.Path(path) / "index.json").read_text())
    for descriptor in index["manifests"]:
        if descriptor.get("annotations", {}).get("org.opencontainers.image.ref.name") == tag:
            blob = pathlib.Path(path) / "blobs" / descriptor["digest"].replace(":", "/")
            return json.loads(blob.read_bytes()), descriptor
    raise KeyError(tag)


def small_debian():
    """Layers with a little of what a distribution has: what the examples in --help look at."""
    base = [
        folder("./"), folder("etc/"), entry("etc/os-release", b'PRETTY_NAME="Small"\n'), entry("etc/motd", b"hello\n"),
        folder("usr/"), folder("usr/share/"), entry("usr/share/words", b"".join(b"word %d\n" % i for i in range(20000))),
        folder("bin/"), entry("bin/sh", bytes(range(256)) * 64, mode=0o755), symlink("bin/bash", "sh"),
        hardlink("bin/dash", "bin/sh"), folder("tmp/", mode=0o1777),
    ]
    change = [whiteout("etc/motd"), entry("etc/hostname", b"small\n"), folder("srv/"), entry("srv/empty", b"")]
    return [base, change]
