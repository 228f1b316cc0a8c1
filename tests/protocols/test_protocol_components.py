"""Protocols are components like all others: every argument is written in a call, and a wrong one gets a sentence."""

import inspect

import pytest

from tfface import protocols
from tfface.config import components
from tfface.evaluation import Pooling

NAMES = components.names("protocol")


def call(name, **changes):
    """A call of a protocol with all of its required arguments."""
    required = [key for key, default in components.arguments("protocol", name).items() if default is inspect._empty]
    written = {key: "[PairList(root='a', file='b')]" if key == "of" else "'x'" for key in required} | changes
    return f"{name}({', '.join(f'{key}={value}' for key, value in written.items())})"


@pytest.mark.parametrize("name", NAMES)
def test_every_argument_of_a_protocol_is_written(name):
    known = components.arguments("protocol", name)
    parameters = inspect.signature(getattr(protocols, name).__init__).parameters
    assert list(known) == [key for key in parameters if key != "self"]
    text = components.complete("protocol", call(name))
    assert all(f"{argument}=" in text for argument in known)
    assert components.complete("protocol", text) == text  # What a report states can be given again.


@pytest.mark.parametrize("name", NAMES)
def test_a_wrong_argument_of_a_protocol_is_answered(name):
    with pytest.raises(ValueError, match=rf"protocol {name} has no argument 'colour'; its arguments are "):
        components.build("protocol", call(name, colour="1"))


def test_all_protocols_of_the_package_are_named():
    found = {
        name
        for name in dir(protocols)
        if isinstance(getattr(protocols, name), type) and issubclass(getattr(protocols, name), protocols.Protocol)
    }
    assert found - set(NAMES) == {"Protocol", "PairProtocol"}


def test_pooling_is_a_component():
    assert components.build("pooling", "Pooling(flip='sum', detector=True)") == Pooling(flip="sum", detector=True)
    text = components.complete("protocol", call("IJB", pooling="Pooling(length='raw')"))
    assert "pooling=Pooling(flip='none', length='raw', detector=False, mean='media')" in text
