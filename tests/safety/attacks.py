"""Malicious `.keras` files, each made by hand with a harmless payload: one that would make a marker file.

Those that were published bear their number; all others are of the same kinds.
"""

import json
import stat
import zipfile

import h5py
import numpy as np

from tests.safety.conftest import configuration, dense, hdf5, layer, marshalled, write_weights


def function(module, name):
    return {"module": module, "class_name": "function", "config": name, "registered_name": name}


def cve_2024_3660_lambda(write, marker):
    """CVE-2024-3660: the marshalled code of a Lambda layer ran on loading (Keras before 2.13)."""
    return write([layer("Lambda", function=marshalled(marker)), dense()]), r"layer 'evil' \(Lambda\) holds Python code"


def ghsa_36rr_ww3j_vrjv_h5(write, marker):
    """GHSA-36rr-ww3j-vrjv, CVE-2025-9905: `safe_mode` was ignored for h5 files (Keras 3 before 3.11.3)."""
    path = marker.parent / "model.h5"
    _old_format(path, marker)
    return path, "the old h5 format is not read"


def ghsa_36rr_ww3j_vrjv_h5_renamed(write, marker):
    """The same under the name of a checked format."""
    path = marker.parent / "renamed.keras"
    _old_format(path, marker)
    return path, "the old h5 format is not read"


def _old_format(path, marker):
    lambdas = configuration(layer("Lambda", function=[marshalled(marker)["config"]["code"], None, None]))
    with h5py.File(path, "w") as file:
        file.attrs["model_config"] = json.dumps(lambdas)
        file.create_group("model_weights").attrs["layer_names"] = []


def cve_2026_1462_saved_model(write, marker):
    """CVE-2026-1462, GHSA-4f3f-g24h-fr8m: a TFSMLayer opened any SavedModel, in safe mode, too (before 3.13.2)."""
    saved = layer("TFSMLayer", filepath=str(marker.parent), call_endpoint="serve")
    return write([saved, dense()]), r"'evil' \(TFSMLayer\) opens a TensorFlow SavedModel"


def cve_2025_1550_module(write, marker):
    """CVE-2025-1550: a configuration could name any module, which was imported (before 3.9.0)."""
    return write([layer("_Printer", module="_sitebuiltins"), dense()]), "class of layer 'evil', _sitebuiltins._Printer"


def cve_2025_8747_get_file(write, marker):
    """CVE-2025-8747: Keras' own functions, as one that downloads, could be named (before 3.11.0)."""
    evil = layer("Lambda", function=function("keras.utils", "get_file"), arguments={"origin": "file:///etc/passwd"})
    return write([evil, dense()]), "it names keras.utils.get_file, which is no part of a model"


def cve_2025_9906_unsafe_mode(write, marker):
    """CVE-2025-9906: the configuration itself could switch safe mode off (before 3.11.0)."""
    first = function("keras.config", "enable_unsafe_deserialization")
    return write([dense() | {"first": first}]), "keras.config.enable_unsafe_deserialization"


def cve_2025_12058_vocabulary(write, marker):
    """CVE-2025-12058: a vocabulary was read from any path or address (before 3.12.0)."""
    return write([layer("StringLookup", vocabulary="/etc/passwd")]), "would read its vocabulary from the file"


def cve_2026_0897_shape(write, marker):
    """CVE-2026-0897, GHSA-xfhx-r7ww-5995: weights of any size declared and not stored (before 3.12.1)."""

    def weights(file):
        write_weights(file)
        file.create_dataset("layers/more/vars/0", shape=(2**20, 2**20), dtype="float32", chunks=(1024, 1024))

    return write(weights=hdf5(weights)), r"claim the shape \(1048576, 1048576\)"


def external_link(write, marker):
    """Weights that are a link to another HDF5 file of the machine."""

    def weights(file):
        file["layers/dense/vars/0"] = h5py.ExternalLink(str(marker), "secret")

    return write(weights=hdf5(weights)), "are a link to the file"


def external_storage(write, marker):
    """Weights whose bytes are those of any file of the machine (CVE-2026-1669 is of this kind)."""

    def weights(file):
        file.create_dataset(
            "layers/dense/vars/0", shape=(3, 2), dtype="float32", external=[(str(marker), 0, h5py.h5f.UNLIMITED)]
        )

    return write(weights=_in_file(marker, weights)), "lie in other files"


def virtual_weights(write, marker):
    """Weights that are put together from other files."""

    def weights(file):
        layout = h5py.VirtualLayout(shape=(3, 2), dtype="float32")
        layout[...] = h5py.VirtualSource(str(marker), "secret", shape=(3, 2))
        file.create_virtual_dataset("layers/dense/vars/0", layout)

    return write(weights=_in_file(marker, weights)), "lie in other files"


def _in_file(marker, weights):
    path = marker.parent / "made.h5"
    with h5py.File(path, "w") as file:
        weights(file)
    contents = path.read_bytes()
    path.unlink()
    marker.unlink(missing_ok=True)
    return contents


def soft_link(write, marker):
    """Weights that are a link within their file."""

    def weights(file):
        write_weights(file)
        file["layers/dense/vars/2"] = h5py.SoftLink("/layers/dense/vars/0")

    return write(weights=hdf5(weights)), "are a link to another place"


def circle_of_groups(write, marker):
    """Groups that hold themselves."""

    def weights(file):
        write_weights(file)
        file["layers/dense/again"] = file["layers"]

    return write(weights=hdf5(weights)), "in a circle"


def packed_weights(write, marker):
    """A few bytes that unpack to 64 MiB of zeros."""

    def weights(file):
        zeros = np.zeros(2**24, "float32")
        file.create_dataset("layers/dense/vars/0", data=zeros, compression="gzip", compression_opts=9)

    return write(weights=hdf5(weights)), "claim the shape"


def torch_module(write, marker):
    """A pickled torch module inside a layer."""
    return write([layer("TorchModuleWrapper", module_="gASV")]), "opens a pickled torch module"


def torch_function(write, marker):
    """A function of torch, which reads pickles."""
    return write([layer("Activation", activation=function("torch", "load"))]), "names the function torch.load"


def dotted_class(write, marker):
    """A class whose name leads from a harmless module to another."""
    return write([layer("layers.Lambda", module="keras")]), "no part of a model"


def deep_configuration(write, marker):
    """JSON nested deeper than Python reads."""
    return write(text="[" * 200_000), "config.json cannot be read"


def climbing_name(write, marker):
    """A layer whose assets would be read from above the archive's folder."""
    return write([dense() | {"name": "../../../etc"}]), "leads out of the folder"


def climbing_member(write, marker):
    """A file that would be unpacked beside the folder."""
    return write(members=[("assets/../../evil.txt", "evil")]), "outside of its folder"


def absolute_member(write, marker):
    """A file that would be unpacked anywhere."""
    return write(members=[("/tmp/evil.txt", "evil")]), "outside of its folder"


def linked_member(write, marker):
    """A symbolic link in the archive."""
    link = zipfile.ZipInfo("assets/link")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    return write(members=[(link, "/etc")]), "is a symbolic link"


def strange_member(write, marker):
    """A pickle in the archive, which nothing would read today."""
    return write(members=[("model.weights.npz", "evil")]), "which Keras writes into no model"


def zip_bomb(write, marker):
    """64 MiB of zeros in 64 KiB."""
    path = write()
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(2**26))
    return path, "grows from"


def overlapping_members(write, marker):
    """A second name for the same stored bytes."""
    path = write()
    contents = bytearray(path.read_bytes())
    first = contents.index(b"PK\x01\x02")
    end = contents.index(b"PK\x05\x06")
    entries = bytes(contents[first:end])
    many = entries + entries.replace(b"config.json", b"assets/json").replace(b"metadata.json", b"assets/a.json")
    many = many.replace(b"model.weights.h5", b"assets/weight.h5", 1)
    tail = bytearray(contents[end:])
    count = many.count(b"PK\x01\x02")
    tail[8:12] = count.to_bytes(2, "little") * 2
    tail[12:16] = len(many).to_bytes(4, "little")
    path.write_bytes(bytes(contents[:first]) + many + bytes(tail))
    return path, "lie over one another"


ATTACKS = [
    cve_2024_3660_lambda,
    ghsa_36rr_ww3j_vrjv_h5,
    ghsa_36rr_ww3j_vrjv_h5_renamed,
    cve_2026_1462_saved_model,
    cve_2025_1550_module,
    cve_2025_8747_get_file,
    cve_2025_9906_unsafe_mode,
    cve_2025_12058_vocabulary,
    cve_2026_0897_shape,
    external_link,
    external_storage,
    virtual_weights,
    soft_link,
    circle_of_groups,
    packed_weights,
    torch_module,
    torch_function,
    dotted_class,
    deep_configuration,
    climbing_name,
    climbing_member,
    absolute_member,
    linked_member,
    strange_member,
    zip_bomb,
    overlapping_members,
]
