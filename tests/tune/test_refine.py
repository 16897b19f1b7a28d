"""Coarse to fine: searches that follow the first, each closer to the best."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from kerasdl.errors import UserError
from kerasdl.runs import RunWriter
from kerasdl.tune import Study
from kerasdl.tune.refine import narrowed
from kerasdl.tune.space import Choices, Range

Make = Callable[..., Study]


@pytest.mark.backend_free
def test_what_is_not_to_be_refined_keeps_its_best_value() -> None:
    space = {"rate": Range(low=1e-5, high=1e-1, sampling="log"), "cycles": Choices(values=[1, 3])}
    closer = narrowed(space, {"rate": 1e-3, "cycles": 3}, 0.25, ["rate"])
    assert closer["cycles"] == Choices(values=[3])
    assert isinstance(closer["rate"], Range)
    with pytest.raises(UserError, match=r"refine.settings: 'l1' does not vary; choose from l2"):
        Study(data="digits", model="mlp", space={"l2": [0.0, 0.1]}, refine={"settings": ["l1"]})


@pytest.mark.backend_free
def test_ranges_narrow_on_their_own_scale_and_stay_inside() -> None:
    space = {
        "rate": Range(low=1e-5, high=1e-1, sampling="log"),
        "share": Range(low=0.0, high=1.0),
        "width": Range(low=8, high=128),
        "kind": Choices(values=["a", "b"]),
        "batch_norm": Choices(values=[False, True]),
    }
    closer = narrowed(space, {"rate": 1e-3, "share": 0.95, "width": 128, "kind": "b", "batch_norm": True}, 0.25)
    rate, share, width = closer["rate"], closer["share"], closer["width"]
    assert isinstance(rate, Range)
    assert rate.sampling == "log"
    assert (rate.low, rate.high) == pytest.approx((10**-3.5, 10**-2.5))
    assert isinstance(share, Range)
    assert (share.low, share.high) == pytest.approx((0.825, 1.0))
    assert isinstance(width, Range)
    assert (width.low, width.high) == (113, 128)
    assert width.whole
    assert closer["kind"] == Choices(values=["b"])
    assert closer["batch_norm"] == Choices(values=[True])


@pytest.mark.backend_free
@pytest.mark.parametrize(
    ("values", "best", "expected"),
    [
        ([1e-4, 1e-3, 1e-2], 1e-3, Range(low=1e-4, high=1e-2, sampling="log")),
        ([1e-2, 1e-4, 1e-3], 1e-2, Range(low=1e-3, high=1e-2, sampling="log")),
        ([0.2, 0.4, 0.6], 0.2, Range(low=0.2, high=0.4)),
        ([1, 6, 10], 6, Range(low=1, high=10, sampling="log")),
        ([3], 3, Choices(values=[3])),
        ([True, False], True, Choices(values=[True])),
        (["1", 2], 2, Choices(values=[2])),
    ],
)
def test_lists_narrow_to_what_lies_between_the_neighbours_of_the_best(
    values: list[Any], best: Any, expected: Any
) -> None:
    assert narrowed({"one": Choices(values=values)}, {"one": best}, 0.25)["one"] == expected


@pytest.mark.backend_free
def test_a_wrong_table_is_refused() -> None:
    with pytest.raises(UserError, match=r"refine\.share: .*less than 1"):
        Study(data="xor", model="mlp", refine={"share": 2.0})
    with pytest.raises(UserError, match=r"refine\.round: no such key; did you mean 'rounds'"):
        Study(data="xor", model="mlp", refine={"round": 2})


KEYS: dict[str, Any] = {
    "space": {"learning_rate": [0.0001, 0.01, 0.1], "depth": [1]},
    "repeats": 2,
    "fixed": {"width": 4},
    "refine": {"rounds": 2, "trials": 3, "retrain": 2},
}


def test_rounds_look_closer_and_the_best_are_trained_once_more(backend_name: str, study: Make, folder: Path) -> None:
    with study(**KEYS).run("run", progress=False, export=False) as run:
        table = run.table()
        assert len(table) == 9
        assert sorted(run.rounds()) == [0, 1, 2]
        first = table[table["configuration"] < 3].iloc[0]["learning_rate"]
        low, high = {0.0001: (0.0001, 0.01), 0.01: (0.0001, 0.1), 0.1: (0.01, 0.1)}[first]
        assert table[table["configuration"] >= 3]["learning_rate"].between(low, high).all()
        retrained = run.retrained
        assert [one["configuration"] for one in retrained] == table["configuration"].head(2).tolist()
        assert all(len(one["test"]["accuracy"]) == 2 for one in retrained)
        assert all(one["epochs"] == 2 for one in retrained)


@pytest.mark.slow
def test_an_interrupted_refinement_goes_on_as_if_undisturbed(
    backend_name: str, study: Make, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study(**KEYS)
    with made.run("whole", progress=False, export=False) as run:
        expected = run.trials()
    add, calls = RunWriter.finish_trial, []

    def interrupted(self: RunWriter, *arguments: Any) -> None:
        calls.append(1)
        if len(calls) == 9:
            raise KeyboardInterrupt
        add(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(RunWriter, "finish_trial", interrupted)
        with pytest.raises(KeyboardInterrupt):
            made.run("resumed", progress=False, export=False)
    with made.run("resumed", progress=False, export=False) as run:
        again = run.trials()
        assert again["learning_rate"].tolist() == expected["learning_rate"].tolist()
        assert again["score"].to_numpy() == pytest.approx(expected["score"].to_numpy(), abs=1e-5)
