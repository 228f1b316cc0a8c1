"""Every cell of the tables in docs/keras.md: what works trains, what is refused says the quoted words."""

import copy
import inspect
import pathlib
import pickle
import re

import keras
import numpy as np
import pytest
import tensorflow as tf

import tfface
from tfface import heads
from tfface.data.origins import LabelMap, Origin, note_origin

TEXT = (pathlib.Path(__file__).resolve().parents[2] / "docs" / "keras.md").read_text(encoding="utf-8")
SECTIONS = {part.partition("\n")[0]: part for part in re.split(r"^## ", TEXT, flags=re.MULTILINE)}
IMAGES, LABELS = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 3
DICT = {"image": IMAGES, "label": LABELS}
DATASET = tf.data.Dataset.from_tensor_slices(DICT).batch(4)


def rows(section):
    """dict from the first cell of a table to the other ones."""
    lines = [line for line in SECTIONS[section].splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line[1:-1].split("|")] for line in lines]
    return {first: others for first, *others in cells[1:]}


def face_model(head=None, micro_batches=1, **options):
    layers = [keras.Input((4,)), keras.layers.Dense(3), keras.layers.BatchNormalization()]
    if micro_batches > 1:
        # Batch normalisation turns the only example of a part into zeros.
        layers[2] = keras.layers.Activation("linear")
    return tfface.FaceModel(keras.Sequential(layers), head or heads.ArcFace(3), micro_batches, **options)


def train(*data, model=None, compiled=None, **options):
    """Fits a model; its class weights must move."""
    model = model or face_model()
    model.compile(**{"optimizer": "sgd", **(compiled or {})})
    before = model.head.get_class_weights()
    history = model.fit(*(data or (DATASET,)), verbose=0, **options)
    assert np.isfinite(history.history["loss"]).all()
    assert np.abs(model.head.get_class_weights() - before).max() > 0
    return model, history.history


def compiling(**options):
    return lambda folder: train(compiled=options)


def fitting(*data, **options):
    return lambda folder: train(*(data or (IMAGES, LABELS)), **{"batch_size": 4, **options})


def optimizing(**options):
    return lambda folder: train(compiled={"optimizer": keras.optimizers.SGD(**{"learning_rate": 0.1, **options})})


def calling(name, **options):
    return lambda folder: train(
        validation_data=DATASET, epochs=2, callbacks=[getattr(keras.callbacks, name)(**options)]
    )


def half_precision(**compiled):
    model = face_model()
    model.encoder.layers[0].dtype_policy = keras.dtype_policies.DTypePolicy("mixed_float16")
    train(model=model, compiled=compiled)


def other_people(folder):
    numbered = [
        note_origin(DATASET.map(lambda batch: batch), Origin(None, LabelMap.of(name, name))) for name in ("abc", "def")
    ]
    train(numbered[0], validation_data=numbered[1])


def batches(folder):
    class Batches(keras.utils.PyDataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            return {name: values[4 * index : 4 * index + 4] for name, values in DICT.items()}

    for data in (DATASET, Batches()):
        train(data)
    train(DICT, batch_size=4)


def wrong_labels(folder):
    for labels in (np.array(list("abcabcab")), np.eye(3)[LABELS], LABELS.astype(np.float32)):
        with pytest.raises(ValueError) as caught:
            train(IMAGES, labels)
    raise caught.value


def wrong_images(folder):
    with pytest.raises(ValueError, match="for this encoder"):
        face_model().predict(np.zeros([2, 5]))
    train(np.zeros([8, 5], np.float32), LABELS)


def one_example(folder):
    train(IMAGES[:5], LABELS[:5], batch_size=4)
    train(IMAGES[:5], LABELS[:5], batch_size=4, model=face_model(micro_batches=2))


def metrics(folder):
    if tf.distribute.get_strategy().num_replicas_in_sync > 1 and keras.__version__.startswith("3.8."):
        pytest.skip("the page says so")
    assert len(train(compiled={"metrics": ["accuracy"]})[1]["accuracy"]) == 1


def checkpoints(folder):
    paths = [folder / "model.keras", folder / "model.weights.h5"]
    whole, weights = (keras.callbacks.ModelCheckpoint(path, save_weights_only=path != paths[0]) for path in paths)
    model, _ = train(callbacks=[whole, weights])
    filled = face_model()
    filled.load_weights(paths[1])
    for other in (keras.models.load_model(paths[0]), filled):
        for ours, theirs in zip(other.get_weights(), model.get_weights(), strict=True):
            np.testing.assert_array_equal(ours, theirs)


def own_callback(folder):
    seen = []

    class Own(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            seen.append(float(logs["loss"]))

    _, history = train(callbacks=[Own()])
    assert len(seen) == 2 and history["loss"] == [pytest.approx(seen[-1])]


def average_of_optimizer(**options):
    optimizer = keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5, ema_overwrite_frequency=2)
    return train(compiled={"optimizer": optimizer}, **options)


def on_batch(folder):
    model = face_model()
    model.compile("sgd", metrics=["accuracy"])
    for method in (model.train_on_batch, model.test_on_batch):
        assert method(IMAGES, LABELS, return_dict=True).keys() == {"loss", "accuracy"}
    assert model.predict_on_batch(IMAGES).shape == (8, 3)


def overview(folder):
    lines = []
    face_model().summary(print_fn=lambda line, **_: lines.append(line))
    assert "ArcFace" in "\n".join(lines) and face_model().count_params() > 0


def clones(folder):
    model = face_model(ema_momentum=0.5)
    for other in (keras.models.clone_model(model), type(model).from_config(model.get_config())):
        assert [weight.shape for weight in other.weights] == [weight.shape for weight in model.weights]
        train(model=other)


def copies(folder):
    model, _ = train()
    for copied in (copy.deepcopy, lambda value: pickle.loads(pickle.dumps(value))):
        np.testing.assert_array_equal(copied(model).predict(IMAGES, verbose=0), model.predict(IMAGES, verbose=0))
        np.testing.assert_array_equal(copied(model.head).get_class_weights(), model.head.get_class_weights())


def exported(folder):
    model = face_model()
    model.export(folder / "exported", verbose=False)
    loaded = tf.saved_model.load(str(folder / "exported"))
    np.testing.assert_allclose(loaded.serve(IMAGES), model.predict(IMAGES, verbose=0), atol=1e-6)


def frozen(folder):
    model, _ = train()
    model.encoder.layers[0].trainable = False
    before = model.encoder.layers[0].get_weights()
    train(model=model)
    for ours, theirs in zip(model.encoder.layers[0].get_weights(), before, strict=True):
        np.testing.assert_array_equal(ours, theirs)


def new_head(folder):
    model, _ = train()
    train(model=tfface.FaceModel(model.encoder, heads.CosFace(3)))


def mixed_precision(folder):
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model, _ = train(epochs=10)  # The first steps look for a scale at which no gradient overflows.
    finally:
        keras.config.set_dtype_policy(policy)
    assert model.encoder.layers[0].compute_dtype == "float16" and model.head.compute_dtype == "float32"


CASES = {
    "compile": {
        "`optimizer`": compiling(optimizer="adam"),
        "`loss`": compiling(loss="mse"),
        "`loss_weights`": compiling(loss_weights=[1.0]),
        "`metrics`": metrics,
        "`metrics` of a partitioned head": lambda folder: train(
            model=face_model(head=heads.ArcFace(3, partition="replicas")), compiled={"metrics": ["accuracy"]}
        ),
        "`weighted_metrics`": compiling(weighted_metrics=["accuracy"]),
        "`run_eagerly`": compiling(run_eagerly=True),
        "`steps_per_execution`": compiling(steps_per_execution=2),
        "`jit_compile`": compiling(jit_compile=True),
        "`auto_scale_loss`": compiling(auto_scale_loss=False),
        "`auto_scale_loss=False` with float16": lambda folder: half_precision(auto_scale_loss=False),
    },
    "Options of FaceModel and optimizers": {
        "`FaceModel(micro_batches)`": lambda folder: train(model=face_model(micro_batches=2)),
        "`FaceModel(ema_momentum)`": lambda folder: train(model=face_model(ema_momentum=0.5)),
        "`learning_rate`": optimizing(learning_rate=keras.optimizers.schedules.CosineDecay(0.1, 10)),
        "`weight_decay`": optimizing(weight_decay=0.1),
        "`clipnorm`": optimizing(clipnorm=1.0),
        "`global_clipnorm`": optimizing(global_clipnorm=1.0),
        "`clipvalue`": optimizing(clipvalue=1.0),
        "`loss_scale_factor`": optimizing(loss_scale_factor=8.0),
        "`use_ema`, `ema_momentum`, `ema_overwrite_frequency`": lambda folder: average_of_optimizer(),
        "`gradient_accumulation_steps`": optimizing(gradient_accumulation_steps=2),
        "`gradient_accumulation_steps` beside `FaceModel(ema_momentum)`": lambda folder: train(
            model=face_model(ema_momentum=0.5),
            compiled={"optimizer": keras.optimizers.SGD(gradient_accumulation_steps=2)},
        ),
    },
    "fit": {
        "`x`, `y`": fitting(),
        '`x` of batches `{"image", "label"}`': batches,
        "`y` of names, one-hot rows or floats": wrong_labels,
        "`x` of images of another size": wrong_images,
        "a last batch of one example": one_example,
        "`batch_size`": fitting(batch_size=3),
        "`epochs`": fitting(epochs=2),
        "`callbacks`": fitting(callbacks=[keras.callbacks.LambdaCallback()]),
        "`validation_split`": fitting(validation_split=0.5),
        "`validation_data`": fitting(validation_data=(IMAGES, LABELS)),
        "`validation_data` of other people": other_people,
        "`shuffle`": fitting(shuffle=False),
        "`class_weight`": lambda folder: [
            train(*data, class_weight={0: 2.0}) for data in ((IMAGES, LABELS), (DATASET,))
        ],
        "`sample_weight`": fitting(sample_weight=np.ones(8, np.float32)),
        "`initial_epoch`": fitting(initial_epoch=1, epochs=2),
        "`steps_per_epoch`": fitting(DATASET.repeat(), steps_per_epoch=1, batch_size=None),
        "`steps_per_epoch=None` with a dataset without an end": fitting(DATASET.repeat(), batch_size=None),
        "`validation_steps`": fitting(validation_data=DATASET.repeat(), validation_steps=1),
        "`validation_steps=None` with a dataset without an end": fitting(validation_data=DATASET.repeat()),
        "`validation_batch_size`": fitting(validation_data=(IMAGES, LABELS), validation_batch_size=3),
        "`validation_freq`": fitting(validation_data=(IMAGES, LABELS), validation_freq=2, epochs=2),
    },
    "Callbacks": {
        "`ModelCheckpoint`": checkpoints,
        "`BackupAndRestore`": lambda folder: calling("BackupAndRestore", backup_dir=folder / "backup")(folder),
        "`EarlyStopping`": calling("EarlyStopping", monitor="val_loss", patience=0, restore_best_weights=True),
        "`ReduceLROnPlateau`": calling("ReduceLROnPlateau", monitor="loss"),
        "`LearningRateScheduler`": calling("LearningRateScheduler", schedule=lambda epoch, rate: rate / 2),
        "`CSVLogger`": lambda folder: calling("CSVLogger", filename=str(folder / "log.csv"))(folder),
        "`TerminateOnNaN`": calling("TerminateOnNaN"),
        "`LambdaCallback`": calling("LambdaCallback", on_epoch_end=lambda epoch, logs: logs["val_loss"]),
        "`Callback`": own_callback,
        "`TensorBoard`": lambda folder: calling("TensorBoard", log_dir=folder / "board", histogram_freq=1)(folder),
        "`SwapEMAWeights`": lambda folder: average_of_optimizer(
            epochs=2, validation_data=DATASET, callbacks=[keras.callbacks.SwapEMAWeights(swap_on_epoch=True)]
        ),
    },
    "Other ways": {
        "`train_on_batch`, `test_on_batch`, `predict_on_batch`": on_batch,
        "`summary`, `count_params`": overview,
        "`clone_model`, `from_config`": clones,
        "`copy.deepcopy`, `pickle` of a model or a head": copies,
        "`export`": exported,
        "`layer.trainable = False` and `compile` again": frozen,
        "a new head on a trained encoder": new_head,
        '`keras.config.set_dtype_policy("mixed_float16")`': mixed_precision,
    },
}
# Other tests train on replicas too.
SLOW = {(section, 2, "works") for section in CASES} - {("compile", 2, "works")}
CELLS = [
    pytest.param(
        *(section, row, replicas),
        id=f"{section}-{row}-{replicas}",
        marks=[pytest.mark.slow] if (section, replicas, cells[replicas - 1]) in SLOW else [],
    )
    for section in CASES
    for row, cells in rows(section).items()
    for replicas in (1, 2)
    if cells[replicas - 1]
]


def named(section):
    """The names of options in the first cells of a table, without what is said about them."""
    return set(re.findall(r"`(\w+)`", " ".join(rows(section))))


def parameters(function):
    return {*inspect.signature(function).parameters} - {"self", "verbose", "kwargs", "name"}


def test_tables_have_every_option_of_keras():
    assert {section: [*rows(section)] for section in CASES} == {section: [*cases] for section, cases in CASES.items()}
    assert named("compile") == parameters(keras.Model.compile)
    assert named("fit") == parameters(keras.Model.fit)
    assert named("Options of FaceModel and optimizers") == parameters(keras.optimizers.SGD) - {"momentum", "nesterov"}
    callbacks = {name for name in dir(keras.callbacks) if name[0].isupper()} - {"CallbackList"}
    assert callbacks <= set(re.findall(r"`(\w+)`", SECTIONS["Callbacks"]))


def test_a_loss_in_compile_is_the_mean_of_the_losses_and_trains():
    (code,) = re.findall(r"### Why the head is the loss\n.*?```python\n(.*?)```", TEXT, re.DOTALL)
    keras.utils.set_random_seed(0)
    names = {}
    exec(code, names)
    assert names["losses"][-1] < names["losses"][0]
    network, images, labels = names["network"], names["images"], names["labels"]
    expected = np.mean(names["triplet"](network(images), tf.constant(labels)))
    np.testing.assert_allclose(network.evaluate(images, labels, batch_size=32, verbose=0), expected, rtol=1e-5)


@pytest.mark.parametrize(("section", "row", "replicas"), CELLS)
def test_cell(section, row, replicas, tmp_path, mirrored):
    cells, case = rows(section)[row], CASES[section][row]
    with (mirrored(replicas) if replicas > 1 else tf.distribute.get_strategy()).scope():
        if cells[replicas - 1] == "works":
            case(tmp_path)
            return
        assert cells[replicas - 1] == "refused"
        with pytest.raises(ValueError) as caught:
            case(tmp_path)
    (words,) = re.findall(r'"(.*)"', cells[2])
    assert words in str(caught.value) and "\n" not in str(caught.value)
