"""What the tests of this folder do with a Creel that runs, as a user would."""

import subprocess
import time

import requests


def sh(*command, check=True, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    assert not check or done.returncode == 0, f"{' '.join(command)}\n{done.stdout}{done.stderr}"
    return done


def eventually(what, seconds=120):
    """What `what` returns once that is true; its last answer, or exception, is the failure's message."""
    until = time.monotonic() + seconds
    while True:
        try:
            answer = what()
            if answer:
                return answer
        except (requests.RequestException, AssertionError, LookupError) as problem:
            answer = problem
        assert time.monotonic() < until, answer
        time.sleep(0.2)


def is_ready(url):
    answer = requests.get(url + "/readyz", timeout=10)
    assert answer.status_code == 200, answer.text
    return True


def api_key(container):
    """Of a user made for it, by the program in the container."""
    email = "owner@example.com"
    sh("docker", "exec", container, "creel", "user", "add", "--email", email, "--admin", "--plan", "enterprise",
       "--subscription", "active")
    return sh("docker", "exec", container, "creel", "key", "create", "--email", email, "--name", "test").stdout.split()[0]


class Agent:
    """Provisioned, and waited for until it is ready."""

    def __init__(self, url, key):
        self.url, self.headers = url, {"Authorization": f"Bearer {key}"}
        made = requests.post(url + "/api/agents/provision", json={"name": "agent"}, headers=self.headers, timeout=60)
        assert made.status_code in (201, 202), made.text
        self.id = made.json()["agent"]["id"]
        eventually(lambda: self.shown()["phase"] == "Ready" or AssertionError(self.shown()))

    def shown(self):
        answer = requests.get(f"{self.url}/api/agents/{self.id}", headers=self.headers, timeout=10)
        assert answer.status_code == 200, answer.text
        return answer.json()["agent"]

    def fenced(self):
        return next(c for c in self.shown()["conditions"] if c["type"] == "Fenced")["status"] == "True"

    def says(self, message):
        answer = requests.post(self.url + "/api/chat", json={"message": message, "agentId": self.id},
                               headers=self.headers, timeout=60)
        assert answer.status_code == 200, answer.text
        return answer.json()["reply"]

    def container(self):
        return f"creel-{self.id}"
