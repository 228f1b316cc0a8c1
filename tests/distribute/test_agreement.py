"""Laws of agreement: workers that describe themselves alike begin, and whatever else happens, all say what it was."""

import concurrent.futures
import json
import socket
import sys
import threading
import time

import pytest
from programs import free_ports

from tfface.distribute import agreement
from tfface.distribute.cluster import Cluster, read_cluster


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(agreement, "_POLL_SECONDS", 0.05)
    monkeypatch.setattr(agreement, "_FAILURE_SECONDS", 2.0)


def meet(folder, *facts, wait=20.0, delays=(), folders=None):
    """Lets one worker a thread agree; returns the message of each, "" where it agreed. None: a worker never comes."""
    addresses = tuple(free_ports(len(facts)))

    def work(index):
        time.sleep(dict(delays).get(index, 0))
        described = facts[index]

        def describe():
            if isinstance(described, Exception):
                raise described
            return described

        try:
            agreement.agree(Cluster(addresses, index), describe, (folders or {}).get(index, folder), wait)
        except ValueError as error:
            return str(error)
        return ""

    with concurrent.futures.ThreadPoolExecutor(len(facts)) as pool:
        there = [index for index, each in enumerate(facts) if each is not None]
        return list(pool.map(work, there)), [f"worker {i} ({address})" for i, address in enumerate(addresses)]


FACTS = {"--seed": 0, "--augment": ["crop"], "the version of Keras": "3.15.1"}


@pytest.mark.parametrize("workers", [1, 2, 5])
@pytest.mark.parametrize("late", [0, 1])
def test_workers_that_are_alike_begin(workers, late, tmp_path):
    messages, _ = meet(tmp_path, *[dict(FACTS)] * workers, delays={min(late, workers - 1): 0.3})
    assert messages == [""] * workers
    assert not list(tmp_path.iterdir())


def test_workers_can_meet_again_at_the_same_addresses_at_once(tmp_path):
    addresses = tuple(free_ports(3))
    for _ in range(3):
        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            clusters = [Cluster(addresses, index) for index in range(3)]
            list(pool.map(lambda cluster: agreement.agree(cluster, dict, tmp_path, 20.0), clusters))


@pytest.mark.parametrize(
    "other, difference",
    [
        ({"--seed": 1}, "--seed is 0 on {0} and 1 on {2}"),
        ({"--augment": []}, "--augment is ['crop'] on {0} and [] on {2}"),
        ({"the version of Keras": "3.8.0"}, "the version of Keras is '3.15.1' on {0} and '3.8.0' on {2}"),
        ({"--new": "x" * 1000}, "--new is None on {0} and '" + "x" * 76 + "... on {2}"),
    ],
)
def test_what_differs_is_named_to_all(other, difference, tmp_path):
    messages, names = meet(tmp_path, FACTS, dict(FACTS), {**FACTS, **other})
    assert messages == [f"workers do not train the same: {difference.format(*names)}."] * 3


def test_many_differences_are_counted(tmp_path):
    messages, _ = meet(tmp_path, {str(number): 0 for number in range(12)}, {})
    assert all(message.count(" is 0 on ") == 5 and message.endswith("; and 7 more.") for message in messages)


@pytest.mark.parametrize("failing", [0, 2])
@pytest.mark.parametrize("error", [ValueError("no file matches 'nowhere'."), FileNotFoundError(2, "none", "x.flags")])
def test_the_reason_of_a_worker_that_cannot_begin_is_told_to_all(failing, error, tmp_path):
    facts = [error if index == failing else FACTS for index in range(3)]
    messages, names = meet(tmp_path, *facts)
    assert messages == [f"{names[failing]}: {error}"] * 3


def test_a_failure_does_not_wait_for_a_worker_that_never_comes(tmp_path):
    messages, names = meet(tmp_path, FACTS, ValueError("reason"), None, wait=300.0)
    assert messages == [f"{names[1]}: reason"] * 2


@pytest.mark.parametrize("absent", [0, 2])
def test_a_worker_that_never_comes_is_named_while_others_wait_and_in_the_end(absent, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(agreement, "_NOTE_SECONDS", 0.5)
    messages, names = meet(tmp_path, *[None if index == absent else FACTS for index in range(3)], wait=2.0)
    assert messages == [f"{names[absent]} did not come within 2 s (--wait_for_workers)."] * 2
    waiting = capsys.readouterr().err
    for index in {0, 1, 2} - {absent}:
        assert f"{names[index]} is waiting for {names[absent]}\n" in waiting


def test_workers_with_another_folder_are_named(tmp_path):
    messages, names = meet(tmp_path, FACTS, FACTS, folders={1: tmp_path / "elsewhere"})
    assert messages == [f"{names[1]} does not see the run folder of {names[0]}: all workers need the same one."] * 2


def test_strangers_do_not_disturb(tmp_path):
    addresses = tuple(free_ports(2))
    results = []

    def work(index):
        agreement.agree(Cluster(addresses, index), lambda: FACTS, tmp_path, 30.0)
        results.append(index)

    chief = threading.Thread(target=work, args=(0,))
    chief.start()
    address = ("localhost", int(addresses[0].rpartition(":")[2]))
    for nonsense in (
        b"",
        b"GET / HTTP/1.1\r\n\r\n",
        b"\x00" * 2000 + b"\n",
        b"[" * 100_000 + b"\n",
        json.dumps({"index": 7, "facts": {}, "failure": None}).encode() + b"\n",
        json.dumps({"index": True, "facts": [], "failure": None}).encode() + b"\n",
    ):
        deadline = time.monotonic() + 10
        while True:
            try:
                connection = socket.create_connection(address, 5)
                break
            except OSError:
                assert time.monotonic() < deadline
        with connection:
            connection.sendall(nonsense)
    worker = threading.Thread(target=work, args=(1,))
    worker.start()
    chief.join(30)
    worker.join(30)
    assert sorted(results) == [0, 1]


def test_a_port_in_use_is_named(tmp_path):
    (address,) = free_ports(1)
    with (
        socket.create_server(("", int(address.rpartition(":")[2]))),
        pytest.raises(ValueError, match="cannot use"),
    ):
        agreement.agree(Cluster((address,), 0), dict, tmp_path, 1.0)


@pytest.mark.parametrize(
    "config, index",
    [
        ({"cluster": {"worker": ["a:1", "b:2"]}, "task": {"type": "worker", "index": 1}}, 1),
        ({"cluster": {"worker": ["b:2"], "chief": ["a:1"]}, "task": {"type": "worker", "index": 0}}, 1),
        ({"cluster": {"worker": ["b:2"], "chief": ["a:1"]}, "task": {"type": "chief", "index": 0}}, 0),
    ],
)
def test_the_chief_is_first(config, index, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_cluster() == Cluster(("a:1", "b:2"), index)


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "{",
        "[]",
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": -1}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": "0"}}',
        '{"cluster": {"worker": ["a:1"]}, "task": {"type": "ps", "index": 0}}',
        '{"cluster": {"worker": ["a"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": ["a:99999"]}, "task": {"type": "worker", "index": 0}}',
        '{"cluster": {"worker": [7]}, "task": {"type": "worker", "index": 0}}',
    ],
)
def test_a_malformed_cluster_is_refused_with_an_example(text, monkeypatch):
    if text is None:
        monkeypatch.delenv("TF_CONFIG", raising=False)
    else:
        monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ValueError, match="needs the environment variable TF_CONFIG, such as"):
        read_cluster()


def test_nothing_here_needs_tensorflow():
    import subprocess

    code = "import sys; from tfface.distribute import agreement; sys.exit('tensorflow' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
