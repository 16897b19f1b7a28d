"""How is a study run on a table of one's own? Any CSV file with a header and a column to predict will do.

python examples/own_csv.py [flowers.csv species]

Without arguments, scikit-learn's table of 178 wines is written to a temporary folder and used.
"""

import argparse
import tempfile
from pathlib import Path

from kerasdl.tune import Study


def write_wines(path: Path) -> None:
    from sklearn.datasets import load_wine

    wines = load_wine(as_frame=True)
    table = wines.data.assign(cultivar=wines.target.map({0: "first", 1: "second", 2: "third"}))
    table.to_csv(path, index=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("csv", type=Path, nargs="?", help="the table")
    parser.add_argument("target", nargs="?", default="cultivar", help="the column to predict")
    parser.add_argument("--out", default="runs/table", help="the run's directory")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    with tempfile.TemporaryDirectory() as folder:
        csv = options.csv or Path(folder) / "wines.csv"
        if options.csv is None:
            write_wines(csv)
        study = Study(
            name="table",
            data=f"csv:{csv}?target={options.target}",
            model="mlp",
            space={"depth": [0, 1], "l2": [0.0, 0.01]},
            epochs=options.epochs,
            repeats=options.repeats,
        )
        with study.run(options.out) as run:
            print(run.data["rows"], "rows of", ", ".join(run.data["features"]))
            print(run.table()[["rank", "depth", "l2", "mean", "test_accuracy"]].to_string(index=False))


if __name__ == "__main__":
    main()
