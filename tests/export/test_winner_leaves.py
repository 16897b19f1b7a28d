"""A winner goes through the file into the bundle, and answers there as it did in Keras."""

import json
import shutil

import numpy as np

from kerasdl.export import export_run
from kerasdl.export.bundle import write_bundle
from tests.export.bundle.test_known import make_run
from tests.export.graphs import Bare


def test_the_winner_of_a_run_answers_from_its_bundle_as_in_keras(tmp_path, shake):
    import keras

    run = make_run(tmp_path / "run")
    layers = [keras.Input((2,)), keras.layers.Dense(3, activation="relu"), keras.layers.Dense(2, activation="softmax")]
    model = shake(keras.Sequential(layers))
    model.save(run / "best.keras")
    folder = tmp_path / "bundle"
    folder.mkdir()
    export = export_run(run, out=folder / "model.onnx", model=model)
    report = {"exports": [export.as_dict()], "versions": {"keras": keras.version()}}
    (folder / "report.json").write_text(json.dumps(report))
    write_bundle(folder)
    shutil.rmtree(run)

    facts = json.loads((folder / "model.json").read_text(encoding="utf-8"))
    assert facts["checks"]["max_abs_diff"] == export.max_abs_diff
    assert (facts["study"], facts["data"]["name"]) == ("ways", "csv:ways.csv?target=way")
    assert [each["mean"] for each in facts["features"]] == [1.0, 2.0]

    rows = np.random.default_rng(0).normal(size=(5, 2)).astype("float32") * 5
    text = "b,a\n" + "".join(f"{second!r},{first!r}\n" for first, second in rows.tolist())
    bare = Bare()
    done = bare.run(folder / "predict.py", "-", "--output", "json", given=text.encode())
    bare.close()
    assert done.returncode == 0, done.stderr
    said = np.array([answer["probabilities"] for answer in json.loads(done.stdout)])
    expected = keras.ops.convert_to_numpy(model((rows - [1, 2]) / [3, 4]))
    assert np.abs(said - expected).max() < 1e-5
