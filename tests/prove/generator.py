"""Images of several layers from a seed: small, and dense with what goes wrong. Each has a theme, in which few names meet
often; what the oracle would refuse is mostly left out, so that images have several layers.

    case = Case.from_seed(17)
    case.layers       # lists of entries.Entry, bottom first
    case.device       # bytes
"""
import dataclasses
import functools
import pathlib
import random

from entries import directory, file, hardlink, opaque, symlink, whiteout, Entry
from oracle import Node, Oracle, Refused, encoded_acl

PLAIN = [b"a", b"b", b"c", b"d", b"\xff", b"e e"]
ODD = [b"n" * 255, b"m" * 254 + b"\xfe", b"\xc3\x28", b"\xf0\x9f\x90\xb3" * 63, b"..a", b"...", b" ", b"new\nline", b"a\\b",
       b".whx", b"a.wh.b", b"-rf", b"~", b"\x01\x7f", "é".encode(), "e\u0301".encode(), b"lost+found", b"%s%n", b"A", b"a"]
MIB = 1 << 20


@functools.cache
def collisions():
    """Lists of names that half-MD4 hashes alike, without a seed: short ones, and of 255 bytes."""
    names = (pathlib.Path(__file__).parent / "collisions.txt").read_bytes().split()
    return [[name for name in names if len(name) < 255], [name for name in names if len(name) == 255]]


@dataclasses.dataclass
class Case:
    layers: list
    device: int = 64 * MIB  # bytes
    theme: str = ""

    @staticmethod
    def from_seed(seed):
        return Generator(seed).case()


class Generator:
    def __init__(self, seed):
        self.random = random.Random(seed)
        self.oracle = Oracle()
        self.layers = []
        self.names = PLAIN
        self.busy = 0.4  # how much an entry is decorated
        self.device = 64 * MIB

    def case(self):
        themes = {self.churn: 49, self.odd_names: 10, self.metadata: 10, self.crowd: 5, self.collide: 6, self.sparse: 6,
                  self.tight: 8, self.links: 6}
        theme = self.random.choices(list(themes), list(themes.values()))[0]
        theme()
        return Case(self.layers, self.device, theme.__name__)

    # Themes.

    def churn(self):
        self.device = self.random.choice([4, 16, 64, 300, 64 << 10]) * MIB
        for _ in range(self.between(2, 7)):
            self.layer(self.between(1, 18))

    def odd_names(self):
        self.names = self.random.sample(ODD, 6) + PLAIN[:1]
        self.churn()

    def metadata(self):
        self.busy = 0.95
        self.churn()

    def links(self):
        """Hardlinks to and from everywhere, whose files are replaced, removed, and linked again."""
        for _ in range(self.between(2, 6)):
            self.start_layer()
            for _ in range(self.between(2, 25)):
                self.random.choice([self.add_hardlink, self.add_hardlink, self.replace, self.hide, self.add_any])()

    def crowd(self):
        """Directories that are hash trees, one in some of two levels, which grow and shrink."""
        huge = self.chance(0.08)
        length = 255 if huge else self.random.choice([0, 0, 40, 200, 255])
        count = self.between(5700, 6500) if huge else self.between(60, 800)
        top = self.random.choice([b"", b"crowd", b"a/crowd"])
        made = [self.long_name(i, length) for i in range(count + 300)]
        self.start_layer()
        self.add(file(b"linked", b"x"))
        for name in made[:count]:
            self.add_crowd_member(top, name, huge)
        for _ in range(self.between(1, 4)):
            self.start_layer()
            present = made[:count]
            kind = self.random.choice(["few", "few", "many", "all but few", "opaque", "grow"])
            some = self.random.sample(present, {"few": 3, "many": count // 2, "all but few": count - 3}.get(kind, 1))
            if kind == "opaque":
                self.add(opaque(top))
                some = []
            for name in some:
                self.add(whiteout(self.join(top, name)))
            for name in self.random.sample(made, self.between(1, 200 if kind == "grow" else 6)):
                self.add_crowd_member(top, name, False)
            for _ in range(self.between(0, 6)):
                self.add_any()

    def add_crowd_member(self, top, name, cheap):
        path = self.join(top, name)
        kind = 0.0 if cheap else self.random.random()
        self.add(hardlink(path, b"linked") if kind < 0.6 else file(path, b"y" * self.between(0, 20)) if kind < 0.9
                 else directory(path) if kind < 0.96 else symlink(path, b"linked"))

    def collide(self):
        """Names of one hash, more than a block of a directory holds."""
        names = self.random.choice(collisions())
        top = self.random.choice([b"", b"d"])
        self.start_layer()
        self.add(file(b"linked", b"x"))
        fillers = [self.long_name(i, self.random.choice([20, 255])) for i in range(self.between(0, 300))]
        first = fillers + self.random.sample(names, self.between(1, len(names)))
        self.random.shuffle(first)
        for name in first:
            self.add(hardlink(self.join(top, name), b"linked"))
        for _ in range(self.between(1, 5)):
            self.start_layer()
            for name in self.random.sample(names + fillers[:50], self.between(1, len(names))):
                path = self.join(top, name)
                self.add(self.random.choice([whiteout(path), hardlink(path, b"linked"), file(path, b"z"), directory(path)]))

    def sparse(self):
        """Files with holes, of few extents, of trees of extents, and huge ones."""
        for _ in range(self.between(1, 4)):
            self.start_layer()
            for _ in range(self.between(1, 4)):
                self.add(self.holey_file(self.path()))
            for _ in range(self.between(0, 5)):
                self.random.choice([self.replace, self.hide, self.add_any, self.add_hardlink])()

    def tight(self):
        """A small device, filled, emptied in part and filled again: files in pieces, blocks and inodes used again."""
        self.device = self.random.choice([1, 2, 3, 4, 8]) * MIB
        room = self.device // 4096 * 3 // 4 - 20
        self.start_layer()
        have = {}
        while room > 0 and len(have) < self.device // 16384 - 24:
            name, blocks = b"%d" % len(have), self.between(1, max(2, self.device // 4096 // 60))
            self.add(file(b"t/" + name, self.random.randbytes(4096 * blocks)))
            have[name] = blocks
            room -= blocks
        for _ in range(self.between(1, 4)):
            self.start_layer()
            share = self.random.random()
            for name in [name for name in have if self.random.random() < share]:
                self.add(whiteout(b"t/" + name))
                room += have.pop(name)
            self.start_layer()
            blocks = max(1, int(room * self.random.random() * 1.05))
            name = b"big%d" % len(self.layers)
            self.add(file(b"t/" + name, self.random.randbytes(4096 * blocks - self.between(0, 4095))))
            have[name] = blocks
            room -= blocks
            if self.chance(0.3):  # a directory in pieces
                for i in range(self.between(1, max(1, room * 8))):
                    self.add(hardlink(b"t/names/" + self.long_name(i + 1000 * len(self.layers), 255), b"t/" + name))
                room -= len(self.layers[-1]) // 8
            if self.chance(0.1):  # more files than inodes
                for i in range(self.between(1, self.device // 16384)):
                    self.add(file(b"t/e%d" % i))
            for _ in range(self.between(0, 4)):
                self.add_any()

    # Layers.

    def start_layer(self):
        self.layers.append([])
        self.oracle.next_layer()

    def layer(self, entries):
        self.start_layer()
        fate = self.random.random()
        if fate < 0.04:
            return  # an empty layer
        emptying = [opaque(b"")] if fate < 0.06 else [whiteout(name) for name in self.oracle.root.children] \
            if fate < 0.1 else []
        when = self.between(0, entries) if self.chance(0.5) else 0
        for i in range(entries):
            if i == when:
                for entry in emptying:
                    self.add(entry)
            self.add_any()

    def add(self, entry):
        """Adds an entry to the last layer, most times only if it can be applied."""
        args = entry.path, entry.target if entry.kind == "hardlink" else None, self.node_of(entry)
        refused = self.oracle.refuses(*args)
        if refused and not self.chance(0.003):
            return
        self.layers[-1].append(entry)
        if refused:
            return
        try:
            self.oracle.apply_entry(*args)
        except Refused:  # only to be seen while parents are made
            self.layers[-1].pop()

    @staticmethod
    def node_of(entry):
        return None if entry.kind == "hardlink" else Node(entry.kind, mode=0, uid=0, gid=0, mtime=0, xattrs={},
                                                          target=entry.target)

    # Entries.

    def add_any(self):
        acts = {self.add_new: 8, self.replace: 4, self.hide: 3, self.add_opaque: 1, self.add_hardlink: 3, self.swap: 2,
                self.repeat: 1, self.redeclare: 2, self.add_symlink_to_directory: 1, self.make_own_and_hide: 2,
                self.declare_root: 0.3, self.add_bookkeeping: 0.1}
        self.random.choices(list(acts), list(acts.values()))[0]()

    def add_new(self):
        self.add(self.any_entry(self.path()))

    def replace(self):
        self.add(self.any_entry(self.existing() or self.path()))

    def swap(self):
        """A directory becomes a file, or a file a directory with something in it."""
        path = self.existing(lambda node: node.type == "directory")
        if path and self.chance(0.5):
            self.add(self.decorated(file(path, self.content())))
        elif path := self.existing(lambda node: node.type != "directory"):
            self.add(self.decorated(directory(path)))
            self.add(self.any_entry(self.join(path, self.random.choice(self.names))))

    def hide(self):
        self.add(whiteout(self.existing() if self.chance(0.8) and self.existing() else self.path()))

    def add_opaque(self):
        self.add(opaque(self.existing(lambda node: node.type == "directory") or self.path()))

    def make_own_and_hide(self):
        """Paths of this layer's own in a directory, and a marker that hides the lower ones, in any order."""
        top = self.existing(lambda node: node.type == "directory") or self.path()
        own = [self.any_entry(self.join(top, self.random.choice(self.names))) for _ in range(self.between(1, 3))]
        below = self.join(top, self.random.choice(self.names))
        own += self.random.choice([[opaque(top)], [whiteout(top)], [opaque(below)], [whiteout(below), opaque(top)]])
        if self.chance(0.3):
            own.append(self.decorated(directory(top)))
        self.random.shuffle(own)
        for entry in own:
            self.add(entry)

    def add_hardlink(self):
        target = self.existing(lambda node: node.type != "directory")
        self.add(hardlink(self.path() if self.chance(0.7) else self.existing() or self.path(), target or self.path()))
        if target and self.chance(0.3):
            self.add(self.any_entry(target))

    def repeat(self):
        if self.layers[-1]:
            entry = self.random.choice(self.layers[-1])
            self.add(self.any_entry(entry.path) if self.chance(0.5) else entry)

    def redeclare(self):
        path = self.existing(lambda node: node.type == "directory")
        if path:
            self.add(self.decorated(directory(path)))

    def declare_root(self):
        self.add(self.decorated(directory(self.random.choice([b".", b"./", b"/"]).rstrip(b"/") or b".")))

    def add_symlink_to_directory(self):
        target = self.existing(lambda node: node.type == "directory")
        path = self.path()
        if target is None:
            return
        up = b"/".join([b".."] * path.count(b"/"))
        self.add(symlink(path, self.random.choice([b"/" + target, self.join(up, target), b"../../../" + target])))
        if self.chance(0.7):
            self.add(self.any_entry(self.join(path, self.random.choice(self.names))))

    def add_bookkeeping(self):
        self.add(file(self.random.choice([b".wh..wh.plnk", b".wh..wh.orph/x", b"a/.wh..wh.aufs", b".wh..wh..opq/x"])))

    def any_entry(self, path):
        kind = self.random.choices(["file", "directory", "symlink", "device", "fifo", "hole"], [8, 6, 4, 1, 1, 0.5])[0]
        if kind == "file":
            return self.decorated(file(path, self.content()))
        if kind == "directory":
            return self.decorated(directory(path))
        if kind == "symlink":
            return self.decorated(symlink(path, self.symlink_target()))
        if kind == "hole":
            return self.holey_file(path)
        entry = Entry("fifo" if kind == "fifo" else self.random.choice(["char", "block"]), path, mode=0o644)
        if kind == "device":
            entry.major = self.random.choice([0, 1, 8, 255, 256, 4095, self.between(0, 4095)])
            entry.minor = self.random.choice([0, 255, 256, 1048575, self.between(0, 1048575)])
        return self.decorated(entry)

    def decorated(self, entry):
        chance = self.chance
        entry.dialect = "gnu" if chance(0.2) else "pax"
        if chance(self.busy):
            entry.mode = self.between(0, 0o7777)
        if chance(self.busy):
            ids = [0, 1, 1000, 65534, 65535, 65536, 0o7777777, 0o10000000, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 2]
            entry.uid, entry.gid = self.random.choice(ids), self.random.choice(ids + [self.between(0, 2 ** 32 - 2)])
        if chance(self.busy):
            entry.mtime = self.time()
        if chance(self.busy / 2):
            self.add_xattrs(entry)
        return entry

    def time(self):
        seconds = self.random.choice([0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32, 2 ** 33, 15032385535, self.between(0, 2 ** 33)])
        if self.chance(0.3):
            seconds = -self.between(0, 2 ** 31 - 1)
        if self.chance(0.5):
            return str(seconds)
        return f"{seconds}." + self.random.choice(["5", "000000001", "999999999", "25", "123456789", "1"])

    def add_xattrs(self, entry):
        plain = entry.kind in ("file", "directory")
        room = 3000
        for _ in range(self.between(1, 5)):
            spaces = [b"trusted.", b"security."] + ([b"user."] * 4 if plain else [])
            name = self.random.choice(spaces) + self.random.choice([b"a", b"b.c", b"n" * 100, b"\xc3\xa4", b"overlay.opaque"])
            size = self.random.choice([0, 1, 3, 4, 20, 60, 92, 200, self.between(0, 2000)])
            if size + len(name) + 20 < room:
                entry.xattrs[name] = self.random.randbytes(size)
                room -= size + len(name) + 20
        if entry.kind == "file" and self.chance(0.3):
            entry.xattrs[b"security.capability"] = bytes.fromhex("01000002002000000000000000000000" + "00000000")
        if plain and self.chance(0.3):
            entry.acls["access"] = self.acl()
        if entry.kind == "directory" and self.chance(0.3):
            entry.acls["default"] = self.acl()

    def acl(self):
        words = ["user::" + self.rwx(), "group::" + self.rwx(), "other::" + self.rwx()]
        who = self.random.sample(range(1, 2 ** 31), self.between(0, 4))
        words += [f"{self.random.choice(['user', 'group'])}:{number}:{self.rwx()}:{number}" for number in who]
        if who or self.chance(0.3):
            words.append("mask::" + self.rwx())
        text = ",".join(words)
        assert encoded_acl(text, True)
        return text

    def rwx(self):
        return "".join(letter if self.chance(0.5) else "-" for letter in "rwx")

    def symlink_target(self):
        if self.chance(0.15):
            return b"s" * self.random.choice([1, 58, 59, 60, 61, 255, 1000, 4094, self.between(1, 4094)])
        existing = self.existing()
        if existing and self.chance(0.4):
            return b"/" + existing
        return self.random.choice([b"", b"", b"../", b"./", b"/"]) + self.path()

    def content(self):
        size = self.random.choice([0, 1, 4095, 4096, 4097, 8192, self.between(0, 100), self.between(0, 30000)])
        return self.random.choice([bytes, self.random.randbytes, self.random.randbytes])(size)

    def holey_file(self, path):
        """A file of many pieces, some in one block, some far apart."""
        count = self.random.choice([0, 1, 2, 4, 5, 6, 30, self.between(0, 400), self.between(300, 3000)])
        gap = self.random.choice([1, 512, 4096, 5000, 20000] + ([1 << 20, 1 << 28] if count < 100 else []))
        at, pieces = self.between(0, 1) * self.between(0, gap), []
        for _ in range(count):
            length = self.between(1, self.random.choice([10, 4096, 9000 if count < 100 else 4096]))
            pieces.append((at, self.random.randbytes(length)))
            at += length + self.between(1, gap)
        at += self.random.choice([0, 1, 100000, 1 << 33])
        if pieces and self.chance(0.5):
            at = pieces[-1][0] + len(pieces[-1][1])
        return self.decorated(Entry("file", path, size=at, pieces=pieces, mode=0o644))

    # Paths.

    def path(self):
        """Any path of few names, one that exists in part more often than not."""
        depth = self.random.choices([1, 2, 3, 4], [4, 4, 3, 1])[0]
        parts = [self.random.choice(self.names[:3] if self.chance(0.7) else self.names) for _ in range(depth)]
        if self.chance(0.03):
            parts.insert(self.between(0, len(parts) - 1), b"..")
        prefix = b"./" if self.chance(0.1) else b"/" if self.chance(0.03) else b""
        return prefix + b"/".join(parts)

    def existing(self, wanted=lambda node: True):
        """A path that exists, none if there is none of those wanted. Found by going down at random."""
        for _ in range(8):
            node, parts = self.oracle.root, []
            while node.children and (not parts or self.chance(0.7)):
                name = self.random.choice(list(node.children))
                node = node.children[name]
                parts.append(name)
                if node.type != "directory":
                    break
            if parts and wanted(node):
                return b"/".join(parts)
        return None

    @staticmethod
    def join(top, name):
        return top + b"/" + name if top else name

    @staticmethod
    def long_name(number, length):
        name = b"%d" % (number * 2654435761 % (1 << 32))
        return name + b"-" * max(0, length - len(name))

    def between(self, low, high):
        return self.random.randint(low, high)

    def chance(self, share):
        return self.random.random() < share
