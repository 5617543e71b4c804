"""``cluster.yaml`` and the Kubernetes manifest: what Ray, EC2 and KubeRay would refuse is refused here."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import botocore.session
import jsonschema
import pytest
import yaml
from botocore.validate import ParamValidator
from ray.autoscaler._private.util import prepare_config, validate_config

from datus2_ray.cli.app import app
from datus2_ray.commands.submit import read_command
from datus2_ray.config.load import load_from_command
from datus2_ray.version import VERSION

ROOT = Path(__file__).parents[1]

#: Fields of KubeRay's custom resources (its API reference for ray.io/v1, version 1.7.0).
RAY_JOB = {
    "activeDeadlineSeconds", "backoffLimit", "clusterSelector", "deletionStrategy", "entrypoint", "entrypointNumCpus",
    "entrypointNumGpus", "entrypointResources", "jobId", "managedBy", "metadata", "preRunningDeadlineSeconds",
    "rayClusterSpec", "runtimeEnvYAML", "shutdownAfterJobFinishes", "submissionMode", "submitterConfig",
    "submitterPodTemplate", "suspend", "ttlSecondsAfterFinished",
}  # fmt: skip
RAY_CLUSTER = {
    "authOptions", "autoscalerOptions", "enableInTreeAutoscaling", "gcsFaultToleranceOptions", "headGroupSpec",
    "headServiceAnnotations", "historyServerOptions", "managedBy", "networkPolicy", "rayVersion", "suspend",
    "tlsOptions", "upgradeStrategy", "workerGroupSpecs",
}  # fmt: skip
AUTH = {"enableK8sTokenAuth", "mode", "secretName"}
AUTOSCALER = {
    "args", "command", "env", "envFrom", "idleTimeoutSeconds", "image", "imagePullPolicy", "resources",
    "securityContext", "upscalingMode", "version", "volumeMounts",
}  # fmt: skip
GROUP = {"labels", "rayStartParams", "resources", "template"}
HEAD_GROUP = GROUP | {"enableIngress", "headService", "ingressOptions", "serviceType"}
WORKER_GROUP = GROUP | {
    "groupName", "idleTimeoutSeconds", "maxReplicas", "minReplicas", "numOfHosts", "priority", "replicas",
    "scaleStrategy", "suspend",
}  # fmt: skip


def cluster() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "cluster.yaml").read_text())
    return settings


def manifest() -> list[dict[str, Any]]:
    return list(yaml.safe_load_all((ROOT / "jobs" / "kuberay-rayjob.yaml").read_text()))


def spend(config: dict[str, Any]) -> None:
    config["available_node_types"]["gpu-worker"]["min_workers"] = 17


def misname(config: dict[str, Any]) -> None:
    config["head_node_type"] = "haed"


def misspell(config: dict[str, Any]) -> None:
    config["idle_timeout_minuets"] = 5


def test_ray_accepts_the_cluster() -> None:
    validate_config(prepare_config(cluster()))


@pytest.mark.parametrize(
    ("spoil", "error", "message"),
    [
        (misspell, jsonschema.ValidationError, "idle_timeout_minuets"),
        (misname, ValueError, "head_node_type"),
        (spend, ValueError, "max_workers"),
    ],
)
def test_ray_refuses_a_spoiled_cluster(
    spoil: Callable[[dict[str, Any]], None], error: type[Exception], message: str
) -> None:
    config = copy.deepcopy(cluster())
    spoil(config)
    with pytest.raises(error, match=message):
        validate_config(prepare_config(config))


def refusals(node_config: dict[str, Any]) -> str:
    """Say what EC2's own description of a request for instances has against a node."""
    service = botocore.session.get_session().get_service_model("ec2")
    request = {"MinCount": 1, "MaxCount": 1, **node_config}
    report = ParamValidator().validate(request, service.operation_model("RunInstances").input_shape)
    return str(report.generate_report())


@pytest.mark.parametrize("node_type", ["head", "cpu-worker", "gpu-worker"])
def test_ec2_knows_the_fields_of_a_node(node_type: str) -> None:
    node_config = cluster()["available_node_types"][node_type]["node_config"]
    assert refusals(node_config) == ""
    assert "InstanceMarketOption" in refusals({**node_config, "InstanceMarketOption": {}})


def test_workers_come_and_go_and_gpus_are_spot_instances() -> None:
    types = cluster()["available_node_types"]
    for name in ("cpu-worker", "gpu-worker"):
        assert types[name]["min_workers"] == 0
        assert types[name]["max_workers"] > 0
    assert types["gpu-worker"]["node_config"]["InstanceMarketOptions"]["MarketType"] == "spot"
    assert types["gpu-worker"]["resources"]["GPU"] == 1
    assert types["head"]["resources"]["GPU"] == 0
    # Ray Data needs a CPU for its tasks while there are no workers yet.
    assert types["head"]["resources"]["CPU"] >= 1


def test_every_node_wants_the_token_and_has_it() -> None:
    config = cluster()
    for commands in (config["head_start_ray_commands"], config["worker_start_ray_commands"]):
        assert "RAY_AUTH_MODE=token ray start" in commands[-1]
    assert config["file_mounts"]["/home/ray/.ray/auth_token"] == "~/.ray/auth_token"
    assert "--constraint constraints.txt" in config["setup_commands"][0]


def unknown_fields(job: dict[str, Any]) -> set[str]:
    spec = job["spec"]
    ray_cluster = spec["rayClusterSpec"]
    unknown = set(spec) - RAY_JOB | set(ray_cluster) - RAY_CLUSTER
    unknown |= set(ray_cluster["authOptions"]) - AUTH | set(ray_cluster["autoscalerOptions"]) - AUTOSCALER
    unknown |= set(ray_cluster["headGroupSpec"]) - HEAD_GROUP
    for group in ray_cluster["workerGroupSpecs"]:
        unknown |= set(group) - WORKER_GROUP
    return unknown


def test_kuberay_knows_every_field_of_the_manifest() -> None:
    account, job = manifest()
    assert (account["kind"], job["apiVersion"], job["kind"]) == ("ServiceAccount", "ray.io/v1", "RayJob")
    assert unknown_fields(job) == set()
    job["spec"]["backofLimit"] = 1
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["minReplica"] = 1
    assert unknown_fields(job) == {"backofLimit", "minReplica"}


def test_the_pods_have_image_rights_memory_and_token() -> None:
    account, job = manifest()
    spec = job["spec"]
    ray_cluster = spec["rayClusterSpec"]
    # Older operators drop a field that they do not know, and with it the token.
    assert ray_cluster["authOptions"]["mode"] == "token"
    assert f"ray=={ray_cluster['rayVersion']}" in (ROOT / "constraints.txt").read_text().splitlines()
    groups = [ray_cluster["headGroupSpec"], *ray_cluster["workerGroupSpecs"]]
    assert [group["minReplicas"] for group in groups[1:]] == [0, 0]
    for group in groups:
        pod = group["template"]["spec"]
        (container,) = pod["containers"]
        assert pod["serviceAccountName"] == account["metadata"]["name"]
        assert container["image"].endswith(f"/datus2-ray:{VERSION}")
        assert {"name": "shm", "mountPath": "/dev/shm"} in container["volumeMounts"]
        assert pod["volumes"][0]["emptyDir"]["medium"] == "Memory"
    gpus = [group["template"]["spec"]["containers"][0]["resources"]["limits"].get("nvidia.com/gpu") for group in groups]
    assert gpus == [None, None, 1]
    # The driver's environment reaches the workers; a value must be a string.
    assert all(isinstance(v, str) for v in yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"].values())


def test_the_manifest_runs_a_command_whose_settings_are_valid() -> None:
    entrypoint = manifest()[1]["spec"]["entrypoint"].split()
    assert entrypoint[:3] == ["python", "-m", "datus2_ray"]
    parsed = read_command(app, entrypoint[3:]).parsed
    parsed.pop("debug")
    settings = load_from_command(parsed)
    assert settings.no_progress_seconds == 1800
    assert settings.out == "s3://REPLACE/runs/one"


def test_the_version_is_the_same_in_image_manifest_and_docs() -> None:
    for file in ("jobs/Dockerfile", "jobs/kuberay-rayjob.yaml", "docs/cluster.md"):
        assert set(re.findall(r"datus2-ray:([0-9.]+)", (ROOT / file).read_text())) == {VERSION}
