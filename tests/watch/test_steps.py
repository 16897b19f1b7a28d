"""Rows are the same however a step is compiled, and whichever steps are recorded."""

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest


@pytest.mark.parametrize("every", [1, 3])
def test_rows_do_not_depend_on_how_steps_are_compiled(
    every: int, compiled: Any, mlp: Callable[[], Any], digits: SimpleNamespace, backend_name: str
) -> None:
    from kerasdl.watch import GradientMagnitude

    def table(**how: Any) -> Any:
        watch = GradientMagnitude(every=every)
        compiled(mlp, "adam", **how).fit(
            digits.x, digits.y, batch_size=64, epochs=2, shuffle=False, verbose=0, callbacks=[watch]
        )
        return watch.table()

    plain = table(run_eagerly=True)
    # PyTorch runs steps as they are, one at a time.
    more = [] if backend_name == "torch" else [{"jit_compile": True}, {"steps_per_execution": 2}]
    for how in ({"jit_compile": False}, *more):
        other = table(**how)
        assert other["steps"].tolist() == plain["steps"].tolist()
        np.testing.assert_allclose(other["mean"], plain["mean"], rtol=1e-4, atol=1e-7)
