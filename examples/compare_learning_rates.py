"""Which learning rate suits plain SGD, which one Adam? Ranked, and the curve of the best read epoch by epoch.

python examples/compare_learning_rates.py
"""

import argparse

from kerasdl.tune import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/learning_rates", help="the run's directory")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    study = Study(
        name="learning_rates",
        question="Which learning rate suits plain SGD, which one Adam?",
        data="digits",
        model="mlp",
        space={"optimizer": ["sgd", "adam"], "learning_rate": [0.001, 0.01, 0.1, 1.0]},
        fixed={"depth": 1, "width": 32},
        epochs=options.epochs,
        repeats=options.repeats,
    )
    with study.run(options.out) as run:
        table = run.table()
        print(table[["rank", "optimizer", "learning_rate", "mean", "std"]].to_string(index=False))

        curves = run.curves()
        best = curves[curves["configuration"] == table.loc[0, "configuration"]]
        print("validation accuracy of the best after each epoch, mean over its repeats:")
        print(best.groupby("epoch")["val_accuracy"].mean().round(3).to_string())


if __name__ == "__main__":
    main()
