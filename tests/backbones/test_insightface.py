"""Weights from files of PyTorch and ONNX, and back; what is not such a file is refused by name."""

import pickle

import numpy as np
import pytest
from cases import build, build_torch, images, torch_embeddings

from tfface.backbones.weights import insightface

torch = pytest.importorskip("torch")

CONVOLUTIONAL = ["sfnet20", "iresnet", "mobilefacenet", "insightface_mobilefacenet"]


@pytest.fixture(scope="module")
def network():
    return build_torch("iresnet")


def difference(model, network):
    expected = torch_embeddings(network, images())
    return np.abs(model(images()) - expected).max() / np.abs(expected).max()


@pytest.mark.parametrize("name", [*CONVOLUTIONAL, "iresnet_se", "vit"])
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
@pytest.mark.parametrize("name", CONVOLUTIONAL)
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
    (tmp_path / "noise.onnx").write_bytes(bytes(range(256)) * 9)
    for name in ("rogue.pth", "plain.pth", "list.pth", "empty.pth", "noise.onnx", "weights.h5"):
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
        (lambda state: state.update({"features.weight": torch.zeros(16)}), "features.weight is not 1"),
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


@pytest.mark.filterwarnings("ignore")
def test_onnx_file_of_another_network_or_with_weights_elsewhere_is_refused(network, tmp_path):
    onnx = pytest.importorskip("onnx")
    path = tmp_path / "network.onnx"
    torch.onnx.export(network, torch.zeros(1, 3, *images().shape[1:3]), path, dynamo=False)
    with pytest.raises(ValueError, match="network.onnx: another network: where the model has"):
        insightface.load_weights(build("mobilefacenet"), path)
    onnx.save(onnx.load(path), path, save_as_external_data=True, location="elsewhere.bin")
    with pytest.raises(ValueError, match="network.onnx: its weights lie in other files"):
        insightface.load_weights(build("iresnet"), path)
