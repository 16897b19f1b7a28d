"""Ends a run: saves the winner, exports it, and writes summary and report."""

from collections.abc import Mapping
from typing import Any

import keras

from kerasdl.data import Dataset
from kerasdl.errors import UserError
from kerasdl.runs import Run, RunWriter
from kerasdl.runs.summary import write_summary
from kerasdl.runs.writer import load_weights, replacing
from kerasdl.train.trial import first_line
from kerasdl.tune.looking import keep_samples
from kerasdl.tune.progress import Progress
from kerasdl.tune.trials import TrialMaker


def conclude(
    writer: RunWriter, read: Run, maker: TrialMaker, dataset: Dataset, progress: Progress, *, export: bool
) -> None:
    """Saves the winner, exports it, and writes summary and report.

    Args:
        writer: Who writes the run.
        read: The same run, to read: its search came to its end.
        maker: Builds its models.
        dataset: What they learned from.
        progress: Who shows what is done.
        export: Whether the winner is exported.

    Raises:
        UserError: Every trial failed.
    """
    best, winner = read.best, None
    if not read.finished:
        if best is None:
            _refuse_empty(writer, read)
        else:
            progress.say("saving the winner")
            winner = _save_best(writer, maker, best.trial, best.settings)
            _keep_samples(writer, read, dataset, winner)
        writer.record_fact("finished", {"trials": len(read.trials())})
        writer.record_event("end", "the search came to its end")
    writer.keep_weights([])
    if export and best is not None:
        progress.say("exporting the winner")
        _export(writer, winner, progress)
    progress.say("writing the report")
    read.report()
    write_summary(read)


def _keep_samples(writer: RunWriter, read: Run, dataset: Dataset, winner: keras.Model) -> None:
    try:
        keep_samples(writer, read, dataset, winner)
    except Exception as error:  # noqa: BLE001 - pictures are not worth the run: a user's model may refuse to draw them
        writer.record_event("samples", f"the report shows no single rows: {first_line(error)}")


def _refuse_empty(writer: RunWriter, read: Run) -> None:
    trials = read.trials()
    failed = trials[trials["status"] == "failed"]
    if len(failed) == len(trials):
        raise UserError(f"every trial failed; the first with {failed['message'].iloc[0]}")
    writer.record_event("no winner", "no trial completed: all diverged or failed")


def _save_best(writer: RunWriter, maker: TrialMaker, trial: int, settings: Mapping[str, Any]) -> keras.Model:
    model = maker.lasting_model(settings)
    model.set_weights(load_weights(writer.directory, trial))
    # Keras warns, when it loads the file, of an optimizer that was saved before it was built.
    model.optimizer.build(model.trainable_variables)
    with replacing(writer.directory / "best.keras") as partial:
        model.save(partial)
    return model


def _export(writer: RunWriter, winner: keras.Model | None, progress: Progress) -> None:
    from kerasdl.export import export_run

    try:
        result = export_run(writer.directory, model=winner)
    except UserError as error:
        writer.record_event("export", f"not exported: {error}")
        progress.note(f"not exported: {error}")
        return
    writer.record_fact("export", {**result.as_dict(), "path": result.path.name})
