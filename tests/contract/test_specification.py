"""The specification itself: valid OpenAPI 3.1, and complete enough to make clients and documentation of."""

import re

import openapi_spec_validator
import pytest

from conftest import OPERATIONS, SPEC
from specification import GENERAL, METHODS, examples_of

DOCUMENT = SPEC.document
ERROR = {"$ref": "#/components/schemas/Error"}


def all_responses(operation):
    return SPEC.responses(operation).items()


def test_it_is_valid_openapi_3_1():
    assert DOCUMENT["openapi"].startswith("3.1.")
    openapi_spec_validator.validate(DOCUMENT)


def test_it_has_no_method_that_the_suite_does_not_know():
    assert {method for methods in DOCUMENT["paths"].values() for method in methods} <= set(METHODS)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_says_what_it_is_and_who_may_call_it(operation):
    assert re.fullmatch(r"[a-z][A-Za-z]+", operation.id)
    assert operation.node["summary"] and operation.node["tags"]
    assert operation.node.get("security", DOCUMENT["security"]) is not None


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_operation_documents_the_errors_that_its_kind_can_have(operation):
    expected = set()
    if operation.security != "open":
        expected |= {"429", "500", "503"}
    if operation.security in ("user", "admin"):
        expected |= {"401"} | ({"403"} if operation.method != "GET" else set())
    if operation.body:
        expected |= {"400", "413"}
    if any("schema" in p for p in operation.parameters_in("query")):
        expected |= {"400"}
    if operation.parameters_in("path") and operation.security != "open":
        expected |= {"403"} if operation.path.startswith("/api/instance/") else {"404"}
    assert expected <= set(operation.node["responses"])


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_request_body_has_a_named_schema_and_examples_that_fit_it(operation):
    if not operation.node.get("requestBody"):
        return
    body = operation.body
    assert body, "a request body is application/json"
    assert "$ref" in body["schema"], "its schema has no name"
    assert examples_of(body), "it has no example"
    for name, example in examples_of(body).items():
        assert not SPEC.problems(example, body["schema"]), name


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_answer_has_a_named_schema_and_examples_that_fit_it(operation):
    for status, response in all_responses(operation):
        assert response["description"]
        for media, content in response["content"].items():
            if media != "application/json":
                continue
            assert "$ref" in content["schema"] or int(status) >= 400 or operation.path == "/openapi.json", (
                f"the schema of {status} has no name")
            assert examples_of(content), f"{status} has no example"
            for name, example in examples_of(content).items():
                assert not SPEC.problems(example, content["schema"]), f"{status} {name}"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_error_has_the_shape_of_errors_and_names_its_stable_codes(operation):
    instance = operation.path.startswith("/api/instance/")
    for status, response in all_responses(operation):
        if int(status) < 400:
            continue
        schema = response["content"]["application/json"]["schema"]
        assert SPEC.codes(response), f"{status} names no code"
        for code, example in examples_of(response["content"]["application/json"]).items():
            assert re.fullmatch(r"[A-Z][A-Z_]+", code), f"{status}: the example {code} is not called by its code"
            assert example["code"] == code and not SPEC.problems(example, ERROR), f"{status} {code}"
            if instance and status != "413":
                assert example["success"] is False and example["status"] == "error", f"{status} {code}"
        assert SPEC.problems({"code": code, "requestId": "req_1"}, schema), f"{status} would take an error without a text"


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_answer_names_its_headers(operation):
    for status, response in all_responses(operation):
        headers = response.get("headers", {})
        assert "X-Request-Id" in headers, status
        assert status not in ("503",) or "Retry-After" in headers or "VERIFIER_NOT_CONFIGURED" in SPEC.codes(response)
        assert status != "429" or "RateLimit-Limit" in headers, status
        assert status != "401" or "WWW-Authenticate" in headers or operation.security == "open", status
        if operation.node.get("deprecated") and status.startswith("2"):
            assert {"Deprecation", "Link"} <= set(headers), status


def test_what_any_address_may_answer_is_an_error_with_its_codes():
    for status, node in DOCUMENT[GENERAL].items():
        if status != "description":
            assert SPEC.codes(SPEC.resolved(node)), status


def typeless(schema, place):
    """Places where a client would get `any`: properties and items that say nothing."""
    known = ("type", "const", "enum", "$ref", "anyOf", "oneOf", "allOf")
    for name, member in schema.get("properties", {}).items():
        if not any(key in member for key in known):
            yield f"{place}.{name}"
        yield from typeless(member, f"{place}.{name}")
    if "array" in str(schema.get("type")):
        if not any(key in schema.get("items", {}) for key in known):
            yield f"{place}[]"
        yield from typeless(schema.get("items", {}), place + "[]")
    for key in ("anyOf", "oneOf", "allOf"):
        for option in schema.get(key, []):
            yield from typeless(option, place)


def test_nothing_in_a_schema_is_without_a_type():
    assert not [place for name, schema in DOCUMENT["components"]["schemas"].items() for place in typeless(schema, name)]


def test_each_required_property_is_one_of_the_properties():
    wrong = [f"{name}.{field}" for name, schema in DOCUMENT["components"]["schemas"].items()
             for field in schema.get("required", []) if field not in schema.get("properties", {})]
    assert not wrong
