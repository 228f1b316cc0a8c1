"""Weights from files of PyTorch and ONNX, and back; what is not such a file is refused by name."""

import pickle
import sys

import numpy as np
import pytest
from cases import build, build_torch, images, torch_embeddings

from tfface.backbones.weights import insightface

torch = pytest.importorskip("torch")

NAMES = ["sfnet20", "iresnet", "iresnet_se", "mobilefacenet", "insightface_mobilefacenet", "vit"]


def slow(case):
    return pytest.param(case, marks=pytest.mark.slow)


@pytest.fixture(scope="module")
def network():
    return build_torch("iresnet")


def difference(model, network):
    expected = torch_embeddings(network, images())
    return np.abs(model(images()) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", NAMES)
def test_state_dict_goes_through_and_comes_back_bit_by_bit(name, tmp_path):
    network, model = build_torch(name), build(name)
    torch.save(network.state_dict(), tmp_path / "in.pth")
    insightface.load_weights(model, tmp_path / "in.pth")
    insightface.save_weights(model, tmp_path / "out.pth")
    back = torch.load(tmp_path / "out.pth", weights_only=True)
    for key, value in network.state_dict().items():
        assert key.endswith("num_batches_tracked") or torch.equal(back[key], value), key
    network.load_state_dict(back, strict=True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("folded", [True, False], ids=["normalisation_folded", "normalisation_kept"])
# A network with everything: the others are read by the same steps, and in the tests of newer exporters.
@pytest.mark.parametrize("name", [name if name == "iresnet_se" else slow(name) for name in NAMES])
def test_onnx_file_gives_the_embeddings_of_its_network(name, folded, tmp_path):
    pytest.importorskip("onnx")
    network, model = build_torch(name), build(name)
    mode = torch.onnx.TrainingMode.EVAL if folded else torch.onnx.TrainingMode.PRESERVE
    image = torch.zeros(1, 3, *images().shape[1:3])
    torch.onnx.export(network, image, tmp_path / "network.onnx", dynamo=False, training=mode)
    insightface.load_weights(model, tmp_path / "network.onnx")
    assert difference(model, network) <= 1e-5


def test_checkpoint_of_distributed_training_is_unwrapped(network, tmp_path):
    state = {f"module.{key}": value for key, value in network.state_dict().items()}
    torch.save({"epoch": 3, "state_dict_backbone": state, "state_optimizer": {}}, tmp_path / "checkpoint.pt")
    model = build("iresnet")
    insightface.load_weights(model, tmp_path / "checkpoint.pt")
    assert difference(model, network) <= 1e-5


class Rogue:
    def __reduce__(self):
        return (open, ("executed", "w"))


def test_files_of_another_kind_are_refused_by_name(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    model = build("iresnet")
    torch.save({"conv1.weight": Rogue()}, tmp_path / "rogue.pth")
    (tmp_path / "plain.pth").write_bytes(pickle.dumps(Rogue()))
    torch.save([1, 2], tmp_path / "list.pth")
    (tmp_path / "empty.pth").touch()
    (tmp_path / "noise.safetensors").write_bytes(bytes(range(256)))
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    for name in ("rogue.pth", "plain.pth", "list.pth", "empty.pth", "noise.onnx", "weights.h5", "noise.safetensors"):
        with pytest.raises(ValueError, match=name):
            insightface.load_weights(model, tmp_path / name)
    assert not (tmp_path / "executed").exists()
    with pytest.raises(OSError):
        insightface.load_weights(model, tmp_path / "absent.pth")


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda state: state.pop("layer2.0.conv1.weight"), "layer2.0.conv1.weight is missing"),
        (lambda state: state.update({"layer9.weight": torch.zeros(1)}), "the model has no layer9.weight"),
        (lambda state: state.update({"fc.bias": torch.zeros(99)}), r"fc.bias has shape \(99,\), the model \(16,\)"),
        (lambda state: state.update({"features.weight": torch.ones(3)}), r"features.weight has shape \(3,\)"),
    ],
)
def test_other_weights_are_refused_and_leave_the_model(change, message, network, tmp_path):
    state = network.state_dict()
    change(state)
    torch.save(state, tmp_path / "other.pth")
    model = build("iresnet")
    before = model.get_weights()
    with pytest.raises(ValueError, match=message):
        insightface.load_weights(model, tmp_path / "other.pth")
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: {"state_dict": state},
        lambda state: {"epoch": 3, "model": state, "optimizer": {"state": {}, "param_groups": []}},
        lambda state: {"arch": "r18", "weights_of_mine": state},
        lambda state: {f"backbone.{key}": value for key, value in state.items()},
        lambda state: {"state_dict": {f"module._orig_mod.{key}": value for key, value in state.items()}},
        lambda state: {key: torch.nn.Parameter(value, value.is_floating_point()) for key, value in state.items()},
    ],
    ids=["state_dict", "model", "one_of_any_name", "prefix", "two_prefixes", "keep_vars"],
)
def test_state_dict_is_found_in_the_forms_that_training_programs_save(wrap, network, tmp_path):
    torch.save(wrap(dict(network.state_dict())), tmp_path / "saved.pth")
    model = build("iresnet")
    insightface.load_weights(model, tmp_path / "saved.pth")
    assert difference(model, network) <= 1e-5


def test_checkpoint_without_a_network_names_its_keys(tmp_path):
    torch.save({"epoch": 3, "optimizer": {"lr": 0.1}}, tmp_path / "optimizer.pth")
    with pytest.raises(ValueError, match="optimizer.pth: not a state dict.*its keys: epoch, optimizer"):
        insightface.load_weights(build("iresnet"), tmp_path / "optimizer.pth")


def test_safetensors_are_read_by_their_library(network, tmp_path, monkeypatch):
    (tmp_path / "network.safetensors").touch()
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "safetensors.numpy", None)
        without.setitem(sys.modules, "safetensors", None)
        with pytest.raises(ValueError, match=r"needs the package safetensors: pip install 'tfface\[import\]'"):
            insightface.load_weights(build("iresnet"), tmp_path / "network.safetensors")
    safetensors = pytest.importorskip("safetensors.numpy")
    state = {f"model.{key}": value.numpy() for key, value in network.state_dict().items()}
    safetensors.save_file(state, tmp_path / "network.safetensors")
    model = build("iresnet")
    insightface.load_weights(model, tmp_path / "network.safetensors")
    assert difference(model, network) <= 1e-5


@pytest.mark.parametrize("name", ["iresnet", "mobilefacenet", "vit"])
def test_trained_scale_of_the_last_normalisation_is_absorbed(name, tmp_path):
    network = build_torch(name)
    last = [module for module in network.modules() if isinstance(module, torch.nn.BatchNorm1d)][-1]
    with torch.no_grad():
        last.weight.copy_(torch.linspace(-2, 3, 16))  # Of both signs.
        last.weight[3] = 0
    torch.save(network.state_dict(), tmp_path / "trained.pth")
    model = build(name)
    insightface.load_weights(model, tmp_path / "trained.pth")
    assert difference(model, network) <= 1e-5


def fold_last_normalisation(model):
    """Folds the last BatchNormalization into the Gemm or MatMul before it, as newer exporters do."""
    onnx = pytest.importorskip("onnx")
    graph = model.graph
    norm, dense = graph.node[-1], graph.node[-2]
    assert norm.op_type == "BatchNormalization"
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    gamma, beta, mean, variance = (values[name] for name in norm.input[1:])
    factor = gamma / np.sqrt(variance + norm.attribute[0].f)
    weight = values[dense.input[1]] if dense.op_type == "Gemm" else values[dense.input[1]].T
    bias = values[dense.input[2]] if len(dense.input) > 2 else 0
    arrays = {"folded_weight": weight * factor[:, None], "folded_bias": (bias - mean) * factor + beta}
    graph.initializer.extend(onnx.numpy_helper.from_array(array, name) for name, array in arrays.items())
    gemm = onnx.helper.make_node("Gemm", [dense.input[0], *arrays], norm.output, transB=1)
    del graph.node[-2:]
    graph.node.append(gemm)


def wrap_constants(model):
    """Gives weights as Constant nodes, through Identity, Cast and Transpose, as optimizers of graphs leave them."""
    onnx = pytest.importorskip("onnx")
    graph, made = model.graph, []
    for number, tensor in enumerate(list(graph.initializer)):
        array = onnx.numpy_helper.to_array(tensor)
        steps = [("Identity", {}), ("Cast", {"to": onnx.TensorProto.FLOAT})]
        if array.ndim == 2:
            steps, array = [("Transpose", {"perm": [1, 0]})], array.T
        if array.dtype != np.float32:
            steps = steps[:1]
        name = f"constant_{number}"
        made.append(onnx.helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(array)))
        for index, (kind, attributes) in enumerate(steps):
            output = tensor.name if index == len(steps) - 1 else f"{name}_{index}"
            made.append(onnx.helper.make_node(kind, [name], [output], **attributes))
            name = output
    nodes = [*made, *graph.node]
    del graph.initializer[:], graph.node[:]
    graph.node.extend(nodes)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("change", [fold_last_normalisation, wrap_constants])
@pytest.mark.parametrize("name", ["iresnet", "insightface_mobilefacenet"])
def test_onnx_file_of_newer_exporters_gives_the_embeddings_of_its_network(name, change, tmp_path):
    onnx = pytest.importorskip("onnx")
    network, model, path = build_torch(name), build(name), tmp_path / "network.onnx"
    torch.onnx.export(network, torch.zeros(1, 3, *images().shape[1:3]), path, dynamo=False)
    changed = onnx.load(path)
    change(changed)
    onnx.checker.check_model(changed)
    onnx.save(changed, path)
    insightface.load_weights(model, path)
    assert difference(model, network) <= 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("opset", [11, 17])
def test_onnx_file_of_older_operators_gives_the_embeddings_of_its_transformer(opset, tmp_path):
    pytest.importorskip("onnx")
    network, model, path = build_torch("vit"), build("vit"), tmp_path / "network.onnx"
    torch.onnx.export(network, torch.zeros(1, 3, *images().shape[1:3]), path, dynamo=False, opset_version=opset)
    insightface.load_weights(model, path)
    assert difference(model, network) <= 1e-5


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name in ("iresnet", "vit") else [pytest.mark.slow]) for name in NAMES]
)
def test_file_of_torch_s_newer_exporter_gives_the_embeddings_of_its_network(name, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxscript")
    network, model = build_torch(name), build(name)
    torch.onnx.export(network, (torch.zeros(1, 3, *images().shape[1:3]),), tmp_path / "network.onnx", dynamo=True)
    insightface.load_weights(model, tmp_path / "network.onnx")
    assert difference(model, network) <= 1e-5


@pytest.mark.filterwarnings("ignore")
def test_onnx_file_of_another_network_is_refused_with_what_was_found(network, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, torch.zeros(1, 3, *images().shape[1:3]), path, dynamo=False)
    with pytest.raises(ValueError, match=r"network.onnx: another network: the model continues with .*Conv \["):
        insightface.load_weights(build("mobilefacenet"), path)
    other = tmp_path / "other.onnx"
    torch.onnx.export(build_torch("mobilefacenet"), torch.zeros(1, 3, *images().shape[1:3]), other, dynamo=False)
    with pytest.raises(ValueError, match=r"other.onnx: another network: the model continues with .*Normalization '"):
        insightface.load_weights(build("insightface_mobilefacenet"), other)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="network.onnx: not an ONNX file, or a part of one"):
        insightface.load_weights(build("iresnet"), path)
    path.write_bytes(whole)
    changed = onnx.load(path)
    changed.graph.node[5].op_type = "Softmax"
    onnx.save(changed, path)
    with pytest.raises(
        ValueError, match="network.onnx: another network: it has a node Softmax, which the model has not"
    ):
        insightface.load_weights(build("iresnet"), path)


@pytest.mark.filterwarnings("ignore")
def test_external_data_is_read_from_the_folder_of_the_file_only(network, tmp_path):
    onnx = pytest.importorskip("onnx")
    path, model = tmp_path / "network.onnx", build("iresnet")
    torch.onnx.export(network, torch.zeros(1, 3, *images().shape[1:3]), path, dynamo=False)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="network.onnx.data", size_threshold=0)
    insightface.load_weights(model, path)
    assert difference(model, network) <= 1e-5
    data = tmp_path / "network.onnx.data"
    data.write_bytes(data.read_bytes()[:1000])
    with pytest.raises(ValueError, match="network.onnx: its file 'network.onnx.data' is too short for"):
        insightface.load_weights(model, path)
    data.rename(tmp_path / "elsewhere")
    with pytest.raises(ValueError, match="network.onnx: .* 'network.onnx.data', which is missing"):
        insightface.load_weights(model, path)
    for location in ("../elsewhere", str(tmp_path / "elsewhere")):
        changed = onnx.load(path, load_external_data=False)
        for tensor in changed.graph.initializer:
            for entry in tensor.external_data:
                if entry.key == "location":
                    entry.value = location
        onnx.save(changed, path)
        with pytest.raises(ValueError, match="is not the name of a file in its folder"):
            insightface.load_weights(model, path)
