"""Packs side by side: who trains beside whom, what becomes of errors, and that results are those of one at a time."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import pytest

from kerasdl.train.backends import current_backend
from kerasdl.tune import Study
from kerasdl.tune.planner import Pack
from kerasdl.tune.side_by_side import SideBySide, Turn

pytestmark = pytest.mark.usefixtures("backend_name")

SECONDS = 20


class Trainer:
    """Trains two epochs of nothing, and notes how many train at once."""

    together: ClassVar[set[str]] = set()
    seen: ClassVar[list[set[str]]] = []
    lock = threading.Lock()

    def __init__(self, pack: Pack, meet: threading.Barrier | None = None) -> None:
        self.name, self.trained, self._meet = pack.how, 0, meet
        if self.name == "unmakeable":
            raise ValueError("cannot be made")

    @property
    def ended(self) -> bool:
        return self.trained == 2

    def prepare(self) -> None:
        if self.name == "cannot be compiled":
            raise ValueError("prepare")

    def begin(self, how: str) -> None:
        if self.name == "cannot begin":
            raise ValueError("begin")

    def compute(self, beside: int = 1) -> None:
        with self.lock:
            self.together.add(self.name)
            self.seen.append(set(self.together))
        try:
            if self._meet is not None:
                self._meet.wait(SECONDS)
            if self.name == "cannot compute":
                raise ValueError("compute")
        finally:
            with self.lock:
                self.together.remove(self.name)

    def tell(self) -> None:
        if self.name == "cannot tell":
            raise ValueError("tell")
        self.trained += 1


@pytest.fixture
def trainer(monkeypatch: pytest.MonkeyPatch) -> type[Trainer]:
    monkeypatch.setattr(Trainer, "together", set())
    monkeypatch.setattr(Trainer, "seen", [])
    return Trainer


def pack(how: str, **more: Any) -> Pack:
    return Pack((), how, **{"share": 0.1, **more})


def trained(packs: list[Pack], make: Callable[[Pack], Any], width: int = 2, undisturbed: int = 0) -> dict[str, Turn]:
    turns = SideBySide(packs, make, lambda pack, trainer: None, width, undisturbed).turns()
    return {turn.pack.how: turn for turn in turns}


def test_two_packs_train_at_the_same_moment(trainer: type[Trainer]) -> None:
    meet = threading.Barrier(2)
    turns = trained([pack("a"), pack("b")], lambda own: trainer(own, meet))
    assert {name: turn.trained for name, turn in turns.items()} == {"a": True, "b": True}
    assert {"a", "b"} in trainer.seen


@pytest.mark.parametrize("width", [1, 2, 3])
def test_no_more_packs_train_at_once_than_may(width: int, trainer: type[Trainer]) -> None:
    turns = trained([pack(name) for name in "abcdefg"], trainer, width)
    assert sorted(turns) == [*"abcdefg"]
    assert all(turn.trained for turn in turns.values())
    assert max(map(len, trainer.seen)) <= width


@pytest.mark.parametrize("alone", [{"timed": "convolutions"}, {"share": 0.95}])
def test_what_fills_the_machine_trains_while_nothing_else_does(alone: dict[str, Any], trainer: type[Trainer]) -> None:
    packs = [pack("a"), pack("b"), pack("wide", **alone), pack("c"), pack("d")]
    turns = trained(packs, trainer)
    assert [*turns][2] == "wide"
    assert all(turn.trained for turn in turns.values())
    assert [names for names in trainer.seen if "wide" in names] == [{"wide"}, {"wide"}]


def test_what_fit_trains_is_its_callers_while_nothing_else_trains(trainer: type[Trainer]) -> None:
    packs = [pack("a"), pack("b"), pack("fit", fused=False), pack("c")]
    busy = {}
    for turn in SideBySide(packs, trainer, lambda pack, trainer: None, 2).turns():
        busy[turn.pack.how] = (turn.trained, set(trainer.together))
    assert busy["fit"] == (False, set())
    assert [*busy][2] == "fit"


@pytest.mark.parametrize("wrong", ["unmakeable", "cannot begin", "cannot compute", "cannot tell"])
def test_an_error_is_its_own_packs(wrong: str, trainer: type[Trainer]) -> None:
    turns = trained([pack("a"), pack(wrong), pack("b")], trainer)
    assert isinstance(turns[wrong].error, ValueError)
    assert not turns.pop(wrong).trained
    assert all(turn.trained and turn.error is None for turn in turns.values())


def test_what_cannot_be_compiled_ahead_is_tried_all_the_same(trainer: type[Trainer]) -> None:
    """Training compiles it once more, and raises what is wrong where it can be told of."""
    assert trained([pack("cannot be compiled")], trainer)["cannot be compiled"].trained


def test_an_interruption_ends_all(trainer: type[Trainer]) -> None:
    class Interrupted(trainer):  # type: ignore[misc,valid-type]
        def compute(self, beside: int = 1) -> None:
            if self.name == "b" and self.trained:
                raise KeyboardInterrupt
            super().compute(beside)

    with pytest.raises(KeyboardInterrupt):
        trained([pack(name) for name in "abcd"], Interrupted)


def clearing(input_shape: tuple[int, ...], classes: int, depth: int = 1, width: int = 4) -> Any:
    """Builds as many builders do that were written for searches: it ends what Keras keeps of models before it."""
    import keras

    keras.utils.clear_session()
    hidden = [keras.layers.Dense(width, activation="relu") for _ in range(depth)]
    return keras.Sequential([keras.Input(input_shape), *hidden, keras.layers.Dense(1, activation="sigmoid")])


@pytest.mark.parametrize("model", ["mlp", clearing])
def test_results_are_those_of_one_pack_at_a_time(model: Any, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    most = current_backend().packs_at_once()
    if most < 2:
        pytest.skip("packs train one at a time here")
    space = {"depth": [0, 1, 2], "width": [4, 8]}
    study = Study(data="xor?rows=120", model=model, space=space, epochs=3, batch_size=16, repeats=2)
    found = []
    for at_once in (1, most):
        monkeypatch.setattr(current_backend(), "packs_at_once", lambda at_once=at_once: at_once)
        with study.run(f"run-{at_once}", progress=False, export=False) as run:
            found.append((run.trials().drop(columns=["seconds"]), run.curves().drop(columns=["seconds"])))
            assert 0 < run.trials()["seconds"].sum() < run.seconds
    for one, other in zip(*found, strict=True):
        keys = ["trial", "epoch"] if "epoch" in one else ["trial"]
        one, other = (table.sort_values(keys).reset_index(drop=True) for table in (one, other))
        for column in one.columns:
            if one[column].dtype.kind == "f":
                assert one[column].to_numpy() == pytest.approx(other[column].to_numpy(), rel=1e-6, nan_ok=True), column
            else:
                assert one[column].tolist() == other[column].tolist(), column
