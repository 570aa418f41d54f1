"""charts/creel with the real helm: it lints, renders what golden/ holds for each values file of ci/, refuses values that
are wrong with what to do about them, and every object is what Kubernetes' own schemas say it must be."""

import functools
import json
import os
import pathlib
import re
import shutil
import subprocess
import tarfile
import tempfile

import kubernetes_validate
import pytest
import yaml

HERE = pathlib.Path(__file__).parent
CHART = HERE.parent.parent / "charts" / "creel"
VALUES = sorted(path.name.removesuffix("-values.yaml") for path in (CHART / "ci").glob("*-values.yaml"))
KUBERNETES = ["1.26", "1.37"]  # the oldest that the chart says it supports, and the newest there are schemas of
NOT_KUBERNETES_OWN = {"ServiceMonitor"}  # objects of an operator: no schema of Kubernetes' knows them


def helm(*arguments):
    return subprocess.run([os.environ["CREEL_HELM"], *arguments], capture_output=True, text=True, check=False)


def values_of(name):
    return str(CHART / "ci" / f"{name}-values.yaml")


@functools.cache
def rendered(name, *more):
    done = helm("template", "release", str(CHART), "--namespace", "agents", "--values", values_of(name), *more)
    assert done.returncode == 0, done.stderr
    return done.stdout


def objects(text):
    return [document for document in yaml.safe_load_all(text) if document]


def the(kind, name):
    found = [o for o in objects(rendered(name)) if o["kind"] == kind]
    assert len(found) == 1, f"{len(found)} of {kind}"
    return found[0]


def containers(deployment):
    pod = deployment["spec"]["template"]["spec"]
    return {c["name"]: c for c in pod["initContainers"] + pod["containers"]}


def env_of(container):
    return {entry["name"]: entry.get("value", entry.get("valueFrom")) for entry in container["env"]}


def test_there_are_enough_values_files():
    assert len(VALUES) >= 8


@pytest.mark.parametrize("name", VALUES)
def test_lints_strictly(name):
    done = helm("lint", "--strict", str(CHART), "--values", values_of(name))
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("name", VALUES)
def test_renders_what_is_recorded(name):
    # A password that is made at the first installation is another one each time.
    text = re.sub(r"(\n  password: )\S{20,}\n", r"\1<random>\n", rendered(name))
    golden = HERE / "golden" / f"{name}.yaml"
    if os.environ.get("CREEL_UPDATE_GOLDEN"):
        golden.parent.mkdir(exist_ok=True)
        golden.write_text(text)
    assert text == golden.read_text()


@pytest.mark.parametrize("version", KUBERNETES)
@pytest.mark.parametrize("name", VALUES)
def test_every_object_is_what_kubernetes_says_it_must_be(name, version):
    checked = 0
    for document in objects(rendered(name, "--kube-version", version)):
        if document["kind"] in NOT_KUBERNETES_OWN:
            continue
        kubernetes_validate.validate(document, version, strict=True)
        checked += 1
    assert checked >= 4


def test_an_object_that_is_wrong_is_noticed():
    document = the("Deployment", "external")
    document["spec"]["replica"] = 2
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(document, KUBERNETES[0], strict=True)


WRONG = {
    "an unknown value": (["--set", "replicas=2"], "replicas"),
    "an unknown setting": (["--set", "settings.AGENTS_DOMIAN=x"], "AGENTS_DOMIAN"),
    "a setting that another value decides": (["--set", "settings.DOCKER_HOST=x"], "DOCKER_HOST"),
    "a secret among the settings": (["--set", "settings.MUX_TOKEN_SECRET=x"], "MUX_TOKEN_SECRET"),
    "a secret setting without a key": (["--set", "secretSettings.MUX_TOKEN_SECRET.name=x"], "key"),
    "no replica": (["--set", "replicaCount=0"], "replicaCount"),
    "replicas that are no number": (["--set", "replicaCount=two"], "replicaCount"),
    "a digest that is none": (["--set", "image.digest=latest"], "digest"),
    "an engine without a scheme": (["--set", "engine.host=docker.example.com:2376"], "engine.host"),
    "an engine's socket of the node": (["--set", "engine.host=unix:///var/run/docker.sock"], "engine.host"),
    "a port that is none": (["--set", "service.port=70000"], "service.port"),
    "a size that is none": (["--set", "engine.dind.storage.size=big"], "size"),
    "no master key": (["--set", "masterKey.existingSecret="], "masterKey.existingSecret is missing"),
    "no database": (["--set", "database.existingSecret="], "database.trial.enabled=true"),
    "two databases": (["--set", "database.trial.enabled=true"], "exclude each other"),
    "no engine": (["--set", "engine.host="], "engine.dind.enabled=true"),
    "two engines": (["--set", "engine.dind.enabled=true"], "exclude each other"),
    "an engine without TLS": (["--set", "engine.tls.existingSecret="], "engine.tls.existingSecret is missing"),
    "an engine whose agents cannot be reached": (["--set", "engine.publishAddress="], "engine.publishAddress is missing"),
    "agents published at a name": (["--set", "engine.publishAddress=docker.example.com"], "engine.publishAddress"),
    "agents published at every address": (["--set", "engine.publishAddress=0.0.0.0"], "engine.publishAddress"),
    "a domain of agents twice": (["--set", "ingress.agentsDomain=a.b", "--set", "settings.AGENTS_DOMAIN=c.d"], "say the same"),
    "an ingress without a name": (["--set", "ingress.enabled=true"], "ingress.host is missing"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_refused_by_name(wrong):
    arguments, says = WRONG[wrong]
    done = helm("template", "release", str(CHART), "--values", values_of("external"), *arguments)
    assert done.returncode != 0
    assert says in done.stderr, done.stderr


def test_an_engine_for_each_of_several_replicas_is_refused():
    done = helm("template", "release", str(CHART), "--values", values_of("trial"), "--set", "replicaCount=2")
    assert done.returncode != 0 and "replicaCount=1" in done.stderr, done.stderr


def test_the_settings_are_those_that_creel_has():
    schema = json.loads((CHART / "values.schema.json").read_text())["properties"]
    help_text = subprocess.run([os.environ["CREEL_BINARY"], "serve", "--help"], capture_output=True, text=True,
                               check=True).stdout
    # A flag and a variable; what holds a secret has no flag.
    every = {name: flag for flag, name in re.findall(r"^  (--[a-z-]+, )?([A-Z][A-Z0-9_]+)$", help_text, re.M)}
    # The chart says these itself, by its other values.
    decided = {"CREEL_LISTEN", "CREEL_GATEWAY_LISTEN", "CREEL_TLS_CERT", "CREEL_TLS_KEY", "DATABASE_URL",
               "CREEL_POSTGRES_USER", "CREEL_STATE_DIR", "CREEL_SHARE_DIR", "CREEL_MASTER_KEY",
               "CREEL_MASTER_KEY_FILE", "CREEL_LOG", "DOCKER_HOST", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH",
               "CREEL_PUBLISH_ADDRESS", "CREEL_API_KEY", "CREEL_CA_CERT"}
    assert decided <= set(every)
    if os.environ.get("CREEL_UPDATE_GOLDEN"):
        whole = json.loads((CHART / "values.schema.json").read_text())
        for part, kind, with_flag in (("settings", "setting", True), ("secretSettings", "secretKey", False)):
            whole["properties"][part]["properties"] = {
                name: {"$ref": f"#/definitions/{kind}"}
                for name, flag in every.items() if bool(flag) == with_flag and name not in decided}
        (CHART / "values.schema.json").write_text(json.dumps(whole, indent=2) + "\n")
        schema = whole["properties"]
    plain, secret = set(schema["settings"]["properties"]), set(schema["secretSettings"]["properties"])
    assert plain | secret | decided == set(every)
    assert not plain & secret and not (plain | secret) & decided
    assert secret == {name for name, flag in every.items() if not flag} - decided


@pytest.mark.parametrize("name", VALUES)
def test_creel_runs_with_as_little_as_it_needs(name):
    deployment = the("Deployment", name)
    for container in ("migrate", "creel"):
        security = containers(deployment)[container]["securityContext"]
        assert security["runAsNonRoot"] and security["readOnlyRootFilesystem"]
        assert not security["allowPrivilegeEscalation"] and security["capabilities"] == {"drop": ["ALL"]}
    pod = deployment["spec"]["template"]["spec"]
    assert pod["automountServiceAccountToken"] is False
    privileged = [c for c in containers(deployment).values() if c["securityContext"].get("privileged")]
    assert len(privileged) == ("engine" in containers(deployment))


@pytest.mark.parametrize("name", VALUES)
def test_no_secret_stands_in_the_deployment(name):
    for container in containers(the("Deployment", name)).values():
        for entry in container.get("env", []):
            if re.search("KEY|SECRET|PASSWORD", entry["name"]) and entry["name"] != "CREEL_TLS_KEY":  # a file's name
                assert "secretKeyRef" in entry["valueFrom"], entry


def test_a_changed_setting_replaces_the_pods():
    def checksum(*more):
        deployment = [o for o in objects(rendered("settings", *more)) if o["kind"] == "Deployment"][0]
        return deployment["spec"]["template"]["metadata"]["annotations"]["checksum/settings"]

    assert checksum() == checksum()
    assert checksum() != checksum("--set", "settings.CREEL_SIGNUP=false")


def test_what_people_are_told_is_what_the_ingress_has_unless_settings_say_otherwise():
    def told(*more):
        deployment = [o for o in objects(rendered("ingress", *more)) if o["kind"] == "Deployment"][0]
        return env_of(containers(deployment)["creel"])

    assert told()["CREEL_URL"] == "https://creel.example.com" and told()["AGENTS_URL_SCHEME"] == "https"
    assert told()["CREEL_GATEWAY_URL"] == "wss://gateway.example.com"
    assert told()["AGENTS_DOMAIN"] == "agents.example.com"
    assert told("--set-json", "ingress.tls=[]")["CREEL_GATEWAY_URL"] == "ws://gateway.example.com"
    assert "CREEL_URL" not in told("--set", "settings.CREEL_URL=https://outside.example.com")


def test_probes_speak_tls_when_creel_does():
    for name, scheme in {"everything": "HTTPS", "external": None}.items():
        creel = containers(the("Deployment", name))["creel"]
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            assert creel[probe]["httpGet"].get("scheme") == scheme
        assert ("CREEL_TLS_CERT" in env_of(creel)) == bool(scheme)


def test_rules_alerts_and_boards_are_those_of_the_repository():
    monitoring = CHART.parent.parent / "monitoring"
    every = objects(rendered("monitoring", "--set", "metrics.prometheusRule.enabled=true", "--set", "metrics.dashboards.enabled=true"))
    rules = [o for o in every if o["kind"] == "PrometheusRule"]
    files = [yaml.safe_load((monitoring / kind / "creel.yaml").read_text())["groups"] for kind in ("rules", "alerts")]
    assert [o["spec"]["groups"] for o in rules] == [files[0] + files[1]]
    linked = rendered("monitoring", "--set", "metrics.prometheusRule.enabled=true",
                      "--set", "metrics.prometheusRule.runbooks=https://wiki.example.com/runbooks/")
    links = re.findall(r"runbook_url: (\S+)", linked)
    assert links and all(re.fullmatch(r"https://wiki\.example\.com/runbooks/Creel\w+\.md", link) for link in links), links
    boards = {name: text for o in every if o["kind"] == "ConfigMap" and "grafana_dashboard" in o["metadata"]["labels"]
              for name, text in o["data"].items()}
    assert boards == {path.name: path.read_text() for path in (monitoring / "dashboards").glob("*.json")} and boards
    for board in every:
        if board["kind"] == "ConfigMap":
            assert len(json.dumps(board)) < 1_000_000, "what Kubernetes takes"
            kubernetes_validate.validate(board, KUBERNETES[1], strict=True)
    assert not [o for o in objects(rendered("external")) if o["kind"] == "PrometheusRule" or "-fleet" in o["metadata"]["name"]]


def test_numbers_and_switches_arrive_as_they_were_written():
    data = the("ConfigMap", "settings")["data"]
    assert data["CREEL_RATE_LIMIT_API"] == "1000000" and data["CREEL_SIGNUP"] == "true"


@functools.cache
def notes(name, *more):
    """What helm says at the end of an installation; rendered as an object, because `helm template` leaves it out."""
    with tempfile.TemporaryDirectory() as folder:
        chart = pathlib.Path(folder) / "creel"
        shutil.copytree(CHART, chart)
        shutil.copy(CHART / "templates" / "NOTES.txt", chart / "notes.txt")
        (chart / "templates" / "notes.yaml").write_text('text: {{ tpl (.Files.Get "notes.txt") . | toJson }}')
        done = helm("template", "release", str(chart), "--values", values_of(name), "--show-only", "templates/notes.yaml", *more)
    assert done.returncode == 0, done.stderr
    return yaml.safe_load(done.stdout)["text"]


def test_the_notes_say_what_is_still_to_be_done():
    assert "without backups" in notes("trial") and "creel/egress:1" in notes("trial")
    assert "without backups" not in notes("external") and "CREEL_TRUSTED_PROXIES" not in notes("external")
    assert "CREEL_TRUSTED_PROXIES" in notes("ingress") and "creel.example.com" in notes("ingress")
    assert "CREEL_TRUSTED_PROXIES" not in notes("ingress", "--set", "settings.CREEL_TRUSTED_PROXIES=10.0.0.0/8")
    assert "creel/egress:1" not in notes("everything")
    assert "creel/egress:1" not in notes("external", "--set", "settings.CREEL_FENCE=false")


def test_packages():
    done = helm("package", str(CHART), "--destination", os.environ.get("TMPDIR", "/tmp"))
    assert done.returncode == 0, done.stderr
    package = pathlib.Path(done.stdout.rsplit(" ", 1)[1].strip())
    with tarfile.open(package) as files:
        assert files.getmember("creel/monitoring/alerts.yaml").isfile(), "the file, not a link to it"
        assert files.getmember("creel/monitoring/dashboards/creel-fleet.json").isfile()
    package.unlink()


def test_the_readme_tells_of_every_value():
    def paths(values, before=""):
        for name, value in values.items():
            if isinstance(value, dict) and value and name != "resources":
                yield from paths(value, before + name + ".")
            else:
                yield before + name

    table = (CHART / "README.md").read_text()
    missing = [path for path in paths(yaml.safe_load((CHART / "values.yaml").read_text())) if f"`{path}`" not in table]
    assert not missing
