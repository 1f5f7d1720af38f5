"""What layers mean, told from their tar archives by the standard library's tarfile: an oracle that shares nothing with
dadi, neither the reading of archives nor what is made of them.

A layer's entries are applied in order and the last one of a name counts; whiteouts and opaque markers hide what lower layers
have, whatever their place in the layer; parents that are missing are made, 0755 and of 1970, and symlinks among them are
followed inside the root, also where they point to nothing.

    oracle = Oracle()
    oracle.apply("layer-0.tar")
    facts = oracle.facts()      # path -> {"type": …, "mode": …, …}, as kernel.walk tells of a mounted device
"""
import collections
import decimal
import hashlib
import os
import struct
import tarfile

MOST_SYMLINKS = 40
LARGE = 256 << 10  # files over this are told by their blocks of data
KINDS = {tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file", tarfile.CONTTYPE: "file", tarfile.GNUTYPE_SPARSE: "file",
         tarfile.LNKTYPE: "hardlink", tarfile.SYMTYPE: "symlink", tarfile.CHRTYPE: "char", tarfile.BLKTYPE: "block",
         tarfile.DIRTYPE: "directory", tarfile.FIFOTYPE: "fifo"}


class Refused(Exception):
    """An entry that cannot be applied."""


def content_digest(size, pieces):
    """Of a file of `size` bytes that holds `pieces`, (offset, bytes), and zeros else."""
    digest = hashlib.blake2b(digest_size=16)
    if size <= LARGE:
        content = bytearray(size)
        for at, data in pieces:
            content[at:at + len(data)] = data
        digest.update(content)
        return digest.hexdigest()
    blocks = collections.defaultdict(lambda: bytearray(4096))
    for at, data in pieces:
        while data:
            block, skip = divmod(at, 4096)
            part = data[:4096 - skip]
            blocks[block][skip:skip + len(part)] = part
            at, data = at + len(part), data[len(part):]
    for block in sorted(blocks):
        if any(blocks[block]):
            digest.update(b"%d " % block + blocks[block])
    return digest.hexdigest()


def encoded_acl(text, is_default):
    """A list in words as the attribute that the kernel gives, or none: one that says no more than the mode."""
    tags = {("user", False): 1, ("user", True): 2, ("group", False): 4, ("group", True): 8, ("mask", False): 16,
            ("other", False): 32}
    entries = []
    for words in (line.split(":") for line in text.replace("\n", ",").split(",") if line):
        bits = sum({"r": 4, "w": 2, "x": 1, "-": 0}[letter] for letter in words[2])
        entries.append((tags[words[0], words[1] != ""], int(words[-1] if words[1] else 0xFFFFFFFF), bits))
    if len(entries) == 3 and not is_default:
        return None
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", tag, bits, who) for tag, who, bits in sorted(entries))


def nanoseconds(text):
    return int((decimal.Decimal(text) * 10 ** 9).to_integral_value(decimal.ROUND_FLOOR))


def clean(path):
    """The components of an entry's path; ".." takes the one before it back."""
    result = []
    for part in path.split(b"/"):
        if part == b"..":
            del result[-1:]
        elif part not in (b"", b"."):
            result.append(part)
    return result


class Node:
    """A file of any type. Several names may refer to one."""

    def __init__(self, kind, **facts):
        self.names = {}  # (directory, name) that refer to it
        self.facts = {"type": kind, **facts}
        self.children = {}  # name -> Node

    def __getattr__(self, name):
        try:
            return self.facts[name]
        except KeyError:
            raise AttributeError(name) from None


IMPLICIT = {"mode": 0o755, "uid": 0, "gid": 0, "mtime": 0, "xattrs": {}}


def read_entries(path):
    """The entries of an archive: (path, target of a hardlink or None, Node)."""
    with tarfile.open(path, "r:", encoding="utf-8", errors="surrogateescape") as archive:
        for info in archive:
            pax = info.pax_headers
            name, linked = os.fsencode(info.name), os.fsencode(info.linkname)
            kind = KINDS[info.type]
            if kind == "hardlink":
                yield name, linked, None
                continue
            node = Node(kind, mode=info.mode & 0o7777, uid=info.uid, gid=info.gid,
                        mtime=nanoseconds(pax.get("mtime", str(int(info.mtime)))), xattrs=read_xattrs(pax, kind))
            if kind == "file":
                node.facts.update(read_content(archive, info))
            elif kind == "symlink":
                node.facts["target"] = linked
            elif kind in ("char", "block"):
                node.facts["device"] = (info.devmajor, info.devminor)
            yield name, None, node


def read_xattrs(pax, kind):
    def raw(text):
        return text.encode("utf-8", "surrogateescape")
    prefix = "SCHILY.xattr."
    xattrs = {raw(key[len(prefix):]): raw(value) for key, value in pax.items() if key.startswith(prefix)}
    for which in ("access", "default"):
        text = pax.get("SCHILY.acl." + which)
        if text and kind != "symlink" and (which == "access" or kind == "directory"):
            acl = encoded_acl(text, which == "default")
            if acl:
                xattrs[b"system.posix_acl_" + which.encode()] = acl
    return xattrs


def read_content(archive, info):
    spans = info.sparse if info.issparse() else [(0, info.size)]
    pieces = []
    archive.fileobj.seek(info.offset_data)
    for at, length in spans:
        pieces.append((at, archive.fileobj.read(length)))
    return {"size": info.size, "content": content_digest(info.size, pieces)}


class Oracle:
    """The tree of an image, layer by layer. `events` counts what entries did to it."""

    def __init__(self):
        self.root = Node("directory", **IMPLICIT)
        self.events = collections.Counter()
        self.next_layer()

    def next_layer(self):
        self.given = set()  # (directory, name): what this layer gave a name that is not a directory
        self.touched = {self.root}  # directories with a path of this layer's own
        self.declared = set()  # directories with an entry of this layer

    def apply(self, path):
        """Applies an archive as the next layer. Raises Refused, and is good for nothing then."""
        self.next_layer()
        for entry in read_entries(path):
            self.apply_entry(*entry)

    def apply_entry(self, path, hardlink, node):
        parts = clean(path)
        if not parts:
            if hardlink is not None or node.type != "directory":
                raise Refused("the root is no directory")
            self.root.facts = dict(node.facts)
            self.declared.add(self.root)
            return
        *parents, name = parts
        if any(part.startswith(b".wh..wh.") for part in parents) or any(part == b".wh..wh..opq" for part in parents):
            return
        if name.startswith(b".wh..wh.") and name != b".wh..wh..opq":
            return
        if name in (b".wh.", b".wh..", b".wh..."):
            raise Refused("a whiteout of nothing")
        parent = self.walk(parents, create=True)
        if name == b".wh..wh..opq":
            self.events["opaque"] += 1
            self.events["opaque, and own paths before it"] += any(
                child in self.touched or (parent, key) in self.given for key, child in parent.children.items())
            self.hide_all(parent)
        elif name.startswith(b".wh."):
            self.hide(parent, name[4:])
        elif hardlink is not None:
            self.link(parent, name, hardlink)
        elif node.type == "directory":
            self.add_directory(parent, name, node)
        else:
            self.put(parent, name, node)

    def refuses(self, path, hardlink, node):
        """Whether the entry would be refused, as far as can be told without applying it."""
        parts = clean(path)
        try:
            if not parts:
                return hardlink is not None or node.type != "directory"
            self.walk(parts[:-1], create=False)
            return hardlink is not None and self.linked(hardlink) is None
        except Refused:
            return True

    # Adding.

    def put(self, parent, name, node):
        old = parent.children.get(name)
        if old is not None:
            own = (parent, name) in self.given or old in self.touched
            self.events[f"{'own' if own else 'lower'} {old.type} replaced by {node.type}"] += 1
            if not own and old.type != "directory" and self.links_of(old) > 1:
                self.events["hardlinked lower file replaced"] += 1
        self.drop(parent, name)
        parent.children[name] = node
        node.names[parent, name] = None
        self.given.add((parent, name))

    def add_directory(self, parent, name, node):
        old = parent.children.get(name)
        if old is None or old.type != "directory":
            self.put(parent, name, node)
            self.given.discard((parent, name))
            old = node
        else:
            self.events["directory redeclared"] += 1
            old.facts = dict(node.facts)
        self.touched.add(old)
        self.declared.add(old)

    def link(self, parent, name, target):
        node = self.linked(target)
        if node is None:
            raise Refused("a hardlink to nothing")
        self.events["hardlink to " + node.type] += 1
        if parent.children.get(name) is node:
            self.given.add((parent, name))
            self.events["hardlink to itself"] += 1
            return
        self.put(parent, name, node)

    def linked(self, target):
        parts = clean(target)
        if not parts:
            raise Refused("a hardlink to the root")
        directory = self.walk(parts[:-1], create=False)
        node = directory.children.get(parts[-1]) if directory else None
        if node is not None and node.type == "directory":
            raise Refused("a hardlink to a directory")
        return node

    def walk(self, parts, create):
        """The directory that `parts` lead to, symlinks followed inside the root; None if missing and not made."""
        trail, rest, symlinks = [self.root], list(parts), 0
        while rest:
            part = rest.pop(0)
            if part == b"..":
                if len(trail) > 1:
                    trail.pop()
                continue
            child = trail[-1].children.get(part)
            if child is None:
                if len(part) > 255:
                    raise Refused("a name too long")
                if not create:
                    return None
                if symlinks:
                    self.events["directory made where a symlink points"] += 1
                child = Node("directory", **IMPLICIT)
                self.put(trail[-1], part, child)
                self.given.discard((trail[-1], part))
                self.touched.add(child)
            if child.type == "symlink":
                symlinks += 1
                if symlinks > MOST_SYMLINKS:
                    raise Refused("too many symlinks")
                if child.target.startswith(b"/"):
                    trail = [self.root]
                rest = [each for each in child.target.split(b"/") if each not in (b"", b".")] + rest
            elif child.type == "directory":
                trail.append(child)
            else:
                raise Refused("a parent is no directory")
        if create:
            self.touched.update(trail)
            self.events["symlink among parents"] += symlinks > 0
        return trail[-1]

    # Hiding.

    def hide_all(self, directory):
        for name in list(directory.children):
            self.hide(directory, name)

    def hide(self, parent, name):
        child = parent.children.get(name)
        if child is None:
            return
        if child.type == "directory" and child in self.touched:
            self.events["directory with own paths hidden"] += 1
            if child not in self.declared:
                child.facts = {"type": "directory", **IMPLICIT}
            self.hide_all(child)
        elif child.type == "directory" or (parent, name) not in self.given:
            self.events["hidden " + child.type] += 1
            self.drop(parent, name)
        else:
            self.events["own file spared"] += 1

    def drop(self, parent, name):
        """Takes a name away, and all that is below it."""
        node = parent.children.pop(name, None)
        if node is None:
            return
        self.given.discard((parent, name))
        node.names.pop((parent, name), None)
        if node.type == "directory":
            for below in list(node.children):
                self.drop(node, below)

    def links_of(self, node):
        return len(node.names)

    # Telling.

    def walk_tree(self):
        """Every path and its node, the root as b""."""
        waiting = [(b"", self.root)]
        while waiting:
            path, node = waiting.pop()
            yield path, node
            for name, child in node.children.items():
                waiting.append((path + b"/" + name if path else name, child))

    def facts(self):
        found, groups = {}, {}
        for path, node in self.walk_tree():
            facts = dict(node.facts)
            if node.type == "directory":
                facts["links"] = 2 + sum(child.type == "directory" for child in node.children.values())
            else:
                facts["links"] = self.links_of(node)
                groups.setdefault(node, []).append(path)
            found[path] = facts
        for paths in groups.values():
            if len(paths) > 1:
                first = min(paths)
                for path in paths:
                    found[path]["same as"] = first
        return found
