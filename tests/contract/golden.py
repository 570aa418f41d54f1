"""Recorded request/response pairs, a file an operation; what differs from run to run is a placeholder."""

import difflib
import json
import os
import pathlib
import re

FOLDER = pathlib.Path(__file__).parent / "golden"
UPDATE = bool(os.environ.get("CREEL_UPDATE_GOLDEN"))
REQUEST_ID = "golden-request"
WIDTH = 120

# Left out where they are as always.
USUAL_HEADERS = {"Content-Type": "application/json", "Cache-Control": "no-store", "X-Request-Id": REQUEST_ID}
SHOWN_HEADERS = ("Content-Type", "Allow", "Cache-Control", "Deprecation", "ETag", "Link", "Location", "RateLimit-Limit",
                 "RateLimit-Remaining", "RateLimit-Reset", "Retry-After", "Set-Cookie", "WWW-Authenticate", "X-Request-Id")
# Measured, or counted over a life that is another each time.
NUMBERS = {"ageSeconds", "cpu", "cpuPercent", "cpuSecondsTotal", "generation", "id", "lastActivity", "lastSeen", "memory",
           "memoryBytes", "memoryPercent", "network", "networkRxBytes", "networkTxBytes", "nextAfter",
           "observedGeneration", "pids", "uptime", "uptimeFormatted", "averageResponseTime", "messagesPerHour",
           "messagesProcessed", "successRate", "errorRate", "timestamp", "Retry-After", "RateLimit-Remaining",
           "Stripe-Signature",
           "RateLimit-Reset", "count", "total", "messageCount", "responseTime"}
# Of a list only the first item is kept: how many there are depends on what ran before.
LISTS = {"agents", "events", "keys", "logs", "messages", "points", "sessions", "users"}
# What the reconciler saw at that moment: held by the schema, not word for word.
STATE = {"conditions", "phase", "observedAt", "nextAttempt"}
TEXTS = [
    (r", \d+ times in a row", ""),  # once or more often by now
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "<time>"),
    (r"\bsk_[0-9a-f]+", "<key>"),
    (r"\bmsg-\d+", "<msg>"),
    (r"\bECHO\(\d+\)", "ECHO(<number>)"),
    (r"\b(req|key|msg|sess|user|log|stream|evt)_[0-9a-f_]+", r"<\1>"),
    (r"(creel-session=)[^;]+", r"\1<session>"),
    (r"\b[0-9a-f]{64}\b", "<64 hex>"),
    (r"\b[0-9a-f]{32}\b", "<32 hex>"),
    (r"\b[0-9a-f]{16}\b", "<id>"),
    (r"\b0x[0-9a-fA-F]{130}\b", "<signature>"),
    (r"\b0x[0-9a-fA-F]{40}\b", "<address>"),
    (r"\bin \d+ s\b", "in <number> s"),
    (r"127\.0\.0\.1:\d+", "<host>"),
    (r"\bagent-[0-9a-f]{6}\b", "<name>"),
    (r"\b(scenario|person|made|new)-?\d+(@example.com)?\b", "<somebody>"),
]


def lasting(value, key=""):
    """The value without what differs from run to run."""
    if isinstance(value, dict):
        state = "phase" in value and ("stateMessage" if "stateMessage" in value else "message")
        return {lasting(name): "<message>" if name == state else lasting(member, name) for name, member in value.items()}
    if key in STATE and value is not None:
        return f"<{key}>"
    if isinstance(value, list):
        return [lasting(member, key) for member in (value[:1] if key in LISTS else value)]
    if key == "createdAt" and isinstance(value, int):  # of a session
        return "<number>"
    if key in NUMBERS and value not in (None, "N/A") and not (isinstance(value, str) and re.match("[a-z]{3}_", value)):
        return "<number>" if isinstance(value, (int, float)) or key[0].isupper() else lasting_text(value, True)
    return lasting_text(value) if isinstance(value, str) else value


def lasting_text(text, measured=False):
    for pattern, placeholder in TEXTS:
        text = re.sub(pattern, placeholder, text)
    return "<measured>" if measured and any(c.isdigit() for c in text) and "<" not in text else text


def written(value, indent=0, lead=0):
    """JSON with whatever fits into a line in one line."""
    line = json.dumps(value, ensure_ascii=False, sort_keys=True)
    if not isinstance(value, (dict, list)) or not value or lead + len(line) < WIDTH:
        return line
    pad = " " * (indent + 2)
    if isinstance(value, list):
        return "[\n" + ",\n".join(pad + written(v, indent + 2, indent + 2) for v in value) + "\n" + " " * indent + "]"
    lines = []
    for name, member in sorted(value.items()):
        head = pad + json.dumps(name, ensure_ascii=False) + ": "
        lines.append(head + written(member, indent + 2, len(head)))
    return "{\n" + ",\n".join(lines) + "\n" + " " * indent + "}"


class Goldens:
    def __init__(self):
        self.kept = {path.stem: json.loads(path.read_text()) for path in FOLDER.glob("*.json")}
        self.seen = {}

    def hold(self, operation, case, ask, answer):
        """Compares with what was recorded, or records it."""
        media = answer.header("Content-Type")
        headers = {name: answer.header(name) for name in SHOWN_HEADERS
                   if answer.header(name) != USUAL_HEADERS.get(name)}
        body = answer.json if media == "application/json" else f"<{media.split(';')[0]}>"
        if operation.path == "/openapi.json" and answer.status == 200:
            body = "<this document>"
        sent = ask.body
        if isinstance(sent, bytes):
            sent = sent.decode() if len(sent) < 200 else f"<{len(sent)} bytes>"
        request = {"caller": ask.caller.name, "method": operation.method, "target": ask.target, "headers": ask.headers,
                   "body": sent}
        pair = {"request": request, "response": {"status": answer.status, "headers": headers, "body": body}}
        pair["request"] = {name: value for name, value in pair["request"].items() if value not in (None, {})}
        pair = lasting(pair)
        self.seen.setdefault(operation.id, {})[case] = pair
        if not UPDATE:
            recorded = self.kept.get(operation.id, {}).get(case)
            assert recorded is not None, (
                f"{operation.name}: no golden for {case}; CREEL_UPDATE_GOLDEN=1 records it, then look at it")
            difference = difflib.unified_diff(written(recorded).split("\n"), written(pair).split("\n"), "recorded", "now",
                                              lineterm="", n=1)
            assert pair == recorded, f"{operation.name} {case} is not as recorded:\n" + "\n".join(difference)

    def write(self):
        FOLDER.mkdir(exist_ok=True)
        for path in FOLDER.glob("*.json"):
            if path.stem not in self.seen:
                path.unlink()
        for name, cases in self.seen.items():
            (FOLDER / (name + ".json")).write_text(written(cases) + "\n")
