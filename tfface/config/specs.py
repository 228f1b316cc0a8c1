"""Components written as calls, such as `BroadFace(ArcFace(margin=0.5), queue_size=8192)`: read, never evaluated."""

import ast
import dataclasses
import typing

_LONGEST = 4096  # Characters; nobody writes more by hand, and Python's parser needs memory for every one.

_FORM = "expected a name or a call with named values, such as ArcFace(margin=0.5)"


@dataclasses.dataclass(frozen=True)
class Spec:
    """A component by name, with its arguments.

    Attributes:
      name: str.
      inner: `Spec` of the component that it wraps, its only argument without a name; None: none.
      arguments: dict from name to a literal or a `Spec`.
    """

    name: str
    inner: "Spec | None" = None
    arguments: dict[str, typing.Any] = dataclasses.field(default_factory=dict)

    def __str__(self):
        # repr of a Spec is its text, so that specs inside lists are written as calls too.
        parts = [repr(self.inner)] if self.inner else []
        parts += [f"{name}={value!r}" for name, value in self.arguments.items()]
        return f"{self.name}({', '.join(parts)})" if parts else self.name

    __repr__ = __str__


def parse(text: str) -> Spec:
    """Reads a component.

    Args:
      text: str such as `SphereFace2(balance=0.8, radius=40)`, or a bare name.

    Returns:
      `Spec`.

    Raises:
      ValueError: `text` is anything but a name or a call of literals and further components.
    """
    if len(text) > _LONGEST:
        raise ValueError(f"{text[:60]!r}...: {len(text)} characters, {_LONGEST} at most.")
    try:
        return _component(ast.parse(text.strip(), mode="eval").body)
    # Deep nesting overruns Python's parser in either way.
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        reason = f" ({error})" if type(error) is ValueError else ""
        raise ValueError(f"{text[:200]!r}: {_FORM}{reason}.") from None


def _component(node):
    if isinstance(node, ast.Name):
        return Spec(node.id)
    if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name)):
        raise ValueError(f"got {ast.unparse(node)[:100]}")
    name, arguments = node.func.id, {}
    if len(node.args) > 1 or any(not isinstance(each, (ast.Call, ast.Name)) for each in node.args):
        raise ValueError(f"values of {name} need their names, as in {name}(NAME={ast.unparse(node.args[-1])[:100]})")
    for keyword in node.keywords:
        if keyword.arg is None or keyword.arg in arguments:
            raise ValueError(f"got {ast.unparse(node)[:100]}")
        arguments[keyword.arg] = _value(keyword.value)
    return Spec(name, _component(node.args[0]) if node.args else None, arguments)


def _value(node):
    if isinstance(node, (ast.Call, ast.Name)):
        return _component(node)
    if isinstance(node, (ast.List, ast.Tuple)):
        return [_value(each) for each in node.elts]
    return ast.literal_eval(node)
