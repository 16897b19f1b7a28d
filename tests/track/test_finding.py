import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from kerasdl.errors import UserError
from kerasdl.track import finding
from kerasdl.tune import Study

pytestmark = [pytest.mark.backend_free, pytest.mark.usefixtures("folder")]


def test_a_misspelt_tracker_is_named_with_the_file_and_the_nearest(folder: Path) -> None:
    path = folder / "own.toml"
    path.write_text('data = "xor"\nmodel = "mlp"\ntrack = ["wandbb"]\n')
    with pytest.raises(UserError) as caught:
        Study.load(path)
    assert str(caught.value) == f"{path}: track: 'wandbb' is no tracker; did you mean 'wandb'?"


def test_a_misspelt_tracker_of_the_command_line_ends_it_before_anything_is_made(folder: Path) -> None:
    from kerasdl.tune.__main__ import application

    result = CliRunner().invoke(application, ["mlp", "--track", "tensorbord"])
    assert result.exit_code == 2
    assert result.stderr.splitlines() == ["error: track: 'tensorbord' is no tracker; did you mean 'tensorboard'?"]
    assert not list(folder.iterdir())


def test_a_missing_package_is_named_with_the_extra_that_brings_it(
    study: Callable[..., Study], folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(finding.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        study().run("run", track=["mlflow"])
    assert str(caught.value) == "track: mlflow is not installed here; install it: pip install 'kerasdl[mlflow]'"
    assert not list(folder.iterdir())


def test_a_folder_of_a_packages_name_is_no_package(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "own_tracker").mkdir()
    monkeypatch.setattr(finding, "NAMES", ("own_tracker",))
    monkeypatch.syspath_prepend(folder)
    with pytest.raises(UserError, match="own_tracker is not installed"):
        finding.check_installed(["own_tracker"])


def test_naming_trackers_imports_nothing_heavy() -> None:
    code = (
        "import sys, kerasdl.track; from kerasdl.tune import Study;"
        "Study(data='xor', model='mlp', track=['tensorboard']);"
        "print(*{'keras', 'tensorboard', 'wandb', 'mlflow'} & set(sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "\n"
