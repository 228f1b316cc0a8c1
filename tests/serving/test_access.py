"""Tokens, headers and certificate authorities: they reach the server, no other place, and no message."""

import os
import pathlib
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import time
import traceback

import numpy as np
import pytest
import stand_in
from scripted import IMAGES, one_hot

from tfface import serving

ROOT = pathlib.Path(__file__).resolve().parents[2]
SECRET = "s3cr3t-T0ken"


def shown(error):
    """Everything that a traceback would show."""
    return "".join(traceback.format_exception(error))


def test_every_request_has_the_token_and_the_headers(scripted_address, model):
    with serving.connect(scripted_address, "faces", token=SECRET, headers={"X-Tenant": "a b"}) as client:
        client.wait_until_ready(10)
        np.testing.assert_array_equal(client.embed(IMAGES), one_hot(IMAGES))
    assert len(model.heard) == 3
    for headers in model.heard:
        assert (headers["authorization"], headers["x-tenant"]) == (f"Bearer {SECRET}", "a b")


def test_a_server_that_repeats_the_token_is_quoted_without_it(scripted_address, model):
    # Also where a quotation is cut off.
    def repeating(earlier, inputs):
        raise stand_in.Failure("INTERNAL", "x" * 295 + f"{SECRET} is wrong: Bearer {SECRET}")

    model.answer = repeating
    client = serving.connect(scripted_address, "faces", token=SECRET)
    with client, pytest.raises(serving.ServerError, match="xxx") as caught:
        client.embed(IMAGES)
    assert SECRET[:4] not in shown(caught.value)


def test_redirects_take_the_token_nowhere(rest, model):
    elsewhere = rest()

    class Redirect(stand_in.RestHandler):
        def respond(self, status, body):
            self.send_response(307)
            self.send_header("Location", f"{elsewhere}{self.path}")
            self.end_headers()

    with pytest.raises(serving.ServerError, match="HTTP status 307"):
        serving.connect(rest(Redirect), "faces", token=SECRET).metadata()
    assert len(model.heard) == 1


@pytest.mark.parametrize("options", [{"token": SECRET}, {"headers": {"X-Key": SECRET}}], ids=["token", "header"])
@pytest.mark.parametrize("server", ["http://host.example:1", "http://10.0.0.1:1", "grpc://localhost.example:1"])
def test_secrets_need_encryption_on_the_way_to_other_hosts(server, options):
    with pytest.raises(ValueError, match="without encryption: use https") as caught:
        serving.connect(server, "faces", **options)
    assert SECRET not in shown(caught.value)
    if server.startswith("http"):
        serving.connect(server, "faces", insecure_token=True, **options)
        serving.connect(server.replace("http", "https"), "faces", **options)
    for here in ("localhost", "127.0.0.1", "[::1]"):
        serving.connect(f"http://{here}:1", "faces", **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"headers": {"X": f"{SECRET}\r\nY: 1"}}, "value of header 'X' must be a line"),
        ({"headers": {"X": f"{SECRET}é"}}, "value of header 'X' must be a line"),
        ({"headers": {f"{SECRET}\r\n": "a"}}, "the name of a header must consist"),
        ({"headers": {f"{SECRET} ": "a"}}, "the name of a header must consist"),
        ({"headers": {"Host": SECRET}}, "'Host' belongs to the protocol"),
        ({"headers": {"grpc-timeout": SECRET}}, "'grpc-timeout' belongs to the protocol"),
        ({"headers": {"X": SECRET, "x": SECRET}}, "'x' is given twice"),
        ({"headers": {"authorization": SECRET}, "token": SECRET}, "exclude each other"),
        ({"headers": [SECRET]}, "must be a mapping"),
        ({"token": f"{SECRET}\n"}, "a token must consist"),
        ({"token": ""}, "a token must consist"),
    ],
)
def test_malformed_secrets_are_refused_and_not_shown(options, message):
    with pytest.raises(ValueError, match=message) as caught:
        serving.connect("http://localhost:1", "faces", **options)
    assert SECRET not in shown(caught.value)


@pytest.mark.parametrize(
    "server",
    [f"http://me:{SECRET}@host:1", f"http://:{SECRET}@host:1", f"http//me:{SECRET}@host", f"grpc://{SECRET}@host:1"]
    + [f"http://me:{SECRET}@host:port", f"http://host:1?token={SECRET}", f"http://a@{SECRET}@[host:1"],
)
def test_passwords_in_addresses_are_refused_and_not_shown(server):
    with pytest.raises(ValueError, match="a server is http://host:8501.*host") as caught:
        serving.connect(server, "faces")
    assert SECRET not in shown(caught.value)


def test_token_files(tmp_path):
    path = tmp_path / "token"
    path.write_text(f" {SECRET}\n")
    assert serving.read_token(path) == SECRET
    path.write_text("x" * 70_000)
    for wrong, message in (
        (path, "at most 65536 bytes"),
        (tmp_path, "not a regular file"),
        ("/dev/zero", "not a regular"),
    ):
        with pytest.raises(ValueError, match=message):
            serving.read_token(wrong)
    with pytest.raises(FileNotFoundError):
        serving.read_token(tmp_path / "absent")


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """(PEM file of an authority, private key and certificate of "localhost" that it signed, as files)."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl, which makes the certificates, is not on PATH")
    folder = tmp_path_factory.mktemp("authority")

    def openssl(command):
        subprocess.run(["openssl", *command.split()], check=True, capture_output=True, cwd=folder)

    (folder / "names").write_text("subjectAltName=DNS:localhost")
    openssl("req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem")
    openssl("req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem")
    openssl("x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out cert.pem")
    return folder / "ca.pem", folder / "key.pem", folder / "cert.pem"


@pytest.fixture(params=["https", "grpcs"])
def encrypted(request, authority, model):
    """Address of a server whose certificate the authority signed, for each protocol."""
    _, key, certificate = authority
    if request.param == "https":
        server, port = stand_in.start_rest(model)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        server.socket = context.wrap_socket(server.socket, server_side=True)
        yield f"https://localhost:{port}"
        server.shutdown()
        server.server_close()
    else:
        pytest.importorskip("tensorflow_serving.apis.prediction_service_pb2_grpc")
        server, port = stand_in.start_grpc(model, (key.read_bytes(), certificate.read_bytes()))
        yield f"grpcs://localhost:{port}"
        server.stop(None)


def test_a_server_is_known_by_the_authority_alone(encrypted, authority, model):
    client = serving.connect(encrypted, "faces", token=SECRET, retries=0, deadline=10)
    with client, pytest.raises(serving.ServerError):
        client.metadata()
    assert not model.heard  # Nor was the token sent.
    with serving.connect(encrypted, "faces", token=SECRET, ca_file=authority[0]) as client:
        np.testing.assert_array_equal(client.embed(IMAGES), one_hot(IMAGES))
    assert model.heard[-1]["authorization"] == f"Bearer {SECRET}"


def test_files_of_authorities_are_checked(tmp_path, authority):
    wrong = tmp_path / "wrong.pem"
    wrong.write_text("no certificate")
    for path in (wrong, authority[1]):
        with pytest.raises(ValueError, match=f"{path.name}' is not a PEM file of certificates"):
            serving.connect("https://localhost:1", "faces", ca_file=path)
    with pytest.raises(ValueError, match="needs https"):
        serving.connect("http://localhost:1", "faces", ca_file=authority[0])


def start(server, *arguments):
    command = [sys.executable, str(ROOT / "scripts" / "serving_client.py"), f"--server={server}", "--model=faces"]
    command += map(str, arguments)
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=ROOT)


def test_the_script_sends_what_it_was_given_and_shows_nothing(rest, model, tmp_path, images):
    def repeating(earlier, inputs):
        raise stand_in.Failure("INTERNAL", f"out of order, but not for {SECRET}")

    model.answer = repeating
    (tmp_path / "token").write_text(SECRET)
    (tmp_path / "a.png").write_bytes(images[0])
    files = (f"--images={tmp_path / 'a.png'}", f"--output={tmp_path / 'a.npz'}")
    process = start(rest(), f"--token_file={tmp_path / 'token'}", "--header=X-Tenant: a: b", *files)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1 and "out of order" in errors
    assert model.heard[0]["authorization"] == f"Bearer {SECRET}" and model.heard[0]["x-tenant"] == "a: b"
    assert SECRET not in output + errors
    for wrong in (f"--header={SECRET}", f"--header=:{SECRET}", f"--server=http://me:{SECRET}@host:1"):
        process = start("http://localhost:1", *files, wrong)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == 1 and errors.startswith("Error: ") and "Traceback" not in errors
        assert SECRET not in output + errors


@pytest.mark.parametrize("signum, status", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interruption_does_not_wait_for_answers(scripted_address, model, tmp_path, images, signum, status):
    over = threading.Event()

    def slow(earlier, inputs):
        over.wait(50)
        raise stand_in.Failure("INTERNAL", "too late")

    model.answer = slow
    (tmp_path / "a.png").write_bytes(images[0])
    process = start(scripted_address, f"--images={tmp_path / 'a.png'}", f"--output={tmp_path / 'a.npz'}")
    while not model.requests:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=20)
    over.set()
    assert process.returncode == status
    assert errors.endswith(f"\nError: interrupted by {signal.Signals(signum).name}.\n") and "Traceback" not in errors
    assert os.listdir(tmp_path) == ["a.png"]
