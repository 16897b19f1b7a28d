"""The Dockerfile, as far as it can be judged where nothing builds it: what it copies is there, what it runs runs."""

import json
import re
import shlex
import sys

import pytest

from tests.export.graphs import bundle

pytestmark = pytest.mark.backend_free


@pytest.fixture(scope="module")
def lines(tmp_path_factory):
    """The bundle, and the instructions of its Dockerfile with continued lines joined."""
    folder = bundle(tmp_path_factory.mktemp("container") / "bundle", "table")
    text = re.sub(r"(?m)^#.*\n", "", (folder / "Dockerfile").read_text(encoding="utf-8"))
    text = re.sub(r"\\\n\s*", "", text)
    return folder, [line.split(maxsplit=1) for line in text.splitlines() if line.strip()]


def test_what_it_copies_is_in_the_bundle_and_is_all_that_the_server_needs(lines, tmp_path):
    import shutil

    from tests.export.serve.test_serve import serving

    folder, instructions = lines
    for name, rest in instructions:
        if name != "COPY":
            continue
        *sources, target = rest.split()
        if target.startswith("/tmp"):
            continue
        for source in sources:
            place = tmp_path / target
            place.mkdir(exist_ok=True, parents=True) if target.endswith("/") else None
            (shutil.copytree if (folder / source).is_dir() else shutil.copy)(folder / source, place)
    with serving(tmp_path) as client:
        assert client.post("/predict", json={"rows": [[1, 2]]}).status_code == 200


def test_it_runs_as_nobody_in_particular_and_has_a_health_check(lines):
    _, instructions = lines
    words = [name for name, _ in instructions]
    assert words.index("USER") < words.index("HEALTHCHECK") < words.index("CMD")
    user = dict(instructions)["USER"]
    assert user not in ("0", "root")
    assert any(f"--uid {user}" in rest for name, rest in instructions if name == "RUN")
    check = dict(instructions)["HEALTHCHECK"].split("CMD", 1)[1]
    program = json.loads(check)
    compile(program[2], "HEALTHCHECK", "exec")
    assert "/health/ready" in program[2]
    assert json.loads(dict(instructions)["CMD"]) == ["python3", "serve.py"]


def test_the_settings_that_it_makes_are_settings_of_the_server(lines):
    folder, instructions = lines
    names = {
        variable.partition("=")[0]
        for name, rest in instructions
        if name == "ENV"
        for variable in shlex.split(rest)
        if variable.startswith("SERVE_")
    }
    settings = (folder / "inference" / "settings.py").read_text(encoding="utf-8")
    assert names == {"SERVE_HOST", "SERVE_PORT", "SERVE_DEVICE"}
    for name in names:
        assert re.search(rf"^    {name.removeprefix('SERVE_').lower()}: ", settings, re.MULTILINE)


def test_what_the_server_imports_is_required(lines):
    folder, _ = lines
    required = {
        re.split(r"[<>=]", line)[0].lower()
        for line in (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    }
    provides = {"PIL": "pillow", "python_multipart": "python-multipart", "starlette": "fastapi"}
    for path in [folder / "serve.py", *(folder / "inference").glob("*.py")]:
        for name in re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            if name not in sys.stdlib_module_names | {"inference", "onnxruntime"}:
                assert provides.get(name, name) in required, f"{path.name} imports {name}"
