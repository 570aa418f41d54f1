"""Real `creel serve` processes, and HTTP to them as plain as it gets: what a test sends is what is sent."""

import dataclasses
import http.client
import json
import os
import subprocess
import urllib.parse


@dataclasses.dataclass
class Answer:
    status: int
    headers: list
    body: bytes

    def header(self, name):
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    @property
    def json(self):
        return json.loads(self.body)

    def __str__(self):
        return f"{self.status} {self.body[:600].decode(errors='replace')}"


@dataclasses.dataclass
class Caller:
    """Who asks: anonymous has no key; a browser has a cookie and says where its page came from."""

    name: str
    headers: dict


ANONYMOUS = Caller("anonymous", {})
STRIPE_SECRET = "whsec_contract"
WHATSAPP_SECRET = "whatsapp-contract"


def key_of(name, key):
    return Caller(name, {"Authorization": "Bearer " + key})


class Server:
    """One `creel serve` with a database and a controller id of its own."""

    def __init__(self, servers, name, env):
        self.name, self._servers = name, servers
        started = servers.ask(do="start", name=name, env=env)
        self.url, self.controller, self.database = started["url"], started["controller"], started["database"]

    def user(self, name, **options):
        return key_of(name, self._servers.ask(do="user", name=self.name, email=name + "@example.com", **options)["key"])

    def log(self):
        return self._servers.ask(do="log", name=self.name)["log"]

    def sql(self, statement, database=None):
        conninfo = os.environ["CREEL_TEST_DATABASE_URL"] + " dbname=" + (database or self.database)
        done = subprocess.run(["psql", "-qXAt", "-v", "ON_ERROR_STOP=1", "-d", conninfo, "-c", statement],
                              capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def call(self, method, target, caller=ANONYMOUS, body=None, headers=None, timeout=120):
        """`body`: bytes as they are, or anything else as JSON. Of an event stream the first event is read."""
        connection = http.client.HTTPConnection(urllib.parse.urlsplit(self.url).netloc, timeout=timeout)
        all_headers = dict(caller.headers)
        if body is not None and not isinstance(body, bytes):
            body = json.dumps(body).encode()
        if body is not None:
            all_headers["Content-Type"] = "application/json"
        all_headers.update(headers or {})
        try:
            connection.putrequest(method, target, skip_accept_encoding=True)
            for name, value in all_headers.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None and "Content-Length" not in all_headers:
                connection.putheader("Content-Length", str(len(body)))
            connection.endheaders()
            try:
                if body is not None:
                    connection.send(body)
            except (BrokenPipeError, ConnectionResetError):
                pass  # refused before all of it was sent: the answer says why
            response = connection.getresponse()
            if (response.getheader("Content-Type") or "").startswith("text/event-stream"):
                content = b""
                while b"\n\n" not in content and (line := response.readline()):
                    content += line
            else:
                content = response.read()
            return Answer(response.status, response.getheaders(), content)
        finally:
            connection.close()


class Servers:
    """The program that starts them (server.cpp); everything ends with it."""

    def __init__(self):
        self._process = subprocess.Popen([os.environ["CREEL_CONTRACT_SERVER"]], stdin=subprocess.PIPE,
                                         stdout=subprocess.PIPE, text=True)

    def ask(self, **command):
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._process.stdout.readline() or '{"error": "contract_server has ended"}')
        assert "error" not in answer, answer["error"]
        return answer

    def start(self, name, **env):
        return Server(self, name, env)

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=120)
