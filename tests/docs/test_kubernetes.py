"""The manifests are what Kubernetes accepts, and their numbers and names are those of awaitly and of their page."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from awaitly.model.durations import seconds
from awaitly.serve.application import PAGES
from awaitly.settings import Settings, read_settings
from tests.docs.blocks import ROOT, blocks_of

PAGE = ROOT / "docs" / "kubernetes.md"
VERSIONS = ("1.30.0", kubernetes_validate.latest_version())  # preStop.sleep came with 1.30
LAST = 4  # seconds that finally blocks, outboxes, sinks and exporters may take


def documents(text: str) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(text))


def manifests() -> dict[str, dict[str, Any]]:
    found = [one for file in PAGE.with_suffix("").glob("*.yaml") for one in documents(file.read_text("utf-8"))]
    return {manifest["kind"]: manifest for manifest in found}


def pod() -> Mapping[str, Any]:
    spec: Mapping[str, Any] = manifests()["Deployment"]["spec"]["template"]["spec"]
    return spec


def container() -> Mapping[str, Any]:
    (only,) = pod()["containers"]
    found: Mapping[str, Any] = only
    return found


def shown(kind: str) -> dict[str, Any]:
    """The only manifest of a kind on the page."""
    (found,) = [one for one in on_the_page() if one["kind"] == kind]
    return found


def on_the_page() -> list[dict[str, Any]]:
    return [one for block in blocks_of(PAGE) if block.language == "yaml" for one in documents(block.text)]


def settings(monkeypatch: pytest.MonkeyPatch, folder: Path) -> Settings:
    """The settings that a process in the pod reads."""
    monkeypatch.chdir(folder)
    for name, value in manifests()["ConfigMap"]["data"].items():
        monkeypatch.setenv(name, value)
    for variable in container()["env"]:
        monkeypatch.setenv(variable["name"], "a-secret")
    return read_settings()


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", manifests())
def test_kubernetes_accepts_a_manifest(kind: str, version: str) -> None:
    kubernetes_validate.validate(manifests()[kind], version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def test_and_what_its_page_shows(version: str) -> None:
    assert [one["kind"] for one in on_the_page()] == ["Secret", "PodMonitor"]  # which is the Prometheus Operator's
    kubernetes_validate.validate(shown("Secret"), version, strict=True)


def test_every_variable_is_a_setting(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = settings(monkeypatch, tmp_path)

    assert (found.store, found.serve.token) == ("sqlite:////data/runs.db", "a-secret")
    assert found.logs.format == "json"


def test_the_pod_is_killed_only_after_its_shutdown_is_over(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = container()["lifecycle"]["preStop"]["sleep"]["seconds"]
    shutdown = settings(monkeypatch, tmp_path).shutdown_timeout
    arguments = container()["args"]
    server = int(arguments[arguments.index("--timeout-graceful-shutdown") + 1])

    assert pod()["terminationGracePeriodSeconds"] >= before + shutdown + LAST + server
    assert f"{before} of `preStop`, {seconds(shutdown, what='it'):g} of `AWAITLY_SHUTDOWN_TIMEOUT`" in PAGE.read_text()


def test_probes_ask_pages_that_need_no_token() -> None:
    asked = {name: probe["httpGet"]["path"] for name, probe in container().items() if name.endswith("Probe")}

    assert asked == {"startupProbe": "/live", "readinessProbe": "/ready", "livenessProbe": "/live"}
    assert set(asked.values()) <= {page.path for page in PAGES if page.open}


def test_one_pod_has_the_store_on_its_volume(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    deployment, claim = manifests()["Deployment"]["spec"], manifests()["PersistentVolumeClaim"]
    (mount,), (volume,) = container()["volumeMounts"], pod()["volumes"]

    assert (deployment["replicas"], deployment["strategy"]["type"]) == (1, "Recreate")
    assert settings(monkeypatch, tmp_path).store.startswith(f"sqlite:///{mount['mountPath']}/")
    assert mount["name"] == volume["name"]
    assert volume["persistentVolumeClaim"]["claimName"] == claim["metadata"]["name"]
    assert claim["spec"]["accessModes"] == ["ReadWriteOncePod"]


def test_service_and_budget_mean_this_pod() -> None:
    labels = manifests()["Deployment"]["spec"]["template"]["metadata"]["labels"]
    (port,) = container()["ports"]

    assert manifests()["Deployment"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests()["Service"]["spec"]["selector"] == labels
    assert manifests()["Service"]["spec"]["ports"][0]["targetPort"] == port["name"]
    assert manifests()["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == labels
    assert manifests()["PodDisruptionBudget"]["spec"]["maxUnavailable"] == deployment_size()
    assert str(port["containerPort"]) in container()["args"]


def deployment_size() -> int:
    size: int = manifests()["Deployment"]["spec"]["replicas"]
    return size


def test_a_secret_that_is_named_is_shown_on_the_page() -> None:
    reference = container()["env"][0]["valueFrom"]["secretKeyRef"]

    assert shown("Secret")["metadata"]["name"] == reference["name"]
    assert reference["key"] in shown("Secret")["stringData"]


def test_the_monitor_means_this_pod_and_sends_its_token() -> None:
    (endpoint,) = shown("PodMonitor")["spec"]["podMetricsEndpoints"]
    (port,) = container()["ports"]

    assert shown("PodMonitor")["spec"]["selector"] == manifests()["Deployment"]["spec"]["selector"]
    assert (endpoint["port"], endpoint["path"]) == (port["name"], "/metrics")
    assert endpoint["authorization"]["credentials"] == container()["env"][0]["valueFrom"]["secretKeyRef"]
