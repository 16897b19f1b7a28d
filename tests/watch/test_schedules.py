"""Schedules give the papers' numbers at every step, on every backend, in every place where a step is counted."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from kerasdl.errors import UserError

LOW, HIGH = 1e-5, 1e-1
LONGEST = 20_000


@pytest.fixture
def schedules(backend_name: str) -> Any:
    from kerasdl.watch import schedules

    return schedules


def cyclical(steps: np.ndarray, half: float, shrinkage: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Smith, 2017, section 3.1, in float64; `shrinkage` takes the number of the cycle, 1 the first."""
    cycle = np.floor(1 + steps / (2 * half))
    x = np.abs(steps / half - 2 * cycle + 1)
    return LOW + (HIGH - LOW) * np.maximum(0, 1 - x) * shrinkage(cycle)


def one_cycle(steps: np.ndarray, phases: list[tuple[float, float]], initial: float, annealing: str) -> np.ndarray:
    """Linear or cosine pieces from rate to rate; each phase is its last step and the rate there."""
    found, first, start = np.full(steps.shape, np.nan), 0.0, initial
    for last, end in phases:
        way = np.clip((steps - first) / (last - first), 0, 1)
        if annealing == "cosine":
            way = (1 - np.cos(math.pi * way)) / 2
        found = np.where(np.isnan(found) & (steps <= last), start + (end - start) * way, found)
        first, start = last, end
    return np.where(np.isnan(found), start, found)


def rates(schedule: Any, steps: np.ndarray) -> np.ndarray:
    import keras

    # JAX compiles each operation anew for each length: all have the same.
    padded = np.resize(steps.astype("int32"), LONGEST)
    found = keras.ops.convert_to_numpy(schedule(keras.ops.convert_to_tensor(padded)))
    return np.asarray(found)[: steps.size].reshape(steps.shape)


# The setting of a published run: half a cycle of 900 steps, 3 cycles; and halves of no whole number of steps.
@pytest.mark.parametrize(("step_size", "steps_per_epoch"), [(900, 1), (2, 450), (2.5, 313), (1, 1)])
def test_triangles_are_the_papers_at_every_step(schedules: Any, step_size: float, steps_per_epoch: int) -> None:
    half = step_size * steps_per_epoch
    steps = np.arange(min(20 * int(half) + 3, LONGEST))
    kinds = {
        schedules.Triangular: (lambda cycle: 1.0, {}),
        schedules.Triangular2: (lambda cycle: 0.5 ** (cycle - 1), {}),
        schedules.ExpRange: (lambda cycle: 0.99994**steps, {"gamma": 0.99994}),
    }
    for kind, (shrinkage, more) in kinds.items():
        schedule = kind(LOW, HIGH, step_size, steps_per_epoch=steps_per_epoch, **more)
        np.testing.assert_allclose(rates(schedule, steps), cyclical(steps, half, shrinkage), rtol=3e-6, atol=3e-8)


def test_a_million_steps_lose_no_precision(schedules: Any) -> None:
    steps = np.arange(1_000_000 - 2000, 1_000_000)
    triangle = schedules.Triangular(LOW, HIGH, 900)
    np.testing.assert_allclose(rates(triangle, steps), cyclical(steps, 900, lambda cycle: 1.0), rtol=3e-6, atol=3e-8)
    shrinking = schedules.ExpRange(LOW, HIGH, 900, gamma=0.999999)
    expected = cyclical(steps, 900, lambda cycle: 0.999999**steps)
    np.testing.assert_allclose(rates(shrinking, steps), expected, rtol=3e-6, atol=3e-8)


@pytest.mark.parametrize("annealing", ["cosine", "linear"])
@pytest.mark.parametrize("third_phase", [False, True])
@pytest.mark.parametrize("rise", [0.3, 0.123])
def test_one_cycle_is_exact_at_every_step(schedules: Any, annealing: str, third_phase: bool, rise: float) -> None:
    schedule = schedules.OneCycle(
        HIGH, 5, steps_per_epoch=313, rise=rise, annealing=annealing, third_phase=third_phase, initial_divisor=10
    )
    count = 5 * 313
    initial, final, peak = HIGH / 10, HIGH / 10 / 1e4, rise * count - 1
    phases = [(peak, HIGH), *([(2 * peak, initial)] if third_phase else []), (count - 1, final)]
    steps = np.arange(count + 50)
    expected = one_cycle(steps, phases, initial, annealing)
    np.testing.assert_allclose(rates(schedule, steps), expected, rtol=2e-5, atol=1e-9)
    assert rates(schedule, steps[count:]) == pytest.approx(final)


def test_torchs_own_schedulers_give_the_same(schedules: Any, backend_name: str) -> None:
    if backend_name != "torch":
        pytest.skip("needs torch")
    import torch

    def theirs(make: Callable[[Any], Any], count: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=LOW)
        scheduler, found = make(optimizer), []
        for _ in range(count):
            found.append(scheduler.get_last_lr()[0])
            optimizer.step()
            scheduler.step()
        return found

    library, steps = torch.optim.lr_scheduler, np.arange(100)
    more = {"cycle_momentum": False}
    for third_phase in (False, True):
        expected = theirs(lambda o, t=third_phase: library.OneCycleLR(o, HIGH, 100, three_phase=t, **more), 100)
        ours = schedules.OneCycle(HIGH, 100, third_phase=third_phase)
        np.testing.assert_allclose(rates(ours, steps), expected, rtol=2e-5, atol=1e-9)
    for kind, mode in ((schedules.Triangular, "triangular"), (schedules.Triangular2, "triangular2")):
        expected = theirs(lambda o, m=mode: library.CyclicLR(o, LOW, HIGH, 12, mode=m, **more), 100)
        np.testing.assert_allclose(rates(kind(LOW, HIGH, 12), steps), expected, rtol=3e-6, atol=3e-8)


def test_after_the_last_cycle_comes_what_was_asked_for(schedules: Any) -> None:
    steps = np.arange(60)
    whole = rates(schedules.Triangular2(LOW, HIGH, 10), steps)
    for cycles, after, expected in ((2, None, LOW), (2, 0.03, 0.03), (0.5, HIGH, HIGH)):
        found = rates(schedules.Triangular2(LOW, HIGH, 10, cycles=cycles, after=after), steps)
        end = int(20 * cycles)
        np.testing.assert_array_equal(found[:end], whole[:end])
        np.testing.assert_allclose(found[end:], expected, rtol=1e-6)


def test_a_step_may_be_of_any_kind(schedules: Any) -> None:
    import keras

    schedule = schedules.Triangular(LOW, HIGH, 10)
    expected = pytest.approx(LOW + (HIGH - LOW) * 0.3, rel=1e-6)
    iterations = keras.optimizers.SGD().iterations
    iterations.assign(3)
    for step in (3, np.int64(3), keras.ops.convert_to_tensor(3), keras.ops.convert_to_tensor(3.0), iterations):
        rate = schedule(step)
        assert keras.ops.is_tensor(rate)
        assert keras.ops.shape(rate) == ()
        assert float(keras.ops.convert_to_numpy(rate)) == expected


def descent(schedule: Any, count: int) -> tuple[Any, np.ndarray]:
    """Trains one weight whose gradient is always 1: each step lowers it by the learning rate."""
    import keras

    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, use_bias=False)])
    model.compile(keras.optimizers.SGD(schedule), loss="mean_absolute_error")
    fallen = []

    class Watch(keras.callbacks.Callback):
        def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
            self.before = self.model.get_weights()[0].item()

        def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
            fallen.append(self.before - self.model.get_weights()[0].item())

    model.set_weights([np.zeros((1, 1))])
    ones = np.ones((count, 1), "float32")
    model.fit(ones, -100 * ones, batch_size=1, verbose=0, callbacks=[Watch()])
    return model, np.array(fallen)


def test_compiled_training_follows_the_schedule_and_goes_on_after_loading(schedules: Any, tmp_path: Path) -> None:
    import keras

    schedule = schedules.ExpRange(0.01, 0.1, 3, gamma=0.9, cycles=2, after=0.5)
    model, fallen = descent(schedule, 7)
    expected = rates(schedule, np.arange(14))
    np.testing.assert_allclose(fallen, expected[:7], rtol=1e-4)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    again = loaded.optimizer._learning_rate
    assert type(again) is type(schedule)
    assert again.get_config() == schedule.get_config()
    assert float(keras.ops.convert_to_numpy(loaded.optimizer.learning_rate)) == pytest.approx(float(expected[7]))


def test_every_schedule_is_kept_by_its_configuration(schedules: Any) -> None:
    import keras

    made = [
        schedules.Triangular(LOW, HIGH, 2, steps_per_epoch=7, cycles=3, after=0.01),
        schedules.Triangular2(LOW, HIGH, 5),
        schedules.ExpRange(LOW, HIGH, 5, gamma=0.9),
        schedules.OneCycle(HIGH, 9, steps_per_epoch=7, rise=0.2, annealing="linear", third_phase=True),
    ]
    steps = np.arange(80)
    for schedule in made:
        for again in (
            type(schedule).from_config(schedule.get_config()),
            keras.optimizers.schedules.deserialize(keras.optimizers.schedules.serialize(schedule)),
        ):
            assert again.get_config() == schedule.get_config()
            np.testing.assert_array_equal(rates(again, steps), rates(schedule, steps))


def test_many_schedules_run_as_one_program(schedules: Any) -> None:
    import keras

    from kerasdl.train.backends import current_backend

    several = {
        "maximum_learning_rate": np.array([0.1, 0.2, 0.3], "float32"),
        "step_size": np.array([2, 3, 4], "float32"),
        "cycles": np.array([1, 2, 5], "float32"),
        "gamma": np.array([0.5, 0.9, 0.99], "float32"),
    }
    shared = schedules.ExpRange(LOW, HIGH, 10, gamma=0.9, cycles=1, after=0.07)

    def of_one(*numbers: Any) -> Any:
        for name, number in zip(several, numbers[:-1], strict=True):
            setattr(shared, name, number)
        return shared(numbers[-1])

    mapped = current_backend().map_members(of_one, (0, 0, 0, 0, None))
    tensors = [keras.ops.convert_to_tensor(values) for values in several.values()]
    for step in (0, 1, 5, 11):
        together = keras.ops.convert_to_numpy(mapped(*tensors, keras.ops.convert_to_tensor(step)))
        for index in range(3):
            own = {name: float(values[index]) for name, values in several.items()}
            alone = schedules.ExpRange(minimum_learning_rate=LOW, after=0.07, **own)
            np.testing.assert_allclose(together[index], rates(alone, np.array(step)), rtol=1e-5)

    cycle = schedules.OneCycle(HIGH, 10)

    def of_one_cycle(maximum: Any, length: Any, rise: Any, step: Any) -> Any:
        cycle.maximum_learning_rate, cycle.length, cycle.rise = maximum, length, rise
        return cycle(step)

    maxima, lengths, rises = ([0.1, 0.2], [20.0, 40.0], [0.3, 0.5])
    tensors = [keras.ops.convert_to_tensor(np.array(values, "float32")) for values in (maxima, lengths, rises)]
    mapped = current_backend().map_members(of_one_cycle, (0, 0, 0, None))
    for step in (0, 7, 30):
        together = keras.ops.convert_to_numpy(mapped(*tensors, keras.ops.convert_to_tensor(step)))
        alone = [schedules.OneCycle(m, n, rise=r) for m, n, r in zip(maxima, lengths, rises, strict=True)]
        np.testing.assert_allclose(together, [rates(one, np.array(step)) for one in alone], rtol=1e-5)


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda s: s.Triangular(0.1, 0.01, 5), "Triangular: minimum_learning_rate (0.1) must be below"),
        (lambda s: s.Triangular(0.01, 0.1, 0), "Triangular: step_size: 0 must be above 0"),
        (lambda s: s.Triangular(0.01, float("inf"), 5), "maximum_learning_rate: inf is not a finite number"),
        (lambda s: s.Triangular2(0.01, 0.1, 5, after=0.2), "Triangular2: after (0.2) is never reached"),
        (lambda s: s.ExpRange(0.01, 0.1, 5, gamma=1.1), "ExpRange: gamma: 1.1 must be at most 1"),
        (lambda s: s.OneCycle(0.1, 100, annealing="cosin"), "did you mean 'cosine'?"),
        (lambda s: s.OneCycle(0.1, 3), "OneCycle: 3 steps are too few"),
        (lambda s: s.OneCycle(0.1, 100, rise=0.6, third_phase=True), "rise (0.6) leaves no steps"),
        (lambda s: s.OneCycle("0.1", 100), "maximum_learning_rate: '0.1' is not a finite number"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(schedules: Any, make: Callable[[Any], Any], words: str) -> None:
    with pytest.raises(UserError) as raised:
        make(schedules)
    assert words in str(raised.value)
    assert "\n" not in str(raised.value)
