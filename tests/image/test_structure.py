"""Dockerfile, compose.yaml and the chart as texts: they agree with each other and with the tree. Needs no engine."""

import os
import pathlib
import re
import shutil
import subprocess

import pytest
import yaml

ROOT = pathlib.Path(__file__).parent.parent.parent
WAYS = {
    "tls": {"CREEL_ENGINE": "tcp://10.0.0.5:2376", "CREEL_ENGINE_CERTS": "./certs", "CREEL_PUBLISH_ADDRESS": "10.0.0.5"},
    "proxy": {"CREEL_ENGINE": "unix:///run/engine/docker.sock", "COMPOSE_PROFILES": "engine-proxy"},
    "raw": {"CREEL_ENGINE": "unix:///run/engine.sock", "CREEL_ENGINE_GROUP": "998",
            "COMPOSE_FILE": "compose.yaml:deploy/compose.socket.yaml"},
}


@pytest.fixture(name="site")
def fixture_site(tmp_path):
    shutil.copy(ROOT / "compose.yaml", tmp_path)
    shutil.copytree(ROOT / "deploy", tmp_path / "deploy")

    def config(settings):
        (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in settings.items()))
        environment = {name: value for name, value in os.environ.items() if not name.startswith(("CREEL_", "DOCKER_", "COMPOSE_"))}
        return subprocess.run(["docker-compose", "config"], cwd=tmp_path, env=environment, capture_output=True, text=True,
                              check=False)

    return config


@pytest.mark.parametrize("way", WAYS)
def test_each_way_to_an_engine_is_complete(site, way):
    done = site(WAYS[way])
    assert done.returncode == 0, done.stderr
    creel = yaml.safe_load(done.stdout)["services"]["creel"]
    assert creel["environment"]["DOCKER_HOST"] == WAYS[way]["CREEL_ENGINE"]
    mounted = [volume.split(":")[1] for volume in creel["volumes"]]
    folder = {"tls": "/etc/creel/engine", "proxy": "/run/engine", "raw": "/run/engine.sock"}[way]
    assert folder in mounted
    assert ("/run/engine.sock" in mounted) == (way == "raw"), "the engine's own socket is there only when asked for"
    assert creel["read_only"] and creel["cap_drop"] == ["ALL"] and "privileged" not in creel
    example = (ROOT / "deploy" / "env.example").read_text()
    assert all(f"{name}=" in example for name in WAYS[way])


@pytest.mark.parametrize("settings, names", [({}, "CREEL_ENGINE"), ({**WAYS["raw"], "CREEL_ENGINE_GROUP": ""}, "CREEL_ENGINE_GROUP")])
def test_what_is_missing_is_refused_by_name(site, settings, names):
    done = site(settings)
    assert done.returncode != 0 and f"{names} is not set" in done.stderr, done.stderr


def test_nothing_of_compose_listens_for_others_unless_it_is_meant_to():
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    assert not [name for name, service in services.items() if "ports" in service]
    assert services["postgres"]["network_mode"] == "none" and services["engine-proxy"]["network_mode"] == "none"
    assert services["creel"]["environment"]["CREEL_LISTEN"] == "${CREEL_LISTEN:-127.0.0.1:8080}"


def test_one_version_everywhere():
    version = re.search(r"project\(creel VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
    assert f"ARG VERSION={version}\n" in (ROOT / "Dockerfile").read_text()
    assert f"creel:{version}}}" in (ROOT / "compose.yaml").read_text()
    assert yaml.safe_load((ROOT / "charts" / "creel" / "Chart.yaml").read_text())["appVersion"] == version


def test_the_build_is_given_all_that_it_takes_and_nothing_else():
    copied = set()
    for line in (ROOT / "Dockerfile").read_text().splitlines():
        if line.startswith("COPY ") and "--from" not in line:
            copied |= set(line.split()[1:-1])
    given = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert given == copied
    assert all((ROOT / path).exists() for path in copied)


def test_the_user_is_the_same_in_image_and_chart():
    chart = (ROOT / "charts" / "creel" / "templates" / "deployment.yaml").read_text()
    assert set(re.findall(r"(?:runAsUser|runAsGroup|fsGroup): ([1-9]\d*)", chart)) == {"10001"}
    assert "USER 10001:10001" in (ROOT / "Dockerfile").read_text()
