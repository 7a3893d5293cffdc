"""An API server with one node, on a port of its own: it keeps what is made, and takes one token."""
import http.server
import json
import ssl
import sys
import threading
import urllib.parse

NODE = {"metadata": {"name": "node-1", "uid": "n"}, "spec": {}, "status": {
    "conditions": [{"type": "Ready", "status": "True"}],
    "nodeInfo": {"operatingSystem": "linux", "architecture": "amd64", "kubeletVersion": "v1.33.1"}}}
KNOWN = {
    "/version": {"major": "1", "minor": "33", "gitVersion": "v1.33.1"},
    "/api": {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []},
    "/apis": {"kind": "APIGroupList", "groups": []},
    "/api/v1": {"kind": "APIResourceList", "groupVersion": "v1", "resources": []},
}


class Api:
    """To be used in a `with`."""

    def __init__(self, pki: str, takes: str) -> None:
        self.takes, self.made, self.lock, self.ends = takes, 0, threading.Lock(), threading.Event()
        self.objects = {
            "/api/v1/nodes/node-1": NODE,
            "/api/v1/namespaces/kube-system": {"metadata": {"name": "kube-system", "uid": "k"}},
        }
        api = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def answer(self, code: int, value: object) -> None:
                body = json.dumps(value).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def handle_any(self) -> None:
                url = urllib.parse.urlsplit(self.path)
                query = urllib.parse.parse_qs(url.query)
                length = int(self.headers.get("Content-Length") or 0)
                body = json.loads(self.rfile.read(length) or b"null")
                if self.headers.get("Authorization") != f"Bearer {api.takes}":
                    self.answer(*refusal(401, "Unauthorized"))
                elif "watch" in query and "sendInitialEvents" in query:
                    self.answer(*refusal(422, "Invalid"))
                elif "watch" in query:
                    # Begun, and quiet.
                    self.send_response(200)
                    self.send_header("Content-Type", "application/json")
                    self.send_header("Transfer-Encoding", "chunked")
                    self.end_headers()
                    api.ends.wait(25)
                    self.wfile.write(b"0\r\n\r\n")
                else:
                    self.answer(*api.whatever(self.command, url.path, "dryRun" in query, body))

            do_GET = do_POST = do_PATCH = do_DELETE = handle_any

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(f"{pki}/server.pem", f"{pki}/server.key")
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True, do_handshake_on_connect=False)
        self.port = self.server.server_address[1]

    def __enter__(self) -> "Api":
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.ends.set()
        self.server.shutdown()

    def paths(self) -> list[str]:
        with self.lock:
            return list(self.objects)

    def has(self, part: str) -> bool:
        return any(part in path for path in self.paths())

    def whatever(self, method: str, path: str, dry_run: bool, body: dict) -> tuple[int, object]:
        with self.lock:
            if path in KNOWN:
                return 200, KNOWN[path]
            if method == "POST" and path.endswith("reviews"):
                return 201, {**body, "status": {"allowed": True}}
            if method == "POST" and dry_run:
                return 201, body
            if method == "POST":
                self.made += 1
                body["metadata"]["uid"] = f"uid-{self.made}"
                self.objects[f"{path}/{body['metadata']['name']}"] = body
                return 201, body
            found = self.objects.get(path)
            if method == "DELETE" and found:
                inside = f"/{path.removeprefix('/api/v1/')}/"
                self.objects = {key: value for key, value in self.objects.items() if key != path and inside not in key}
                return 200, found
            if found:
                return 200, found
            if method == "GET" and path.split("/")[-2] not in ("namespaces", "nodes", "jobs", "pods", "serviceaccounts"):
                items = [value for key, value in self.objects.items() if key.rsplit("/", 1)[0] == path]
                return 200, {"kind": "List", "apiVersion": "v1", "metadata": {"resourceVersion": "1"}, "items": items}
            return refusal(404, "NotFound")


def refusal(code: int, reason: str) -> tuple[int, object]:
    return code, {"kind": "Status", "apiVersion": "v1", "status": "Failure", "metadata": {}, "code": code,
                  "reason": reason, "message": reason}


def main() -> None:
    """For a test in another language: a line of JSON asks, and one answers with what there is."""
    with Api(sys.argv[1], sys.argv[2]) as api:
        print(api.port, flush=True)
        for line in sys.stdin:
            with api.lock:
                api.objects.update(json.loads(line))
            print(json.dumps({"paths": api.paths(), "made": api.made}), flush=True)


if __name__ == "__main__":
    main()
