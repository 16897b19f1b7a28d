"""What a person may get wrong: each is answered by exit status 2 and one line that names the thing and the way out."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from typer.testing import Result

from kerasdl.runs import Run

# Nothing here gets as far as a backend but the builders that raise.
pytestmark = pytest.mark.usefixtures("backend_name")

Tune = Callable[..., Result]
Write = Callable[[str, str], Path]

BASE = """
    data = "xor?rows=60"
    model = "mlp"
    batch_size = 16
"""

BUILDERS = """
    def build(input_shape, classes, units=4):
        import keras
        return keras.Sequential([keras.Input(input_shape), keras.layers.Dense(1, activation="sigmoid")])

    def needs(input_shape, classes, units):
        return build(input_shape, classes)

    def other_name(hyperparameters):
        return build((2,), 2)

    def raises(input_shape, classes):
        raise RuntimeError("no model today\\nand more lines")

    def gives_nothing(input_shape, classes):
        return None
"""

TABLE = "a,kind\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(60))

# What is added to the study, and what the answer must say.
IN_THE_FILE = [
    ("epoch = 3", ["epoch: no such key", "did you mean 'epochs'?"]),
    ("self = 3", ["self: no such key"]),
    # All at once.
    ("epoch = 3\nbatchsize = 8", ["epoch: no such key; did you mean 'epochs'? | batchsize: no such key"]),
    ("depth = 3", ["depth: no such key", "[fixed] or [space]"]),
    ("[space]\ndpeth = [1]", ["space.dpeth: no such setting of mlp", "did you mean 'depth'?"]),
    ("[fixed]\nwidht = 1", ["fixed.widht: no such setting", "did you mean 'width'?"]),
    ("optimizer = 'adm'", ["optimizer: 'adm' is not an optimizer", "did you mean 'adam'?"]),
    ("learning_rate = 0.1\n[space]\noptimizer = ['adm']", ["space.optimizer: 'adm' is not an optimizer", "adam"]),
    ("[space]\noptimizer = {low = 1, high = 2}", ["space.optimizer: 1 is not an optimizer", "choose from"]),
    ("[space]\ndropout = [0.5, 1.5]", ["space.dropout: 1.5", "less than 1"]),
    ("[space]\ndepth = ['two']", ["space.depth: 'two'", "integer"]),
    ("[space]\ndepth = [-1]", ["space.depth: -1", "greater than or equal to 0"]),
    ("[space]\ndepth = [1.5]", ["space.depth: 1.5", "integer"]),
    ("[fixed]\nactivation = 'rleu'", ["fixed.activation: 'rleu'", "'relu'"]),
    ("[fixed]\nbatch_norm = 1", ["fixed.batch_norm: 1", "boolean"]),
    ("objective = 'val_acuracy'", ["objective: 'val_acuracy' is not computed", "did you mean 'val_accuracy'?"]),
    ("objective = {name = 'val_accuracy'}", ["objective.direction: missing"]),
    ("objective = {name = 'val_loss', direction = 'up'}", ["objective.direction", "'min' or 'max'"]),
    ("search = 'gird'", ["search", "'grid'", "'gird'"]),
    ("epochs = 0", ["epochs", "greater than or equal to 1"]),
    ("epochs = 'many'", ["epochs", "integer", "'many'"]),
    ("repeats = true", ["repeats", "integer", "True"]),
    ("learning_rate = -0.1", ["learning_rate", "greater than 0"]),
    ("[space]\nepochs = [1, 0]", ["space.epochs: 0", "at least 1"]),
    ("[space]\nlearning_rate = [nan]", ["space.learning_rate: nan", "finite"]),
    ("[space]\nwidth = {low = 8, high = 2}", ["space.width: low (8) must be below high (2)"]),
    ("[space]\nlearning_rate = {low = 0.0, high = 1.0, sampling = 'log'}", ["space.learning_rate", "above 0"]),
    ("[space]\nlearning_rate = {low = 0.1}", ["space.learning_rate.high: missing"]),
    ("[space]\nlearning_rate = {lwo = 0.1, high = 1.0}", ["space.learning_rate.lwo: no such key", "'low'"]),
    ("[space]\nlearning_rate = {low = 0.1, high = 1.0, sampling = 'lin'}", ["sampling", "'linear' or 'log'"]),
    (
        "[space]\nlearning_rate = {low = 0.1, high = 1.0}",
        ["space.learning_rate: a grid needs a step", "list of values"],
    ),
    ("[space]\nwidth = {low = 1, high = 5, step = 0}", ["space.width: step (0) must be above 0"]),
    ("[space]\nwidth = {values = [1], low = 1}", ["space.width.low: no such key", "values"]),
    ("[space]\nwidth = 5", ["space.width: give a list of values", "[fixed]"]),
    ("[space]\nwidth = []", ["space.width.values: the list is empty"]),
    ("[space]\nwidth = [4, 4]", ["space.width.values: 4 is listed twice"]),
    ("[space]\nlearning_rate = [1, 1.0]", ["space.learning_rate", "the same number"]),
    ("[space]\nwidth = [2020-01-01]", ["space.width", "neither a number, a text"]),
    ("[space]\ndepth = [1]\n[fixed]\ndepth = 1", ["space.depth: it varies and is set too", "keep one"]),
    ("epochs = 2\n[space]\nepochs = [1, 2]", ["space.epochs: it varies and is set too"]),
    ("epochs = 2\n[fixed]\nepochs = 1", ["fixed.epochs: it is set at the top too"]),
    ("[fixed]\nmomentum = 0.9", ["fixed.momentum", "a setting of sgd, rmsprop, not of adam"]),
    ("[space]\noptimizer = ['sgd', 'adam']\nmomentum = [0, 0.9]", ["space.momentum: adam has no", "when = {optimizer"]),
    ("[space]\ndepth = {values = [1, 2], when = {width = 4}}", ["space.depth.when: 'width' does not vary"]),
    ("[space]\nwidth = [4]\ndepth = {values = [1], when = {width = 5}}", ["space.depth.when: width is never 5", "[4]"]),
    (
        "[space]\nwidth = {values = [1], when = {depth = 1}}\ndepth = {values = [1], when = {width = 1}}",
        ["conditions of width, depth form a circle"],
    ),
    ("search = 'hyperband'\n[space]\nepochs = [1, 2]", ["space.epochs: hyperband chooses the epochs"]),
    ("[early_stopping]\npatience = 0", ["early_stopping.patience", "greater than or equal to 1"]),
    ("[early_stopping]\npatince = 3", ["early_stopping.patince: no such key", "'patience'"]),
    ("[early_stopping]\nmonitor = 'val_los'", ["early_stopping.monitor: 'val_los'", "'val_loss'"]),
    ("[reference]\ntitle = 'x'", ["reference: give either file or rows"]),
    ("reference = 'none.csv'", ["reference.file: none.csv: No such file"]),
    ("name = '../elsewhere'", ["name", "'../elsewhere'"]),
    ("= 3", ["not valid TOML", "line"]),
]

# What is put on the command line, and what the answer must say.
ON_THE_COMMAND_LINE = [
    (["mlpp"], ["mlpp: no shipped study", "did you mean 'mlp'?"]),
    (["none.toml"], ["none.toml: no such study file"]),
    (["empty.toml"], ["empty.toml: data: missing"]),
    (["latin.toml"], ["latin.toml: not UTF-8 text", "save it as UTF-8"]),
    (["own.toml", "--data", "xorr"], ["'xorr'", "did you mean 'xor'?"]),
    (["own.toml", "--data", "xor?row=60"], ["xor: no parameter is called 'row'", "'rows'"]),
    (["own.toml", "--data", "csv:none.csv?target=kind"], ["none.csv: no such file"]),
    (["own.toml", "--data", "csv:table.csv"], ["csv:table.csv: no target is given", "target=COLUMN"]),
    (["own.toml", "--data", "csv:table.csv?target=knid"], ["table.csv: no column is called 'knid'", "'kind'"]),
    (["own.toml", "--set", "data=csv:none.csv?target=kind"], ["none.csv: no such file"]),
    (["own.toml", "--set", "model=none.py:build"], ["none.py: no such file"]),
    (["own.toml", "--set", "model=mine.py"], ["'mine.py' is not a shipped model", "file.py:function"]),
    (["own.toml", "--set", "model=mine.py:biuld"], ["mine.py: defines no function 'biuld'", "'build'"]),
    (["own.toml", "--set", "model=mine.py:needs"], ["mine.py:needs needs 'units'", "[fixed] or [space]"]),
    (["own.toml", "--set", "model=mine.py:other_name"], ["needs 'hyperparameters'", "called hp"]),
    (["own.toml", "--set", "model=mine.py:build", "--set", "unit=3"], ["fixed.unit: no such setting", "'units'"]),
    (["own.toml", "--set", "model=broken.py:build"], ["broken.py, line 1", "valid Python"]),
    (["own.toml", "--set", "model=failing.py:build"], ["failing.py: importing it failed: ValueError: one two"]),
    (["own.toml", "--set", "model=leaving.py:build"], ["leaving.py: importing it failed: SystemExit: 3"]),
    (["own.toml", "--set", "depth"], ["--set depth: not of the form KEY=VALUE", "learning_rate=0.01"]),
    (["own.toml", "--set", "detph=3"], ["fixed.detph: no such setting", "'depth'"]),
    (["own.toml", "--set", "model.depth=3"], ["--set model.depth: model is not a table"]),
    (["own.toml", "--set", "repeats=2.5"], ["repeats", "integer"]),
    (["own.toml", "--backend", "torhc"], ["'torhc' is not a backend", "did you mean 'torch'?"]),
    (["own.toml", "--epochs", "0"], ["--epochs", "--help"]),
    (["own.toml", "--trials", "few"], ["--trials", "--help"]),
    (["own.toml", "--epohcs", "3"], ["--epohcs", "--epochs"]),
    ([], ["STUDY", "--help"]),
]


@pytest.fixture(autouse=True)
def files(write: Write, folder: Path) -> None:
    write("own.toml", BASE)
    write("empty.toml", "")
    write("mine.py", BUILDERS)
    write("broken.py", "def build(:\n")
    write("failing.py", "raise ValueError('one\\ntwo')\ndef build(): pass\n")
    write("leaving.py", "import sys\nsys.exit(3)\ndef build(): pass\n")
    write("table.csv", TABLE)
    (folder / "latin.toml").write_bytes(b'data = "\xe9"\n')


def answered(result: Result, words: Sequence[str]) -> None:
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.splitlines()
    assert len(lines) == 1, result.stderr
    assert lines[0].startswith("error: ")
    for word in words:
        assert word in lines[0]


@pytest.mark.backend_free
@pytest.mark.parametrize(("text", "words"), IN_THE_FILE)
def test_what_is_wrong_in_the_file(tune: Tune, write: Write, folder: Path, text: str, words: list[str]) -> None:
    write("bad.toml", BASE.replace("    ", "") + text)
    answered(tune("bad.toml", "--out", "run"), ["bad.toml: ", *words])
    assert not (folder / "run").exists()


@pytest.mark.backend_free
@pytest.mark.parametrize(("arguments", "words"), ON_THE_COMMAND_LINE)
def test_what_is_wrong_on_the_command_line(tune: Tune, folder: Path, arguments: list[str], words: list[str]) -> None:
    answered(tune(*arguments, "--out", "run"), words)
    assert not (folder / "run").exists()
    assert not (folder / "runs").exists()


@pytest.mark.parametrize("place", ["table.csv", "table.csv/below"])
def test_a_file_where_the_run_should_be(tune: Tune, place: str) -> None:
    answered(tune("own.toml", "--out", place), ["not a folder", "--out"])


@pytest.mark.parametrize("options", [[], ["--fresh"]])
def test_somebodys_folder_is_refused_and_left_as_it_is(tune: Tune, folder: Path, options: list[str]) -> None:
    other = folder / "thesis"
    other.mkdir()
    (other / "thesis.tex").write_text("years of work")
    answered(
        tune("own.toml", "--out", "thesis", *options), ["thesis: not empty and not a run", "'thesis.tex'", "--out"]
    )
    assert [path.name for path in other.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize(
    ("function", "words"),
    [
        ("raises", ["every trial failed", "RuntimeError: no model today"]),
        ("gives_nothing", ["every trial failed", "NoneType, not a compiled keras.Model"]),
    ],
)
def test_a_builder_that_never_builds(tune: Tune, folder: Path, function: str, words: list[str]) -> None:
    command = ("own.toml", "--set", f"model=mine.py:{function}", "--repeats", "2", "--out", "run")
    answered(tune(*command), words)
    # What happened stays to be looked at, and the same command answers the same.
    with Run.open("run") as run:
        assert run.trials()["status"].tolist() == ["failed", "failed"]
        assert not run.finished
    answered(tune(*command), words)


def test_a_metric_that_a_users_model_does_not_compute(tune: Tune) -> None:
    answered(
        tune("own.toml", "--set", "model=mine.py:build", "--set", "objective=val_auc", "--out", "run"),
        ["objective: 'val_auc' is not computed", "val_accuracy"],
    )


def test_a_changed_study_says_what_differs(tune: Tune) -> None:
    assert tune("own.toml", "--epochs", "1", "--out", "run").exit_code == 0
    changed = ("own.toml", "--epochs", "2", "--set", "depth=1", "--out", "run")
    answered(tune(*changed), ["run: holds a run of another study", "epochs was 1, now 2", "fixed.depth", "--fresh"])
    assert tune(*changed, "--fresh").exit_code == 0


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "kerasdl.tune", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        check=False,
    )


@pytest.mark.parametrize(
    ("arguments", "environment", "words"),
    [
        (["own.toml", "--set", "dpeth=3"], {}, ["fixed.dpeth"]),
        (["own.toml", "--backend", "torhc"], {}, ["--backend: 'torhc'", "'torch'"]),
        (["own.toml"], {"KERAS_BACKEND": "jaxx"}, ["KERAS_BACKEND: 'jaxx'", "'jax'"]),
        (["own.toml", "--set", "model=failing.py:build"], {}, ["failing.py: importing it failed"]),
        (["own.toml", "--nonsense"], {}, ["--nonsense"]),
    ],
)
def test_a_real_process_answers_alike(
    folder: Path, arguments: list[str], environment: dict[str, str], words: list[str]
) -> None:
    result = command(*arguments, "--out", "run", **environment)
    assert result.returncode == 2
    assert result.stdout == ""
    assert len(result.stderr.splitlines()) == 1
    assert result.stderr.startswith("error: ")
    assert all(word in result.stderr for word in words)
    assert not (folder / "run").exists()
