"""Does depth or width matter more on handwritten digits? A study described, run and read in Python.

python examples/run_a_study.py
"""

import argparse

from kerasdl.report import find
from kerasdl.tune import Study


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", default="runs/digits", help="the run's directory")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()

    study = Study(
        name="digits",
        question="Does depth or width matter more on 8 x 8 digits?",
        data="digits",
        model="mlp",
        space={"depth": [1, 3], "width": [8, 64]},
        epochs=options.epochs,
        repeats=options.repeats,
    )
    with study.run(options.out) as run:
        print(run.table()[["rank", "depth", "width", "mean", "low", "high"]].to_string(index=False))
        for finding in find(run):
            if finding.sure:
                print("-", finding.sentence)
        print("report:", run.path / "report.html")


if __name__ == "__main__":
    main()
