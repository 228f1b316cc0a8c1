"""Private parts of Keras and TensorFlow: those that the library uses are still there and behave as it needs."""

import ast
import importlib
import inspect
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from tfface import keras_private
from tfface.optimizers import replica_aware

LIBRARY = pathlib.Path(keras_private.__file__).parent


def built(optimizer):
    variables = [keras.Variable(np.ones(3, np.float32), name=name) for name in ("one", "other")]
    optimizer.build(variables)
    return optimizer, variables


def test_a_device_variable_is_on_one_device(mirrored):
    with mirrored(2).scope(), tf.device("CPU:1"):
        variable = keras_private.device_variable(tf.ones([2]), trainable=False, name="mine")
        assert len(getattr(tf.Variable([1.0]), "values", ())) == 2
    assert not hasattr(variable, "values") and variable.device.endswith("CPU:1")
    assert isinstance(variable, tf.Variable) and not variable.trainable
    variable.scatter_add(tf.IndexedSlices([2.0], [1]))
    np.testing.assert_array_equal(variable, [1, 3])


def test_optimizers_know_a_tensor_by_its_unique_id():
    optimizer, variables = built(keras.optimizers.SGD(weight_decay=0.1))
    tensor = tf.ones([3])
    keras_private.set_unique_id(tensor, keras_private.unique_id(variables[1].value))
    assert keras_private.variable_index(optimizer, tensor) == 1
    assert len({keras_private.unique_id(variable.value) for variable in variables}) == 2


def test_an_optimizer_knows_its_strategy(mirrored):
    strategy = mirrored(2)
    with strategy.scope():
        made = [keras.optimizers.SGD(), keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD())]
    assert all(keras_private.strategy_of(optimizer) is strategy for optimizer in made)
    assert keras_private.strategy_of(keras.optimizers.SGD()) is tf.distribute.get_strategy()


def test_a_tracked_slot_is_a_variable_of_the_optimizer():
    optimizer, _ = built(keras.optimizers.SGD())
    slot = keras.Variable(np.zeros(2, np.float32))
    keras_private.track_slot(optimizer, slot)
    assert optimizer.variables[-1] is slot


def test_slots_have_the_index_of_their_variable():
    optimizer, variables = built(keras.optimizers.SGD(momentum=0.5))
    optimizer.apply([tf.zeros([3]), tf.ones([3])])
    moved = [
        optimizer.momentums[keras_private.variable_index(optimizer, variable)].numpy().any() for variable in variables
    ]
    assert moved == [False, True]
    assert keras_private.variable_index(optimizer, variables[1].value) == 1


def test_weight_decay_is_used_unless_excluded():
    optimizer = keras.optimizers.SGD(weight_decay=0.1)
    _, (one, other) = built(optimizer)
    optimizer.built = False
    optimizer.exclude_from_weight_decay([other])
    assert keras_private.uses_weight_decay(optimizer, one) and not keras_private.uses_weight_decay(optimizer, other)
    assert not keras_private.uses_weight_decay(optimizer, other.value)


def test_slots_of_lamb():
    optimizer, variables = built(keras.optimizers.Lamb(beta_1=0.5, beta_2=0.75))
    optimizer.apply([tf.zeros([3]), 2 * tf.ones([3])])
    momentum, velocity = keras_private.lamb_slots(optimizer, variables[1])
    np.testing.assert_allclose(momentum, 3 * [1.0])
    np.testing.assert_allclose(velocity, 3 * [1.0])
    for slot in keras_private.lamb_slots(optimizer, variables[0]):
        assert isinstance(slot, tf.Variable) and not slot.numpy().any()


def test_the_loss_tracker_makes_the_logged_loss():
    class Model(keras.Model):
        def train_step(self, batch):
            keras_private.loss_tracker(self).update_state(7.0)
            return self.get_metrics_result()

    model = Model()
    model.compile(loss="mse")
    assert model.fit(np.ones((2, 1)), np.ones(2), verbose=0).history["loss"] == [7.0]


def test_datasets_know_their_inputs(mirrored):
    first, other = tf.data.Dataset.range(2), tf.data.Dataset.range(3)
    (mapped,) = keras_private.inputs_of(first.map(lambda x: x))
    assert mapped is first
    assert [*map(id, keras_private.inputs_of(tf.data.Dataset.zip((first, other))))] == [id(first), id(other)]
    (original,) = keras_private.inputs_of(mirrored(2).experimental_distribute_dataset(first.batch(2)))
    assert original.element_spec == first.batch(2).element_spec
    made = mirrored(2).distribute_datasets_from_function(lambda context: first.batch(2))
    assert keras_private.inputs_of(made) == keras_private.inputs_of([first]) == keras_private.inputs_of(first) == []


def test_the_reason_of_a_failed_operation_is_its_last_line():
    for data, reason in (
        (["must be in [0, 3); got", [4, 5]], "must be in [0, 3); got [4 5]"),
        (["one sentence"], "one sentence"),
    ):

        @tf.function
        def fail(data=data):
            with tf.control_dependencies([tf.debugging.Assert(tf.constant(False), data)]):
                return tf.constant(0)

        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            fail()
        raised = [caught.value]
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            fail.python_function()
        raised.append(caught.value)
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            list(tf.data.Dataset.range(1).map(lambda _, fail=fail: fail()))
        raised.append(caught.value)
        assert {keras_private.reason_of(error) for error in raised} == {reason}
        assert all(map(keras_private.is_assertion, raised))
    with pytest.raises(tf.errors.OpError) as caught:
        tf.io.parse_tensor(b"\xff", tf.int32)
    assert not keras_private.is_assertion(caught.value) and "\n" not in keras_private.reason_of(caught.value)


def test_rows_are_replaced_in_place():
    array = tf.identity(tf.zeros([3, 2]))
    replaced = keras_private.replace_rows(array, [1], tf.ones([1, 2]))
    np.testing.assert_array_equal(replaced, [[0, 0], [1, 1], [0, 0]])
    np.testing.assert_array_equal(array, replaced)


# Overrides


def recorded(base, calls):
    """A subclass of a class of Keras with the overridden names in it, which notes who was called."""

    def noting(name):
        def method(self, *args, **kwargs):
            calls.add(name)
            return getattr(super(made, self), name)(*args, **kwargs)

        return method

    names = {
        override.name for override in keras_private.OVERRIDES if inspect.isfunction(getattr(base, override.name, 0))
    }
    made = type("Recorded", (base,), {name: noting(name) for name in names})
    return made


def names_of(*owners):
    return {override.name for override in keras_private.OVERRIDES if override.owner.partition(":")[2] in owners}


def test_models_call_what_is_overridden():
    calls = set()
    model = recorded(keras.Sequential, calls)([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile(loss="mse")
    model.fit(np.ones((2, 1)), np.ones(2), verbose=0)
    assert calls == names_of("FaceModel")


def test_variables_call_what_is_overridden(tmp_path):
    calls = set()
    made = recorded(keras.Variable, calls)
    variable = made(keras.initializers.get("zeros"), shape=(2,), dtype="float32")
    variable.assign([1.0, 2.0])
    checkpoint = tf.train.Checkpoint(variable=variable)
    path = checkpoint.save(str(tmp_path / "checkpoint"))
    variable.assign([0.0, 0.0])
    checkpoint.restore(path)
    np.testing.assert_array_equal(variable.numpy(), [1, 2])
    assert calls == names_of("PartitionedVariable") - {"_value"}
    calls.clear()
    made(np.zeros(2, np.float32))
    assert "_initialize" in calls
    assert variable._value is variable.value


@pytest.mark.parametrize("optimizer_class", [keras.optimizers.SGD, keras.optimizers.Lamb])
def test_optimizers_call_what_is_overridden(optimizer_class):
    calls = set()
    optimizer, _ = built(recorded(optimizer_class, calls)(weight_decay=0.1, clipnorm=1.0))
    optimizer.apply([tf.ones([3])] * 2)
    assert calls == names_of("RowSGD", "LAMB", "_KnowsVariables", "_ReplicaAware")


# Nothing private is used beside


def modules():
    """Names of the library's modules; programs and jobs use what is below them."""
    for path in sorted(LIBRARY.rglob("*.py")):
        name = ".".join(["tfface", *path.relative_to(LIBRARY).with_suffix("").parts]).removesuffix(".__init__")
        yield path, name


def test_private_names_of_others_are_used_in_one_file():
    # The public names of named tuples begin with an underscore, and os._exit is documented.
    allowed = {"_replace", "_asdict", "_fields", "_make", "_exit"}
    found = []
    for path, name in modules():
        if name == "tfface.keras_private":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
                found += [f"{name}: {each}" for each in imported if each.startswith(("tensorflow.python", "keras.src"))]
            elif isinstance(node, ast.Attribute) and node.attr.startswith("_") and not node.attr.endswith("__"):
                own = isinstance(node.value, ast.Name) and node.value.id in ("self", "cls")
                inherited = ast.unparse(node.value) == "super()"
                if not (own or inherited or node.attr in allowed):
                    found.append(f"{name}: {ast.unparse(node)}")
    assert found == []


# Instances of the base classes, because an instance has private names that its class lacks.
BASES = (
    lambda: keras.layers.Layer(),
    lambda: keras.layers.BatchNormalization(),
    lambda: keras.Model(),
    lambda: keras.Variable(0.0),
    lambda: keras.callbacks.Callback(),
    lambda: keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD()),
    lambda: keras.optimizers.SGD(),
    lambda: keras.optimizers.Lamb(),
)
MIXINS = {
    replica_aware._KnowsVariables: keras.optimizers.SGD,
    replica_aware._LossScale: keras.optimizers.LossScaleOptimizer,
    replica_aware._ReplicaAware: keras.optimizers.SGD,
}


def own_classes():
    for _, name in modules():
        if name.split(".")[1:2] not in (["cli"], ["jobs"], ["serving"], ["export"], ["evaluation"], ["data"]):
            yield from (
                value
                for value in vars(importlib.import_module(name)).values()
                if inspect.isclass(value) and value.__module__ == name
            )


def test_every_override_is_listed():
    """Also a name of the library's own that Keras happens to use: it would be an override without intent."""
    found = set()
    bases = [make() for make in BASES]
    for owner in own_classes():
        keras_class = MIXINS.get(owner, owner)
        theirs = {name for base in bases if issubclass(keras_class, type(base)) for name in dir(base)}
        tree = ast.parse(inspect.cleandoc("\n" + inspect.getsource(owner)))
        ours = {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
        ours |= {node.attr for node in attributes if ast.unparse(node.value) in ("self", "super()")}
        private = {name for name in ours & theirs if name.startswith("_") and not name.endswith("__")}
        found |= {(f"{owner.__module__}:{owner.__name__}", name) for name in private}
    assert found == {(override.owner, override.name) for override in keras_private.OVERRIDES}
    assert all(override.reason for override in keras_private.OVERRIDES)
