"""CSV files of the user's own: what is read, and every mistake by file, row and column."""

import gzip

import numpy as np
import pytest

from kerasdl import data
from kerasdl.errors import UserError

ROWS = [f"{number},{(number * 7) % 11},{'red' if number % 3 else 'blue'}" for number in range(60)]
GOOD = "\n".join(["width,height,kind", *ROWS]) + "\n"


def written(tmp_path, content, name="mine.csv", query="target=kind"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return f"csv:{path}?{query}"


def test_a_table_is_read(tmp_path):
    dataset = data.load(written(tmp_path, GOOD))
    assert (len(dataset.train), len(dataset.validation), len(dataset.test)) == (38, 10, 12)
    assert dataset.classes == ("blue", "red") and dataset.features == ("width", "height")
    np.testing.assert_allclose(dataset.train.x.mean(axis=0), 0, atol=1e-5)
    np.testing.assert_allclose(dataset.train.x.std(axis=0), 1, rtol=1e-5)
    raw = np.round(dataset.scaling.invert(np.concatenate([dataset.train.x, dataset.validation.x, dataset.test.x])))
    labels = np.concatenate([dataset.train.y, dataset.validation.y, dataset.test.y])
    assert sorted(zip(*raw.T.tolist(), labels.tolist(), strict=True)) == [
        (number, (number * 7) % 11, int(bool(number % 3))) for number in range(60)
    ]


@pytest.mark.parametrize(
    ("content", "name", "query"),
    [
        (gzip.compress(GOOD.encode()), "mine.csv.gz", "target=kind"),
        (b"\xef\xbb\xbf" + GOOD.encode(), "mine.csv", "target=kind"),
        (GOOD.replace("\n", "\r\n"), "mine.csv", "target=kind"),
        (GOOD.replace(",", ";"), "mine.csv", "target=kind&separator=;"),
        (GOOD.replace(",", "\t"), "mine.tsv", "target=kind&separator=tab"),
        (GOOD.replace(",", ", "), "mine.csv", "target=kind"),
        (GOOD.replace("\n", "\n\n"), "mine.csv", "target=kind"),
        (GOOD.replace("kind", '"ki\nnd"'), "mine.csv", "target=ki%0And"),
        (GOOD.rstrip("\n"), "mine.csv", "target=kind"),
    ],
    ids=["gzip", "byte-order mark", "CRLF", "semicolon", "tab", "blanks", "empty lines", "quoted", "no last newline"],
)
def test_spellings_of_one_table(tmp_path, content, name, query):
    plain = data.load(written(tmp_path, GOOD, name="plain.csv"))
    assert data.load(written(tmp_path, content, name, query)).fingerprint == plain.fingerprint


def test_a_subset_of_columns(tmp_path):
    assert data.load(written(tmp_path, GOOD, query="target=kind&features=height")).features == ("height",)
    both = data.load(written(tmp_path, GOOD), features=["height", "width"])
    assert both.features == ("height", "width")


def test_text_in_a_column_that_is_not_learnt_from_is_no_matter(tmp_path):
    content = "id,width,kind\n" + "".join(f"n{n},{n},{n % 2}\n" for n in range(30))
    assert data.load(written(tmp_path, content, query="target=kind&features=width")).features == ("width",)


def numbered(labels):
    return "width,kind\n" + "".join(f"{n},{label}\n" for n, label in enumerate(labels))


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        ([10, 9, 2] * 9, ("2", "9", "10")),
        ([-1, 1] * 9, ("-1", "1")),
        (["NA", "None", "nan"] * 9, ("NA", "None", "nan")),
        (["0.5", "1.5"] * 9, ("0.5", "1.5")),
        (["Ä ", " b"] * 9, ("b", "Ä")),
    ],
)
def test_classes_are_numbers_in_their_order_or_text(tmp_path, labels, classes):
    dataset = data.load(written(tmp_path, numbered(labels)))
    assert dataset.classes == classes
    width = np.round(dataset.scaling.invert(dataset.test.x)[:, 0]).astype(int)
    for row, label in zip(width, dataset.test.y, strict=True):
        assert str(labels[row]).strip() == classes[label]


def test_a_constant_column_is_noted(tmp_path):
    content = "width,flat,kind\n" + "".join(f"{n},0.1,{n % 2}\n" for n in range(30))
    dataset = data.load(written(tmp_path, content))
    assert dataset.scaling.scale[1] == 1 and any("flat" in note for note in dataset.notes)


def test_the_seed_decides_every_bit(tmp_path):
    spec = written(tmp_path, GOOD)
    first, again, other = (data.load(spec, seed=seed) for seed in (0, 0, 1))
    assert first.fingerprint == again.fingerprint != other.fingerprint


def test_the_name_loads_the_same_again(tmp_path):
    dataset = data.load(written(tmp_path, GOOD), features=["height"])
    assert data.load(dataset.name).fingerprint == dataset.fingerprint


def at(row, line):
    """Replaces one line of the good table; lines count from 1, with the header."""
    lines = GOOD.splitlines()
    lines[row - 1] = line
    return "\n".join(lines) + "\n"


TARGET = "target=kind"
BAD = {
    "empty": ("", TARGET, "is empty"),
    "blank": ("\n\n", TARGET, "is empty"),
    "no rows": ("width,kind\n", TARGET, "has a header and no rows"),
    "target misspelt": (GOOD, "target=kidn", "no column is called 'kidn'; did you mean 'kind'"),
    "other separator": (GOOD.replace(",", ";"), TARGET, "separated by ';': add separator=;"),
    "tabs": (GOOD.replace(",", "\t"), TARGET, "separated by 'tab': add separator=tab"),
    "feature misspelt": (GOOD, f"{TARGET}&features=width,hight", "column 'hight', .* did you mean 'height'"),
    "target as feature": (GOOD, f"{TARGET}&features=width,kind", "names the target 'kind'"),
    "feature twice": (GOOD, f"{TARGET}&features=width,width", "names column 'width' twice"),
    "no features": ("kind\na\nb\n", TARGET, "no column besides the target"),
    "text": (at(5, "3,tall,red"), TARGET, r"row 5, column 'height': 'tall' is not a number \(1 such rows\)"),
    "text after empty lines": (at(5, "\n\n3,tall,red"), TARGET, "row 7, column 'height': 'tall'"),
    "text after a quoted newline": (at(3, '1,7,"r\ned"').replace("5,2,red", "5,x,red"), TARGET, "row 8, .* 'x'"),
    "decimal comma": (at(5, '3,"1,5",red'), TARGET, "row 5, column 'height': '1,5' is not a number"),
    "underscore": (at(5, "3,1_000,red"), TARGET, "row 5, column 'height': '1_000' is not a number"),
    "truth": (
        GOOD.replace(",red", ",True,red").replace(",blue", ",False,blue").replace("height", "height,old"),
        TARGET,
        "row 2, column 'old': 'False' is not a number",
    ),
    "blank number": (at(9, "7,,red"), TARGET, r"row 9, column 'height' is blank or NaN \(1 such values in all\)"),
    "NaN": (at(9, "nan,nan,red"), TARGET, r"row 9, column 'width' is blank or NaN \(2 such values"),
    "NA": (at(9, "7,NA,red"), TARGET, "row 9, column 'height' is blank"),
    "infinite": (at(9, "7,-inf,red"), TARGET, "row 9, column 'height' is -inf"),
    "beyond float32": (at(9, "7,1e39,red"), TARGET, r"row 9, column 'height' is 1e\+39, infinite in float32"),
    "blank target": (at(9, "7,3,"), TARGET, r"row 9, column 'kind' is blank \(1 such rows\)"),
    "NaN among numbers": (numbered([0, 1, 2] * 9 + ["nan"]), TARGET, "row 29, column 'kind' is 'nan' among numbers"),
    "short row": (at(9, "7,red"), TARGET, "row 9 has 2 fields where the header has 3"),
    "long row": (at(9, "7,8,9,red"), TARGET, "row 9 has 4 fields where the header has 3"),
    "all rows long": (GOOD.replace(",red", ",red,1").replace(",blue", ",blue,1"), TARGET, "row 2 has 4 fields"),
    "all rows short": (GOOD.replace(",red", "").replace(",blue", ""), TARGET, "row 2 has 2 fields"),
    "open quote": (at(9, '7,8,"red'), TARGET, "fields where|cannot be read as CSV"),
    "one class": (GOOD.replace("blue", "red"), TARGET, "only one class, 'red'"),
    "small class": (at(9, "7,8,green"), TARGET, "column 'kind': class 'green' has 1 rows, and 3 are needed"),
    "long class": (at(9, "7,8," + "x" * 5000), TARGET, r"class 'x{5,20}\.\.\.x{5,20}' has 1 rows"),
    "long text": (at(5, "3," + "x" * 5000 + ",red"), TARGET, r"'x{5,20}\.\.\.x{5,20}' is not a number"),
    "quantity": (numbered([n / 7 for n in range(50)]), TARGET, "50 different numbers with fractions .* learns classes"),
    "too many classes": (numbered([f"c{n // 3}" for n in range(3003)]), TARGET, "1001 classes are more than 1000"),
    "duplicate column": (GOOD.replace("height", "width"), TARGET, "row 1 names column 'width' 2 times"),
    "nameless column": (GOOD.replace("height", ""), TARGET, "row 1, column 2 has no name"),
    "not UTF-8": (at(9, "7,8,gr\xfcn").encode("latin-1"), TARGET, "row 9 is not UTF-8"),
    "UTF-16": (GOOD.encode("utf-16"), TARGET, "row 1 is not UTF-8"),
    "constant": ("width,kind\n" + "1,a\n1,b\n" * 9, TARGET, "every feature is constant"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_mistake_is_one_line_that_names_file_row_and_column(tmp_path, case):
    content, query, words = BAD[case]
    spec = written(tmp_path, content, query=query)
    with pytest.raises(UserError, match=words) as caught:
        data.load(spec)
    assert str(caught.value).startswith(str(tmp_path / "mine.csv")) and "\n" not in str(caught.value)


def test_no_such_file_and_a_folder(tmp_path):
    with pytest.raises(UserError, match=r"none\.csv: no such file"):
        data.load(f"csv:{tmp_path}/none.csv?target=kind")
    with pytest.raises(UserError, match="is a folder"):
        data.load(f"csv:{tmp_path}?target=kind")


def test_damaged_gzip(tmp_path):
    noise = np.random.default_rng(0).normal(size=(20_000, 2))
    content = "a,b,kind\n" + "".join(f"{a},{b},{number % 2}\n" for number, (a, b) in enumerate(noise))
    zipped = gzip.compress(content.encode())
    for cut in (len(zipped) // 2, 40):
        with pytest.raises(UserError, match=r"mine\.csv\.gz: the gzip file is cut short"):
            data.load(written(tmp_path, zipped[:cut], "mine.csv.gz"))
    with pytest.raises(UserError, match="not a sound gzip file"):
        data.load(written(tmp_path, GOOD, "mine.csv.gz"))
    with pytest.raises(UserError, match=r"row 1 is not UTF-8.*must end in \.csv\.gz"):
        data.load(written(tmp_path, zipped, "mine.csv"))


def test_many_rows_are_read_without_a_mixture_of_types(tmp_path):
    content = "a,kind\n" + "".join(f"{number},{number % 2}\n" for number in range(300_000)) + "x,1\n"
    with pytest.raises(UserError, match="row 300002, column 'a': 'x' is not a number"):
        data.load(written(tmp_path, content))
