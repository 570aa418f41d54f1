"""The image of the Dockerfile: what it is, and what it lacks."""

import json

from creel import sh


def image():
    return json.loads(sh("docker", "image", "inspect", "creel:0.1.0").stdout)[0]


def inside(*command, check=True):
    return sh("docker", "run", "--rm", "--network", "none", "--entrypoint", command[0], "creel:0.1.0", *command[1:],
              check=check)


def test_is_small():
    assert image()["Size"] < 120_000_000


def test_runs_as_nobody_in_particular_and_says_what_it_is():
    config = image()["Config"]
    assert config["User"] == "10001:10001"
    assert config["Entrypoint"] == ["creel"] and config["Cmd"] == ["serve"]
    assert set(config["ExposedPorts"]) == {"8080/tcp", "10000/tcp"} and "/var/lib/creel" in config["Volumes"]
    assert "/healthz" in " ".join(config["Healthcheck"]["Test"])
    labels = {name.removeprefix("org.opencontainers.image."): value for name, value in config["Labels"].items()}
    assert labels["title"] == "Creel" and labels["version"] == "0.1.0" and labels["licenses"] == "Apache-2.0"
    assert len(labels["revision"]) == 40 and labels["description"]


def test_nothing_in_it_raises_rights_and_nothing_is_left_of_the_build():
    assert inside("find", "/", "-xdev", "-perm", "/6000", "-type", "f", check=False).stdout == ""
    for gone in ("/packages", "/creel", "/usr/bin/g++", "/usr/bin/cmake", "/var/lib/apt/lists"):
        assert inside("test", "-e", gone, check=False).returncode == 1, gone
    assert inside("find", "/var/lib/creel", "-printf", "%U:%G %m").stdout == "10001:10001 700"


def test_has_the_templates_and_all_libraries():
    assert "not found" not in inside("ldd", "/usr/bin/creel").stdout
    found = inside("find", "/usr/share/creel/templates", "-name", "*.yaml").stdout
    for file in ("plans.yaml", "egress/presets.yaml", "openclaw/template.yaml", "reference/template.yaml"):
        assert file in found


def test_refuses_a_wrong_setting_by_name():
    done = sh("docker", "run", "--rm", "--network", "none", "--env", "CREEL_PUBLISH_ADDRESS=0.0.0.0", "creel:0.1.0",
              check=False)
    assert done.returncode != 0 and "CREEL_PUBLISH_ADDRESS" in done.stderr, done.stderr
