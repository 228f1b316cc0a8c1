"""examples/serving: the files have the form that Docker Compose and Kubernetes ask for, and the health check works.

Neither Docker nor Kubernetes nor the image runs here: the forms are checked against lists of their keys, and the health
check runs in bash against the stand-in.
"""

import pathlib
import shutil
import subprocess

import pytest

from tfface.export import write_serving_config

yaml = pytest.importorskip("yaml")
FOLDER = pathlib.Path(__file__).resolve().parents[2] / "examples" / "serving"
# Flags of tensorflow_model_server that name a file or turn batching on.
FLAGS = {"model_config_file", "monitoring_config_file", "batching_parameters_file", "enable_batching"}
SERVICE = {"image": str, "command": list, "ports": list, "volumes": list, "healthcheck": dict, "restart": str}
HEALTHCHECK = {"test": list, "interval": str, "timeout": str, "retries": int, "start_period": str}
META = {"name": str, "labels": dict, "annotations": dict}
CONTAINER = {
    "name": str,
    "image": str,
    "args": list,
    "ports": list,
    "readinessProbe": dict,
    "livenessProbe": dict,
    "resources": dict,
    "securityContext": dict,
    "volumeMounts": list,
}
PROBE = {"exec": dict, "tcpSocket": dict, "periodSeconds": int, "timeoutSeconds": int, "initialDelaySeconds": int}


def read(name):
    return list(yaml.safe_load_all((FOLDER / name).read_text(encoding="utf-8")))


def check(values, known, required=()):
    """A mapping has the required keys and no unknown one, each of its type."""
    assert set(required) <= set(values) <= set(known), set(values) ^ set(known)
    assert all(isinstance(value, known[name]) for name, value in values.items()), values


@pytest.fixture
def service():
    (compose,) = read("compose.yaml")
    assert list(compose) == ["services"] and list(compose["services"]) == ["serving"]
    return compose["services"]["serving"]


@pytest.fixture
def deployment():
    return next(each for each in read("kubernetes.yaml") if each["kind"] == "Deployment")


@pytest.fixture
def container(deployment):
    (found,) = deployment["spec"]["template"]["spec"]["containers"]
    return found


def configured(command):
    """Names of the files below /models that a command reads."""
    flags = dict(word.removeprefix("--").partition("=")[::2] for word in command)
    assert set(flags) <= FLAGS
    assert all(value.startswith("/models/") for value in flags.values() if value)
    return {value.removeprefix("/models/") for value in flags.values() if value}


def test_compose_file(service):
    check(service, SERVICE, SERVICE)
    check(service["healthcheck"], HEALTHCHECK, HEALTHCHECK)
    assert service["image"].partition(":")[0] == "tensorflow/serving"
    (volume,) = service["volumes"]
    assert volume == "${EXPORTED:-../../exported}:/models:ro"
    # Open to this machine only, on the ports of the image.
    assert service["ports"] == [f"127.0.0.1:{port}:{port}" for port in (8500, 8501)]


def test_batching_adds_two_flags(service):
    (batching,) = read("batching.yaml")
    assert list(batching["services"]["serving"]) == ["command"]
    command = batching["services"]["serving"]["command"]
    assert command[:2] == service["command"]
    assert command[2:] == ["--enable_batching", "--batching_parameters_file=/models/batching.config"]


def test_every_file_that_a_command_reads_is_written_by_the_export(service, container, tmp_path):
    (batching,) = read("batching.yaml")
    read_files = set()
    for command in (service["command"], container["args"], batching["services"]["serving"]["command"]):
        read_files |= configured(command)
    write_serving_config(tmp_path, tmp_path / "quickstart" / "1", "/models")
    assert read_files == {path.name for path in tmp_path.iterdir()}
    assert 'base_path: "/models/quickstart"' in (tmp_path / "models.config").read_text()


def test_manifest_of_the_deployment(deployment, container):
    check(deployment, {"apiVersion": str, "kind": str, "metadata": dict, "spec": dict}, ["apiVersion", "spec"])
    assert deployment["apiVersion"] == "apps/v1"
    check(deployment["metadata"], META, ["name"])
    check(deployment["spec"], {"replicas": int, "selector": dict, "template": dict}, ["selector", "template"])
    template = deployment["spec"]["template"]
    check(template["metadata"], META, ["labels"])
    assert all(isinstance(value, str) for value in template["metadata"]["annotations"].values())
    # A deployment whose selector does not match its own pods is refused.
    assert deployment["spec"]["selector"]["matchLabels"].items() <= template["metadata"]["labels"].items()
    check(container, CONTAINER, ["name", "image"])
    for name in ("readinessProbe", "livenessProbe"):
        check(container[name], PROBE)
        assert len({"exec", "tcpSocket"} & set(container[name])) == 1
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    assert mounts == {volume["name"]: "/models" for volume in template["spec"]["volumes"]}
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"grpc": 8500, "rest": 8501}
    assert container["livenessProbe"]["tcpSocket"]["port"] in ports


def test_manifest_of_the_service(deployment, container):
    (service,) = (each for each in read("kubernetes.yaml") if each["kind"] == "Service")
    assert service["apiVersion"] == "v1"
    check(service["spec"], {"selector": dict, "ports": list}, ["selector", "ports"])
    assert service["spec"]["selector"].items() <= deployment["spec"]["template"]["metadata"]["labels"].items()
    names = {port["name"] for port in container["ports"]}
    assert {port["targetPort"] for port in service["spec"]["ports"]} == names


def test_both_ask_for_health_alike(service, container):
    command = [word.replace("${MODEL:-quickstart}", "quickstart") for word in service["healthcheck"]["test"]]
    assert command == ["CMD", *container["readinessProbe"]["exec"]["command"]]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
@pytest.mark.parametrize("state, healthy", [("AVAILABLE", True), ("LOADING", False), ("UNAVAILABLE", False)])
def test_the_health_check_tells_a_loaded_model_from_others(container, rest, model, state, healthy):
    model.status = lambda name, version: {3: state}
    port = rest().rpartition(":")[2]
    command = container["readinessProbe"]["exec"]["command"]
    script = command[-1].replace("8501", port).replace("/models/quickstart", "/models/faces")
    assert script.count(port) == 1 and script.count("/models/faces") == 1
    done = subprocess.run([*command[:-1], script], timeout=60)
    assert (done.returncode == 0) == healthy


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is absent")
def test_without_a_server_the_health_check_fails(container, rest):
    command = container["readinessProbe"]["exec"]["command"]
    done = subprocess.run([*command[:-1], command[-1].replace("8501", "1")], capture_output=True, timeout=60)
    assert done.returncode != 0
