"""serve.py, run as a stranger runs it, asked over HTTP by well-behaved and ill-behaved clients."""

import asyncio
import contextlib
import io
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
import numpy as np
import psutil
import pytest
from PIL import Image

from tests.export.graphs import BARE, LAND, ONE, bare_environment, bundle, reference

pytestmark = pytest.mark.backend_free

ROWS = np.array([[48.85, 2.35], [60.5, 20.0]], "float32")


@contextlib.contextmanager
def serving(folder, wait=True, **settings):
    """Starts a server on a free port; gives a client, whose `process` is the server's."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    program = [sys.executable, "-c", BARE.replace("REFUSED", "()") + ONE, str(folder / "serve.py")]
    environment = bare_environment(**{"SERVE_PORT": str(port), **settings})
    with subprocess.Popen(program, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        log = []
        reader = threading.Thread(target=lambda: log.extend(process.stdout))
        reader.start()
        try:
            with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20) as client:
                client.process, client.log, client.port = process, log, port
                while wait and not _is_ready(client):
                    assert process.poll() is None, b"".join(log).decode()
                    time.sleep(0.05)
                yield client
        finally:
            process.kill()
            reader.join()


def _is_ready(client):
    with contextlib.suppress(httpx.ConnectError):
        return client.get("/health/ready").status_code == 200
    return False


@pytest.fixture(scope="module")
def table(bundles):
    with serving(bundles["table"], SERVE_MAX_ROWS="100", SERVE_MAX_BYTES="200000") as client:
        yield client


@pytest.fixture(scope="module")
def digits(bundles):
    with serving(bundles["digits"], SERVE_MAX_ROWS="3", SERVE_MAX_PIXELS="10000") as client:
        yield client


def refusal(response, status, reason):
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["reason"] == reason
    assert error["message"]
    return error


def test_it_lives_is_ready_and_says_what_it_serves(table, bundles):
    assert table.get("/health/live").json() == {"live": True}
    assert table.get("/health").json() == {"live": True, "ready": True, "reason": None}
    found = table.get("/metadata").json()
    facts = json.loads((bundles["table"] / "model.json").read_text())
    assert found["classes"] == facts["classes"] == LAND
    assert found["model"]["sha256"] == facts["model"]["sha256"]
    assert found["providers"] == ["CPUExecutionProvider"]
    assert found["limits"]["max_rows"] == 100


@pytest.mark.parametrize(
    "rows",
    [
        ROWS.tolist(),
        [{"latitude": row[0], "longitude": row[1]} for row in ROWS.tolist()],
        [ROWS.tolist()[0], {"longitude": 20.0, "latitude": 60.5}],
    ],
)
def test_it_answers_what_the_model_gives(table, bundles, rows):
    (expected,) = reference(bundles["table"], features=ROWS)
    answer = table.post("/predict", json={"rows": rows}).json()
    assert answer["classes"] == LAND
    for row, found in zip(expected, answer["predictions"], strict=True):
        assert np.abs(np.array(found["probabilities"]) - row).max() < 1e-6
        assert found["class"] == LAND[row.argmax()]
        assert found["probability"] == max(found["probabilities"])


BAD = {
    "no rows": ({"rows": []}, 422, "no_rows"),
    "no list": ({"rows": 5}, 422, "no_rows"),
    "wrong shape": ({"rows": [[1, 2], [1, 2, 3]]}, 422, "wrong_shape"),
    "ragged": ({"rows": [[1, [2]]]}, 422, "wrong_shape"),
    "a number": ({"rows": [1, 2]}, 422, "wrong_shape"),
    "text": ({"rows": [[1, "2"]]}, 422, "not_a_number"),
    "true": ({"rows": [[1, True]]}, 422, "not_a_number"),
    "null": ({"rows": [[1, None]]}, 422, "not_a_number"),
    "too many digits": ({"rows": [[1, 10**30]]}, 422, "out_of_range"),
    "beyond float32": ({"rows": [[1, 1e39]]}, 422, "out_of_range"),
    "field": ({"rows": [[1, 2]], "tpo": 3}, 422, "unknown_field"),
    "feature": ({"rows": [{"latitude": 1, "longitude": 2, "height": 3}]}, 422, "unknown_field"),
    "less features": ({"rows": [{"latitude": 1}]}, 422, "missing_field"),
    "nothing": ({}, 422, "missing_field"),
    "another type": ("rows", 422, "wrong_shape"),
    "too many": ({"rows": [[1, 2]] * 101}, 422, "too_many_rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_rows_are_refused_with_a_reason(table, case):
    body, status, reason = BAD[case]
    refusal(table.post("/predict", json=body), status, reason)


@pytest.mark.parametrize(
    ("body", "status", "reason"),
    [
        (b'{"rows": [[1, NaN]]}', 422, "not_finite"),
        (b'{"rows": [[1, -Infinity]]}', 422, "not_finite"),
        (b'{"rows": [[1, 2]', 400, "not_json"),
        (b"", 400, "not_json"),
        (b"\xff", 400, "not_json"),
        (b"[" * 100_000, 400, "not_json"),
        (b'{"rows": ' + b"[" * 500 + b"1" + b"]" * 500 + b"}", 422, "wrong_shape"),
        (b'{"rows": [[1, ' + b"9" * 5000 + b"]]}", 400, "not_json"),
        (b'{"rows": [["' + b"a" * 150_000 + b'"' + b", 1" * 1000 + b"]]}", 422, "not_a_number"),
    ],
)
def test_bad_json_is_refused_with_a_reason(table, body, status, reason):
    refusal(table.post("/predict", content=body, headers={"content-type": "application/json"}), status, reason)


def test_messages_name_the_place_and_the_way_out(table):
    error = refusal(table.post("/predict", json={"rows": [[1, 2], [3, "x"]]}), 422, "not_a_number")
    assert (error["where"], error["message"]) == ("rows[1]", "'x' is not a number")
    error = refusal(table.post("/predict", json={"rows": [{"latitud": 1, "longitude": 2}]}), 422, "unknown_field")
    assert "did you mean 'latitude'?" in error["message"]


def test_other_addresses_methods_and_types(table):
    refusal(table.get("/predictions"), 404, "not_found")
    refusal(table.get("/predict"), 405, "wrong_method")
    refusal(table.post("/predict", content=b"1,2", headers={"content-type": "text/csv"}), 415, "wrong_media_type")
    refusal(table.post("/predict", content=b"1,2"), 415, "wrong_media_type")
    refusal(table.post("/predict", files={"image": b"x"}), 415, "wrong_media_type")
    packed = {"content-type": "application/json", "content-encoding": "gzip"}
    refusal(table.post("/predict", content=b"1,2", headers=packed), 415, "wrong_encoding")
    described = table.get("/openapi.json").json()["paths"]["/predict"]["post"]["requestBody"]["content"]
    assert set(described) == {"application/json"}


def peak(process):
    """The most memory that a process ever had, in bytes; where the system does not tell, what it has now."""
    status = Path(f"/proc/{process}/status")
    if status.is_file():
        return int(re.search(r"VmHWM:\s+(\d+) kB", status.read_text())[1]) * 1024
    return psutil.Process(process).memory_info().rss


def test_a_body_is_refused_while_it_comes_not_after(table):
    sent = 0

    def endless():
        nonlocal sent
        for _ in range(2000):
            sent += 100_000
            yield b" " * 100_000

    before = peak(table.process.pid)
    with contextlib.suppress(httpx.WriteError, httpx.RemoteProtocolError):
        headers = {"content-type": "application/json"}
        refusal(table.post("/predict", content=endless(), headers=headers), 413, "too_large")
    announced = table.post("/predict", content=b" " * 300_000, headers={"content-type": "application/json"})
    refusal(announced, 413, "too_large")
    # What is thrown away so that the client sees the answer, and what lies between the two.
    assert sent < 100e6
    assert peak(table.process.pid) - before < 30e6
    assert table.post("/predict", json={"rows": ROWS.tolist()}).status_code == 200


def png(pixels):
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG")
    return stream.getvalue()


def test_images_as_forms_and_alone(digits, bundles):
    pixels = np.random.default_rng(0).integers(0, 256, (2, 8, 8)).astype("uint8")
    (expected,) = reference(bundles["digits"], features=pixels[..., None].astype("float32") / 255 * 16)
    files = [("image", (f"{number}.png", png(each), "image/png")) for number, each in enumerate(pixels)]
    form = digits.post("/predict", files=files).json()["predictions"]
    alone = digits.post("/predict", content=png(pixels[1]), headers={"content-type": "image/png"}).json()
    inverted = digits.post("/predict?invert=true", files={"image": png(255 - pixels[0])}).json()
    for row, found in zip(expected, form, strict=True):
        assert np.abs(np.array(found["probabilities"]) - row).max() < 1e-6
    assert [found["file"] for found in form] == ["0.png", "1.png"]
    assert alone["predictions"][0]["probabilities"] == form[1]["probabilities"]
    assert inverted["predictions"][0]["probabilities"] == form[0]["probabilities"]
    rows = digits.post("/predict", json={"rows": (pixels[:1, ..., None] / 255 * 16).tolist()}).json()
    assert rows["predictions"][0]["probabilities"] == form[0]["probabilities"]


@pytest.mark.parametrize(
    ("request_", "status", "reason"),
    [
        ({"files": {"image": b"no image"}}, 422, "not_an_image"),
        ({"files": {"image": png(np.zeros((101, 100), "uint8"))}}, 422, "too_large"),
        ({"files": [("image", png(np.zeros((8, 8), "uint8")))] * 4}, 422, "too_many_rows"),
        ({"data": {"a": "b"}, "files": {"image": b"x"}}, 422, "unknown_field"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data"}}, 400, "not_a_form"),
        ({"content": b"x", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 400, "not_a_form"),
        ({"content": b"--b--\r\n", "headers": {"content-type": "multipart/form-data; boundary=b"}}, 422, "no_rows"),
        ({"content": b"GIF89a", "headers": {"content-type": "image/gif"}}, 422, "not_an_image"),
    ],
)
def test_bad_images_are_refused_with_a_reason(digits, request_, status, reason):
    refusal(digits.post("/predict", **request_), status, reason)


def test_a_slow_body_gives_its_place_back(bundles):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    settings = {"SERVE_THREADS": "1", "SERVE_QUEUE": "0", "SERVE_BODY_SECONDS": "0.7"}
    with serving(bundles["table"], **settings) as client, socket.create_connection(("127.0.0.1", client.port)) as slow:
        slow.sendall(head)
        time.sleep(0.2)
        # Its place is taken, and there is no other.
        response = client.post("/predict", json={"rows": ROWS.tolist()})
        refusal(response, 503, "overloaded")
        assert response.headers["retry-after"] == "1"
        assert client.get("/health/ready").status_code == 200
        slow.settimeout(10)
        assert slow.recv(4096).startswith(b"HTTP/1.1 408")
        assert client.post("/predict", json={"rows": ROWS.tolist()}).status_code == 200


def test_requests_that_are_being_answered_are_finished_before_it_stops(bundles):
    body = json.dumps({"rows": ROWS.tolist()}).encode()
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
        body
    )
    with serving(bundles["table"], SERVE_GRACE_SECONDS="10") as client:
        with socket.create_connection(("127.0.0.1", client.port)) as begun:
            begun.sendall(head + body[:5])
            time.sleep(0.3)
            client.process.send_signal(signal.SIGTERM)
            time.sleep(0.5)
            with pytest.raises(httpx.TransportError):
                httpx.get(f"http://127.0.0.1:{client.port}/health", timeout=2)
            begun.sendall(body[5:])
            begun.settimeout(10)
            answer = b""
            while part := begun.recv(65536):
                answer += part
        assert answer.startswith(b"HTTP/1.1 200")
        assert LAND[0].encode() in answer
        assert client.process.wait(10) == 0


def test_control_c_stops_it_without_a_traceback(bundles):
    with serving(bundles["table"]) as client:
        client.process.send_signal(signal.SIGINT)
        assert client.process.wait(15) == 0
        time.sleep(0.1)
        assert "Traceback" not in b"".join(client.log).decode()


def test_it_stops_within_its_grace_time_though_a_request_never_ends(bundles):
    head = b"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 50\r\n\r\n{"
    with (
        serving(bundles["table"], SERVE_GRACE_SECONDS="1", SERVE_BODY_SECONDS="60") as client,
        socket.create_connection(("127.0.0.1", client.port)) as endless,
    ):
        endless.sendall(head)
        time.sleep(0.3)
        started = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        client.process.wait(15)
        # A second of grace, and what a shared machine takes to notice.
        assert time.monotonic() - started < 6


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"SERVE_PROT": "1"}, "SERVE_PROT: no such setting"),
        ({"SERVE_THREADS": "0"}, "SERVE_THREADS='0': give a number above 0"),
        ({"SERVE_PORT": "70000"}, "SERVE_PORT='70000': ports go up to 65535"),
        ({"SERVE_MAX_ROWS": "many"}, "SERVE_MAX_ROWS='many': give a number above 0"),
        ({"SERVE_FOLDER": "/nowhere"}, "no such file; it lies beside model.onnx"),
        ({"SERVE_DEVICE": "tpu"}, "device 'tpu' is not known; choose from auto, cpu, cuda"),
    ],
)
def test_wrong_settings_end_the_server_with_a_reason(bare, bundles, settings, message):
    done = bare.run(bundles["table"] / "serve.py", **settings)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert message in done.stderr


def test_a_model_that_cannot_be_loaded_ends_the_server(tmp_path):
    folder = bundle(tmp_path, "table")
    (folder / "model.onnx").write_bytes(b"nothing")
    with serving(folder, wait=False) as client:
        assert client.process.wait(30) == 1
        time.sleep(0.1)
        log = b"".join(client.log).decode()
    assert "not the file that model.json describes" in log
    assert "Traceback" not in log


def load(client, seconds, connections):
    """Sends good and bad requests over so many connections; returns how often each status came."""
    found: dict[int | str, int] = {}
    good = json.dumps({"rows": ROWS.tolist() * 20}).encode()
    bodies = [(good, 200), (good, 200), (good[:-3], 400), (b'{"rows": [[1]]}', 422), (b" " * 300_000, 413)]
    wrong = []

    async def send(number):
        generator = random.Random(number)
        headers = {"content-type": "application/json"}
        async with httpx.AsyncClient(base_url=str(client.base_url), timeout=20) as own:
            while time.monotonic() < end:
                body, expected = generator.choice(bodies)
                try:
                    response = await own.post("/predict", content=body, headers=headers)
                except (httpx.WriteError, httpx.RemoteProtocolError, httpx.ReadError):
                    # A body that is too large may be cut off while it is sent.
                    assert expected == 413
                    found["cut off"] = found.get("cut off", 0) + 1
                    continue
                found[response.status_code] = found.get(response.status_code, 0) + 1
                if response.status_code not in (expected, 503):
                    wrong.append((response.status_code, response.text))

    async def send_all():
        await asyncio.gather(*(send(number) for number in range(connections)))

    end = time.monotonic() + seconds
    asyncio.run(send_all())
    assert not wrong, wrong[:3]
    return found


def check_load(bundles, seconds):
    settings = {"SERVE_MAX_BYTES": "200000", "SERVE_QUEUE": "6", "SERVE_GRACE_SECONDS": "5"}
    with serving(bundles["table"], **settings) as client:
        load(client, seconds / 2, 16)
        process = psutil.Process(client.process.pid)
        warm = process.memory_info().rss
        found = load(client, seconds, 16)
        grown = process.memory_info().rss - warm
        started = time.monotonic()
        client.process.send_signal(signal.SIGTERM)
        assert client.process.wait(15) == 0
        stopped = time.monotonic() - started
    print(f"{found}, {grown / 1e6:.1f} MB more, stopped after {stopped:.1f} s")
    assert found[200] > 10
    assert not {status for status in found if isinstance(status, int) and status >= 500} - {503}
    assert grown < 20e6
    assert stopped < 5
    assert not re.search("Traceback|Exception", b"".join(client.log).decode())


def test_under_load_with_bad_requests_it_stays_upright(bundles):
    check_load(bundles, 2)


@pytest.mark.slow
def test_under_long_load_with_bad_requests_it_stays_upright(bundles):
    check_load(bundles, 20)
