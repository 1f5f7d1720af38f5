"""Makes a failing case small: delta debugging (Zeller and Hildebrandt, "Simplifying and Isolating Failure-Inducing Input") on
its layers, then their entries, then what entries say, until nothing can go.

    layers = shrink(case.layers, lambda layers: judge.judge(Case(layers, case.device)).fault != "")
"""
import copy

from entries import USUAL_MODE


def shrink(layers, is_wrong, trials=3000):
    """The smallest layers found for which `is_wrong` still holds, in at most `trials` calls. REQUIRES: it holds for `layers`."""
    return Shrinker(is_wrong, trials).run(copy.deepcopy(layers))


class Shrinker:
    def __init__(self, is_wrong, trials):
        self.is_wrong, self.trials = is_wrong, trials

    def run(self, layers):
        while True:
            before = copy.deepcopy(layers)
            layers = self.fewer(layers, lambda rest: rest)
            layers = self.fewer_entries(layers)
            layers = self.merge_layers(layers)
            layers = self.simpler_entries(layers)
            layers = self.shorter_names(layers)
            if layers == before or self.trials <= 0:
                return layers

    def wrong(self, layers):
        self.trials -= 1
        return self.trials >= 0 and self.is_wrong(layers)

    def fewer(self, items, layers_of):
        """`items` without what layers_of(items) can do without: in halves first, then in ever smaller parts."""
        parts = 2
        while items:
            size = -(-len(items) // parts)
            for start in range(0, len(items), size):
                rest = items[:start] + items[start + size:]
                if self.wrong(layers_of(rest)):
                    items, parts = rest, max(2, parts - 1)
                    break
            else:
                if size == 1:
                    break
                parts = min(len(items), 2 * parts)
        return items

    def fewer_entries(self, layers):
        def grouped(pairs):
            return [[entry for at, entry in pairs if at == i] for i in range(len(layers))]
        return grouped(self.fewer([(i, entry) for i, layer in enumerate(layers) for entry in layer], grouped))

    def merge_layers(self, layers):
        i = 0
        while i + 1 < len(layers):
            merged = layers[:i] + [layers[i] + layers[i + 1]] + layers[i + 2:]
            if self.wrong(merged):
                layers = merged
            else:
                i += 1
        return layers

    def simpler_entries(self, layers):
        for i, layer in enumerate(layers):
            for j in range(len(layer)):
                for change in changes_of(layers[i][j]):
                    entry = copy.deepcopy(layers[i][j])
                    change(entry)
                    changed = [list(each) for each in layers]
                    changed[i][j] = entry
                    if entry != layers[i][j] and self.wrong(changed):
                        layers = changed
        return layers

    def shorter_names(self, layers):
        """Paths without their first component, and short names instead of long ones, everywhere at once."""
        names = {name for layer in layers for entry in layer for path in (entry.path, entry.target)
                 for name in path.split(b"/")}
        spare = [bytes([letter]) for letter in range(ord("a"), ord("z") + 1) if bytes([letter]) not in names]
        for name in sorted(names, key=len, reverse=True):
            plain = name.removeprefix(b".wh.")
            if plain.startswith(b".wh.") or plain in (b"", b".", b".."):
                continue
            for replacement in [None] + (spare[:1] if len(plain) > 1 else []):
                changed = renamed(layers, plain, replacement)
                if changed != layers and self.wrong(changed):
                    layers = changed
                    if replacement:
                        spare.pop(0)
                    break
        return layers


def renamed(layers, name, replacement):
    """Other paths: `replacement` for a name, or the name left out where it is not the last of its path."""
    def of(path):
        parts = path.split(b"/")
        if replacement is None:
            parts = [part for part in parts[:-1] if part != name] + parts[-1:]
        else:
            parts = [{name: replacement, b".wh." + name: b".wh." + replacement}.get(part, part) for part in parts]
        return b"/".join(parts)
    layers = copy.deepcopy(layers)
    for layer in layers:
        for entry in layer:
            entry.path, entry.target = of(entry.path), of(entry.target)
    return layers


def changes_of(entry):
    """What may make an entry simpler, each to be tried on it."""
    def setting(**values):
        return lambda each: [setattr(each, name, value) for name, value in values.items()]

    def half(each):
        del each.pieces[len(each.pieces) // 2:]
        each.size = min(each.size, sum(map(len, [data for _, data in each.pieces])) + 4096 * len(each.pieces))
        each.pieces = [(at, data) for at, data in each.pieces if at + len(data) <= each.size]

    def dense(each):
        each.pieces = [(0, bytes(each.size))] if 0 < each.size <= 1 << 16 else []
        each.size = sum(len(data) for _, data in each.pieces)

    yield setting(xattrs={})
    for name in entry.xattrs:
        yield lambda each, name=name: each.xattrs.pop(name, None)
    for name in entry.acls:
        yield lambda each, name=name: each.acls.pop(name, None)
    yield setting(size=0, pieces=[])
    if len(entry.pieces) > 1:
        yield from [half] * 8
    yield dense
    usual = {"mode": USUAL_MODE.get(entry.kind, 0o644), "uid": 0, "gid": 0, "mtime": "0", "dialect": "pax", "major": 1,
             "minor": 1}
    for name, value in usual.items():
        if name not in ("major", "minor") or entry.kind in ("char", "block"):
            yield setting(**{name: value})
    if entry.kind in ("symlink", "directory", "char", "block", "fifo"):
        yield setting(kind="file", mode=0o644, target=b"", major=0, minor=0)
    yield setting(path=entry.path.removeprefix(b"./").removeprefix(b"/"))
