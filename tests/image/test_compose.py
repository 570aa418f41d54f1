"""compose.yaml with the real docker-compose: each of the three ways to an engine, from `up` to an agent that answers."""

import json
import os
import pathlib
import shutil
import socket

import pytest
import requests
from creel import Agent, api_key, eventually, is_ready, sh

ROOT = pathlib.Path(__file__).parent.parent.parent
DIR = pathlib.Path(os.environ["CREEL_IMAGE_DIR"])
SOCKET = os.environ["DOCKER_HOST"].removeprefix("unix://")
TLS = {"CREEL_ENGINE": f"tcp://127.0.0.1:{os.environ['CREEL_IMAGE_ENGINE_PORT']}",
       "CREEL_ENGINE_CERTS": str(DIR / "certs" / "client"), "CREEL_PUBLISH_ADDRESS": "none"}
PROXY = {"CREEL_ENGINE": "unix:///run/engine/docker.sock", "COMPOSE_PROFILES": "engine-proxy"}
RAW = {"CREEL_ENGINE": "unix:///run/engine.sock", "CREEL_ENGINE_GROUP": "10001",
       "COMPOSE_FILE": "compose.yaml:deploy/compose.socket.yaml"}


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


class Site:
    """A folder with compose.yaml, deploy/ and an .env, as an operator has them."""

    def __init__(self, name, settings):
        self.folder = DIR / "site" / name
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        shutil.copy(ROOT / "compose.yaml", self.folder)
        for folder in ("deploy", "monitoring"):
            shutil.copytree(ROOT / folder, self.folder / folder)
        self.project = f"site{name}"
        self.url = f"http://127.0.0.1:{free_port()}"
        settings = {"CREEL_LISTEN": self.url[7:], "CREEL_GATEWAY_LISTEN": f"127.0.0.1:{free_port()}",
                    "CREEL_ENGINE_SOCKET": SOCKET, "CREEL_DEFAULT_TEMPLATE": "reference",
                    "CREEL_CONTROLLER_ID": name, **settings}
        (self.folder / ".env").write_text("".join(f"{k}={v}\n" for k, v in settings.items()))

    def compose(self, *arguments, check=True):
        return sh("docker-compose", "--project-name", self.project, *arguments, cwd=self.folder, check=check)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        print(self.compose("logs", "--no-color", check=False).stdout[-5000:])
        self.compose("down", "--volumes", "--timeout", "30")
        # Agents run on without their controller: that is the point. Here they have to go.
        for kind, remove in (("container", ["rm", "--force"]), ("volume", ["rm"]), ("network", ["rm"])):
            listed = sh("docker", kind, "ls", "--quiet", *(["--all"] if kind == "container" else []), "--filter",
                        f"label=dev.creel.controller={self.project.removeprefix('site')}").stdout.split()
            if listed:
                sh("docker", kind, *remove, *listed)

    def creel(self):
        return self.compose("ps", "--quiet", "creel").stdout.strip()


@pytest.mark.parametrize("name, settings", {"tls": TLS, "proxy": PROXY, "raw": RAW}.items())
def test_brings_an_agent_to_answer(name, settings):
    with Site(name, settings) as site:
        site.compose("up", "--detach")
        eventually(lambda: is_ready(site.url))
        agent = Agent(site.url, api_key(site.creel()))
        assert agent.says("hello").startswith("ECHO(")
        assert eventually(agent.fenced)
        # On its bridge, not at a port of the host.
        ports = json.loads(sh("docker", "inspect", agent.container()).stdout)[0]["NetworkSettings"]["Ports"]
        assert not any(ports.values()), ports
        running = sh("docker", "exec", site.creel(), "creel", "doctor", check=False)
        assert running.returncode == 0, running.stdout

        health = json.loads(sh("docker", "inspect", site.creel()).stdout)[0]
        assert eventually(lambda: json.loads(sh("docker", "inspect", site.creel()).stdout)[0]["State"]["Health"]["Status"] == "healthy")
        assert health["HostConfig"]["ReadonlyRootfs"] and health["HostConfig"]["CapDrop"] == ["ALL"]
        assert not health["HostConfig"]["Privileged"] and health["Config"]["User"] == "10001:10001"

        # The controller is made anew; the agent is not.
        before = sh("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", agent.container()).stdout
        site.compose("up", "--detach", "--force-recreate", "creel", "postgres")
        eventually(lambda: is_ready(site.url))
        assert eventually(lambda: agent.says("again").startswith("ECHO("))
        assert sh("docker", "inspect", "--format", "{{.Id}} {{.State.StartedAt}}", agent.container()).stdout == before


def test_the_database_is_out_of_reach_but_for_creel():
    with Site("database", RAW) as site:
        site.compose("up", "--detach")
        eventually(lambda: is_ready(site.url))
        postgres = json.loads(sh("docker", "inspect", site.compose("ps", "--quiet", "postgres").stdout.strip()).stdout)[0]
        assert postgres["HostConfig"]["NetworkMode"] == "none" and not postgres["HostConfig"]["PortBindings"]


def test_profiles_add_prometheus_and_caddy():
    domain, gateway = "creel.localhost", "gateway.localhost"
    with Site("profiles", {**RAW, "COMPOSE_PROFILES": "prometheus,caddy", "CREEL_DOMAIN": domain,
                           "CREEL_GATEWAY_DOMAIN": gateway, "CREEL_LISTEN": "127.0.0.1:8080"}) as site:
        site.url = "http://127.0.0.1:8080"
        site.compose("up", "--detach")
        eventually(lambda: is_ready(site.url))

        def scraped():
            found = requests.get("http://127.0.0.1:9090/api/v1/query", params={"query": "up{job='creel'}"}, timeout=10)
            return found.json()["data"]["result"][0]["value"][1] == "1"

        assert eventually(lambda: requests.get("http://127.0.0.1:9090/-/ready", timeout=10).ok)
        assert eventually(scraped)
        rules = requests.get("http://127.0.0.1:9090/api/v1/rules", timeout=10).json()["data"]["groups"]
        assert {group["name"] for group in rules} == {"creel.rules", "creel.alerts"}

        def over_tls(name, path, key=""):
            return sh("curl", "--silent", "--insecure", "--noproxy", "*", "--resolve", f"{name}:443:127.0.0.1", "--header",
                      f"Authorization: Bearer {key}", "--output", "/dev/null", "--write-out", "%{http_code}",
                      f"https://{name}{path}", check=False).stdout

        key = api_key(site.creel())
        agent = Agent(site.url, key)
        assert eventually(lambda: over_tls(domain, "/readyz") == "200")
        assert eventually(lambda: over_tls(gateway, f"/agent/{agent.id}/readyz", key) == "200")
        assert eventually(lambda: over_tls(f"{agent.id}.agents.localhost", "/readyz", key) == "200")
        assert over_tls("0123456789abcdef.agents.localhost", "/readyz", key) == "000", "no certificate for who is not there"
