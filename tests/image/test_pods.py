"""What the chart renders, started for real: its containers with their arguments, environment, users, limits and files, by
Docker in the kubelet's place; with an engine elsewhere over mutual TLS, and with the one beside Creel."""

import json
import os
import pathlib
import shutil

import pytest
import requests
import yaml
from creel import Agent, api_key, eventually, is_ready, sh

ROOT = pathlib.Path(__file__).parent.parent.parent
DIR = pathlib.Path(os.environ["CREEL_IMAGE_DIR"])
HOST, PORT = os.environ["CREEL_IMAGE_HOST"], os.environ["CREEL_IMAGE_ENGINE_PORT"]
SOCKET = pathlib.Path(os.environ["DOCKER_HOST"].removeprefix("unix://"))
CERTS = {name: (DIR / "certs" / "client" / name).read_bytes() for name in ("ca.pem", "cert.pem", "key.pem")}
MASTER_KEY = sh("openssl", "rand", "-base64", "32").stdout.strip()


def rendered(values, *more):
    chart = ROOT / "charts" / "creel"
    return [o for o in yaml.safe_load_all(sh(
        os.environ["CREEL_HELM"], "template", "release", str(chart), "--values", str(chart / "ci" / f"{values}-values.yaml"),
        "--set", "settings.CREEL_DEFAULT_TEMPLATE=reference", *more).stdout) if o]


class Pod:
    def __init__(self, name, objects, secrets, folders, network):
        self.name, self.secrets, self.folders, self.network = name, secrets, folders, network
        self.pod = next(o for o in objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]
        self.configs = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
        self.files = DIR / "pods" / name
        shutil.rmtree(self.files, ignore_errors=True)
        self.group = self.pod["securityContext"]["fsGroup"]
        self.started = []

    def folder(self, volume):
        name = volume["name"]
        if name in self.folders:
            return self.folders[name]
        path = self.files / name
        path.mkdir(parents=True, exist_ok=True)
        if "secret" in volume:
            for file, content in self.secrets[volume["secret"]["secretName"]].items():
                (path / file).write_bytes(content if isinstance(content, bytes) else content.encode())
                os.chown(path / file, 0, self.group)
                (path / file).chmod(volume["secret"]["defaultMode"])
        else:
            assert "emptyDir" in volume, volume
            os.chown(path, 0, self.group)
            path.chmod(0o2777)
        return path

    def environment(self, container):
        values = {}
        for source in container["envFrom"]:
            values |= self.configs[source["configMapRef"]["name"]]
        for entry in container["env"]:
            if "valueFrom" in entry:
                at = entry["valueFrom"]["secretKeyRef"]
                value = self.secrets[at["name"]][at["key"]]
            else:
                value = entry["value"]
                for name, known in values.items():
                    value = value.replace(f"$({name})", known)
            values[entry["name"]] = value
        return values

    def run(self, container, *how):
        security = container["securityContext"]
        assert security["readOnlyRootFilesystem"] and not security["allowPrivilegeEscalation"]
        volumes = {v["name"]: v for v in self.pod["volumes"]}
        command = ["docker", "run", *how, "--network", self.network, "--read-only", "--security-opt", "no-new-privileges",
                   "--user", f"{security['runAsUser']}:{security['runAsGroup']}", "--group-add", str(self.group)]
        command += [word for c in security["capabilities"]["drop"] for word in ("--cap-drop", c)]
        command += [word for pair in self.environment(container).items() for word in ("--env", "=".join(pair))]
        if "limits" in container["resources"]:
            command += ["--memory", container["resources"]["limits"]["memory"].replace("Mi", "m")]
        for mount in container["volumeMounts"]:
            read_only = ":ro" if mount.get("readOnly") else ""
            command += ["--volume", f"{self.folder(volumes[mount['name']])}:{mount['mountPath']}{read_only}"]
        for name, path in self.folders.items():  # of the test alone
            if name not in volumes:
                command += ["--volume", f"{path}:{path}"]
        return sh(*command, container["image"], *container["args"])

    def __enter__(self):
        self.remove()
        for container in self.pod["initContainers"]:
            self.run(container, "--rm")
        creel = next(c for c in self.pod["containers"] if c["name"] == "creel")
        self.run(creel, "--detach", "--name", self.name)
        probe = creel["readinessProbe"]["httpGet"]
        port = next(p["containerPort"] for p in creel["ports"] if p["name"] == probe["port"])
        networks = json.loads(sh("docker", "inspect", self.name).stdout)[0]["NetworkSettings"]["Networks"]
        self.url = f"http://{networks[self.network]['IPAddress'] or '127.0.0.1'}:{port}"
        eventually(lambda: is_ready(self.url))
        return self

    def __exit__(self, *_):
        print(sh("docker", "logs", self.name, check=False).stdout[-5000:])
        self.remove()

    def remove(self):
        sh("docker", "rm", "--force", "--volumes", self.name, check=False)
        for kind, remove in (("container", ["rm", "--force"]), ("volume", ["rm"]), ("network", ["rm"])):
            listed = sh("docker", kind, "ls", "--quiet", *(["--all"] if kind == "container" else []), "--filter",
                        "label=dev.creel.controller=creel").stdout.split()
            if listed:
                sh("docker", kind, *remove, *listed)


@pytest.fixture(name="database", scope="module")
def fixture_database():
    """By its socket, in a folder that pods see: the cluster is the site's, not the chart's."""
    folder = DIR / "database"
    folder.mkdir(exist_ok=True)
    folder.chmod(0o1777)
    sh("docker", "rm", "--force", "--volumes", "pods-postgres", check=False)
    sh("docker", "run", "--detach", "--name", "pods-postgres", "--network", "none", "--env", "POSTGRES_USER=creel", "--env",
       "POSTGRES_DB=creel", "--volume", f"{folder}:/var/run/postgresql", "postgres:15-bookworm")
    yield folder
    sh("docker", "rm", "--force", "--volumes", "pods-postgres")


def fresh(database):
    def made():
        # The server that only makes the cluster answers by its socket alone.
        if sh("docker", "exec", "pods-postgres", "pg_isready", "--quiet", "--host=localhost", check=False).returncode != 0:
            return False
        return sh("docker", "exec", "pods-postgres", "psql", "--quiet", "--username=creel", "--dbname=postgres",
                  "--command=DROP DATABASE IF EXISTS pod", "--command=CREATE DATABASE pod", check=False).returncode == 0

    eventually(made)
    return {"creel-master-key": {"master.key": MASTER_KEY}, "creel-engine": CERTS,
            "creel-database": {"url": f"postgres:///pod?host={database}&user=creel"}}


def test_with_an_engine_elsewhere_over_mutual_tls(database):
    sh("docker", "network", "rm", "pods", check=False)
    sh("docker", "network", "create", "--subnet", os.environ["CREEL_IMAGE_SUBNET"], "--gateway", HOST, "pods")
    objects = rendered("external", "--set", f"engine.host=tcp://{HOST}:{PORT}", "--set", f"engine.publishAddress={HOST}")
    with Pod("pod-external", objects, fresh(database), {"database": database}, "pods") as pod:
        agent = Agent(pod.url, api_key(pod.name))
        assert agent.says("hello").startswith("ECHO(")
        assert eventually(agent.fenced)
        published = json.loads(sh("docker", "inspect", agent.container()).stdout)[0]["NetworkSettings"]["Ports"]
        assert [p["HostIp"] for ports in published.values() for p in ports] == [HOST]
        assert requests.get(pod.url + "/metrics", timeout=10).status_code == 200
    sh("docker", "network", "rm", "pods")


def test_with_the_engine_beside_creel(database):
    # The pod's network is the engine's: this machine's, here. The engine's arguments are those it was started with.
    objects = rendered("trial", "--set", "database.trial.enabled=false", "--set", "database.existingSecret=creel-database")
    pod = next(o for o in objects if o["kind"] == "Deployment")["spec"]["template"]["spec"]
    engine = next(c for c in pod["containers"] if c["name"] == "engine")
    assert "--group=10001" in engine["args"]
    with Pod("pod-beside", objects, fresh(database), {"database": database, "engine-socket": SOCKET.parent}, "host") as pod:
        agent = Agent(pod.url, api_key(pod.name))
        assert agent.says("hello").startswith("ECHO(")
        assert eventually(agent.fenced)
        published = json.loads(sh("docker", "inspect", agent.container()).stdout)[0]["NetworkSettings"]["Ports"]
        assert not any(published.values())
