"""One recorded request/response pair for each operation and each answer it documents, made by a live server."""

import time
import types

import pytest

from conftest import SPEC, request_of
from creel import ANONYMOUS, STRIPE_SECRET
from golden import REQUEST_ID, UPDATE, Goldens
from scenarios import UNKNOWN, Ask, Scenarios, expected_cases

# Documented, true, and not brought about here; each says who does.
NOT_HERE = {
    ("getAgentAction", "409"): "tests/integration/api_agent_gateway_test.cpp: a gateway that does not know the controller",
    ("getAgentAction", "502"): "tests/integration/api_agent_gateway_test.cpp: a gateway that is away",
    ("verifyAgent", "502"): "tests/integration/verify_chain_test.cpp: a node that is away",
}
# The errors that agents-api.txt lists, with its sentence where it gives one as the text of the error.
DOCUMENTED = {
    "GET /api/agents/{id}": {401: "Unauthorized", 404: "Agent not found", 500: "Failed to fetch agent"},
    "POST /api/agents/provision": {
        400: "Agent name is required", 401: "Unauthorized", 402: "Active subscription required to provision agents",
        429: "Agent limit reached for your plan", 500: "Failed to provision agent"},
    "GET /api/agents/provision": {401: "Unauthorized", 500: "Failed to list agents"},
    "GET /api/agents/{id}/config": {404: "Agent not found"},
    "PUT /api/agents/{id}/config": {404: "Agent not found"},
    "GET /api/agents/{id}/logs": {401: "Unauthorized", 404: "Agent not found"},
    "GET /api/agents/{id}/messages": {401: "Unauthorized", 404: "Agent not found"},
    "GET /api/agents/{id}/stats": {404: "Agent not found"},
    **{f"POST /api/instance/{{userId}}/{verb}": {403: "Forbidden", 500: None, 502: None}
       for verb in ("start", "stop", "restart", "update", "repair", "reset-memory")},
    "GET /api/instance/{userId}": {403: "Forbidden"},
    "GET /api/instance/{userId}/stats": {403: "Forbidden"},
    "GET /api/instance/{userId}/token": {500: "Failed to get token"},
    "GET /api/agents/{id}/verify": {404: "Agent not found"},
    "POST /api/agents/{id}/verify": {400: None, 401: "Unauthorized"},
    "DELETE /api/agents/{id}/verify": {404: "Agent not found"},
    "POST /api/provision": {400: "At least one channel token required (Telegram, WhatsApp, or Discord)",
                            401: "Unauthorized", 429: None, 500: "Internal server error"},
    "GET /api/agent": {400: None, 401: "Unauthorized", 404: None, 500: "Internal error"},
    "POST /api/agent": {400: None, 401: "Unauthorized", 404: None, 500: "Internal error"},
    "POST /api/chat": {400: "Message required", 401: "Unauthorized", 500: "Failed to send message"},
    "GET /api/chat": {401: "Unauthorized"},
    "GET /api/agents": {}, "POST /api/agents": {}, "PUT /api/agents/{id}": {}, "DELETE /api/agents/{id}": {},
}

GOLDENS = Goldens()
SWITCHED_OFF = {("signup", "404"), ("metrics", "404")}


def place_of(operation, case):
    """Which state of the world brings this answer about."""
    status = case.split()[0]
    if hasattr(Scenarios, f"{operation.id}_{case.replace(' ', '_')}"):
        return "main"
    if (operation.id, status) in SWITCHED_OFF:
        return "switched off"
    return {"429": "limited", "500": "broken", "502": "away", "503": "closed"}.get(status, "main")


def pairs(place):
    return [pytest.param(operation, case, id=f"{operation.name} {case}")
            for operation in SPEC.operations for case in expected_cases(SPEC, operation)
            if place_of(operation, case) == place and (operation.id, case) not in NOT_HERE]


def hold(server, operation, case, ask):
    answer = server.call(operation.method, ask.target, ask.caller, ask.body, {"X-Request-Id": REQUEST_ID, **ask.headers})
    assert answer.status == int(case.split()[0]), f"{operation.name} {case}: {answer}"
    problems = SPEC.check(operation, answer)
    assert not problems, f"{operation.name} {case}: {problems}"
    GOLDENS.hold(operation, case, ask, answer)


@pytest.fixture(scope="module")
def scenarios(server, world, spec):
    return Scenarios(server, world, spec)


@pytest.mark.parametrize("operation, case", pairs("main"))
def test_each_operation_answers_as_recorded(server, scenarios, operation, case):
    hold(server, operation, case, scenarios.ask(operation, case))


@pytest.fixture(scope="module")
def away(servers):
    """A server whose engine is away; a user and an agent that waits."""
    server = servers.start("away", DOCKER_HOST="unix:///nonexistent/docker.sock", CREEL_SIGNUP="true",
                           STRIPE_WEBHOOK_SECRET=STRIPE_SECRET)
    owner = server.user("owner")
    made = server.call("POST", "/api/agents/provision?wait=0", owner, {"name": "waiting"})
    key = server.call("POST", "/api/keys", owner, {"name": "spare"})
    callers = {"owner": owner, "admin": server.user("admin", admin=True)}
    world = types.SimpleNamespace(callers=callers, owner=owner, agents={"owner": made.json["agent"]["id"]},
                                  keys={"owner": key.json["id"]})
    server.scenarios = Scenarios(server, world, SPEC)
    return server


@pytest.mark.parametrize("operation, case", pairs("away"))
def test_an_engine_that_is_away_is_answered_as_recorded(away, operation, case):
    hold(away, operation, case, away.scenarios.good(operation, wait=1))


@pytest.fixture(scope="class")
def broken(away):
    away.sql("ALTER SCHEMA public RENAME TO elsewhere")
    yield away
    away.sql("ALTER SCHEMA elsewhere RENAME TO public")


@pytest.fixture(scope="class")
def closed(away):
    away.sql(f"ALTER DATABASE {away.database} ALLOW_CONNECTIONS false", "postgres")
    away.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{away.database}'", "postgres")
    # Who cannot renew its lease leads on for a while, and what it says of the engine depends on that.
    deadline = time.monotonic() + 60
    while b"\ncreel_leader 0" not in away.call("GET", "/metrics").body:
        assert time.monotonic() < deadline, "it still leads without its database"
        time.sleep(0.1)  # polls another process
    yield away
    away.sql(f"ALTER DATABASE {away.database} ALLOW_CONNECTIONS true", "postgres")


class TestABrokenStore:
    @pytest.mark.parametrize("operation, case", pairs("broken"))
    def test_is_answered_as_recorded(self, broken, operation, case):
        hold(broken, operation, case, broken.scenarios.good(operation))


class TestAStoreThatIsAway:
    @pytest.mark.parametrize("operation, case", pairs("closed"))
    def test_is_answered_as_recorded(self, closed, operation, case):
        hold(closed, operation, case, closed.scenarios.good(operation))


@pytest.fixture(scope="module")
def limited(servers):
    """A server with the tightest limits, behind a proxy, and with what may be switched off switched off."""
    limits = {f"CREEL_RATE_LIMIT_{name}": "1" for name in ("PROVISION", "CHAT", "INSTANCE", "API")}
    server = servers.start("limited", CREEL_METRICS="false", CREEL_TRUSTED_PROXIES="127.0.0.1", **limits)
    server.owner = server.user("owner")
    return server


@pytest.mark.parametrize("operation, case", pairs("limited"))
def test_too_many_requests_are_answered_as_recorded(limited, operation, case):
    ask = Ask(limited.owner, *request_of(operation, UNKNOWN, UNKNOWN))
    limited.call(operation.method, ask.target, limited.owner, b"{")
    hold(limited, operation, case, ask)


@pytest.mark.parametrize("operation, case", pairs("switched off"))
def test_what_is_switched_off_is_answered_as_recorded(limited, operation, case):
    target, body = request_of(operation, UNKNOWN, UNKNOWN)
    hold(limited, operation, case, Ask(ANONYMOUS, target, body, {"X-Forwarded-For": "203.0.113.7"}))


def test_every_documented_answer_has_a_golden():
    """By name: an operation of the specification, and an error that agents-api.txt lists."""
    missing = []
    for operation in SPEC.operations:
        recorded = GOLDENS.seen.get(operation.id, {})
        for status in operation.node["responses"]:
            if status not in recorded and (operation.id, status) not in NOT_HERE:
                missing.append(f"{operation.name} {status}")
    for name, errors in DOCUMENTED.items():
        operation = next((o for o in SPEC.operations if o.name == name), None)
        if operation is None:
            missing.append(f"{name} is documented and not served")
            continue
        recorded = GOLDENS.seen.get(operation.id, {})
        for status, sentence in errors.items():
            found = [pair["response"]["body"]["error"] for case, pair in recorded.items() if case.startswith(str(status))]
            if not found or sentence and sentence not in found:
                missing.append(f"{name} {status} {sentence or ''}: {found}")
    assert not missing, "\n".join(missing)


def test_every_golden_belongs_to_an_answer():
    if UPDATE:
        GOLDENS.write()
        return
    stale = [f"{name} {case}" for name, cases in GOLDENS.kept.items() for case in cases
             if case not in GOLDENS.seen.get(name, {})]
    assert not stale, f"recorded, but answered no more: {stale}"
