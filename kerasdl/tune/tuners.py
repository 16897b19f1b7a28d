"""KerasTuner's tuners, whose trials run as packs: change the import, keep the script."""

import keras_tuner

from kerasdl.tune.packed import PackedTuner


class GridSearch(keras_tuner.GridSearch, PackedTuner):
    """`keras_tuner.GridSearch`, faster: trials of one architecture run as one program, and a killed grid resumes.

    Takes what `keras_tuner.GridSearch` takes, and

    Args:
        pack: How many trials are asked from the grid at once. Defaults to 32.

    Example:
        ```python
        tuner = GridSearch(build, objective="val_loss", executions_per_trial=3, directory="runs", project_name="rates")
        tuner.search(x, y, epochs=5, batch_size=64, validation_split=0.2)
        tuner.results()
        ```
    """


class RandomSearch(keras_tuner.RandomSearch, PackedTuner):
    """`keras_tuner.RandomSearch`, faster: trials of one architecture run as one program.

    Takes what `keras_tuner.RandomSearch` takes, and

    Args:
        pack: How many trials are drawn at once. Defaults to 32.
    """


class BayesianOptimization(keras_tuner.BayesianOptimization, PackedTuner):
    """`keras_tuner.BayesianOptimization`, faster: several trials run as one program, and it learns between packs.

    Takes what `keras_tuner.BayesianOptimization` takes, and

    Args:
        pack: How many trials are proposed between two looks at the scores. Defaults to 8; 1 is KerasTuner's own way.
    """


class Hyperband(keras_tuner.Hyperband, PackedTuner):
    """`keras_tuner.Hyperband`, faster: several trials run as one program.

    Takes what `keras_tuner.Hyperband` takes, and

    Args:
        pack: How many trials are asked from the brackets at once. Defaults to 8.
    """
