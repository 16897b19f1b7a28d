"""The files of a bundle: what they say is what the model does."""

import ast
import json
import re
import shutil
import sys

import numpy as np
import onnx
import pytest

from kerasdl.errors import UserError
from kerasdl.export.bundle import write_bundle
from kerasdl.export.bundle.describe import without_folders
from kerasdl.recipes import folder as recipes
from tests.export.graphs import LAND, MODELS, bundle, reference, table, words

pytestmark = pytest.mark.backend_free


def facts_of(folder):
    return json.loads((folder / "model.json").read_text(encoding="utf-8"))


def files_of(folder):
    return {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("name", MODELS)
def test_what_is_said_of_inputs_and_outputs_is_what_the_model_takes_and_gives(bundles, name):
    facts = facts_of(bundles[name])
    arrays = {
        each["name"]: np.ones([3, *(size or 5 for size in each["shape"][1:])], each["dtype"])
        for each in facts["inputs"]
    }
    for described, array in zip(facts["outputs"], reference(bundles[name], **arrays), strict=True):
        assert described["dtype"] == array.dtype.name
        assert described["shape"] == [None, *array.shape[1:]]
        if described["meaning"] == "probabilities":
            assert ((array >= 0) & (array <= 1)).all()
    assert (facts["outputs"][0]["meaning"] == "probabilities") == (name != "words")


def test_what_a_model_answers(bundles):
    kinds = {name: facts_of(folder)["answer"] for name, folder in bundles.items()}
    assert kinds == {
        "table": "classes",
        "digits": "classes",
        "pixels": "masks",
        "one_output": "classes",
        "words": "values",
    }


def test_nothing_in_a_bundle_imports_what_trained_the_model(bundles):
    allowed = {"numpy", "onnxruntime", "PIL", "fastapi", "starlette", "uvicorn", "python_multipart", "inference"}
    for path in bundles["table"].rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in allowed or top in sys.stdlib_module_names, f"{path.name} imports {name}"


def test_the_digests_are_those_of_the_files(bundles):
    import hashlib

    folder, facts = bundles["table"], facts_of(bundles["table"])
    assert facts["model"]["sha256"] == hashlib.sha256((folder / "model.onnx").read_bytes()).hexdigest()
    assert set(facts["files"]) == set(files_of(folder)) - {"model.onnx", "model.json"}
    for name, digest in facts["files"].items():
        assert hashlib.sha256((folder / name).read_bytes()).hexdigest() == digest


def test_the_shipped_files_are_all_there(bundles):
    source = recipes("export") / "serve"
    shipped = {name for name in files_of(source) if "__pycache__" not in name}
    assert {"predict.py", "serve.py", "Dockerfile", "requirements.txt", "web/index.html"} <= shipped
    assert shipped <= set(files_of(bundles["table"]))


def test_the_card_tells_what_it_is_and_how_good(bundles):
    card = (bundles["table"] / "MODEL_CARD.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", card, re.MULTILINE)
    assert headings[:3] == ["Model Details", "Uses", "Bias, Risks, and Limitations"]
    assert {"Training Details", "Evaluation", "How to Get Started with the Model"} <= set(headings)
    assert "| accuracy (test) | 90.0% (88.0% to 92.0%) | 91.0% (89.0% to 93.0%) |" in card
    assert "| loss (test) | 0.3 (0.2 to 0.4) | 0.25 |" in card
    assert "| coast | 40.0% | 70.0% |" in card
    assert "CC BY 4.0" in card
    assert "4,000 test rows" in card
    # Every table is whole: as many cells in each line as in its head.
    for block in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1


def test_the_head_of_the_card_is_yaml_that_the_hub_reads(bundles):
    yaml = pytest.importorskip("yaml")
    for folder in bundles.values():
        card = (folder / "MODEL_CARD.md").read_text(encoding="utf-8")
        head = yaml.safe_load(card.split("---\n")[1])
        assert head["library_name"] == "onnx"
    head = yaml.safe_load((bundles["table"] / "MODEL_CARD.md").read_text(encoding="utf-8").split("---\n")[1])
    assert head["model-index"][0]["results"][0]["metrics"][0] == {"type": "accuracy", "value": 0.91}
    assert head["pipeline_tag"] == "tabular-classification"


def test_names_from_elsewhere_do_not_become_marks_in_the_card(tmp_path):
    hostile = ["a|b", "<script>alert(1)</script>", "two\nlines", "[link](http://x)"]
    known = {"classes": hostile[:3], "title": hostile[3], "features": ["x|y", "# z"]}
    card = (bundle(tmp_path, "table", **known) / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "<script>" not in card
    assert "[link](" not in card.split("---\n", 2)[2]
    for block in re.findall(r"(?:^\|.*\n)+", card, re.MULTILINE):
        assert len({line.count("|") - line.count("\\|") for line in block.splitlines()}) == 1


def test_a_card_without_a_run_says_that_nothing_is_known(bundles):
    card = (bundles["words"] / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "Nothing is known of how good this model is" in card
    assert "`report.json` is missing" in card
    assert "None" not in card


def test_parity_and_measurements_are_taken_over(tmp_path):
    export = {"path": "/home/me/model.onnx", "max_abs_diff": 3e-7, "argmax_agreement": 1.0, "batch_sizes": [1, 7]}
    export["extremes"] = {"zeros": "equal", "huge": "one row jumps"}
    lost = {"rows": 4000, "drop": 0.001, "low": -0.0005, "high": 0.0025}
    small = {"path": "x/model-int8.onnx", "precision": "int8", "bytes": 2000, "max_abs_diff": 0.01, "change": lost}
    report = {"exports": [small, {"path": "x/other.pt2"}, {**export, "providers": ["CPU"], "seconds": 2}]}
    pick = {"purpose": "latency", "row": "model.onnx, ONNX Runtime CPU", "at": "1 row at once", "value": 1.5e-5}
    (tmp_path / "report.json").write_text(json.dumps({**report, "versions": {"onnx": "1.2"}}))
    measured = {"picks": [pick], "machine": {"cores": 2}, "rows": [{"path": "/home/me/model.onnx"}]}
    (tmp_path / "benchmark.json").write_text(json.dumps(measured))
    facts = facts_of(bundle(tmp_path, "table"))
    assert facts["checks"] == {
        "max_abs_diff": 3e-7,
        "argmax_agreement": 1.0,
        "batch_sizes": [1, 7],
        "providers": ["CPU"],
        "extremes": export["extremes"],
    }
    assert facts["figures"]["benchmark"] == {"picks": [pick], "machine": {"cores": 2}}
    card = (tmp_path / "MODEL_CARD.md").read_text(encoding="utf-8")
    assert "differ by at most 3e-07, and 100.00 % of the rows get the same class (batches of 1, 7 rows, CPU)" in card
    assert "| latency | model.onnx, ONNX Runtime CPU | 1 row at once | 15 µs |" in card
    assert "| model-int8.onnx |  | int8 | 2,000 | 0.01 |  | 0.0010 (-0.0005 to 0.0025) |" in card
    assert "| other.pt2 |" in card
    assert "zeros (equal), huge (one row jumps)" in card
    assert "/home/me" not in card + json.dumps(facts)


def test_folders_of_the_author_are_nobodys_business():
    assert without_folders("csv:/home/me/houses.csv?target=kind") == "csv:houses.csv?target=kind"
    assert without_folders("/home/me/pictures") == "pictures"
    assert without_folders("folder:C:\\Users\\me\\pictures?size=8").endswith("?size=8")
    assert "me" not in without_folders("folder:C:/Users/me/pictures?size=8")
    assert without_folders("CIFAR-10, Alex; found at ~/x") == "CIFAR-10, Alex; found at ~/x"
    for address in ("https://example.org/~me/a.tar", "see http://example.org/x/y?z"):
        assert without_folders(address) == address
    assert without_folders("GeoNames 3/4") == "GeoNames 3/4"


def test_a_bundle_is_written_again_where_nothing_was_changed(tmp_path):
    folder = bundle(tmp_path, "table")
    before = {name: path.read_bytes() for name, path in files_of(folder).items()}
    write_bundle(folder)
    assert {name: path.read_bytes() for name, path in files_of(folder).items()} == before


def test_what_a_person_changed_is_not_overwritten_unless_forced(tmp_path):
    folder = bundle(tmp_path, "table")
    (folder / "MODEL_CARD.md").write_text("my own words")
    table(folder / "model.onnx", title="Another title")
    with pytest.raises(UserError, match=r"MODEL_CARD.md would be overwritten.*--force"):
        write_bundle(folder)
    assert (folder / "MODEL_CARD.md").read_text() == "my own words"
    assert facts_of(folder)["title"] == "Land or sea"
    write_bundle(folder, force=True)
    assert "Another title" in (folder / "MODEL_CARD.md").read_text()


def test_what_the_next_bundle_does_not_have_is_removed_but_nothing_else(tmp_path):
    folder = bundle(tmp_path, "table")
    assert (folder / "triton/mlp_countries/labels.txt").is_file()
    (folder / "mine.txt").write_text("mine")
    table(folder / "model.onnx", study="other")
    write_bundle(folder)
    assert not (folder / "triton/mlp_countries").exists()
    assert (folder / "triton/other_countries/1/model.onnx").is_file()
    assert (folder / "mine.txt").read_text() == "mine"


def test_a_list_of_earlier_files_cannot_reach_out_of_the_folder(tmp_path):
    import hashlib

    folder = bundle(tmp_path / "bundle", "table")
    victim = tmp_path / "victim.txt"
    victim.write_text("precious")
    facts = facts_of(folder)
    facts["files"]["../victim.txt"] = hashlib.sha256(victim.read_bytes()).hexdigest()
    (folder / "model.json").write_text(json.dumps(facts))
    write_bundle(folder)
    assert victim.read_text() == "precious"


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "cannot be read"), (b"nothing", "no ONNX model"), (b"", "without inputs or outputs")],
)
def test_a_folder_without_a_model_is_refused(tmp_path, content, message):
    if content is not None:
        (tmp_path / "model.onnx").write_bytes(content)
    with pytest.raises(UserError, match=message):
        write_bundle(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} <= {"model.onnx"}


def test_metadata_of_another_version_is_refused_in_one_line(tmp_path):
    with pytest.raises(UserError, match="written by another version") as failure:
        bundle(tmp_path, "table", evaluation={"test": {"accuracy": 1}})
    assert "\n" not in str(failure.value)
    assert {path.name for path in tmp_path.iterdir()} == {"model.onnx"}


def test_weights_in_other_files_are_refused(tmp_path):
    words(tmp_path / "small.onnx")
    model = onnx.load(tmp_path / "small.onnx")
    options = {"save_as_external_data": True, "location": "weights", "size_threshold": 0}
    onnx.save(model, tmp_path / "model.onnx", **options)
    with pytest.raises(UserError, match="keeps its weights in other files"):
        write_bundle(tmp_path)


def test_a_bundle_stands_in_any_folder(bundles, tmp_path):
    """Copied elsewhere, none of its files names the place where it was made."""
    shutil.copytree(bundles["table"], tmp_path / "copy")
    for path in files_of(tmp_path / "copy").values():
        assert str(bundles["table"]).encode() not in path.read_bytes()


def test_classes_stand_in_the_order_of_the_outputs(bundles):
    assert facts_of(bundles["table"])["classes"] == LAND
    (labels,) = bundles["table"].glob("triton/*/labels.txt")
    assert labels.read_text().splitlines() == LAND
