"""Bad input to every operation: what is expected follows from its parameters and schemas; exceptions are in one table.

Whatever is sent: never a 5xx, never HTML, always error, code and requestId, and nothing that the specification does not
document.
"""

import json
import re
import urllib.parse

import pytest

from conftest import OPERATIONS, SPEC, ids_of, provision, request_of, with_whatsapp
from creel import ANONYMOUS
from scenarios import LIMIT, UNKNOWN, Ask, signed
from specification import METHODS, sample

TYPES = {"string": "text", "integer": 12, "number": 1.5, "boolean": True, "array": [1], "object": {"a": 1}}
WITH_BODY = [p for p in OPERATIONS if p.values[0].body]
WITH_QUERY = [p for p in OPERATIONS if p.values[0].parameters_in("query")]
WITH_ID = [p for p in OPERATIONS if "{" in p.values[0].path and p.values[0].security != "open"]

# (operation, field or parameter, what is wrong) -> the answer that is right all the same, and why.
# A name instead of a status: 400 all the same, but another field is to blame.
EXCEPTIONS = {
    # Without an action it is a chat, and a chat needs a message.
    ("postAgentAction", "action", "missing"): "message",
    ("postAgentAction", "action", "null"): "message",
    ("postAgentAction", "action", "empty"): "message",
}

# Of a 5xx that the request has earned: what it asks for is not set up here, or takes longer than it would wait.
GOOD_REASONS = ("VERIFIER_NOT_CONFIGURED", "NOT_OBSERVED")


@pytest.fixture(scope="module")
def bad(server, world):
    """Sends as the owner (as an administrator or nobody where that is who may), to an agent of its own."""
    agent = provision(server, world.owner, "bad-input")
    with_whatsapp(server, world.owner, agent)

    def send(operation, target=None, body=None, headers=None, **query):
        whom = {"open": ANONYMOUS, "admin": world.callers["admin"]}.get(operation.security, world.owner)
        to = agent
        if operation.id == "deleteAgent":  # what is not refused may be done
            to = UNKNOWN
        made, good = request_of(operation, to, "key_" + UNKNOWN, **query)
        ask = signed(operation, Ask(whom, target or made, good if body is None else body))
        return server.call(operation.method, ask.target, whom, ask.body, {**ask.headers, **(headers or {})})

    return send


def well(operation, answer, status=None, field=None, code=None):
    problems = SPEC.check(operation, answer)
    assert not problems, f"{problems}: {answer}"
    if answer.status >= 500:
        assert answer.json["code"] in GOOD_REASONS, answer
    if status:
        assert answer.status == status, answer
    if field:
        # A field inside the named one is named whole; some names have dots of their own.
        assert (answer.json.get("field", "") + ".").startswith(field + "."), answer
    if code:
        assert answer.json["code"] == code, answer


def types_of(schema):
    schema = SPEC.resolved(schema)
    if "anyOf" in schema:
        return {t for option in schema["anyOf"] for t in types_of(option)}
    given = schema.get("type")
    if given is None:
        values = schema.get("enum", [schema["const"]] if "const" in schema else [])
        return {name for name, value in TYPES.items() for one in values if isinstance(one, type(value))}
    return set(given) if isinstance(given, list) else {given}


# --- bodies ----------------------------------------------------------------------------------------------------------

DEEP = b'{"deep":' + b"[" * 10_000 + b"]" * 10_000 + b"}"
NOT_A_GOOD_BODY = {
    "cut off": b'{"name":',
    "not JSON": b"name=x&model=y",
    "an array": b"[]",
    "a text": b'"name"',
    "a number": b"7",
    "null": b"null",
    "two values": b"{}{}",
    "a comment": b'{"a": 1 /* one */}',
    "10,000 levels": DEEP,
    "10,000 levels, not closed": b'{"deep":' + b'{"a":' * 10_000,
    "not UTF-8": b'{"name": "\xff\xfe", "message": "\xc3("}',
    "not UTF-8 in a key": b'{"\xff": 1}',
    "half of a surrogate pair": b'{"name": "\\ud800", "message": "\\udfff"}',
    "a NUL character": b'{"name": "a\\u0000b", "message": "\\u0000", "x": "\\u0000"}',
    "a NUL character in a key": b'{"a\\u0000b": 1}',
    "a NUL byte": b'{"name": "a\x00b"}',
    "a number beyond all bounds": b'{"x": 1e999}',
}


@pytest.mark.parametrize("operation", WITH_BODY)
@pytest.mark.parametrize("what", NOT_A_GOOD_BODY)
def test_a_body_that_is_no_json_object_is_refused(bad, operation, what):
    well(operation, bad(operation, body=NOT_A_GOOD_BODY[what]), 400, code="INVALID_BODY")


@pytest.mark.parametrize("operation", WITH_BODY)
@pytest.mark.parametrize("media", ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                                   "application/jsonx", "", None))
def test_another_content_type_is_refused(bad, operation, media):
    answer = bad(operation, headers={"Content-Type": media})
    well(operation, answer, 400, "Content-Type", "INVALID_BODY")


@pytest.mark.parametrize("operation", [p for p in OPERATIONS if p.values[0].method != "GET"])
@pytest.mark.parametrize("chunked", (False, True))
def test_a_body_of_one_mebibyte_and_one_byte_is_too_large(bad, operation, chunked):
    if chunked:
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (LIMIT + 1, b" " * (LIMIT + 1))
        headers = {"Transfer-Encoding": "chunked", "Content-Length": None}
    else:
        body, headers = b" " * (LIMIT + 1), {}
    well(operation, bad(operation, body=body, headers=headers), 413, code="BODY_TOO_LARGE")


@pytest.mark.parametrize("operation", WITH_BODY)
def test_a_body_of_one_mebibyte_is_read(bad, operation):
    body = b'{"unknown":"' + b"x" * (LIMIT - 14) + b'"}'
    answer = bad(operation, body=body)
    assert len(body) == LIMIT and answer.status != 413
    well(operation, answer)


@pytest.mark.parametrize("operation", WITH_BODY)
def test_numbers_of_any_size_and_keys_that_come_twice_do_no_harm(bad, operation):
    for body in (b'{"x": 123456789012345678901234567890, "y": -1e308, "z": 1e-999}', b'{"x": 1, "x": {"x": "2"}, "x": []}'):
        well(operation, bad(operation, body=body))


def fields():
    """(operation, variant, field, schema, required) of each field of each kind of body."""
    for operation in SPEC.operations:
        if operation.body:
            for name, example, schema in SPEC.variants(operation):
                for field, member in schema.get("properties", {}).items():
                    yield operation, name, example, field, SPEC.resolved(member), field in schema.get("required", [])


def wrongs():
    for operation, name, example, field, schema, required in fields():
        cases = {f"a {kind}": value for kind, value in TYPES.items()
                 if kind not in types_of(schema) and not (kind == "integer" and "number" in types_of(schema))}
        if required:
            cases["missing"] = cases["null"] = None
        if "string" in types_of(schema):
            texts = {"empty": "", "unknown": "\u2603 no such", "too long": "a" * (schema.get("maxLength", 0) + 1)}
            cases |= {what: text for what, text in texts.items()
                      if (what != "too long" or "maxLength" in schema) and SPEC.problems(text, schema)}
        for what, value in cases.items():
            body = {**example, field: value}
            if what == "missing":
                del body[field]
            yield pytest.param(operation, field, what, body, id=f"{operation.name} {name} {field} {what}")


@pytest.mark.parametrize("operation, field, what, body", list(wrongs()))
def test_a_field_that_is_wrong_is_refused_by_name(bad, operation, field, what, body):
    expected = EXCEPTIONS.get((operation.id, field, what), field)
    status, blamed = (400, expected) if isinstance(expected, str) else (expected, None)
    well(operation, bad(operation, body=body), status, blamed)


@pytest.mark.parametrize("operation", WITH_BODY)
def test_texts_of_200_kilobytes_do_no_harm(bad, operation):
    for one, _, example, field, schema, _ in fields():
        if one is operation and "string" in types_of(schema):
            well(operation, bad(operation, body={**example, field: "\u00e4" * 100_000}, **waits(operation)))


def waits(operation):
    return {"wait": 0} if any(p["name"] == "wait" for p in operation.parameters_in("query")) else {}


# --- addresses -------------------------------------------------------------------------------------------------------

ODD_VALUES = ("", "soon", "-1", "0", "1.5", "1e999", "99999999999999999999999999", "true", "\u2603", "a" * 4000, "%", "'",
              "NaN", "0x10", " 1")


def as_typed(text, types):
    if "boolean" in types and text in ("true", "false"):
        return text == "true"
    if "integer" in types and re.fullmatch(r"-?\d+", text):
        return int(text)
    if "number" in types and re.fullmatch(r"-?\d+(\.\d+)?", text):
        return float(text)
    return text


@pytest.mark.parametrize("operation", WITH_QUERY)
def test_a_query_parameter_that_is_wrong_is_refused_by_name(bad, operation):
    for parameter in operation.parameters_in("query"):
        for text in ODD_VALUES:
            name, schema = parameter["name"], parameter["schema"]
            answer = bad(operation, **{name: text})
            wrong = SPEC.problems(as_typed(text, types_of(schema)), schema)
            if wrong and (operation.id, name, text) not in EXCEPTIONS:
                well(operation, answer, 400, name, "INVALID_QUERY")
            else:
                well(operation, answer)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_malformed_address_is_refused(bad, operation):
    target, _ = request_of(operation, UNKNOWN, UNKNOWN)
    for query in ("x=%zz", "x=%", "x=%0", "x=%00", "%00=1"):
        answer = bad(operation, target=target + ("&" if "?" in target else "?") + query)
        well(operation, answer, 400, "target", "BAD_REQUEST")


@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_address_that_is_not_utf_8_is_refused(bad, operation):
    for parameter in [p["name"] for p in operation.parameters_in("query")] + ["x"]:
        target, _ = request_of(operation, UNKNOWN, UNKNOWN)
        answer = bad(operation, target=f"{target.split('?')[0]}?{parameter}=%ff%c3%28")
        well(operation, answer, 400, "target", "BAD_REQUEST")


@pytest.mark.parametrize("operation", WITH_ID)
def test_an_odd_id_is_an_unknown_id(bad, server, world, operation):
    name = operation.parameters_in("path")[0]["name"]
    expected = bad(operation, target=address(operation, name, UNKNOWN)).status
    for odd in ("x", UNKNOWN.replace("0", "A"), "0" * 2000, "..%2f..%2fetc%2fpasswd", "%F0%9F%92%A9",
                "'%20OR%201=1--", "%25", "a+b", "{id}", "null", "0" * 15, "0" * 17):
        answer = bad(operation, target=address(operation, name, odd))
        well(operation, answer, expected)
    for odd in ("a%00b", "%ff%fe", "%c0%80", "%", "%4"):
        well(operation, bad(operation, target=address(operation, name, odd)), 400, "target", "BAD_REQUEST")


def address(operation, name, value):
    target, _ = sample(operation, {name: value})
    return target


@pytest.mark.parametrize("path", SPEC.document["paths"])
def test_another_method_is_refused_and_told_which_ones_there_are(server, spec, path):
    methods = {method.upper() for method in spec.document["paths"][path] if method in METHODS}
    allowed = methods | {"OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
    target = re.sub(r"\{\w+\}", UNKNOWN, path)
    for method in {"GET", "POST", "PUT", "DELETE", "PATCH", "TRACE", "PROPFIND", "QUERY", "BREW"} - allowed:
        answer = server.call(method, target)
        well(None, answer, 405, code="METHOD_NOT_ALLOWED")
        assert set(answer.header("Allow").split(", ")) == allowed
    options = server.call("OPTIONS", target)
    assert options.status == 204 and set(options.header("Allow").split(", ")) == allowed and not options.body


@pytest.mark.parametrize("target", ("/nothing", "/api", "/api/", "/api/agents/", "/api/agents/x/y/z", "//api/agents",
                                    "/api/agents/../keys", "/API/agents", "/api/instance/", "/%2e%2e/etc/passwd"))
def test_an_unknown_path_is_refused(server, target):
    for method in ("GET", "POST", "DELETE"):
        well(None, server.call(method, target), 404, code="NOT_FOUND")


# --- heads -----------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_head_of_20_kilobytes_is_too_large(bad, operation):
    target, _ = request_of(operation, UNKNOWN, UNKNOWN)
    for answer in (bad(operation, headers={"X-Long": "a" * 20_000}),
                   bad(operation, target=target + ("&" if "?" in target else "?") + "x=" + "a" * 20_000)):
        well(operation, answer, 431, code="HEADERS_TOO_LARGE")


@pytest.mark.parametrize("operation", [p for p in OPERATIONS if p.values[0].security in ("user", "admin")])
def test_a_credential_that_is_none_is_no_credential(server, operation):
    target, body = request_of(operation, UNKNOWN, UNKNOWN)
    for head in ({"Authorization": "Bearer"}, {"Authorization": "Bearer sk_" + "0" * 64}, {"Authorization": "Basic eDp5"},
                 {"Authorization": "Bearer \xff\xfe"}, {"Authorization": "Bearer sk_' OR 1=1--"}, {"Authorization": ""},
                 {"Authorization": "Bearer " + "a" * 8000}, {"Cookie": "creel-session=" + "0" * 64},
                 {"Cookie": ";;;=;creel-session;creel-session="}, {"Cookie": "__Host-creel-session=x"}):
        well(operation, server.call(operation.method, target, body=body, headers=head), 401, code="UNAUTHORIZED")


def test_a_request_id_that_could_do_harm_is_replaced(server):
    for given in ("a b", "a" * 65, "<script>", "\xff", "a\tb", ""):
        answer = server.call("GET", "/healthz", headers={"X-Request-Id": given})
        assert re.fullmatch(r"req_[0-9a-f]{16}", answer.header("X-Request-Id")), given
    assert server.call("GET", "/healthz", headers={"X-Request-Id": "mine-1.2_3"}).header("X-Request-Id") == "mine-1.2_3"


@pytest.mark.parametrize("operation", [p for p in OPERATIONS if p.values[0].parameters_in("header")])
def test_odd_headers_do_no_harm(bad, operation):
    for parameter in operation.parameters_in("header"):
        for value in ("", "\xff\xfe", "a" * 300, "a" * 8000, "\t", '"', "*", ",,,", "respond-async;;;", "\u00e4"):
            well(operation, bad(operation, headers={parameter["name"]: value.encode("latin-1")}, body=b"[]" if
                                operation.body else None))


def test_every_exception_is_still_one():
    known = {(operation.id, field) for operation, _, _, field, _, _ in fields()}
    known |= {(operation.id, p["name"]) for operation in SPEC.operations for p in operation.parameters_in("query")}
    assert {key[:2] for key in EXCEPTIONS} <= known
