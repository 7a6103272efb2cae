"""What the benches share: servers on free ports of this machine, a receiver that notes when it is called, the agent."""

import http.server
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
POSTGRES = pathlib.Path("/usr/lib/postgresql/15/bin")
SERVER_USER = "postgres"


def binary():
    """The build that is measured: BIN, else the shipping build (cargo build --profile dist)."""
    chosen = pathlib.Path(os.environ.get("BIN", ROOT / "target/dist/watchkeeper"))
    if not chosen.is_file():
        sys.exit(f"{sys.argv[0]}: no binary at {chosen}: run `cargo build --profile dist`, or name one with BIN=")
    return chosen.resolve()


def need(*programs):
    missing = [name for name in programs if not (shutil.which(name) or (POSTGRES / name).exists())]
    if missing:
        sys.exit(f"{sys.argv[0]}: missing {', '.join(missing)}: tests/run installs what tests need; "
                 "`apt-get install --no-install-recommends monit` the peer (keep it from starting as a service)")


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def until(what, holds, within=60):
    """Waits until something holds, and returns what it gave."""
    deadline = time.monotonic() + within
    while True:
        found = holds()
        if found:
            return found
        if time.monotonic() > deadline:
            raise SystemExit(f"{sys.argv[0]}: waited {within} s for {what}")
        time.sleep(0.01)


def accepts(port):
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Server:
    """A process with a folder of its own; stopped and deleted with the scene."""

    def __init__(self, name, environment=None):
        self.name, self.environment, self.process = name, environment, None
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix=f"watchkeeper-{name}-"))
        self.folder.chmod(0o755)

    def run(self, *command):
        log = open(self.folder / "log", "ab")
        self.process = subprocess.Popen([str(word) for word in command], cwd=self.folder, env=self.environment,
                                        stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def end(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()

    def log(self):
        return (self.folder / "log").read_text(errors="replace")

    def close(self):
        self.end()
        shutil.rmtree(self.folder, ignore_errors=True)


class Redis(Server):
    def __init__(self):
        super().__init__("redis")
        self.port = free_port()
        self.start()

    def start(self):
        self.run("redis-server", "--port", self.port, "--bind", "127.0.0.1", "--save", "")
        until("Redis", lambda: accepts(self.port))

    def fail(self):
        self.end(signal.SIGKILL)

    mend = start

    @property
    def url(self):
        return f"redis://127.0.0.1:{self.port}"


class PostgreSQL(Server):
    def __init__(self):
        super().__init__("postgresql")
        self.port = free_port()
        self.data = self.folder / "data"
        if os.geteuid() == 0:
            shutil.chown(self.folder, SERVER_USER, SERVER_USER)
        subprocess.run([*self.as_user(), POSTGRES / "initdb", "--no-sync", "--auth=trust", "--username=postgres",
                        "-D", self.data], check=True, cwd=self.folder, stdout=subprocess.DEVNULL)
        self.start()

    @staticmethod
    def as_user():
        if os.geteuid() != 0:
            return []
        return ["setpriv", "--reuid", SERVER_USER, "--regid", SERVER_USER, "--clear-groups", "--"]

    def start(self):
        self.run(*self.as_user(), POSTGRES / "postgres", "-D", self.data, "-p", self.port,
                 "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=")
        ready = [POSTGRES / "pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)]
        until("PostgreSQL", lambda: subprocess.run(ready).returncode == 0)

    def fail(self):
        self.end(signal.SIGINT)

    mend = start

    def close(self):
        self.end(signal.SIGQUIT)
        super().close()

    @property
    def url(self):
        return f"postgres://postgres@127.0.0.1:{self.port}/postgres"


class Gateway(Server):
    """A WebSocket gateway on Node's `ws`, with its page of metrics: the one of the integration tests."""

    def __init__(self):
        super().__init__("gateway", environment={"PATH": os.environ["PATH"], "NODE_PATH": "/usr/share/nodejs"})
        self.port, self.counts = free_port(), free_port()
        self.start()

    def start(self):
        self.run("node", ROOT / "tests/support/node/gateway.js", self.port, self.counts)
        until("the gateway", lambda: accepts(self.port))

    def fail(self):
        self.end(signal.SIGKILL)

    mend = start

    @property
    def url(self):
        return f"ws://127.0.0.1:{self.port}/"

    @property
    def metrics_url(self):
        return f"http://127.0.0.1:{self.port}/metrics"


class Service:
    """An HTTP service whose readiness can be switched; it also takes pages and notes when they came."""

    def __init__(self):
        self.ready, self.calls, self.changed, self.scrapes = True, [], threading.Condition(), 0
        scene = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self):
                if self.path.startswith("/page/"):
                    scene.note(self.path, None)
                if self.path == "/metrics":
                    return self.expose()
                self.answer(200 if scene.ready or self.path != "/health/ready" else 503)

            def do_POST(self):
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                scene.note(self.path, json.loads(body))
                self.answer(200)

            def expose(self):
                scene.scrapes += 1
                names = (f'http_request_duration_seconds_bucket{{path="/v1/items/{path}",status_code="{code}",le="{le}"}}'
                         for path in range(5) for code in (200, 404, 500) for le in ("0.1", "0.5", "1", "+Inf"))
                head = "# TYPE http_request_duration_seconds histogram\n"
                body = (head + "".join(f"{name} {scene.scrapes * 7}\n" for name in names)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                try:
                    self.end_headers()
                    self.wfile.write(body)
                except OSError:
                    pass  # the caller did not wait for the answer

            def answer(self, status):
                self.send_response(status)
                self.send_header("Content-Length", "3")
                try:
                    self.end_headers()
                    self.wfile.write(b"ok\n")
                except OSError:
                    pass  # the caller did not wait for the answer

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.port = self.server.server_address[1]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def note(self, path, payload):
        with self.changed:
            self.calls.append((time.monotonic(), path, payload))
            self.changed.notify_all()

    def wait_for(self, what, fits, since, within=60):
        """The time of the first call after `since` that fits."""
        with self.changed:
            found = []

            def look():
                found[:] = [at for at, path, payload in self.calls if at >= since and fits(path, payload)][:1]
                return found

            if not self.changed.wait_for(look, within):
                raise SystemExit(f"{sys.argv[0]}: waited {within} s for {what}; calls: {self.calls[-5:]}")
            return found[0]

    def fail(self):
        self.ready = False

    def mend(self):
        self.ready = True

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"

    def close(self):
        self.server.shutdown()


class Agent(Server):
    """The agent with a configuration (JSON is YAML) and rules."""

    def __init__(self, configuration, rules):
        super().__init__("agent", environment={"PATH": os.environ["PATH"]})
        self.port = free_port()
        configuration = dict(configuration, listen=f"127.0.0.1:{self.port}", state_dir=str(self.folder / "state"),
                             rule_files=["rules.yml"])
        (self.folder / "watchkeeper.yml").write_text(json.dumps(configuration))
        (self.folder / "rules.yml").write_text(json.dumps(rules))

    def start(self):
        self.run(binary(), "run", "--config", "watchkeeper.yml")

    def get(self, path):
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
            return answer.read().decode()

    def answers(self):
        try:
            return self.get("/health/live")
        except OSError:
            if self.process.poll() is not None:
                sys.exit(f"{sys.argv[0]}: the agent has ended:\n{self.log()}")
            return None

    def verdicts(self):
        """Target → up, as /metrics tells it."""
        lines = re.findall(r'^watchkeeper_target_up\{.*?\btarget="([^"]*)".*\} ([01])', self.get("/metrics"), re.M)
        return {target: value == "1" for target, value in lines}

    def wait_until_up(self, *targets):
        until(f"{', '.join(targets)} to be up", lambda: all(self.verdicts().get(target) for target in targets))

    def firing(self):
        return json.loads(self.get("/api/v1/alerts"))["data"]["alerts"]
