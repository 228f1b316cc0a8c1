"""Heads, backbones, losses and other components by name: their arguments, and their making.

A component stands in the tuple of names of its package, and its arguments are those of its constructor: flags, the list
of components and error messages derive from these two.
"""

import dataclasses
import difflib
import importlib
import inspect
import typing

from tfface.config import specs
from tfface.config.specs import Spec


@dataclasses.dataclass(frozen=True)
class Kind:
    """Components that can stand in one place.

    Attributes:
      package: module that has them.
      names: name of the tuple of their names in it.
      given: arguments that whoever makes them passes, not the user.
      extra: further arguments, beside those of the constructor, and their defaults.
      suffix: end of the names in Python that the user leaves out.
    """

    package: str
    names: str = "COMPONENTS"
    given: frozenset[str] = frozenset()
    extra: dict[str, typing.Any] = dataclasses.field(default_factory=dict)
    suffix: str = ""


_LAYER = {"name", "autocast", "trainable", "activity_regularizer"}

KINDS = {
    "backbone": Kind("tfface.backbones", given=frozenset({"embedding_dim", "image_size"})),
    "head": Kind("tfface.heads", given=frozenset({"num_classes", "partition", *_LAYER}), extra={"dtype": "float32"}),
    "loss": Kind("tfface.losses", given=frozenset({"num_classes", "dtype", *_LAYER}), extra={"weight": 1.0}),
    "sampler": Kind("tfface.classifier.samplers", suffix="Sampler"),
    "optimizer": Kind(
        "tfface.optimizers",
        "OPTIMIZERS",
        given=frozenset({"learning_rate", "weight_decay", "global_clipnorm", "name"}),
    ),
    "schedule": Kind("tfface.optimizers", "SCHEDULES"),
    "augmentation": Kind("tfface.data.images.augment", "AUGMENTATIONS"),
    "batches": Kind("tfface.data", "BATCHES"),
    "shuffle": Kind("tfface.data", "SHUFFLES"),
    "callback": Kind(
        "tfface.training.callbacks",
        "CALLBACKS",
        given=frozenset({"folder", "images", "labels", "start_step", "total_steps"}),
    ),
    "protocol": Kind("tfface.protocols"),
    "figure": Kind("tfface.figures"),
    "pooling": Kind("tfface.evaluation", "POOLINGS"),
    "initializer": Kind("keras.initializers"),
}

# Arguments that are components themselves.
_KIND_OF_ARGUMENT = {
    "head": "head",
    "of": "protocol",
    "pooling": "pooling",
    "sampler": "sampler",
    "class_weights_initializer": "initializer",
    "centers_initializer": "initializer",
}


def names(kind: str) -> list[str]:
    """Returns the names of the components of a kind of `KINDS`, sorted."""
    package = importlib.import_module(KINDS[kind].package)
    found = getattr(package, KINDS[kind].names, None)
    if found is None:
        found = [name for name in dir(package) if name[0].isupper() and not name.endswith("Initializer")]
    return sorted(name.removesuffix(KINDS[kind].suffix) for name in found)


def find(kind: str, name: str) -> typing.Any:
    """Returns the class or function with a name.

    Raises:
      ValueError: there is none.
    """
    check_name(kind, name)
    package = importlib.import_module(KINDS[kind].package)
    return getattr(package, name + KINDS[kind].suffix, None) or getattr(package, name)


def check_name(kind: str, name: str) -> None:
    """Raises ValueError, with the right names, if no component has this one."""
    known = names(kind)
    if name not in known:
        raise ValueError(f"{kind} must be one of {', '.join(known)}; got {name!r}.{_similar(name, known)}")


def arguments(kind: str, name: str) -> dict[str, typing.Any]:
    """Returns the arguments that a user can set, with their defaults; `inspect.Parameter.empty` where there is none."""
    own = {parameter.name: parameter.default for parameter in _parameters(find(kind, name))}
    return {name: default for name, default in own.items() if name not in KINDS[kind].given} | KINDS[kind].extra


def complete(kind: str, text: str) -> str:
    """Returns a component with all of its arguments: those of `text` and the defaults of the others.

    Args:
      kind: of `KINDS`.
      text: as for `specs.parse`.

    Raises:
      ValueError: `text` is malformed, or a name or an argument in it is unknown or missing.
    """
    return str(_complete(kind, specs.parse(text)))


def build(kind: str, text: str | Spec, given: dict[str, typing.Any] | None = None) -> typing.Any:
    """Makes a component.

    Args:
      kind: of `KINDS`.
      text: as for `specs.parse`, or its result.
      given: arguments that the user does not set, such as the number of classes; a component that wraps another one
        passes them on.

    Returns:
      The component; a pair (weight, component) of a loss.

    Raises:
      ValueError: `text` is malformed, or the component refuses an argument.
    """
    spec, given = _complete(kind, specs.parse(text) if isinstance(text, str) else text), given or {}
    make = find(kind, spec.name)
    keywords = {name: _built(name, value) for name, value in spec.arguments.items()}
    positional = []
    if spec.inner:
        positional = [build(_wraps(make), spec.inner, given)]
    else:
        taken = {parameter.name for parameter in _parameters(make)}
        keywords |= {name: value for name, value in given.items() if name in taken and value is not None}
    weight = keywords.pop("weight") if kind == "loss" else None
    try:
        made = make(*positional, **keywords)
    except TypeError as error:  # A value of another type than the argument's.
        raise ValueError(f"{kind} {spec}: {error}.") from error
    except ValueError as error:
        raise ValueError(f"{kind} {spec.name}: {error}") from error
    return made if weight is None else (float(weight), made)


def _built(name, value):
    if isinstance(value, list):
        return [_built(name, each) for each in value]
    if isinstance(value, Spec):
        return build(_KIND_OF_ARGUMENT[name], value)
    return value


def _complete(kind, spec):
    """Returns `spec` with its defaults, or raises ValueError."""
    known = arguments(kind, spec.name)
    make = find(kind, spec.name)
    wrapped = _wraps(make)
    if spec.inner and not wrapped:
        raise ValueError(f"{kind} {spec.name} wraps no other component, got {spec.inner}.")
    if wrapped:
        known.pop(wrapped, None)
        inner = spec.inner or spec.arguments.get(wrapped)
        if not isinstance(inner, Spec):
            raise ValueError(f"{kind} {spec.name} wraps a {wrapped}, as in {spec.name}({names(wrapped)[0]}).")
        given = {name: value for name, value in spec.arguments.items() if name != wrapped}
        spec = Spec(spec.name, _complete(wrapped, inner), given)
    for name in spec.arguments:
        if name not in known:
            has = ", ".join(known) or "none"
            similar = _similar(name, list(known))
            raise ValueError(f"{kind} {spec.name} has no argument {name!r}; its arguments are {has}.{similar}")
    # Keras' own defaults differ between its versions.
    merged = spec.arguments if kind == "initializer" else {**known, **spec.arguments}
    missing = [name for name, value in merged.items() if value is inspect.Parameter.empty]
    if missing:
        raise ValueError(f"{kind} {spec.name} needs {', '.join(missing)}, as in {spec.name}({missing[0]}=...).")
    return Spec(spec.name, spec.inner, {name: _complete_value(kind, spec, name, v) for name, v in merged.items()})


def _complete_value(kind, spec, name, value):
    if isinstance(value, list | tuple):  # A tuple is read back as a list.
        return [_complete_value(kind, spec, name, each) for each in value]
    if not isinstance(value, Spec):
        return value
    if name not in _KIND_OF_ARGUMENT:
        raise ValueError(f"{kind} {spec.name}: {name} must be a value, got {value}; text needs quotation marks.")
    return _complete(_KIND_OF_ARGUMENT[name], value)


def _wraps(make):
    """Returns the kind of the component that this one wraps, its first argument; None: it wraps none."""
    first = next(iter(_parameters(make)), None)
    return first.name if first is not None and first.name in KINDS else None


def _parameters(make):
    """Returns the parameters of a class or function, with those that it passes on to its base."""
    if not inspect.isclass(make):
        return _of_function(make)
    found: dict[str, inspect.Parameter] = {}
    for owner in make.__mro__:
        if "__init__" not in vars(owner) or (found and not owner.__module__.startswith("tfface")):
            continue
        own = list(inspect.signature(owner.__init__).parameters.values())[1:]
        for parameter in own:
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
                found.setdefault(parameter.name, parameter)
        if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
            break
    return list(found.values())


def _of_function(make):
    """Parameters of a function; one of a family, such as IResNet50, has the options of IResNet, too."""
    own = list(inspect.signature(make).parameters.values())
    found = [parameter for parameter in own if parameter.kind is not parameter.VAR_KEYWORD]
    if len(found) == len(own):
        return found
    family = _family(make)
    return found + [
        parameter
        for parameter in inspect.signature(family).parameters.values()
        if parameter.default is not parameter.empty and parameter.name not in {each.name for each in found}
    ]


def _family(make):
    module = importlib.import_module(make.__module__)
    (name,) = (name for name in vars(module) if make.__name__.startswith(name) and name != make.__name__)
    return getattr(module, name)


def _similar(name, known):
    near = difflib.get_close_matches(name, known, 1)
    return f" Did you mean {near[0]}?" if near else ""
