"""Decision boundaries of toy embeddings against their closed formulas."""

import keras
import numpy as np
import pytest

import tfface
from tfface import export, heads
from tfface.config import train_config, train_flags
from tfface.figures import ToyEmbeddings
from tfface.figures.toy_embeddings import decision_boundaries
from tfface.training.checkpoints.saving import Checkpoints
from tfface.training.checkpoints.warm_start import write_identities

PLACES = np.array([10.0, 100.0, 170.0, 290.0])  # Degrees of four class weights in the plane.


def plane(degrees):
    return np.stack([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))], axis=-1).astype(np.float32)


def built(head, weights):
    head.build((None, weights.shape[1]))
    head.set_class_weights(weights.astype(np.float32))
    return head


def angles(weights, boundary):
    """Degrees from the class weight to the directions of a boundary."""
    return np.degrees(
        np.arccos(boundary.directions @ weights[boundary.label] / np.linalg.norm(weights[boundary.label]))
    )


@pytest.mark.parametrize("wrap", [False, True])
def test_arcface_ends_half_a_margin_before_the_bisector(wrap):
    weights = plane(PLACES) * np.array([[1], [2], [0.5], [3]], np.float32)
    head = heads.ArcFace(4, margin=0.3)
    head = built(heads.BroadFace(head, queue_size=2) if wrap else head, weights)
    found = decision_boundaries(head, weights, np.arange(4))
    assert [(each.label, each.kind) for each in found] == [(n, kind) for n in range(4) for kind in ("own", "plain")]
    gaps = np.array([80.0, 90.0, 70.0, 120.0])  # From the class before; that behind the last is 80.
    for each in found:
        margin = np.degrees(0.3) if each.kind == "own" else 0
        expected = sorted((gap - margin) / 2 for gap in (gaps[each.label], gaps[(each.label + 1) % 4]))
        np.testing.assert_allclose(sorted(angles(weights, each)), expected, atol=0.02)


@pytest.mark.parametrize("dim", [2, 3])
def test_sphereface2_has_three_boundaries_by_its_bias(dim):
    weights = np.eye(3, dim) if dim == 3 else plane(np.array([0.0, 120.0, 240.0]))
    head = built(heads.SphereFace2(3, radius=30, margin=0.2, adjustment=3), weights)
    head.bias.assign(4.0)
    found = decision_boundaries(head, weights, [0, 2], around=8)
    assert [each.kind for each in found] == ["own", "plain", "other"] * 2
    for each in found:
        assert each.directions.shape == ((9, 3) if dim == 3 else (2, 2))
        np.testing.assert_allclose(np.linalg.norm(each.directions, axis=1), 1)
        # r (g(z) -+ m) + b = 0, with g(z) = 2 ((z + 1) / 2)^3 - 1.
        similarity = {"own": 0.2, "plain": 0, "other": -0.2}[each.kind] - 4 / 30
        cosine = 2 * np.cbrt((similarity + 1) / 2) - 1
        np.testing.assert_allclose(angles(weights, each), np.degrees(np.arccos(cosine)), atol=0.02)


def test_cosface_on_the_sphere_meets_its_own_equation():
    weights = np.array([[1.0, 0.2, 0], [0, 1, 0], [0, 0.3, 1], [-1, -1, -1]])
    own = [each for each in decision_boundaries(built(heads.CosFace(4, margin=0.1), weights), weights, np.arange(4))
           if each.kind == "own"]  # fmt: skip
    assert len(own) == 4
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    for each in own:
        cosines = each.directions @ unit.T
        others = np.delete(cosines, each.label, axis=1).max(axis=1)
        np.testing.assert_allclose(cosines[:, each.label] - 0.1, others, atol=2e-4)


def test_a_class_without_room_has_no_boundary():
    weights = plane(np.arange(0.0, 360, 20))
    found = decision_boundaries(built(heads.ArcFace(18, margin=0.5), weights), weights, np.arange(18))
    assert {each.kind for each in found} == {"plain"}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder of SphereFace2 with three classes in the plane, and a file of embeddings."""
    folder = tmp_path_factory.mktemp("run")
    settings = train_config.TrainConfig(
        run_dir=str(folder), train_data="records", head="SphereFace2(margin=0.2)", embedding_dim=2
    )
    train_flags.write_flagfile(settings, folder / train_flags.FLAGFILE)
    write_identities(folder, ["a", "b", "c"])
    encoder = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model = tfface.FaceModel(encoder, heads.SphereFace2(3, margin=0.2))
    model.compile(keras.optimizers.SGD(0.1))
    model.optimizer.build(model.trainable_variables)
    model.head.set_class_weights(plane(np.array([0.0, 120.0, 240.0])))
    model.head.bias.assign(5.0)
    Checkpoints(folder / "checkpoints", model).save(3)
    vectors = plane(np.array([5.0, -5.0, 125.0, 230.0]))
    export.save_embeddings(folder / "toy.npz", export.Embeddings(vectors, list("pqrs"), np.array([0, 0, 1, 2])))
    export.save_embeddings(folder / "wide.npz", export.Embeddings(np.eye(3, dtype=np.float32), list("pqr")))
    return folder


def test_the_figure_of_a_run(run, tmp_path):
    figure = ToyEmbeddings(str(run), str(run / "toy.npz"))
    assert len(figure.boundaries) == 9
    axes = figure.draw(tmp_path / "toy.png").axes[0]
    weights, rays = axes.get_lines()[:3], axes.get_lines()[3:]
    assert len(rays) == 18
    similarity = {"--": 0.2, ":": 0, "-.": -0.2}
    for number, ray in enumerate(rays):
        cosine = 2 * np.cbrt((similarity[ray.get_linestyle()] - 5 / 30 + 1) / 2) - 1
        end, weight = (np.array([line.get_xdata()[1], line.get_ydata()[1]]) for line in (ray, weights[number // 6]))
        assert end @ weight == pytest.approx(cosine, abs=1e-3)
        np.testing.assert_allclose(ray.get_color(), weights[number // 6].get_color())
    assert axes.get_xlabel() == "x of the unit embedding"
    assert len(ToyEmbeddings(run, run / "toy.npz", boundaries=False).draw().axes[0].get_lines()) == 3


def test_embeddings_of_another_model_are_refused(run):
    with pytest.raises(ValueError, match="wide.npz: expected the labelled images"):
        ToyEmbeddings(run, run / "wide.npz")
    with pytest.raises(ValueError, match="no checkpoint"):
        ToyEmbeddings(run / "checkpoints", run / "toy.npz")
