"""The container files: linted, held against their schemas, and against what the project really has.

No image is built and no cluster is asked here: what only they can tell stands in docs/gpu_box.md.
"""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import tomllib
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import pytest

from engine.worker.interface import State
from streaming.calls import _CLOSE_S
from streaming.config import DEFAULT_PORT, MOST_UPLOAD_BYTES
from streaming.doors import OPEN_PATHS
from tests.deploy_files import (
    DEPLOY,
    PROJECT,
    command_faults,
    commands,
    docker_faults,
    environment,
    ignore_rules,
    in_context,
    merged,
    parsed,
    read_yaml,
    stages,
)
from tests.streaming.doorstep import FakeWorker, open_site

DOCKERFILES = ("Dockerfile.cpu", "Dockerfile.gpu")
MANIFESTS = sorted(
    path.name for path in (DEPLOY / "kubernetes").glob("*.yaml") if path.stem != "kustomization"
)
PAGE = PROJECT / "docs" / "gpu_box.md"
SETUP = tomllib.loads((PROJECT / "pyproject.toml").read_text(encoding="utf-8"))
EXTRAS = tuple(SETUP["project"]["optional-dependencies"])
WRITTEN = ("MAROTTE_CACHE", "MAROTTE_STATE", "NUMBA_CACHE_DIR")
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def text_of(name: str) -> str:
    return (DEPLOY / name).read_text(encoding="utf-8")


def manifest(name: str) -> Any:
    return read_yaml(DEPLOY / "kubernetes" / f"{name}.yaml")


# --- Dockerfiles ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_dockerfile_asks_for_what_is_there(name: str) -> None:
    """Stages, copied paths, extras and commands exist; it runs as a numbered user, and its health is asked."""
    assert docker_faults(text_of(name), EXTRAS) == []


@pytest.mark.parametrize(
    ("before", "after", "fault"),
    [
        ("COPY engine engine/", "COPY motor motor/", "motor is not there"),
        ("COPY engine engine/", "COPY tests tests/", "tests is left out by .dockerignore"),
        (".[tensorrt,c2pa]", ".[tensorrt,cuda]", "there is no extra cuda"),
        ("--from=models", "--from=weights", "weights is no stage before"),
        ("models pull", "models push", "invalid choice: 'push'"),
        ('"--host"', '"--hots"', "--hots is not an option; did you mean --host"),
        ("USER 10001:10001", "USER marotte", "it runs as root"),
        ("HEALTHCHECK", "LABEL", "nothing asks for its health"),
        ("FROM bare AS full", "FROM small AS full", "small is neither a stage"),
        ("ubuntu:24.04 AS build", "ubuntu:latest AS build", "another one tomorrow"),
    ],
)
def test_a_slip_in_a_dockerfile_is_seen(before: str, after: str, fault: str) -> None:
    """What the test above rests on: each kind of slip is told."""
    text = text_of("Dockerfile.gpu")
    assert before in text
    assert any(fault in found for found in docker_faults(text.replace(before, after), EXTRAS))


@pytest.mark.skipif(HADOLINT is None, reason="hadolint is not installed (extra dev, not on Windows)")
@pytest.mark.parametrize("name", DOCKERFILES)
def test_a_linter_finds_nothing_in_a_dockerfile(name: str) -> None:
    """Every rule of hadolint, warnings and remarks too; what is left out of them stands in the file with its line."""
    done = subprocess.run(
        [str(HADOLINT), "--failure-threshold", "style", str(DEPLOY / name)], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "")


@pytest.mark.parametrize("name", DOCKERFILES)
def test_an_image_holds_every_package_and_finds_its_models(name: str) -> None:
    """What the installed command imports is copied; the models are where the engine looks, in one image and mounted
    in the other; what is written at run time has a folder of the user's own."""
    found = stages(text_of(name))
    copied = {word.rstrip("/") for rest in merged(found, "build").of("COPY") for word in rest.split()[:-1]}
    packages = {one.rstrip("*") for one in SETUP["tool"]["setuptools"]["packages"]["find"]["include"]}
    modules = {f"{one}.py" for one in SETUP["tool"]["setuptools"]["py-modules"]}
    files = {SETUP["project"]["readme"], *SETUP["project"]["license-files"], "pyproject.toml"}
    assert packages | modules | files == copied
    (pull,) = (rest for stage in found if stage.name == "models" for rest in stage.of("RUN"))
    where = environment(merged(found, "bare"))
    assert f"--cache {where['MAROTTE_MODELS']} " in pull
    assert f"chmod -R a+rX {where['MAROTTE_MODELS']}" in pull
    assert [stage.name for stage in found][-2:] == ["bare", "full"]
    assert not any(where["MAROTTE_MODELS"] in rest for rest in merged(found, "bare").of("COPY"))
    (volume,) = merged(found, "full").of("VOLUME")
    assert all(where[each].startswith(f"{volume}/") for each in WRITTEN)
    assert merged(found, "full").of("EXPOSE") == [str(DEFAULT_PORT)]
    assert merged(found, "full").of("STOPSIGNAL") == ["SIGTERM"]


def test_the_build_is_given_no_more_than_it_copies() -> None:
    """Neither the repository's history nor a token beside the files gets into an image's layers."""
    rules = ignore_rules()
    for path in (
        ".git/config",
        ".venv/bin/python",
        "configs/deploy/secrets/token",
        "tests/conftest.py",
        "bench/bench.json",
    ):
        assert not in_context(path, rules), path
    for path in ("engine/data/bundle_schema.json", "streaming/static/page.js", "configs/deploy/start.sh"):
        assert in_context(path, rules), path
    assert not in_context("engine/__pycache__/plug.pyc", rules)


@pytest.mark.skipif(os.name != "posix", reason="needs a POSIX shell")
def test_the_models_are_led_into_the_cache(tmp_path: Path) -> None:
    """At each start, without touching models that somebody pulled into the cache itself; then the command runs."""
    models, cache, seen = tmp_path / "models", tmp_path / "volume" / "cache", tmp_path / "seen"
    command = tmp_path / "bin" / "marotte"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nprintf "%s|" "$@" > "{seen}"\nexit 3\n', encoding="utf-8")
    command.chmod(0o755)
    given = {
        "PATH": f"{command.parent}:/usr/bin:/bin",
        "MAROTTE_MODELS": str(models),
        "MAROTTE_CACHE": str(cache),
    }

    def start() -> None:
        done = subprocess.run(["sh", str(DEPLOY / "start.sh"), "serve", "two words"], env=given)
        assert done.returncode == 3
        assert seen.read_text(encoding="utf-8") == "serve|two words|"

    start()
    assert cache.is_dir()
    assert not (cache / "models").is_symlink()
    (models / "models").mkdir(parents=True)
    for _ in range(2):
        start()
        assert (cache / "models").resolve() == (models / "models").resolve()
    (cache / "models").unlink()
    (cache / "models").mkdir()
    start()
    assert not (cache / "models").is_symlink()
    for name in DOCKERFILES:
        known = environment(merged(stages(text_of(name)), "full"))
        assert {"MAROTTE_MODELS", "MAROTTE_CACHE"} <= known.keys()


def probe(*arguments: str) -> tuple[int, str]:
    done = subprocess.run(
        [sys.executable, "-I", str(DEPLOY / "probe.py"), *arguments],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return done.returncode, done.stdout.strip()


def test_the_health_check_tells_a_server_from_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The very script of the images against the very routes: alive and ready, alive and not ready, nobody there."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    worker = FakeWorker()
    with open_site(worker=worker) as site:
        port = str(site.port)
        assert probe("/healthz", port) == (0, "marotte: ok")
        assert probe("/readyz", port) == (0, "ok")
        worker.state = State.REPLACING
        assert probe("/healthz", port)[0] == 0
        assert probe("/readyz", port) == (1, "the worker is being replaced: as the test wants it")
        worker.state = State.FAILED
        assert probe("/healthz", port)[0] == 1
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = str(nobody.getsockname()[1])
    assert probe("/healthz", port)[0] == 1


# --- compose -------------------------------------------------------------------------------------------


def services() -> dict[str, Any]:
    return dict(read_yaml(DEPLOY / "compose.yaml")["services"])


@pytest.mark.skipif(
    importlib.util.find_spec("check_jsonschema") is None,
    reason="check-jsonschema is not installed (extra dev)",
)
def test_the_compose_file_follows_its_schema() -> None:
    """Against the compose specification's own; a key that it does not know is told."""
    import check_jsonschema
    from jsonschema import Draft202012Validator

    folder = Path(check_jsonschema.__file__).parent
    schema = json.loads(
        (folder / "builtin_schemas" / "vendor" / "compose-spec.json").read_text(encoding="utf-8")
    )
    content = read_yaml(DEPLOY / "compose.yaml")
    validator = Draft202012Validator(schema)
    assert [error.message for error in validator.iter_errors(content)] == []
    content["services"]["marotte-gpu"]["shm-size"] = "1g"
    assert any("shm-size" in error.message for error in validator.iter_errors(content))


def test_the_compose_file_mounts_and_starts_what_is_there() -> None:
    """Files, secrets, volumes and Dockerfiles exist; commands are the project's; everybody gives up what root may."""
    content = read_yaml(DEPLOY / "compose.yaml")
    for name, service in content["services"].items():
        for mount in service.get("volumes", ()):
            source = mount.split(":")[0]
            there = (DEPLOY / source).is_file() if source.startswith(".") else source in content["volumes"]
            assert there, f"{name}: {source}"
        assert set(service.get("secrets", ())) <= set(content["secrets"])
        assert set(service.get("depends_on", ())) <= set(content["services"])
        assert service["cap_drop"] == ["ALL"]
        assert ":" in service["image"]
        assert not service["image"].endswith(":latest")
        if name.startswith("marotte"):
            assert command_faults(service["command"]) == []
            context = (DEPLOY / service["build"]["context"]).resolve()
            assert context == PROJECT
            assert (context / service["build"]["dockerfile"]).is_file()
            assert service["profiles"] == [name.removeprefix("marotte-")]
            test = service["healthcheck"]["test"]
            assert test[2:] == ["/opt/marotte/probe.py", "/readyz"]
            assert test[3] in OPEN_PATHS
    for secret in content["secrets"].values():
        assert secret["file"].startswith("./secrets/")
        assert not in_context(f"configs/deploy/{secret['file'][2:]}", ignore_rules())


def test_nothing_of_the_compose_file_is_open_to_the_network() -> None:
    """All of it is on the host's own network, so every door has to be on loopback."""
    found = services()
    for service in found.values():
        assert service["network_mode"] == "host"
        assert "ports" not in service
    for name in ("marotte-gpu", "marotte-cpu"):
        assert parsed(found[name]["command"]).host == "127.0.0.1"
    assert "--web.listen-address=127.0.0.1:9090" in found["prometheus"]["command"]
    assert found["grafana"]["environment"]["GF_SERVER_HTTP_ADDR"] == "127.0.0.1"


def test_prometheus_and_grafana_ask_where_the_server_answers() -> None:
    """The scrape goes to the metrics' own door under the job that the alerts name; the dashboard is the project's."""
    found = services()
    config = read_yaml(DEPLOY / "prometheus.yml")
    (job,) = config["scrape_configs"]
    port = parsed(found["marotte-gpu"]["command"]).metrics_port
    assert job["static_configs"] == [{"targets": [f"127.0.0.1:{port}"]}]
    assert f'up{{job="{job["job_name"]}"}}' in (PROJECT / "configs/prometheus/alerts.yml").read_text()
    mounts = {name: dict(reversed(one.split(":")[:2]) for one in found[name]["volumes"]) for name in found}
    assert mounts["prometheus"][config["rule_files"][0]] == "../prometheus/alerts.yml"
    assert f"--config.file={'/etc/prometheus/prometheus.yml'}" in found["prometheus"]["command"]
    (source,) = read_yaml(DEPLOY / "grafana" / "datasource.yaml")["datasources"]
    assert source["type"] == "prometheus"
    assert f"--web.listen-address={source['url'].removeprefix('http://')}" in found["prometheus"]["command"]
    (provider,) = read_yaml(DEPLOY / "grafana" / "dashboards.yaml")["providers"]
    shown = {
        path: source
        for path, source in mounts["grafana"].items()
        if path.startswith(f"{provider['options']['path']}/")
    }
    assert list(shown.values()) == ["../grafana/marotte.json"]


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_prometheus_itself_takes_its_configuration() -> None:
    """Its own checker; the rules stand elsewhere here, and are checked by themselves."""
    done = subprocess.run(
        ["promtool", "check", "config", "--syntax-only", str(DEPLOY / "prometheus.yml")],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr


# --- Kubernetes ----------------------------------------------------------------------------------------


@pytest.mark.skipif(
    importlib.util.find_spec("kubernetes_validate") is None,
    reason="kubernetes-validate is not installed (extra dev)",
)
@pytest.mark.parametrize("version", ["1.30", "latest"])
@pytest.mark.parametrize("name", MANIFESTS)
def test_a_manifest_follows_its_schema(name: str, version: str) -> None:
    """Strictly: a field that Kubernetes would drop in silence is told."""
    import kubernetes_validate

    content = read_yaml(DEPLOY / "kubernetes" / name)
    version = kubernetes_validate.latest_version() if version == "latest" else version
    kubernetes_validate.validate(content, version, strict=True)
    content["spec"] = content.get("spec", {}) | {"replica": 1}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(content, version, strict=True)


def test_every_manifest_is_applied() -> None:
    """None is forgotten in the kustomization, and all are of its namespace."""
    content = manifest("kustomization")
    assert sorted(content["resources"]) == MANIFESTS
    assert {content["namespace"]} == {
        read_yaml(DEPLOY / "kubernetes" / name)["metadata"].get("namespace", content["namespace"])
        for name in MANIFESTS
    }
    assert content["images"][0]["newTag"] == services()["marotte-gpu"]["image"].split(":")[1]


def pod() -> tuple[dict[str, Any], dict[str, Any]]:
    """The pod's specification and its one container."""
    spec = manifest("deployment")["spec"]["template"]["spec"]
    (container,) = spec["containers"]
    return spec, container


def test_the_pod_serves_what_the_project_has() -> None:
    """Its arguments are the command's, its port and paths the server's, its user the image's; a GPU is asked for."""
    spec, container = pod()
    given = [
        "turn:name:password@turn.example.org:3478" if word == "$(TURN_URL)" else word
        for word in container["args"]
    ]
    assert command_faults(given) == []
    options = parsed(given)
    assert options.host == "0.0.0.0"
    assert [port["containerPort"] for port in container["ports"]] == [DEFAULT_PORT]
    assert {entry["name"] for entry in container["env"]} == {"TURN_URL"}
    user = merged(stages(text_of("Dockerfile.gpu")), "full").of("USER")[-1]
    assert user == f"{spec['securityContext']['runAsUser']}:{spec['securityContext']['runAsGroup']}"
    resources = container["resources"]
    assert resources["limits"]["nvidia.com/gpu"] == resources["requests"]["nvidia.com/gpu"] == "1"
    token = next(one for one in container["volumeMounts"] if one["name"] == "token")
    assert str(options.token_file) == f"{token['mountPath']}/token"


def test_the_pod_is_asked_by_what_each_path_means() -> None:
    """Traffic needs a warm pipeline; only what nothing but a new process mends ends one; its start may take minutes,
    as long as a worker is given for it."""
    _, container = pod()
    asked = {kind: container[f"{kind}Probe"] for kind in ("startup", "readiness", "liveness")}
    assert {kind: one["httpGet"]["path"] for kind, one in asked.items()} == {
        "startup": "/readyz",
        "readiness": "/readyz",
        "liveness": "/healthz",
    }
    assert {one["httpGet"]["port"] for one in asked.values()} == {container["ports"][0]["name"]}
    from engine.worker.child import _LONGEST_START_S

    assert asked["startup"]["periodSeconds"] * asked["startup"]["failureThreshold"] >= 2 * _LONGEST_START_S


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere 127.0.0.2 is no address of the machine")
def test_a_kubelet_is_let_in_by_the_pods_address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names the server by the address that it connects to, which no option names."""
    monkeypatch.setenv("MAROTTE_STATE", str(tmp_path))
    with open_site(host="0.0.0.0") as site:
        connection = HTTPConnection("127.0.0.2", site.port, timeout=10)
        connection.request("GET", "/readyz")
        assert connection.getresponse().status == 200
        connection.close()


def test_the_pod_is_given_time_to_end() -> None:
    """Before SIGTERM it is led out of the traffic; after it the sessions and the worker have their seconds."""
    from engine.worker.pair import END_S

    spec, container = pod()
    sleep, seconds = container["lifecycle"]["preStop"]["exec"]["command"]
    assert sleep == "sleep"
    assert spec["terminationGracePeriodSeconds"] >= 2 * (float(seconds) + _CLOSE_S + END_S)
    compose = services()["marotte-gpu"]["stop_grace_period"]
    assert float(compose.removesuffix("s")) >= 2 * (_CLOSE_S + END_S)


def test_the_pod_holds_no_more_than_it_needs() -> None:
    """No root, nothing to be gained, a file system that is only read but for what is mounted, no account."""
    spec, container = pod()
    assert spec["automountServiceAccountToken"] is False
    assert spec["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    volumes = {volume["name"]: volume for volume in spec["volumes"]}
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert volumes.keys() == mounts.keys()
    assert volumes["state"]["persistentVolumeClaim"]["claimName"] == manifest("state")["metadata"]["name"]
    assert mounts["state"] in merged(stages(text_of("Dockerfile.gpu")), "full").of("VOLUME")
    assert volumes["shared-memory"]["emptyDir"]["medium"] == "Memory"
    assert mounts["shared-memory"] == "/dev/shm"
    text = "".join(text_of(f"kubernetes/{name}") for name in MANIFESTS)
    assert "kind: Secret" not in text
    assert not re.search(r"(token|password|url): *\S{16,}", text)


def test_the_way_to_the_pod_is_one_and_leads_to_it() -> None:
    """Service, ingress and policy agree with the pod's labels, port and name; the largest source passes."""
    _, container = pod()
    labels = manifest("deployment")["spec"]["template"]["metadata"]["labels"]
    service, policy = manifest("service"), manifest("network")
    assert service["spec"]["selector"] == labels
    assert policy["spec"]["podSelector"]["matchLabels"] == labels
    assert manifest("deployment")["spec"]["selector"]["matchLabels"] == labels
    assert service["spec"]["ports"][0]["targetPort"] == container["ports"][0]["name"]
    assert [port["port"] for port in policy["spec"]["ingress"][0]["ports"]] == [DEFAULT_PORT]
    assert set(policy["spec"]["policyTypes"]) == {"Ingress", "Egress"}
    ingress = manifest("ingress")
    (rule,) = ingress["spec"]["rules"]
    assert [rule["host"]] == parsed(container["args"]).host_name == ingress["spec"]["tls"][0]["hosts"]
    backend = rule["http"]["paths"][0]["backend"]["service"]
    assert backend["name"] == service["metadata"]["name"]
    assert backend["port"]["name"] == service["spec"]["ports"][0]["name"]
    (limit,) = (text for name, text in ingress["metadata"]["annotations"].items() if "body-size" in name)
    assert int(limit.removesuffix("m")) << 20 >= MOST_UPLOAD_BYTES


# --- the page ------------------------------------------------------------------------------------------


def test_the_page_names_what_is_there() -> None:
    """Every command of the project in docs/gpu_box.md is one, and every path and extra exists."""
    text = PAGE.read_text(encoding="utf-8")
    whole = text.replace("\\\n", " ")
    shown = [line.strip() for line in whole.splitlines() if line.startswith("    ")]
    found = [words for line in shown for words in commands(line)]
    assert len(found) >= 4
    assert [fault for words in found for fault in command_faults(words)] == []
    for path in re.findall(r"\b(?:deploy|configs|docs|engine|streaming)/[\w./-]*\w", text):
        assert (PROJECT / path).exists() or path.startswith("configs/deploy/secrets"), path
    for link in re.findall(r"\]\(([\w./-]+)\)", text):
        assert (PAGE.parent / link).exists(), link
    for group in re.findall(r"\.\[([\w,-]+)\]", text):
        assert set(group.split(",")) <= set(EXTRAS)
