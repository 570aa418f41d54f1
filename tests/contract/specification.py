"""The served specification: its operations, requests made of its examples, and answers held against it."""

import dataclasses
import json
import re
import urllib.parse

import jsonschema
import referencing
import referencing.jsonschema

METHODS = ("get", "post", "put", "delete", "patch")
GENERAL = "x-general-responses"


@dataclasses.dataclass
class Operation:
    method: str
    path: str
    node: dict
    parameters: list

    @property
    def name(self):
        return f"{self.method} {self.path}"

    @property
    def id(self):
        return self.node["operationId"]

    @property
    def security(self):
        """open: credentials are not looked at; optional; user; admin."""
        given = self.node.get("security")
        if given == []:
            return "open"
        if given is not None and {} in given:
            return "optional"
        return "admin" if "admin" in self.node["tags"] else "user"

    def parameters_in(self, place):
        return [p for p in self.parameters if p["in"] == place]

    @property
    def body(self):
        return self.node.get("requestBody", {}).get("content", {}).get("application/json")

    def __str__(self):
        return self.name


def examples_of(media):
    """name -> value; a single `example` is called "example"."""
    if "examples" in media:
        return {name: example["value"] for name, example in media["examples"].items()}
    return {"example": media["example"]} if "example" in media else {}


class Specification:
    def __init__(self, document):
        self.document = document
        resource = referencing.Resource(contents=document, specification=referencing.jsonschema.DRAFT202012)
        self._registry = referencing.Registry().with_resource("urn:creel", resource)
        self._validators = {}
        self.operations = [
            Operation(method.upper(), path, node, [self.resolved(p) for p in node.get("parameters", [])])
            for path, methods in document["paths"].items()
            for method, node in methods.items()
            if method in METHODS
        ]

    def operation(self, name):
        return next(o for o in self.operations if o.name == name)

    def resolved(self, node):
        while "$ref" in node:
            target = self.document
            for part in node["$ref"][2:].split("/"):
                target = target[part.replace("~1", "/").replace("~0", "~")]
            node = target
        return node

    def validator(self, schema):
        key = json.dumps(schema, sort_keys=True)
        if key not in self._validators:
            rooted = json.loads(key.replace('"$ref": "#/', '"$ref": "urn:creel#/'))
            self._validators[key] = jsonschema.Draft202012Validator(
                rooted, registry=self._registry, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
        return self._validators[key]

    def problems(self, value, schema):
        return [f"{error.json_path}: {error.message[:300]}" for error in self.validator(schema).iter_errors(value)]

    def responses(self, operation):
        """status -> resolved response, of the operation's own list."""
        return {status: self.resolved(node) for status, node in operation.node["responses"].items()}

    def codes(self, response):
        """The stable codes that an error response names: its examples are keyed by them."""
        return set(examples_of(response.get("content", {}).get("application/json", {})))

    def _response(self, operation, answer):
        """The documented response that this answer claims to be."""
        status = str(answer.status)
        found = [] if operation is None else [self.responses(operation).get(status)]
        general = self.document[GENERAL].get(status)
        found.append(self.resolved(general) if general else None)
        found = [response for response in found if response]
        if answer.status >= 400 and len(found) > 1:
            code = answer.json.get("code")
            found = [response for response in found if code in self.codes(response)] or found
        return found[0] if found else None

    def check(self, operation, answer):
        """Everything that is wrong with an answer, in sentences; an empty list is what is wanted."""
        response = self._response(operation, answer)
        if response is None:
            return [f"status {answer.status} is not documented: {answer}"]
        problems = []
        media = (answer.header("Content-Type") or "").split(";")[0]
        content = response.get("content", {})
        if media not in content:
            return [f"content type {media!r} of {answer.status} is not documented"]
        if media == "application/json":
            value = json.loads(answer.body.decode())  # strict: what is sent must be UTF-8
            problems += self.problems(value, content[media]["schema"])
            if answer.status >= 400:
                if value.get("code") not in self.codes(response):
                    problems.append(f"code {value.get('code')} of {answer.status} is not documented")
                if value.get("requestId") != answer.header("X-Request-Id"):
                    problems.append("requestId is not X-Request-Id")
        for name, header in response.get("headers", {}).items():
            header, text = self.resolved(header), answer.header(name)
            if text is None:
                if header.get("required"):
                    problems.append(f"the header {name} is missing on {answer.status}")
                continue
            value = int(text) if header["schema"].get("type") == "integer" and re.fullmatch(r"-?\d+", text) else text
            problems += [f"header {name}: {problem}" for problem in self.problems(value, header["schema"])]
        if answer.status == 429 and answer.json.get("code") == "RATE_LIMITED" and not answer.header("Retry-After"):
            problems.append("RATE_LIMITED without Retry-After")
        return problems

    def variants(self, operation):
        """(example's name, example, the object schema it belongs to) of a request body."""
        schema = self.resolved(operation.body["schema"])
        for name, example in examples_of(operation.body).items():
            chosen = schema
            for option in schema.get("oneOf", []):
                if not self.problems(example, option):
                    chosen = self.resolved(option)
                    break
            yield name, example, chosen


def sample(operation, ids, query=None):
    """(target, body) of a good request: ids into the path, required query parameters and the first example as body."""
    path = operation.path
    for parameter in operation.parameters_in("path"):
        path = path.replace("{%s}" % parameter["name"], ids[parameter["name"]])
    given = {p["name"]: example_of(p) for p in operation.parameters_in("query") if p.get("required")}
    given.update(query or {})
    body = next(iter(examples_of(operation.body).values())) if operation.body else None
    return path + ("?" + urllib.parse.urlencode(given) if given else ""), body


def example_of(parameter):
    schema = parameter["schema"]
    for place in (parameter, schema):
        if "example" in place:
            return place["example"]
        if "examples" in place:
            first = place["examples"]
            return first[0] if isinstance(first, list) else next(iter(first.values()))["value"]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    raise AssertionError(f"the parameter {parameter['name']} has no example")
