"""What every file of the suite shares: the servers, the specification as served, four callers and an agent."""

import json
import pathlib
import time
import types

import pytest

from creel import ANONYMOUS, STRIPE_SECRET, WHATSAPP_SECRET, Servers
from specification import Specification, sample

FILE = pathlib.Path(__file__).parents[2] / "api" / "openapi.yaml"
SPEC = Specification(json.loads(FILE.read_text()))
OPERATIONS = [pytest.param(operation, id=operation.name) for operation in SPEC.operations]


@pytest.fixture(scope="session")
def servers():
    started = Servers()
    yield started
    started.close()


@pytest.fixture(scope="session")
def server(servers):
    return servers.start("main", CREEL_SIGNUP="true", STRIPE_WEBHOOK_SECRET=STRIPE_SECRET,
                         WHATSAPP_APP_SECRET=WHATSAPP_SECRET)


@pytest.fixture(scope="session")
def spec(server):
    """The file's, which is what the server gives out."""
    assert server.call("GET", "/openapi.json").json == SPEC.document
    return SPEC


def provision(server, caller, name, **extra):
    answer = server.call("POST", "/api/agents/provision?wait=60", caller, {"name": name, **extra})
    assert answer.status == 201, answer
    agent = answer.json["agent"]["id"]
    deadline = time.monotonic() + 90
    while server.call("GET", "/api/agents/" + agent, caller).json["agent"]["phase"] != "Ready":
        assert time.monotonic() < deadline, server.log()[-3000:]
        time.sleep(0.05)  # polls another process
    return agent


def with_whatsapp(server, caller, agent):
    """The agent, reached on WhatsApp too; its verify token."""
    answer = server.call("POST", "/api/agent", caller, {"action": "set-credential", "key": "whatsapp",
                                                        "value": "EAAGcontract", "agentId": agent})
    assert answer.status == 200, answer
    return answer.json["whatsapp"]["verifyToken"]


@pytest.fixture(scope="session")
def world(server):
    """owner has the agent and the key; other and admin have an agent and a key of their own."""
    world = types.SimpleNamespace(anonymous=ANONYMOUS, agents={}, keys={})
    world.callers = {"owner": server.user("owner"), "other": server.user("other"),
                     "admin": server.user("admin", admin=True), "anonymous": ANONYMOUS}
    for name, caller in world.callers.items():
        if caller is not ANONYMOUS:
            world.agents[name] = provision(server, caller, name)
            world.keys[name] = server.call("POST", "/api/keys", caller, {"name": "spare"}).json["id"]
    world.owner = world.callers["owner"]
    return world


def ids_of(operation, agent, key):
    """What the path parameters of an operation stand for; a new kind of resource needs a line here."""
    values = {"id": agent, "userId": agent, "agentId": agent}
    if operation.path.startswith("/api/keys/"):
        values["id"] = key
    unknown = [p["name"] for p in operation.parameters_in("path") if p["name"] not in values]
    assert not unknown, f"{operation.name}: conftest.py does not know what {unknown} stands for"
    return values


def request_of(operation, agent, key, **query):
    """(target, body) that does not wait for what it asks for."""
    if any(p["name"] == "wait" for p in operation.parameters_in("query")):
        query.setdefault("wait", 0)
    return sample(operation, ids_of(operation, agent, key), query)
