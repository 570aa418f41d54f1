#!/usr/bin/env python3
"""A small OpenAI-compatible model, for tests: it answers MODEL(<number of user messages seen>): <the last user message>.

    model_server.py [--host 127.0.0.1] [--port 0] [--log FILE]

Prints "listening on HOST:PORT" as its first line. A message that contains "please fail 401" (or any other status) is answered with that
status. --log appends one JSON line a request: path, number of messages, last user text.
"""
import argparse
import json
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

log_lock = threading.Lock()


def text_of(content):
    """The text of a message's content, which is a string or a list of parts."""
    if isinstance(content, str):
        return content
    return "".join(part.get("text", "") for part in content or [] if isinstance(part, dict))


# What OpenClaw puts around a message that comes over its WebSocket: "Sender (untrusted metadata):" and the like, each followed by
# a fenced block of JSON, and "[Tue 2026-03-17 20:30 UTC] ".
WRAPPING = re.compile(r"\A(?:[^\n]*\(untrusted[^\n]*\):\n```json\n.*?\n```\s*|\[\w{3} \d{4}-\d\d-\d\d \d\d:\d\d[^\]\n]*\] )", re.DOTALL)


def unwrapped(text):
    """The message as its sender wrote it."""
    while match := WRAPPING.match(text):
        text = text[match.end():]
    return text


class Model(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    log_file = None

    def log_message(self, *arguments):
        pass

    def answer(self, status, body, kind="application/json"):
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        if self.path.rstrip("/").endswith("/models"):
            self.answer(200, {"object": "list", "data": [{"id": "echo-1", "object": "model", "owned_by": "tests"}]})
        else:
            self.answer(404, {"error": {"message": "not found", "type": "invalid_request_error"}})

    def do_POST(self):
        try:
            request = json.loads(self.rfile.read(int(self.headers.get("Content-Length", "0"))))
            messages = request["messages"]
        except (ValueError, KeyError, TypeError):
            return self.answer(400, {"error": {"message": "bad request", "type": "invalid_request_error"}})
        if not self.path.endswith("/chat/completions"):
            return self.answer(404, {"error": {"message": "not found", "type": "invalid_request_error"}})
        said = [unwrapped(text_of(m.get("content"))) for m in messages if m.get("role") == "user"]
        last = said[-1] if said else ""
        if self.log_file:
            with log_lock, open(self.log_file, "a", encoding="utf-8") as log:
                log.write(json.dumps({"path": self.path, "messages": len(messages), "last": last}) + "\n")
        failure = re.search(r"please fail (\d{3})", last)
        if failure:
            status = int(failure.group(1))
            return self.answer(status, {"error": {"message": "failing as asked", "type": "test", "code": status}})
        reply = f"MODEL({len(said)}): {last}"
        usage = {"prompt_tokens": len(last.split()), "completion_tokens": len(reply.split()),
                 "total_tokens": len(last.split()) + len(reply.split())}
        head = {"id": f"chatcmpl-{time.time_ns()}", "created": int(time.time()), "model": request.get("model", "echo-1")}
        if not request.get("stream"):
            return self.answer(200, {**head, "object": "chat.completion", "usage": usage, "choices": [
                {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": reply}}]})
        chunks = [({"role": "assistant", "content": ""}, None)]
        chunks += [({"content": reply[i:i + 20]}, None) for i in range(0, len(reply), 20)] + [({}, "stop")]
        lines = [json.dumps({**head, "object": "chat.completion.chunk", "choices": [
            {"index": 0, "delta": delta, "finish_reason": finish}]}) for delta, finish in chunks]
        lines.append(json.dumps({**head, "object": "chat.completion.chunk", "choices": [], "usage": usage}))
        body = "".join(f"data: {line}\n\n" for line in lines) + "data: [DONE]\n\n"
        self.answer(200, body.encode(), "text/event-stream")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log")
    options = parser.parse_args()
    Model.log_file = options.log
    server = ThreadingHTTPServer((options.host, options.port), Model)
    server.daemon_threads = True
    print(f"listening on {options.host}:{server.server_address[1]}", flush=True)
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        sys.exit(0)


if __name__ == "__main__":
    main()
