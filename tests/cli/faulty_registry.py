"""A registry in memory that does, when told to, what docker-registry on a loopback never does."""
import base64
import collections
import hashlib
import http.server
import itertools
import json
import re
import threading
import time
import urllib.parse

from registries import PASSWORD, USER

DIGEST = r"sha256:[0-9a-f]{64}"


def digest_of(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # that connect at once

    def handle_error(self, *_):
        """A client that is gone."""


class FaultyRegistry:
    """`faults[KIND]` is how many more times something goes wrong; KIND is one of
    status    429 is the answer, with Retry-After: 1
    gone      503 is the answer
    cut       a blob ends in the middle, with its connection
    dies      the same, and from then on 503 is the answer
    wrong     a blob has another byte in its middle
    whole     a Range is ignored
    shifted   a Range is answered with the one that begins a byte later
    stall     a blob stops coming in the middle, its connection stays
    drip      a blob comes byte by byte
    expired   where blobs are, 403 is the answer
    lost      a PATCH is taken by half, and its connection closed
    hang      a PATCH has no answer for a minute
    denied    a PUT of a blob is not allowed; the answer comes once a PATCH hangs, or a HEAD
    asleep    a HEAD of a blob waits until an upload has begun, and for a minute then
    other     a manifest is not the one that was asked for
    hidden    a blob is not there when it is asked for with HEAD
    mount     a mount is not allowed
    unlisted  who asks for referrers waits for a minute
    scopes    a token for more than one repository is not allowed
    """

    def __init__(self, test, tokens=0, elsewhere=False, referrers=False):
        """`tokens`: how often a token can be used, 0 for no tokens; `elsewhere`: blobs are on another host; `referrers`:
        it lists them; `delay`: how long each answer takes, in seconds. `connections`: how many there were. `held`: by
        digest of a blob, what has to come true before its second half does, or half a minute passes."""
        self.faults = collections.Counter()
        self.tokens, self.elsewhere, self.delay = tokens, elsewhere, 0
        self.referrers = {} if referrers else None  # digest of a subject -> descriptors
        self.manifests, self.types, self.blobs, self.uploads, self.held = {}, {}, {}, {}, {}
        self.seen = []  # (host that was asked, method, path, headers)
        self.uses = {}  # token -> how often it can be used still
        self.connections = 0
        self.lock = threading.Lock()
        self.hangs, self.ended = threading.Event(), threading.Event()
        test.addCleanup(self.ended.set)
        self.numbers = itertools.count(1)
        self.host = self.listen(test, Registry)
        self.store = self.listen(test, Store)
        self.auth = self.listen(test, Tokens)

    def listen(self, test, handler):
        server = Server(("127.0.0.1", 0), type(handler.__name__, (handler,), {"registry": self}))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        test.addCleanup(server.server_close)
        test.addCleanup(server.shutdown)
        return f"localhost:{server.server_port}"

    def goes_wrong(self, kind):
        with self.lock:
            self.faults[kind] -= 1
            return self.faults[kind] >= 0

    def asked(self, host, method, pattern):
        """Headers of the requests of that kind."""
        return [headers for at, how, path, headers in self.seen if at == host and how == method and re.search(pattern, path)]


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    registry = None

    def setup(self):
        super().setup()
        with self.registry.lock:
            self.registry.connections += 1

    def log_message(self, *_):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": len(body), **headers}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def serve(self):
        self.body = self.rfile.read(int(self.headers.get("Content-Length", 0))) if self.command != "PATCH" else b""
        self.registry.seen.append((self.headers["Host"], self.command, self.path, dict(self.headers)))
        time.sleep(self.registry.delay)
        self.handle_request(*urllib.parse.urlsplit(self.path)[2:4])

    do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = serve

    def send_blob(self, digest):
        """Whole or a range of it; cut off or changed."""
        data = self.registry.blobs.get(digest)
        if data is None:
            return self.answer(404)
        data, status, extra = self.part_of(data)
        if self.command != "GET" or len(data) <= 1000:
            return self.answer(status, data, **extra)
        middle = len(data) // 2
        if self.registry.goes_wrong("wrong"):
            data = data[:middle] + bytes([data[middle] ^ 1]) + data[middle + 1:]
        if digest in self.registry.held:
            return self.send_in_halves(data, status, extra, self.registry.held[digest])
        slowly = next((kind for kind in ("dies", "cut", "stall", "drip") if self.registry.goes_wrong(kind)), None)
        if slowly == "dies":
            self.registry.faults["gone"] = 1 << 30
        if not slowly:
            return self.answer(status, data, **extra)
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **extra}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        self.wfile.write(data[:middle])
        self.close_connection = True
        for at in range(middle, len(data) if slowly == "drip" else middle):
            self.wfile.write(data[at:at + 1])
            self.wfile.flush()
            if self.registry.ended.wait(0.05):
                break
        if slowly == "stall":
            self.registry.ended.wait(60)
        return None

    def send_in_halves(self, data, status, extra, condition):
        self.send_response(status)
        for name, value in {"Content-Length": len(data), **extra}.items():
            self.send_header(name.replace("_", "-"), str(value))
        self.end_headers()
        middle = len(data) // 2
        self.wfile.write(data[:middle])
        deadline = time.monotonic() + 30
        while not condition() and time.monotonic() < deadline and not self.registry.ended.wait(0.01):
            pass
        self.wfile.write(data[middle:])

    def part_of(self, data):
        """What a Range asks for, the status, and the headers that go with it."""
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        if not wanted or self.registry.goes_wrong("whole"):
            return data, 200, {}
        begin, end = int(wanted[1]), int(wanted[2] or len(data) - 1) + 1
        if self.registry.goes_wrong("shifted"):
            begin, end = begin + 1, end + 1
        return data[begin:end], 206, {"Content_Range": f"bytes {begin}-{end - 1}/{len(data)}"}


class Tokens(Handler):
    def handle_request(self, path, query):
        expected = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()
        if self.headers.get("Authorization") != expected:
            return self.answer(401)
        if query.count("scope=") > 1 and self.registry.goes_wrong("scopes"):
            return self.answer(403)
        token = f"tok-{next(self.registry.numbers)}-{'x' * 20}"
        self.registry.uses[token] = self.registry.tokens
        return self.answer(200, json.dumps({"token": token, "expires_in": 60}).encode(), Content_Type="application/json")


class Store(Handler):
    """Where a registry sends those who want a blob."""

    def handle_request(self, path, query):
        if self.registry.goes_wrong("expired"):
            return self.answer(403)
        return self.send_blob(path.rsplit("/", 1)[1])


class Registry(Handler):
    def handle_request(self, path, query):
        registry = self.registry
        if registry.tokens:
            token = self.headers.get("Authorization", "").removeprefix("Bearer ")
            registry.uses[token] = registry.uses.get(token, 0) - 1
            if registry.uses[token] < 0:
                realm = f'Bearer realm="http://{registry.auth}/token",service="test",scope="repository:a:pull"'
                return self.answer(401, WWW_Authenticate=realm)
        if path != "/v2/" and registry.goes_wrong("status"):
            return self.answer(429, Retry_After=1)
        if path != "/v2/" and registry.goes_wrong("gone"):
            return self.answer(503)
        for pattern, handle in ((r"/v2/", lambda: self.answer(200)), (rf"/v2/.+/blobs/({DIGEST})", self.blob),
                                (r"/v2/.+/manifests/(.+)", self.manifest),
                                (rf"/v2/.+/referrers/({DIGEST})", self.list_referrers), (r"/v2/(.+)/blobs/uploads/", self.begin),
                                (r"/up/(\d+)", self.upload)):
            if match := re.fullmatch(pattern, path):
                self.query = urllib.parse.parse_qs(query)
                return handle(*match.groups())
        return self.answer(404)

    def blob(self, digest):
        if self.registry.elsewhere and self.command == "GET" and digest in self.registry.blobs:
            return self.answer(307, Location=f"http://{self.registry.store}/bucket/{digest}")
        if self.command == "HEAD" and self.registry.goes_wrong("hidden"):
            return self.answer(404)
        if self.command == "HEAD" and self.registry.goes_wrong("asleep"):
            while not self.registry.uploads and not self.registry.ended.wait(0.01):
                pass
            self.registry.hangs.set()
            self.registry.ended.wait(60)
            return self.answer(503)
        return self.send_blob(digest)

    def manifest(self, name):
        registry = self.registry
        if self.command == "PUT":
            digest = digest_of(self.body)
            registry.manifests[name] = registry.manifests[digest] = self.body
            registry.types[name] = registry.types[digest] = self.headers["Content-Type"]
            return self.answer(201, Docker_Content_Digest=digest, **self.note_referrer(digest))
        data = registry.manifests.get(name)
        if data is None:
            return self.answer(404)
        digest = digest_of(data)
        if self.command == "GET" and registry.goes_wrong("other"):
            data += b" "
        return self.answer(200, data, Content_Type=registry.types[name], Docker_Content_Digest=digest)

    def note_referrer(self, digest):
        registry, manifest = self.registry, json.loads(self.body)
        if registry.referrers is None or "subject" not in manifest:
            return {}
        entry = {"mediaType": self.headers["Content-Type"], "digest": digest, "size": len(self.body),
                 "artifactType": manifest.get("artifactType") or manifest["config"]["mediaType"]}
        if "annotations" in manifest:
            entry["annotations"] = manifest["annotations"]
        registry.referrers.setdefault(manifest["subject"]["digest"], []).append(entry)
        return {"OCI_Subject": manifest["subject"]["digest"]}

    def list_referrers(self, digest):
        if self.registry.referrers is None:
            return self.answer(404)
        if self.registry.goes_wrong("unlisted"):
            self.registry.hangs.set()
            self.registry.ended.wait(60)
            return self.answer(503)
        index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json",
                 "manifests": self.registry.referrers.get(digest, [])}
        return self.answer(200, json.dumps(index).encode(), Content_Type=index["mediaType"])

    def begin(self, _):
        if "mount" in self.query and self.registry.goes_wrong("mount"):
            return self.answer(403)
        number = str(next(self.registry.numbers))
        self.registry.uploads[number] = b""
        return self.answer(202, Location=f"/up/{number}", Range="0-0")

    def upload(self, number):
        registry = self.registry
        if number not in registry.uploads:
            return self.answer(404)
        if self.command == "PATCH":
            return self.patch(number)
        if self.command == "PUT" and registry.goes_wrong("denied"):
            registry.hangs.wait(60)
            return self.answer(403)
        if self.command == "PUT":
            data = registry.uploads.pop(number) + self.body
            if digest_of(data) != self.query["digest"][0]:
                return self.answer(400)
            registry.blobs[digest_of(data)] = data
            return self.answer(201)
        return self.state(number, 204)

    def state(self, number, status):
        size = len(self.registry.uploads[number])
        return self.answer(status, Location=f"/up/{number}", Range=f"0-{max(size - 1, 0)}")

    def patch(self, number):
        registry, size = self.registry, int(self.headers["Content-Length"])
        if int(self.headers["Content-Range"].split("-")[0]) != len(registry.uploads[number]):
            self.rfile.read(size)
            return self.answer(416)
        if registry.goes_wrong("hang"):
            registry.hangs.set()
            registry.ended.wait(60)
            return self.answer(503)
        if registry.goes_wrong("lost"):
            registry.uploads[number] += self.rfile.read(size // 2)
            self.close_connection = True
            return None
        registry.uploads[number] += self.rfile.read(size)
        return self.state(number, 202)
