"""A page, looked at in headless Chromium: what its text comes to, what its console says, and what it asks of others."""
import http.server
import re
import shutil
import subprocess
import threading
import unittest


def need_chromium():
    if shutil.which("chromium") is None:
        raise unittest.SkipTest("chromium is not installed")


class Listener:
    """A web server on loopback that remembers what it was asked for: self.asked. Pages that want something from
    elsewhere find it here, at self.address."""

    def __init__(self, test):
        self.asked = asked = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                self.send_response(404)
                self.end_headers()

            def log_message(self, *_):
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)


def look_at(path, profile):
    """The document after it was loaded, as HTML, and what its console had to say. `profile`: a folder for Chromium."""
    run = subprocess.run(["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking",
                          "--disable-component-update", "--no-first-run", f"--user-data-dir={profile}",
                          "--enable-logging=stderr", "--dump-dom", path.as_uri()],
                         capture_output=True, check=True, timeout=120, stdin=subprocess.DEVNULL)
    return run.stdout.decode(), re.findall(r"(?m)^\[.*CONSOLE.*\] (.*)$", run.stderr.decode(errors="replace"))
