"""The Kubernetes example renders, and what it mounts is what server and router read."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from fdss.cli.main import fdss
from fdss.config_file import read_config_file
from fdss.router.config import config_of, read_router_file
from fdss.router.names import DEFAULT_PORT, default_config_file, registry_file
from fdss.router.registry import Registry
from fdss.settings import DEFAULT_PORT as SERVER_PORT
from fdss.wire.names import HEALTH_PATH

FOLDER = Path(__file__).parents[2] / "examples" / "kubernetes"


@pytest.fixture
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    """Return every object of the example by kind and name."""
    files = [FOLDER / "servers.yaml", FOLDER / "routers.yaml"]
    found = [each for file in files for each in yaml.safe_load_all(file.read_text("utf-8"))]
    return {(each["kind"], each["metadata"]["name"]): each for each in found}


def test_example_renders() -> None:
    """kubectl makes one document of the folder, with every object in the namespace."""
    kubectl = shutil.which("kubectl")
    if kubectl is None:
        pytest.skip("kubectl is not installed")

    ended = subprocess.run(
        [kubectl, "kustomize", str(FOLDER)], check=True, capture_output=True, encoding="utf-8"
    )

    rendered = list(yaml.safe_load_all(ended.stdout))
    assert len(rendered) == 6
    assert {each["metadata"]["namespace"] for each in rendered} == {"fdss"}


def test_servers_read_their_configuration(
    objects: dict[tuple[str, str], dict[str, Any]], tmp_path: Path
) -> None:
    """The servers' file is accepted, and names their datasets."""
    file = tmp_path / "config.yaml"
    file.write_text(objects["Secret", "fdss-data"]["stringData"]["config.yaml"], "utf-8")

    read = read_config_file(str(file))

    assert read.values["host"] == "0.0.0.0"
    assert list(read.local) == ["stories"]


def test_routers_read_their_configuration(
    objects: dict[tuple[str, str], dict[str, Any]], home: Path
) -> None:
    """Mounted where they are, section and registry are read, and name every server."""
    secret = objects["Secret", "fdss-router"]["stringData"]
    default_config_file().parent.mkdir(parents=True)
    default_config_file().write_text(secret[default_config_file().name], "utf-8")
    registry_file().write_text(secret[registry_file().name], "utf-8")
    replicas = objects["StatefulSet", "fdss-data"]["spec"]["replicas"]
    token = _servers_token(objects)

    config = config_of(read_router_file(None).values)
    members = [entry.member for entry in Registry(registry_file()).entries()]

    assert config.entrance.host == "0.0.0.0"
    assert [member.base_url for member in members] == [
        f"http://fdss-data-{number}.fdss-data:{SERVER_PORT}" for number in range(replicas)
    ]
    assert {member.auth_token for member in members} == {token}


def _servers_token(objects: dict[tuple[str, str], dict[str, Any]]) -> str:
    text = objects["Secret", "fdss-data"]["stringData"]["config.yaml"]
    return str(yaml.safe_load(text)["auth_token"])


@pytest.mark.parametrize(
    ("kind", "name", "port"),
    [("StatefulSet", "fdss-data", SERVER_PORT), ("Deployment", "fdss-router", DEFAULT_PORT)],
)
def test_containers_run_commands_that_exist(
    objects: dict[tuple[str, str], dict[str, Any]], kind: str, name: str, port: int
) -> None:
    """Each container starts an fdss command, and is asked for health on the right port."""
    (container,) = objects[kind, name]["spec"]["template"]["spec"]["containers"]
    words = container["command"]

    assert words[0] == "fdss"
    assert words[1] in fdss.list_commands(fdss.make_context("fdss", [], resilient_parsing=True))
    assert container["readinessProbe"]["httpGet"] == {"path": HEALTH_PATH, "port": port}
    assert objects["Service", name]["spec"]["ports"][0]["port"] == port
