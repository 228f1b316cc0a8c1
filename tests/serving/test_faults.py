"""The client against servers that are slow, absent or full, or refuse, and the number of its requests."""

import shutil
import socket
import ssl
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
import stand_in
from scripted import IMAGES, Scripted, one_hot, saying

from tfface import serving
from tfface.serving import batches


def unavailable(times, answer=Scripted.answer):
    """An answer that fails the first requests."""

    def failing(earlier, inputs):
        if earlier < times:
            raise stand_in.Failure("UNAVAILABLE", "The batch scheduling queue is full")
        return answer(earlier, inputs)

    return failing


def test_repeats_while_the_server_is_unavailable(scripted_address, model):
    model.answer = unavailable(2)
    with serving.connect(scripted_address, "faces") as client:
        np.testing.assert_array_equal(client.embed(IMAGES), one_hot(IMAGES))
    assert model.requests == [IMAGES] * 3


def test_gives_up_after_the_retries(scripted_address, model):
    model.answer = unavailable(1000)
    client = serving.connect(scripted_address, "faces", retries=2)
    with client, pytest.raises(serving.Unavailable, match=r"model 'faces': The batch .*is full.*\(attempts: 3\)"):
        client.embed(IMAGES)
    assert len(model.requests) == 3


def test_what_is_wrong_is_not_repeated(scripted_address, model):
    def broken(earlier, inputs):
        raise stand_in.Failure("INTERNAL", "out of order")

    model.answer = broken
    with serving.connect(scripted_address, "faces") as client, pytest.raises(serving.ServerError, match="out of order"):
        client.embed(IMAGES)
    assert len(model.requests) == 1


def test_a_bad_image_is_asked_for_once_more_alone_and_halved(scripted_address, model):
    with serving.connect(scripted_address, "faces", batch_size=4, concurrency=1) as client:
        results = list(client.embed_each((image,) for image in [b"0", b"1", b"bad", b"3"]))
    # In a batch, alone, in halves.
    bad = [b"bad"]
    assert model.requests == [[b"0", b"1", *bad, b"3"]] * 2 + [[b"0", b"1"], [*bad, b"3"], bad, [b"3"]]
    assert str(results[2]).startswith('It\'s "né", no image. (')
    np.testing.assert_array_equal([results[index] for index in (0, 1, 3)], one_hot([b"0", b"1", b"3"]))


def test_bounds_what_is_under_way(scripted_address, model):
    together, drawn = threading.Barrier(3, timeout=20), []

    def answer(earlier, inputs):
        if earlier < 3:
            together.wait()  # Breaks, and fails the request, unless three are in flight.
        return Scripted.answer(earlier, inputs)

    def rows():
        for image in IMAGES * 4:
            drawn.append(image)
            yield (image,)

    model.answer = answer
    with serving.connect(scripted_address, "faces", batch_size=2, concurrency=3) as client:
        found = []
        for vector in client.embed_each(rows()):
            found.append(vector)
            # Three batches in flight, one read, and one more image that shows that a batch is full.
            assert len(drawn) - len(found) < 2 * (3 + 1) + 1
    np.testing.assert_array_equal(found, one_hot(IMAGES * 4))
    assert model.most == 3
    assert max(map(len, model.requests)) == 2


def test_requests_are_bounded_in_bytes(scripted_address, model, monkeypatch):
    monkeypatch.setattr(batches, "_REQUEST_BYTES", 10)
    images = [b"1" * size for size in (4, 4, 4, 15, 1)]
    model.answer = lambda earlier, inputs: {"embedding": one_hot([b"1"] * len(inputs["image_bytes"]))}
    with serving.connect(scripted_address, "faces", concurrency=1) as client:
        client.embed(images)
    assert [list(map(len, request)) for request in model.requests] == [[4, 4], [4], [15], [1]]


def test_a_slow_server_meets_the_deadline(scripted_address, model):
    over = threading.Event()

    def slow(earlier, inputs):
        over.wait(30)  # Then the answer would be right.
        return Scripted.answer(earlier, inputs)

    model.answer = slow
    client = serving.connect(scripted_address, "faces", deadline=1.5)
    try:
        client.metadata()
        with client, pytest.raises(serving.ServerError, match=r"no answer within 1\.\d+ s"):
            client.embed(IMAGES)
    finally:
        over.set()
    assert len(model.requests) == 1


def test_a_trickle_meets_the_deadline(rest):
    over = threading.Event()

    class Trickle(stand_in.RestHandler):
        def respond(self, status, body):
            # Each byte comes in time; all of them take ten seconds or more.
            for byte in b"HTTP/1.0 200 OK\r\n\r\n" + body:
                self.wfile.write(bytes([byte]))
                if over.wait(0.01):
                    return

    client = serving.connect(rest(Trickle), "faces", deadline=0.7)
    try:
        with pytest.raises(serving.ServerError, match="no answer within"):
            client.metadata()
    finally:
        over.set()


@pytest.mark.parametrize("kind", ["http", "grpc"])
def test_an_absent_server(kind):
    if kind == "grpc":
        pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # Nobody listens.
        server = f"{kind}://127.0.0.1:{closed.getsockname()[1]}"
        with serving.connect(server, "faces", retries=1) as client:
            with pytest.raises(serving.Unavailable, match=rf"{server}, model 'faces': .*\(attempts: 2\)"):
                client.embed(IMAGES)
            with pytest.raises(serving.Unavailable, match=rf"{server}.*\(waited for 0.3 s\)"):
                client.wait_until_ready(0.3)


def test_waits_for_a_server_that_starts(model):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    states = [{3: "LOADING"}, {3: "LOADING"}, {3: "AVAILABLE"}]
    model.status = lambda name, version: states.pop(0)
    started = []

    def start():
        time.sleep(0.5)
        handler = type("Handler", (stand_in.RestHandler,), {"models": model})
        started.append(stand_in.http.server.ThreadingHTTPServer(("127.0.0.1", port), handler))
        started[0].serve_forever(0.02)

    thread = threading.Thread(target=start)
    thread.start()
    try:
        serving.connect(f"http://127.0.0.1:{port}", "faces").wait_until_ready(20)
    finally:
        started[0].shutdown()
        started[0].server_close()
        thread.join()
    assert states == []


def test_keeps_the_version_that_it_began_with(scripted_address, model):
    asked = []
    model.find = lambda name, version: (asked.append(version), (len(asked) + 2, model))[1]
    with serving.connect(scripted_address, "faces", batch_size=5) as client:
        client.embed(IMAGES)
    assert asked == [None, 3, 3]


@pytest.mark.parametrize("status", [301, 302, 401, 404, 429, 500, 504])
def test_other_statuses_are_errors_in_the_servers_words(rest, model, status):
    address = rest(saying(status, b'{"error": "by the proxy"}'))
    with pytest.raises(serving.ServerError, match=rf"by the proxy \(HTTP status {status}\)") as caught:
        serving.connect(address, "faces").embed(IMAGES[:1])
    assert type(caught.value) is serving.ServerError
    assert len(model.requests) == 1


def test_a_request_that_is_too_large_is_halved(rest, model):
    class Small(stand_in.RestHandler):
        def respond(self, status, body):
            small = len(model.requests[-1]) <= 3 if model.requests else True
            super().respond(*((status, body) if small else (413, b"Request Entity Too Large")))

    np.testing.assert_array_equal(serving.connect(rest(Small), "faces").embed(IMAGES), one_hot(IMAGES))


def test_a_request_that_is_too_large_for_a_grpc_server_is_halved(model):
    pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
    server, port = stand_in.start_grpc(model, limit=1000)  # gRPC's default is 4 MB.
    images = [b"%0300d" % number for number in range(10)]
    with serving.connect(f"grpc://127.0.0.1:{port}", "faces") as client:
        np.testing.assert_array_equal(client.embed(images), one_hot(images))
        assert max(map(len, model.requests)) == 3  # Halves of halves of ten.
        with pytest.raises(serving.Refused, match="image 1: .*larger than max.*RESOURCE_EXHAUSTED"):
            client.embed([images[0], b"%02000d" % 1])
    server.stop(None)


@pytest.mark.parametrize("length", [10, 1_000_000])
def test_a_servers_words_are_one_bounded_printable_line(rest, length):
    body = b"\n\n  \x1b[31mred\x07" + b"x" * length + b"\nsecond line"
    with pytest.raises(serving.ServerError) as caught:
        serving.connect(rest(saying(500, body)), "faces").embed(IMAGES[:1])
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 500
    assert "redx" in str(caught.value).replace(" ", "")


def test_a_broken_connection_is_repeated(rest):
    left = [2]

    class Broken(stand_in.RestHandler):
        def respond(self, status, body):
            if left[0]:
                left[0] -= 1
                self.connection.shutdown(socket.SHUT_RDWR)
            else:
                super().respond(status, body)

    assert serving.connect(rest(Broken), "faces").metadata().version == 3


def test_what_is_no_http(rest):
    class Other(stand_in.RestHandler):
        def respond(self, status, body):
            self.wfile.write(b"220 mail.example ESMTP\r\n")

    with pytest.raises(serving.ServerError, match="its answer is not HTTP: 220 mail"):
        serving.connect(rest(Other), "faces").metadata()


def test_proxies_of_the_environment_see_nothing(scripted_address, monkeypatch):
    for name in ("http_proxy", "https_proxy", "grpc_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
        monkeypatch.setenv(name.upper(), "http://127.0.0.1:9")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with serving.connect(scripted_address, "faces", retries=0) as client:
        assert client.metadata().version == 3


def test_https_needs_a_trusted_certificate(model, tmp_path, monkeypatch):
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificate, is not on PATH")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = (
        "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost -addext subjectAltName=DNS:localhost"
    )
    subprocess.run([*command.split(), "-keyout", key, "-out", certificate], check=True, capture_output=True)
    server, port = stand_in.start_rest(model)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    try:
        with pytest.raises(serving.ServerError, match="certificate"):
            serving.connect(f"https://localhost:{port}", "faces").metadata()
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        np.testing.assert_array_equal(
            serving.connect(f"https://localhost:{port}", "faces").embed(IMAGES), one_hot(IMAGES)
        )
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    "server",
    [
        "localhost:8501",
        "http://localhost",
        "ftp://localhost:21",
        "http://",
        "",
        "http://host:port",
        "grpc://host:1/path",
    ]
    + ["http://me:secret@host:1", "http://host:99999"],
)
def test_addresses_are_checked(server):
    with pytest.raises(ValueError, match="a server is http://host:8501"):
        serving.connect(server, "faces")


@pytest.mark.parametrize(
    "options",
    [{"model": ""}, {"model": "a/b"}, {"model": "a:predict"}, {"version": -1}, {"batch_size": 0}, {"concurrency": 0}]
    + [{"deadline": 0}, {"deadline": float("nan")}, {"deadline": float("inf")}, {"retries": -1}],
    ids=str,
)
def test_options_are_checked(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        serving.connect(**{"server": "http://localhost:1", "model": "faces", **options})


@pytest.mark.parametrize("rows", [[("text",)], [(b"0", np.zeros([4, 2]))], [(None,)]], ids=str)
def test_rows_are_checked(rest, rows):
    with pytest.raises(ValueError, match="row 0 must hold bytes"):
        list(serving.connect(rest(), "faces").embed_each(rows))


def test_as_many_images_as_landmarks(rest, model):
    model.signatures["detect_free_align"] = model.signatures["serving_default"]
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        serving.connect(rest(), "faces").align_and_embed(IMAGES[:2], np.zeros([1, 5, 2]))


def test_grpc_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_serving", None)
    monkeypatch.delitem(sys.modules, "tensorflow_serving.apis", raising=False)
    monkeypatch.delitem(sys.modules, "tfface.serving.grpc_api", raising=False)
    with pytest.raises(ValueError, match="--no-deps tensorflow-serving-api"):
        serving.connect("grpc://localhost:1", "faces")


def test_rest_imports_no_tensorflow(rest):
    program = f"""
import sys
from tfface import serving
client = serving.connect({rest()!r}, "faces")
vectors, _, _ = serving.embed_files(client, ["2"], str.encode)
others = [name for name in sys.modules if name.startswith("tfface.") and not name.startswith("tfface.serving")]
print(vectors.tolist(), sorted({{"tensorflow", "keras", "grpc"}} & sys.modules.keys()), sorted(others))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    # Only small helpers of tfface are imported besides.
    helpers = ["tfface.cli", "tfface.cli.startup_lines", "tfface.files", "tfface.interrupts", "tfface.lazy"]
    helpers += ["tfface.progress", "tfface.registration"]
    assert done.stdout == f"{one_hot([b'2']).tolist()} [] {helpers}\n", done.stderr
