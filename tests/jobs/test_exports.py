"""The export job: cards agree with files, and only a correct export appears under the target's name."""

import json
import shutil

import keras
import numpy as np
import pytest

import tfface
from tfface import config, data, evaluation, export, jobs
from tfface.config import train_config, train_flags
from tfface.config.build import build_encoder, build_head
from tfface.data.synthetic.rendering import write_folder
from tfface.jobs import exports, provenance
from tfface.jobs.model_card import model_card
from tfface.jobs.verification import protocol_names, verification_pairs
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import write_identities

FAR = 0.01


@pytest.fixture(scope="module")
def run_dir(tmp_path_factory):
    """A run folder as `train` leaves it, of an untrained network, verified on its training records."""
    root = tmp_path_factory.mktemp("runs")
    write_folder(root / "faces", identities=8, images_per_identity=6, size=56)
    data.convert_folder(root / "faces", root / "records")
    settings = train_config.TrainConfig(
        run_dir=str(root / "run"), train_data=str(root / "records"), image_size=56, embedding_dim=16,
        backbone="SFNet(units=[0, 0, 0, 0], with_batch_norm=True)", head="CosFace(margin=0.25)",
    )  # fmt: skip
    keras.utils.set_random_seed(3)
    model = tfface.FaceModel(build_encoder(settings), build_head(settings, 8))
    model.compile(optimizer="sgd")
    model.optimizer.build(model.trainable_variables)
    Checkpoints(root / "run" / "checkpoints", model).save(7)
    train_flags.write_flagfile(settings, root / "run" / train_flags.FLAGFILE)
    write_identities(root / "run", data.DatasetInfo.load(root / "records").label_map)
    jobs.verify_model(root / "run", root / "records", max_pairs=200, output=root / "run")
    return root / "run"


@pytest.fixture(scope="module")
def encoder(run_dir):
    return config.load_encoder(run_dir)


@pytest.fixture
def copy(run_dir, tmp_path):
    """The run folder, for tests that change it."""
    return shutil.copytree(run_dir, tmp_path / "run")


def test_card_of_a_run_tells_what_its_files_say(run_dir, encoder):
    card = model_card(run_dir, encoder, far=FAR)
    results = json.loads((run_dir / "results.json").read_text())
    (result,) = results["results"]
    assert card["threshold"] == {
        "value": result["tar_at_far"][0]["threshold"],
        "far": FAR,
        "protocol": "held-out pairs",
    }
    assert card["notes"] == []
    assert (card["name"], card["tfface"]) == ("run", tfface.__version__)
    assert card["sha256"] == results["context"]["model_sha256"]
    assert card["data"] == {
        "name": "records",
        "images": 48,
        "identities": 8,
        "sha256": provenance.sha256(run_dir.parent / "records" / "dataset.json"),
    }
    weights = sum(int(np.prod(weight.shape)) for weight in encoder.weights)
    assert card["network"] == {
        "backbone": "SFNet(units=[0, 0, 0, 0], with_batch_norm=True)",
        "image_size": [56, 56],
        "embedding_dim": 16,
        "parameters": weights,
    }
    # Margin as given, scale by default, classes of the records.
    assert card["head"] == {"class": "CosFace", "num_classes": 8, "scale": 64.0, "margin": 0.25}
    assert card["training"] == {"steps": 7, "flags": (run_dir / "flags.txt").read_text()}
    verified = card["verification"]
    assert (verified["images_sha256"], verified["flip"]) == (card["data"]["sha256"], False)
    accuracy = result["accuracy"]
    assert [verified["results"][0][name] for name in ("accuracy", "accuracy_std", "impostor_pairs")] == [
        accuracy["mean"], accuracy["std"], 100,
    ]  # fmt: skip
    assert [point["threshold"] is None for point in verified["thresholds"]] == [False, True, True]


def test_equal_runs_give_equal_cards(copy, run_dir, encoder, tmp_path):
    for folder in (run_dir, copy):
        export.write_card(model_card(folder, encoder, far=FAR), tmp_path / f"{folder.parent.name}.onnx")
    (first, second), (page, other) = (sorted(tmp_path.glob(f"*.{kind}")) for kind in ("json", "md"))
    assert first.read_bytes() == second.read_bytes()
    assert page.read_bytes() == other.read_bytes()


def test_thresholds_hold_for_the_same_flip_mode_only(run_dir, encoder, tmp_path):
    card = model_card(run_dir, encoder, flip=True, far=FAR)
    assert card["threshold"] is None
    assert "export embeds with the flipped image, the model was verified without" in card["notes"][0]
    jobs.verify_model(run_dir, run_dir.parent / "records", max_pairs=200, flip=True, output=tmp_path)
    results = tmp_path / "results.json"
    card = model_card(run_dir, encoder, flip=True, far=FAR, results=results)
    assert card["threshold"]["value"] == json.loads(results.read_text())["results"][0]["tar_at_far"][0]["threshold"]
    assert card["threshold"]["value"] != model_card(run_dir, encoder, far=FAR)["threshold"]["value"]
    assert model_card(run_dir, encoder, far=FAR, results=results)["threshold"] is None


@pytest.mark.parametrize("far", [0.02, 0.05, 0.29, 1.0])
def test_every_far_that_the_pairs_can_measure_has_its_threshold(run_dir, encoder, far):
    card = model_card(run_dir, encoder, far=far)
    embeddings = jobs.embed_images(run_dir, run_dir.parent / "records")
    pairs = verification_pairs(embeddings, (), 200, 0)["held-out pairs"]
    expected = evaluation.verify(embeddings.vectors, embeddings.keys, pairs, fars=[far]).tar_at_far[far].threshold
    assert card["threshold"] == {
        "value": pytest.approx(expected, abs=1e-6),
        "far": far,
        "protocol": "held-out pairs",
    }
    assert card["notes"] == []


def test_a_far_that_the_pairs_cannot_measure_has_no_threshold(run_dir, copy, encoder):
    card = model_card(run_dir, encoder, far=1e-3)
    assert card["threshold"] is None
    assert "FAR 0.001 needs at least 1000 impostor pairs, 'held-out pairs' has 100" in card["notes"][0]
    document = json.loads((copy / "results.json").read_text())
    del document["results"][0]["roc"]  # Release 0.1 wrote none.
    (copy / "results.json").write_text(json.dumps(document))
    card = model_card(copy, encoder, far=0.02)
    assert card["threshold"] is None
    assert "'held-out pairs' has none for FAR 0.02; it has those for FAR 0.01" in card["notes"][0]


@pytest.mark.parametrize("identities", [1, 3])
def test_too_few_identities_for_two_folds_are_counted(identities):
    labels = np.repeat(np.arange(identities), 3)
    embeddings = export.Embeddings(np.eye(len(labels), dtype=np.float32), [str(i) for i in range(len(labels))], labels)
    with pytest.raises(ValueError, match=f"two folds need four identities, got {identities}"):
        verification_pairs(embeddings, (), 100, 0)


def test_pair_lists_are_named_after_their_datasets(run_dir, tmp_path):
    for name in ("cfp_fp", "lfw"):
        shutil.copytree(run_dir.parent / "records", tmp_path / name)
        info = json.loads((tmp_path / name / "dataset.json").read_text())
        (tmp_path / name / "dataset.json").write_text(json.dumps(info | {"name": name}))
        (tmp_path / f"other_{name}").mkdir()
    lists = [tmp_path / folder / "pairs.csv" for folder in ("cfp_fp", "lfw", "other_lfw")]
    assert protocol_names(lists) == ["cfp_fp", "lfw", "pairs"]
    lists = [tmp_path / folder / "pairs.txt" for folder in ("cfp_fp", "lfw")]
    assert protocol_names(lists) == ["cfp_fp/pairs", "lfw/pairs"]
    assert protocol_names(lists[:1]) == ["pairs"]
    with pytest.raises(ValueError, match="a protocol is given twice: .*pairs.txt"):
        protocol_names([lists[0], lists[0]])


@pytest.mark.parametrize("flip", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_results_of_an_export_count_for_its_network(run_dir, encoder, tmp_path, flip):
    records = run_dir.parent / "records"
    path = jobs.export_model(run_dir, tmp_path / "face.tflite", flip=flip).path
    # The export flips by itself.
    jobs.verify_model(path, records, max_pairs=200, output=tmp_path)
    card = model_card(run_dir, encoder, flip=flip, far=FAR, results=tmp_path / "results.json")
    jobs.verify_model(run_dir, records, max_pairs=200, flip=flip, output=tmp_path)
    same = model_card(run_dir, encoder, flip=flip, far=FAR, results=tmp_path / "results.json")
    assert card["threshold"]["value"] == pytest.approx(same["threshold"]["value"], abs=1e-5)


def test_unknown_is_none_not_invented(copy, encoder):
    # Results of other weights and records of other people do not count.
    shutil.copytree(copy / "checkpoints" / "step-7", copy / "checkpoints" / "step-8")
    write_identities(copy, list("abcdefgh"))
    card = model_card(copy, encoder, far=FAR)
    assert (card["data"], card["verification"], card["threshold"]) == (None, None, None)
    assert "with other weights" in card["notes"][0]
    assert card["training"]["steps"] == 8
    with pytest.raises(ValueError, match="another model, or of other weights"):
        model_card(copy, encoder, results=copy / "results.json")
    (copy / "results.json").unlink()
    assert "not verified" in model_card(copy, encoder)["notes"][0]


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"context": {}, "results": []}', '{"context": 1, "results": [2]}']
)
def test_damaged_results_are_named(copy, encoder, content):
    (copy / "results.json").write_text(content)
    with pytest.raises(ValueError, match="results.json: .*(not JSON|expected)"):
        model_card(copy, encoder)


def test_refuses_unknown_protocols_and_fars(run_dir, encoder):
    with pytest.raises(ValueError, match="there is no result named 'lfw', only .'held-out pairs'"):
        model_card(run_dir, encoder, protocol="lfw")
    with pytest.raises(ValueError, match="FAR must be in"):
        model_card(run_dir, encoder, far=0.0)


def test_card_of_a_keras_file_has_what_the_file_tells(run_dir, encoder, tmp_path):
    encoder.save(tmp_path / "encoder.keras")
    card = model_card(tmp_path / "encoder.keras", encoder)
    assert card["sha256"] == provenance.sha256(tmp_path / "encoder.keras")
    assert card["network"]["embedding_dim"] == 16
    assert [card[name] for name in ("data", "head", "training", "verification")] == [None] * 4
    tfface.FaceModel(encoder, tfface.heads.CosFace(5, margin=0.1)).save(tmp_path / "model.keras")
    head = model_card(tmp_path / "model.keras", encoder)["head"]
    assert (head["class"], head["margin"], head["num_classes"]) == ("CosFace", 0.1, 5)


def test_exported_threshold_gives_the_far_of_the_card(run_dir, tmp_path):
    result = jobs.export_model(run_dir, tmp_path / "face" / "3", far=FAR, serving_config=tmp_path / "serving")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["face", "serving"]
    assert [path.name for path in (tmp_path / "face").iterdir()] == ["3"]
    assert result.agreement.largest_difference <= 1e-5
    card = json.loads((result.path / "assets.extra" / "model_card.json").read_text(encoding="utf-8"))
    assert card == result.card
    assert f'base_path: "{tmp_path}/face"' in (tmp_path / "serving" / "models.config").read_text()
    # Measured again, with the export, on the pairs of the verification.
    images = data.eval_dataset(run_dir.parent / "records", 16, 56)
    embeddings = export.embed_dataset(export.load_embedder(result.path), images)
    (pairs,) = verification_pairs(embeddings, (), 200, 0).values()
    row = dict(zip(embeddings.keys, embeddings.vectors, strict=True))
    scores = np.array([row[a] @ row[b] for a, b in zip(pairs.left, pairs.right, strict=True)])
    (point, *_) = card["verification"]["thresholds"]
    # Half a rounding step lower, because a threshold is itself a score.
    accepted = scores >= card["threshold"]["value"] - 1e-6
    assert np.mean(accepted[~pairs.same]) == pytest.approx(point["measured_far"])
    assert np.mean(accepted[pairs.same]) == pytest.approx(point["tar"])


@pytest.mark.parametrize(
    "name, options",
    [("face.onnx", {"flip": True}), pytest.param("face.tflite", {"quantize": "float16"}, marks=pytest.mark.slow)],
)
def test_files_have_their_card_beside_them(run_dir, encoder, tmp_path, name, options):
    if name.endswith(".onnx"):
        pytest.importorskip("tf2onnx")
        pytest.importorskip("onnxruntime")
    (tmp_path / name).write_bytes(b"an older one")
    result = jobs.export_model(run_dir, tmp_path / name, far=FAR, **options)
    assert sorted(path.name for path in tmp_path.iterdir()) == [name, f"{name}.card.json", f"{name}.card.md"]
    assert json.loads((tmp_path / f"{name}.card.json").read_text(encoding="utf-8")) == result.card
    layout = {"layout": "nhwc"} if name.endswith(".onnx") else {}
    quantize = options.get("quantize", "none")
    assert result.card["export"] == {"format": result.path.suffix, "quantize": quantize, **layout}
    assert bool(result.card["threshold"]) != bool(options.get("flip"))
    images = data.eval_dataset(run_dir.parent / "records", 16, 56)
    expected = export.embed_dataset(export.encoder_embedder(encoder), images, flip=options.get("flip", False))
    found = export.embed_dataset(export.load_embedder(result.path), images)
    np.testing.assert_allclose(found.vectors, expected.vectors, atol=2e-3 if "quantize" in options else 1e-4)


def test_a_wrong_export_does_not_appear(run_dir, tmp_path, monkeypatch):
    def broken(encoder, path, **options):
        path.mkdir()
        (path / "saved_model.pb").write_bytes(b"no graph")

    monkeypatch.setattr(exports.export, "saved_model", broken)
    with pytest.raises(ValueError, match="face/1 was not written: the export does not run in a fresh process"):
        jobs.export_model(run_dir, tmp_path / "face" / "1")
    assert not list((tmp_path / "face").iterdir())


@pytest.mark.parametrize(
    "name, options, message",
    [
        (".", {}, "exists already"),
        ("folder.onnx", {}, "exists already"),
        ("1", {"quantize": "float16"}, "quantize 'float16' is for .tflite files"),
        ("a.onnx", {"quantize": "int8", "calibration": "records"}, "quantize 'int8' is for .tflite files"),
        ("a.tflite", {"quantize": "int4"}, "quantize must be"),
        ("a.tflite", {"quantize": "int8"}, "int8 needs calibration: records of faces"),
        (
            "a.tflite",
            {"quantize": "float16", "calibration": "records"},
            "calibration belongs to --quantize=int8, got 'records' with 'float16'",
        ),
        ("a.onnx", {"serving_config": "serving"}, "serves SavedModels"),
        ("a.tflite", {"layout": "nchw"}, "layout 'nchw' is for .onnx files"),
        ("latest", {"serving_config": "serving"}, "version number"),
        ("face/1", {"serving_root": "/models"}, "serving_root '/models' belongs to --serving_config"),
    ],
)
def test_contradictions_are_refused_before_any_work(tmp_path, name, options, message):
    (tmp_path / "folder.onnx").mkdir()
    with pytest.raises(ValueError, match=message):
        jobs.export_model("no such run", tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == [tmp_path / "folder.onnx"]
