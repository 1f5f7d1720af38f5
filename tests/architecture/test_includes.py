"""Reads the #include lines and keeps the arrows between rooms: apps -> libconvert -> libfs -> libformat, and
apps -> runtime -> libformat. Also keeps out of the rooms what does not belong there: clocks, logs, chance."""
import pathlib
import re
import unittest

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]', re.MULTILINE)

# What each room may include, besides itself.
ROOMS = {
    "libformat": set(),
    "libfs": {"libformat"},
    "libconvert": {"libformat", "libfs"},
    "runtime": {"libformat"},
    "apps": {"libformat", "libfs", "libconvert", "runtime"},
}

# No network, no clock, no logging in libformat; and no threads of its own: it may be called from many (<mutex>), and
# carries the caller's wish to stop and deadline (<stop_token>, <chrono> in ReadContext).
FORBIDDEN_IN_LIBFORMAT = {
    "thread", "future", "condition_variable", "semaphore", "barrier", "latch", "pthread.h",
    "sys/socket.h", "netinet/in.h", "arpa/inet.h", "netdb.h", "curl/curl.h",
    "ctime", "time.h", "sys/time.h", "iostream", "ostream", "syslog.h", "cstdio", "stdio.h",
}
CLOCKS = re.compile(r"\b(system_clock|steady_clock|high_resolution_clock)::now\b|\bclock_gettime\b|\btime\s*\(\s*(nullptr|NULL|0)\s*\)")

# The rooms that decide what the bytes of an image are, and what would let them depend on more than the input.
DECIDING = ("libformat", "libfs", "libconvert")
CHANCE = re.compile(CLOCKS.pattern + r"|\b(getenv|secure_getenv|environ|random_device|getrandom|gethostname|uname|getpid|"
                    r"hardware_concurrency|setlocale|localtime|localtime_r|mktime)\b")


def sources():
    """Every source file of a room, with the room's name."""
    for room in ROOMS:
        for path in sorted((REPOSITORY / room).rglob("*")):
            if path.suffix in (".h", ".cc"):
                yield room, path


def includes(path):
    return [(quote == '"', name) for quote, name in INCLUDE.findall(path.read_text())]


class Includes(unittest.TestCase):
    def test_arrows_between_rooms_go_one_way(self):
        for room, path in sources():
            for _, name in includes(path):
                other = name.split("/")[0]
                if other in ROOMS and other != room:
                    self.assertIn(other, ROOMS[room], f"{path.relative_to(REPOSITORY)} includes {name}")

    def test_our_own_headers_are_included_by_their_path_from_the_top(self):
        for _, path in sources():
            for ours, name in includes(path):
                if ours:
                    where = f"{path.relative_to(REPOSITORY)} includes \"{name}\""
                    self.assertIn(name.split("/")[0], ROOMS, where)
                    self.assertTrue((REPOSITORY / name).is_file(), where)

    def test_libformat_has_no_threads_network_clock_or_logging(self):
        for room, path in sources():
            if room == "libformat":
                for _, name in includes(path):
                    self.assertNotIn(name, FORBIDDEN_IN_LIBFORMAT, path.relative_to(REPOSITORY))
                self.assertNotRegex(path.read_text(), CLOCKS, path.relative_to(REPOSITORY))

    def test_what_decides_the_bytes_asks_neither_clock_nor_environment_nor_chance(self):
        for room, path in sources():
            # Registries have deadlines; what comes from them has digests.
            if room in DECIDING and "libconvert/registry/" not in str(path):
                found = CHANCE.search(path.read_text())
                self.assertIsNone(found, f"{path.relative_to(REPOSITORY)}: {found}")

    def test_libraries_do_not_log(self):
        for room, path in sources():
            if room != "apps":
                for _, name in includes(path):
                    self.assertNotIn(name, {"iostream", "syslog.h"}, path.relative_to(REPOSITORY))

    def test_there_are_sources_to_look_at(self):
        self.assertEqual({room for room, _ in sources()}, set(ROOMS))


if __name__ == "__main__":
    unittest.main()
