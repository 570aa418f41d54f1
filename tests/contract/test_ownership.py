"""Who may do what: every operation as its owner, as somebody else, as an administrator and as nobody.

The operations come from the served specification, which a unit test holds equal to the route table; a kind of resource
that the table below does not know fails by name.
"""

import json

import pytest

from conftest import OPERATIONS, SPEC, ids_of, provision, request_of, sample
from scenarios import UNKNOWN

# path prefix -> (what a foreign or an unknown id gets, what an administrator gets who is not the owner)
KINDS = {
    "/api/agents/{id}/verify": ((404, "AGENT_NOT_FOUND"), (403, "FORBIDDEN")),
    "/api/agents/{id}": ((404, "AGENT_NOT_FOUND"), None),
    "/api/instance/{userId}": ((403, "FORBIDDEN"), None),
    "/api/keys/{id}": ((404, "KEY_NOT_FOUND"), (404, "KEY_NOT_FOUND")),
}
REFUSED = (401, 403, 404)


def kind_of(operation):
    """Its row of KINDS; None for an operation without an id in its path."""
    if "{" not in operation.path or operation.security == "open":
        return None
    for prefix, row in KINDS.items():
        if operation.path.startswith(prefix):
            return row
    raise AssertionError(f"{operation.name}: the matrix has no expectation; add its kind of resource to KINDS")


def names_agent(operation):
    """"query" or "body" where that names an agent, instead of the path."""
    if any(p["name"] == "agentId" for p in operation.parameters_in("query")):
        return "query"
    named = operation.body and any("agentId" in schema.get("properties", {}) for _, _, schema in SPEC.variants(operation))
    return "body" if named else None


def without_request_id(answer):
    body = {name: value for name, value in answer.json.items() if name != "requestId"}
    return answer.status, json.dumps(body).replace(UNKNOWN, "ID")


@pytest.fixture(scope="module")
def state_of_owner(server, world):
    """All that somebody else could have changed."""
    def read():
        agent, owner = world.agents["owner"], world.owner
        return {"agent": server.call("GET", f"/api/agents/{agent}", owner).json["agent"]["generation"],
                "events": server.call("GET", f"/api/agents/{agent}/events?limit=1000", owner).json["nextAfter"],
                "keys": [key["id"] for key in server.call("GET", "/api/keys", owner).json["keys"]],
                "agents": server.call("GET", "/api/agents", owner).json["count"]}
    read.before = read()
    return read


@pytest.mark.parametrize("operation", OPERATIONS)
def test_the_matrix_has_an_expectation_for_every_operation(operation):
    kind_of(operation)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_nobody_is_told_to_log_in_and_learns_nothing(server, spec, world, state_of_owner, operation):
    target, body = request_of(operation, world.agents["owner"], world.keys["owner"])
    answer = server.call(operation.method, target, body=body)
    assert not spec.check(operation, answer), answer
    if operation.security in ("open", "optional"):
        assert answer.status != 401 or operation.id == "login", answer
        return
    assert answer.status == 401 and answer.json["code"] == "UNAUTHORIZED", answer
    target, body = request_of(operation, UNKNOWN, "key_" + UNKNOWN)
    assert without_request_id(server.call(operation.method, target, body=body)) == without_request_id(answer)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_somebody_else_cannot_tell_a_foreign_id_from_an_unknown_one(server, spec, world, state_of_owner, operation):
    row = kind_of(operation)
    if row is None:
        return
    other = world.callers["other"]
    target, body = request_of(operation, world.agents["owner"], world.keys["owner"])
    foreign = server.call(operation.method, target, other, body)
    assert not spec.check(operation, foreign), foreign
    assert (foreign.status, foreign.json["code"]) == row[0], foreign
    for unknown in (UNKNOWN, "nobody", "f" * 16):
        target, body = request_of(operation, unknown, "key_" + unknown)
        answer = server.call(operation.method, target, other, body)
        told = json.dumps(answer.json).replace(unknown, "ID"), json.dumps(foreign.json).replace(
            world.agents["owner"], "ID")
        assert {**json.loads(told[0]), "requestId": ""} == {**json.loads(told[1]), "requestId": ""}
        hidden = [{name: value.replace(unknown, "ID").replace(world.agents["owner"], "ID").replace(
                       world.keys["owner"], "key_ID") for name, value in one.headers
                   if name not in ("Date", "X-Request-Id", "Content-Length")} for one in (answer, foreign)]
        assert hidden[0] == hidden[1]


@pytest.mark.parametrize("operation", [p for p in OPERATIONS if names_agent(p.values[0])])
def test_an_agent_named_in_the_query_or_the_body_is_no_way_around(server, spec, world, state_of_owner, operation):
    place = names_agent(operation)
    for caller, agent in (("other", world.agents["owner"]), ("owner", UNKNOWN), ("owner", "nobody")):
        target, body = request_of(operation, agent, UNKNOWN, **({"agentId": agent} if place == "query" else {}))
        if place == "body":
            body = {**body, "agentId": agent}
        answer = server.call(operation.method, target, world.callers[caller], body)
        assert not spec.check(operation, answer), answer
        assert (answer.status, answer.json["code"]) == (404, "AGENT_NOT_FOUND"), answer


@pytest.mark.parametrize("operation", [p for p in OPERATIONS if p.values[0].security == "admin"])
def test_only_administrators_may_do_what_is_theirs(server, spec, world, operation):
    target, body = request_of(operation, world.agents["owner"], world.keys["owner"])
    answer = server.call(operation.method, target, world.owner, body)
    assert not spec.check(operation, answer), answer
    assert (answer.status, answer.json["code"]) == (403, "FORBIDDEN"), answer


def test_what_was_refused_changed_nothing(state_of_owner):
    assert state_of_owner() == state_of_owner.before


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ("owner", "admin"))
def test_the_owner_may_and_an_administrator_too_where_the_table_says_so(server, spec, world, name, operation):
    if operation.security == "open":
        return
    agent, key = world.agents["owner"], world.keys["owner"]
    if operation.id == "deleteAgent":
        agent = provision(server, world.owner, "to-be-deleted")
    elif operation.id == "deleteKey":
        key = server.call("POST", "/api/keys", world.owner, {"name": "to-be-deleted"}).json["id"]
    target, body = request_of(operation, agent, key)
    answer = server.call(operation.method, target, world.callers[name], body)
    assert not spec.check(operation, answer), answer
    row = kind_of(operation)
    if name == "admin" and row and row[1]:
        assert (answer.status, answer.json["code"]) == row[1], answer
    elif operation.security == "admin" and name == "owner":
        assert answer.status == 403, answer
    elif operation.id != "login":
        assert answer.status not in REFUSED, answer


def test_lists_hold_what_belongs_to_the_caller(server, world):
    def listed(path, caller, member, field):
        return {item[field] for item in server.call("GET", path, caller).json[member]}

    owner, other, admin = (world.callers[name] for name in ("owner", "other", "admin"))
    mine, theirs = world.agents["owner"], world.agents["other"]
    for path in ("/api/agents", "/api/agents/provision"):
        assert mine in listed(path, owner, "agents", "id") and theirs not in listed(path, owner, "agents", "id")
        assert listed(path, other, "agents", "id") == {theirs}
        assert {mine, theirs} <= listed(path, admin, "agents", "id")
    assert server.call("GET", "/api/agents").json == {"agents": [], "count": 0, "status": "ok"}
    assert listed("/api/events?limit=1000", other, "events", "agentId") == {theirs}
    assert {mine, theirs} <= listed("/api/events?limit=1000", admin, "events", "agentId")
    assert world.keys["owner"] not in listed("/api/keys", admin, "keys", "id")


def test_a_user_id_stands_for_the_callers_oldest_agent_and_for_nobody_elses(server, world):
    for name in ("owner", "other"):
        user = server.call("GET", "/api/auth/session", world.callers[name]).json["user"]["id"]
        assert server.call("GET", f"/api/instance/{user}", world.callers[name]).json["userId"] == world.agents[name]
        stranger = world.callers["other" if name == "owner" else "owner"]
        foreign = server.call("GET", f"/api/instance/{user}", stranger)
        assert foreign.status == 403 and foreign.json["code"] == "FORBIDDEN"


def test_ids_of_knows_what_each_path_parameter_stands_for(spec):
    for operation in spec.operations:
        sample(operation, ids_of(operation, UNKNOWN, UNKNOWN))
