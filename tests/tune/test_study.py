import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from kerasdl import recipes
from kerasdl.errors import UserError
from kerasdl.tune import Study
from kerasdl.tune.space import Choices, Range

pytestmark = pytest.mark.backend_free

Write = Callable[[str, str], Path]
Make = Callable[..., Study]

TEXT = """
    title = "Depth"
    question = "How deep?"
    data = "digits?rows=200"
    model = "mlp"
    objective = "val_loss"
    search = "random"
    trials = 4
    repeats = 2
    seed = 3
    epochs = 5
    batch_size = 16
    optimizer = "sgd"
    learning_rate = 0.1
    early_stopping = {patience = 2}

    [space]
    depth = [1, 2]
    width = [[8, 4], 4]
    momentum = {low = 0.0, high = 0.9}
    nesterov = {values = [false, true], when = {depth = [1, 2]}}

    [fixed]
    activation = "tanh"
    clipnorm = 1

    [reference]
    title = "elsewhere"
    rows = [{depth = 1, accuracy = 0.5}]
"""

IN_PYTHON = {
    "name": "deep",
    "title": "Depth",
    "question": "How deep?",
    "data": "digits?rows=200",
    "model": "mlp",
    "objective": "val_loss",
    "search": "random",
    "trials": 4,
    "repeats": 2,
    "seed": 3,
    "epochs": 5,
    "batch_size": 16,
    "optimizer": "sgd",
    "learning_rate": 0.1,
    "early_stopping": {"patience": 2},
    "space": {
        "depth": (1, 2),
        "width": [(8, 4), 4],
        "momentum": Range(low=0.0, high=0.9),
        "nesterov": Choices(values=[False, True], when={"depth": [1, 2]}),
    },
    "fixed": {"activation": "tanh", "clipnorm": 1},
    "reference": {"title": "elsewhere", "rows": [{"depth": 1, "accuracy": 0.5}]},
}


def test_a_file_and_python_make_the_same_study(write: Write) -> None:
    from_file = Study.load(write("deep.toml", TEXT))
    in_python = Study(**IN_PYTHON)
    assert from_file.model_dump() == in_python.model_dump()
    assert from_file.frozen({"backend": "jax"}) == in_python.frozen({"backend": "jax"})
    assert from_file.name == "deep"
    assert from_file.goal.model_dump() == {"name": "val_loss", "direction": "min"}
    assert from_file.space["width"].ends == [[8, 4], 4]
    assert isinstance(from_file.fixed["clipnorm"], float)


def test_the_frozen_text_loads_again_and_is_equal(write: Write, folder: Path) -> None:
    study = Study.load(write("deep.toml", TEXT))
    frozen = study.frozen({"backend": "jax", "data": "abc"})
    again = Study.load(write("frozen.toml", frozen))
    assert again.model_dump() == study.model_dump()
    assert again.frozen({"backend": "jax", "data": "abc"}) == frozen
    assert tomllib.loads(frozen)["identity"] == {"backend": "jax", "data": "abc"}


def test_the_frozen_text_means_the_same_from_every_folder(
    write: Write, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = folder / "inner"
    inner.mkdir()
    (inner / "rows.csv").write_text("a,kind\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(40)))
    (inner / "mine.py").write_text("def build(input_shape, classes, units=3): ...\n")
    (inner / "own.toml").write_text(
        'data = "csv:rows.csv?target=kind"\nmodel = "mine.py:build"\n[space]\nunits = [1, 2]\n'
    )
    frozen = Study.load("inner/own.toml").frozen({})
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    again = Study.load(write("frozen.toml", frozen))
    assert again.frozen({}) == frozen
    assert len(again.load_data().train) > 20
    assert len(tomllib.loads(frozen)["identity"]["model"]) == 64


def first(input_shape: object, classes: int, units: int = 3) -> None:
    raise NotImplementedError


def test_a_changed_function_is_another_study(study: Make) -> None:
    def changed(input_shape: object, classes: int, units: int = 4) -> None:
        raise NotImplementedError

    changed.__qualname__ = first.__qualname__
    one, other = (tomllib.loads(study(model=build).frozen({})) for build in (first, changed))
    assert one["model"] == other["model"]
    assert one["identity"] != other["identity"]


def test_settings_are_complete_and_the_narrower_word_wins(study: Make) -> None:
    one = study(space={"depth": [1]}, fixed={"width": 8}, learning_rate=0.5)
    settings = one.settings({"depth": 3, "epochs": 7})
    assert settings == {
        **{"depth": 3, "width": 8, "activation": "relu", "batch_norm": False, "dropout": 0.0, "l2": 0.0},
        **{"initializer": "glorot_uniform", "optimizer": "adam", "learning_rate": 0.5, "batch_size": 16, "epochs": 7},
    }
    assert "learning_rate" not in study().settings({})


@pytest.mark.parametrize(
    ("metric", "direction"),
    [("val_accuracy", "max"), ("val_loss", "min"), ("auc", "max"), ("val_mae", "min"), ("val_f1_score", "max")],
)
def test_the_direction_follows_from_a_known_metric(study: Make, metric: str, direction: str) -> None:
    assert study(model=first, objective=metric).goal.direction == direction
    stopping = study(model=first, early_stopping={"monitor": metric}).early_stopping
    assert stopping is not None
    assert stopping.direction == direction


def test_an_unknown_metric_needs_a_direction(study: Make) -> None:
    with pytest.raises(UserError, match=r"say \{name = 'val_foo', direction = 'min'\}, or 'max'"):
        study(model=first, objective="val_foo")
    assert study(model=first, objective={"name": "val_foo", "direction": "min"}).goal.direction == "min"


@pytest.mark.parametrize("name", recipes.names("tuning"))
def test_the_shipped_studies_load(name: str) -> None:
    study = Study.load(name)
    assert study.name == name
    assert study.title
    assert study.question


def test_the_shipped_studies_ask_what_was_promised() -> None:
    mlp = Study.load("mlp")
    assert set(mlp.space) == {"depth", "width", "batch_norm"}
    configurations = 1
    for one in mlp.space.values():
        configurations *= len(one.ends)
    assert configurations >= 12
    assert mlp.repeats >= 3
    assert str(mlp.data).startswith("countries")
    softmax = Study.load("softmax")
    assert {name: one.ends for name, one in softmax.space.items()} == {
        "batch_size": [256, 128, 64],
        "epochs": [10, 20, 30],
        "learning_rate": [0.1, 0.01, 0.2],
    }
    assert softmax.reference is not None
    assert len(softmax.reference.rows or []) == 26


CHANGES = [
    ({"repeats": 4}, lambda study: study.repeats == 4),
    ({"depth": 2}, lambda study: "depth" not in study.space and study.fixed["depth"] == 2),
    ({"depth": [2, 3]}, lambda study: study.space["depth"].ends == [2, 3]),
    ({"depth": {"low": 1, "high": 3}}, lambda study: study.space["depth"].ends == [1, 3]),
    ({"space.batch_norm": [False, True]}, lambda study: study.space["batch_norm"].ends == [False, True]),
    ({"dropout": 0.5}, lambda study: study.fixed["dropout"] == 0.5),
    ({"activation": "relu"}, lambda study: study.fixed["activation"] == "relu"),
    ({"width": [8, 8]}, lambda study: study.fixed["width"] == [8, 8]),
    ({"optimizer": "adam"}, lambda study: study.optimizers == ["adam"]),
    ({"epochs": 9}, lambda study: study.settings({})["epochs"] == 9),
    ({"early_stopping.patience": 7}, lambda study: study.early_stopping.patience == 7),
    ({"fixed.width": 3}, lambda study: study.fixed["width"] == 3),
    ({"objective.name": "val_loss", "objective.direction": "max"}, lambda study: study.goal.direction == "max"),
]


@pytest.mark.parametrize(("changes", "holds"), CHANGES)
def test_changes_say_what_is_different(write: Write, changes: dict, holds: Callable[[Study], bool]) -> None:
    path = write(
        "own.toml",
        """
        data = "xor?rows=60"
        model = "mlp"
        [space]
        depth = [0, 1]
        [fixed]
        activation = "tanh"
        epochs = 3
        """,
    )
    assert holds(Study.load(path, changes))


def test_what_a_change_names_is_looked_for_in_the_current_folder(write: Write, folder: Path) -> None:
    write("rows.csv", "a,kind\n" + "".join(f"{row},{'xy'[row % 2]}\n" for row in range(40)))
    write("mine.py", "def build(input_shape, classes, depth=1, width=1, batch_norm=False): ...\n")
    study = Study.load("mlp", {"data": "csv:rows.csv?target=kind", "model": "mine.py:build"})
    assert study.load_data().classes == ("x", "y")
    assert study.builder.path == folder / "mine.py"


def test_references_come_from_a_table_or_a_file(write: Write, study: Make) -> None:
    write("figures.csv", "depth,batch_norm,accuracy,note\n1,yes,0.50,\n2,no,1e-1,by hand\n")
    for given in ("figures.csv", {"file": "figures.csv"}):
        reference = study(reference=given).reference
        assert reference is not None
        assert reference.file is None
        assert reference.rows == [
            {"depth": 1, "batch_norm": True, "accuracy": 0.5},
            {"depth": 2, "batch_norm": False, "accuracy": 0.1, "note": "by hand"},
        ]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "reference.file: figures.csv: No such file or directory"),
        (b"", "figures.csv: it has no rows"),
        (b"depth,accuracy\n", "figures.csv: it has no rows"),
        (b"depth\n\xff\n", "figures.csv: 'utf-8' codec can't decode"),
    ],
)
def test_a_bad_reference_file_says_so(folder: Path, study: Make, content: bytes | None, message: str) -> None:
    if content is not None:
        (folder / "figures.csv").write_bytes(content)
    with pytest.raises(UserError, match=message):
        study(reference="figures.csv")
