"""Makes a small `.keras` file by hand, whole or with one thing in it changed, and no backend for it."""

import base64
import io
import json
import marshal
import types
import zipfile

import h5py
import numpy as np
import pytest


def dense(units=2):
    return {
        "module": "keras.layers",
        "class_name": "Dense",
        "config": {"name": "dense", "units": units, "activation": "linear"},
        "registered_name": None,
        "build_config": {"input_shape": [None, 3]},
    }


def configuration(*layers):
    entry = {
        "module": "keras.layers",
        "class_name": "InputLayer",
        "config": {"batch_shape": [None, 3], "dtype": "float32", "name": "entry"},
        "registered_name": None,
    }
    inner = {"name": "sequential", "trainable": True, "layers": [entry, *layers]}
    return {"module": "keras", "class_name": "Sequential", "config": inner, "registered_name": None}


def marshalled(marker):
    """The code of a function that makes a file, as Keras writes a lambda."""
    source = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    code = next(each for each in compile(source, "", "eval").co_consts if isinstance(each, types.CodeType))
    text = base64.b64encode(marshal.dumps(code)).decode()
    return {"class_name": "__lambda__", "config": {"code": text, "defaults": None, "closure": None}}


def layer(kind, module="keras.layers", **config):
    return {"module": module, "class_name": kind, "config": {"name": "evil", **config}, "registered_name": None}


def write_weights(file):
    file.create_dataset("layers/dense/vars/0", data=np.ones((3, 2), "float32"))
    file.create_dataset("layers/dense/vars/1", data=np.zeros(2, "float32"))


def hdf5(write=write_weights):
    contents = io.BytesIO()
    with h5py.File(contents, "w") as file:
        write(file)
    return contents.getvalue()


@pytest.fixture
def keras_file(tmp_path):
    """Writes a `.keras` file of one dense layer, with other layers, weights or members where they are given."""

    def write(layers=None, weights=None, members=(), name="model.keras", text=None):
        path = tmp_path / name
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("metadata.json", json.dumps({"keras_version": "3.10.0"}))
            archive.writestr("config.json", text or json.dumps(configuration(*(layers or [dense()]))))
            archive.writestr("model.weights.h5", hdf5() if weights is None else weights)
            for member, contents in members:
                archive.writestr(member, contents)
        return path

    return write
