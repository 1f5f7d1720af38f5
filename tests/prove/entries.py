"""Entries of layers, and the tar archives that hold them, written byte by byte in several dialects.

Formats: POSIX.1-2017 pax; the GNU tar manual, "Basic Tar Format" and "Storing Sparse Files".
"""
import dataclasses

BLOCK = 512
MOST_OCTAL = {8: 0o7777777, 12: 0o77777777777}
TYPES = {"file": b"0", "hardlink": b"1", "symlink": b"2", "char": b"3", "block": b"4", "directory": b"5", "fifo": b"6"}
USUAL_MODE = {"directory": 0o755, "symlink": 0o777}


@dataclasses.dataclass
class Entry:
    """One entry. Whiteouts and opaque markers are files, by their names."""

    kind: str  # of TYPES
    path: bytes
    target: bytes = b""  # of links
    size: int = 0  # of files, holes included
    pieces: list = dataclasses.field(default_factory=list)  # (offset, bytes), ascending; the rest are holes
    mode: int = 0
    uid: int = 0
    gid: int = 0
    mtime: str = "0"  # seconds, as in a pax record
    major: int = 0
    minor: int = 0
    xattrs: dict = dataclasses.field(default_factory=dict)  # bytes -> bytes
    acls: dict = dataclasses.field(default_factory=dict)  # "access", "default" -> text
    dialect: str = "pax"  # or "gnu"

    def has_holes(self):
        return self.size > 0 and [(0, self.size)] != [(at, len(data)) for at, data in self.pieces]

    def __str__(self):
        words = [self.kind, repr(self.path)[1:]]
        words += [f"-> {self.target!r}"] if self.target else []
        words += [f"{self.size} bytes"] if self.size else []
        words += [f"in {len(self.pieces)} pieces"] if self.has_holes() else []
        words += [f"{name} {getattr(self, name)}" for name in ("uid", "gid", "mtime", "major", "minor")
                  if getattr(self, name) not in (0, "0")]
        words += [f"mode {self.mode:04o}"] if self.mode != USUAL_MODE.get(self.kind, 0o644) else []
        words += [f"{name.decode(errors='replace')} of {len(value)} bytes" for name, value in self.xattrs.items()]
        words += [f"{name} acl {text}" for name, text in self.acls.items()]
        return " ".join(words)


def file(path, content=b"", **fields):
    fields.setdefault("mode", 0o644)
    return Entry("file", path, size=len(content), pieces=[(0, content)] if content else [], **fields)


def directory(path, **fields):
    fields.setdefault("mode", 0o755)
    return Entry("directory", path, **fields)


def symlink(path, target, **fields):
    fields.setdefault("mode", 0o777)
    return Entry("symlink", path, target=target, **fields)


def hardlink(path, target):
    return Entry("hardlink", path, target=target, mode=0o644)


def whiteout(path):
    parent, slash, name = path.rpartition(b"/")
    return file(parent + slash + b".wh." + name)


def opaque(path):
    return file(path + b"/.wh..wh..opq" if path else b".wh..wh..opq")


def number(value, room):
    """A number field: octal where it fits, else base-256."""
    if 0 <= value <= MOST_OCTAL[room]:
        return b"%0*o\0" % (room - 1, value)
    field = bytearray((value & (1 << 8 * room) - 1).to_bytes(room, "big"))
    field[0] |= 0x80
    return bytes(field)


def padded(data):
    return data + bytes(-len(data) % BLOCK)


def header(kind, path, target=b"", size=0, entry=None, gnu=False, tail=b""):
    mtime = int(entry.mtime.split(".")[0]) if entry else 0
    if entry and not gnu and not 0 <= mtime <= MOST_OCTAL[12]:
        mtime = 0  # the pax record says it
    ids = (entry.uid, entry.gid) if entry else (0, 0)
    if not gnu:
        ids = [min(number_, MOST_OCTAL[8]) for number_ in ids]
    block = bytearray(BLOCK)
    fields = [
        (0, path[:100]), (100, number(entry.mode if entry else 0o644, 8)), (108, number(ids[0], 8)),
        (116, number(ids[1], 8)), (124, number(size, 12)), (136, number(mtime, 12)), (148, b" " * 8), (156, kind),
        (157, target[:100]), (257, b"ustar  \0" if gnu else b"ustar\00000"),
        (329, number(entry.major if entry else 0, 8)), (337, number(entry.minor if entry else 0, 8)), (386, tail),
    ]
    for at, data in fields:
        block[at:at + len(data)] = data
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax_header(records):
    text = b""
    for key, value in records:
        rest = len(key) + len(value) + 3
        length = rest + 1
        while len(str(length)) + rest != length:
            length = len(str(length)) + rest
        text += b"%d %s=%s\n" % (length, key, value)
    return header(b"x", b"PaxHeaders/entry", size=len(text)) + padded(text) if records else b""


def sparse_map(entry):
    spans = [(at, len(data)) for at, data in entry.pieces]
    if not spans or sum(spans[-1]) != entry.size:
        spans.append((entry.size, 0))
    return spans


def old_gnu_sparse(entry, stored):
    """The parts of a header that make it one of type 'S', and the blocks that follow it."""
    spans = [number(at, 12) + number(length, 12) for at, length in sparse_map(entry)]
    tail = b"".join(spans[:4]).ljust(96, b"\0") + (b"\1" if spans[4:] else b"\0") + number(entry.size, 12)
    more = b""
    for i in range(4, len(spans), 21):
        more += (b"".join(spans[i:i + 21]).ljust(504, b"\0") + (b"\1" if spans[i + 21:] else b"\0")).ljust(BLOCK, b"\0")
    return header(b"S", entry.path, size=len(stored), entry=entry, gnu=True, tail=tail) + more


def encoded(entry):
    """The bytes of an entry with everything that goes before it."""
    gnu = entry.dialect == "gnu"
    path = entry.path + b"/" if entry.kind == "directory" else entry.path
    records = [(b"SCHILY.xattr." + name, value) for name, value in entry.xattrs.items()]
    records += [(b"SCHILY.acl." + name.encode(), text.encode()) for name, text in entry.acls.items()]
    if "." in entry.mtime or not (gnu or 0 <= int(entry.mtime) <= MOST_OCTAL[12]):
        records.append((b"mtime", entry.mtime.encode()))
    before = b""
    if gnu:
        for kind, name in ((b"L", path), (b"K", entry.target)):
            if len(name) > 100:
                before += header(kind, b"././@LongLink", size=len(name) + 1, gnu=True) + padded(name + b"\0")
    else:
        records += [(key, name) for key, name in ((b"path", path), (b"linkpath", entry.target)) if len(name) > 100]
        records += [(key, b"%d" % value) for key, value in ((b"uid", entry.uid), (b"gid", entry.gid))
                    if value > MOST_OCTAL[8]]
    stored = b"".join(data for _, data in entry.pieces)
    if entry.kind == "file" and entry.has_holes():
        if gnu:
            return pax_header(records) + before + old_gnu_sparse(entry, stored) + padded(stored)
        spans = sparse_map(entry)
        stored = padded(b"%d\n" % len(spans) + b"".join(b"%d\n%d\n" % span for span in spans)) + stored
        records = [record for record in records if record[0] != b"path"]
        records += [(b"GNU.sparse.major", b"1"), (b"GNU.sparse.minor", b"0"), (b"GNU.sparse.name", path),
                    (b"GNU.sparse.realsize", b"%d" % entry.size)]
        path = b"GNUSparseFile.0/entry"
    # The pax header stands right before the entry that it is for: GNU's long names come first.
    return before + pax_header(records) + header(TYPES[entry.kind], path, entry.target, len(stored), entry, gnu) + \
        padded(stored)


def tar_of(entries):
    return b"".join(map(encoded, entries)) + bytes(2 * BLOCK)
