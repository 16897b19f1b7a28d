"""The repository for Triton, read as Triton reads it: text of protocol buffers with a fixed set of fields."""

import numpy as np
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

from kerasdl.errors import UserError
from kerasdl.export.bundle import write_bundle
from kerasdl.export.bundle.triton import repository_name
from tests.export.graphs import MODELS, bundle, reference, table

pytestmark = pytest.mark.backend_free

# The numbers of the types in Triton's model_config.proto.
TYPES = [
    "INVALID",
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "STRING",
    "BF16",
]
DTYPES = {"float32": "TYPE_FP32", "int64": "TYPE_INT64"}
FIELD = descriptor_pb2.FieldDescriptorProto


def field(name, number, kind, type_name=None, many=False):
    label = FIELD.LABEL_REPEATED if many else FIELD.LABEL_OPTIONAL
    return FIELD(name=name, number=number, type=kind, label=label, type_name=type_name)


@pytest.fixture(scope="module")
def parse():
    """Reads a config.pbtxt by the part of Triton's description of it that matters here."""
    file = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
    kinds = file.enum_type.add(name="DataType")
    for number, name in enumerate(TYPES):
        kinds.value.add(name=f"TYPE_{name}", number=number)
    reshape = file.message_type.add(name="ModelTensorReshape")
    reshape.field.append(field("shape", 1, FIELD.TYPE_INT64, many=True))
    batching = file.message_type.add(name="ModelDynamicBatching")
    batching.field.append(field("preferred_batch_size", 1, FIELD.TYPE_INT32, many=True))
    batching.field.append(field("max_queue_delay_microseconds", 2, FIELD.TYPE_UINT64))
    for name, dims, shape in (("ModelInput", 4, 5), ("ModelOutput", 3, 5)):
        end = file.message_type.add(name=name)
        end.field.append(field("name", 1, FIELD.TYPE_STRING))
        end.field.append(field("data_type", 2, FIELD.TYPE_ENUM, ".inference.DataType"))
        end.field.append(field("dims", dims, FIELD.TYPE_INT64, many=True))
        end.field.append(field("reshape", shape, FIELD.TYPE_MESSAGE, ".inference.ModelTensorReshape"))
        if name == "ModelOutput":
            end.field.append(field("label_filename", 4, FIELD.TYPE_STRING))
    config = file.message_type.add(name="ModelConfig")
    config.field.append(field("name", 1, FIELD.TYPE_STRING))
    config.field.append(field("platform", 2, FIELD.TYPE_STRING))
    config.field.append(field("max_batch_size", 4, FIELD.TYPE_INT32))
    config.field.append(field("input", 5, FIELD.TYPE_MESSAGE, ".inference.ModelInput", many=True))
    config.field.append(field("output", 6, FIELD.TYPE_MESSAGE, ".inference.ModelOutput", many=True))
    config.field.append(field("dynamic_batching", 11, FIELD.TYPE_MESSAGE, ".inference.ModelDynamicBatching"))
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("inference.ModelConfig"))

    def read(folder):
        (path,) = folder.glob("triton/*/config.pbtxt")
        read = text_format.Parse(path.read_text(encoding="utf-8"), kind())
        assert read.name == path.parent.name
        return read, path.parent

    return read


@pytest.mark.parametrize("name", MODELS)
def test_the_configuration_fits_the_model(parse, bundles, name):
    config, folder = parse(bundles[name])
    assert config.platform == "onnxruntime_onnx"
    assert (folder / "1" / "model.onnx").read_bytes() == (bundles[name] / "model.onnx").read_bytes()
    assert config.max_batch_size > 1
    assert config.HasField("dynamic_batching")
    arrays = {}
    for each in config.input:
        assert TYPES[each.data_type] in ("FP32", "INT64")
        dtype = {"FP32": "float32", "INT64": "int64"}[TYPES[each.data_type]]
        arrays[each.name] = np.ones([config.max_batch_size, *(5 if size == -1 else size for size in each.dims)], dtype)
    for each, array in zip(config.output, reference(bundles[name], **arrays), strict=True):
        assert list(array.shape) == [config.max_batch_size, *each.dims]
        assert DTYPES[array.dtype.name] == f"TYPE_{TYPES[each.data_type]}"


def test_labels_are_those_of_the_outputs_elements(parse, bundles):
    config, folder = parse(bundles["table"])
    assert (folder / config.output[0].label_filename).read_text().count("\n") == config.output[0].dims[0]
    # One probability of two classes has one element, and pixels have many.
    for name in ("one_output", "pixels", "words"):
        config, folder = parse(bundles[name])
        assert not any(each.label_filename for each in config.output)
        assert not (folder / "labels.txt").exists()


def test_a_file_that_takes_one_row_at_a_time_is_not_batched(parse, tmp_path):
    config, _ = parse(bundle(tmp_path, "table", rows=1))
    assert config.max_batch_size == 0
    assert not config.HasField("dynamic_batching")
    assert (list(config.input[0].dims), list(config.output[0].dims)) == ([1, 2], [1, 3])


def test_a_class_of_two_lines_shifts_no_label(tmp_path):
    folder = bundle(tmp_path, "table", classes=["a\nb", "c", "d"])
    (labels,) = folder.glob("triton/*/labels.txt")
    assert labels.read_text() == "a b\nc\nd\n"


@pytest.mark.parametrize(
    ("study", "data", "name"),
    [
        ("mlp", "countries?places=2000", "mlp_countries"),
        ("My study!", "csv:houses.csv?target=kind", "my_study_csv"),
        ("", "", "land_or_sea"),
        ("../../x", "/etc", "x_etc"),
        ("été", "", "t"),
    ],
)
def test_names_are_those_of_folders(study, data, name):
    found = repository_name({"study": study, "data": {"name": data}, "title": "Land or sea"})
    assert found == name


def test_a_type_that_triton_does_not_have(tmp_path):
    table(tmp_path / "model.onnx")
    import onnx

    model = onnx.load(tmp_path / "model.onnx")
    model.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.COMPLEX64
    onnx.save(model, tmp_path / "model.onnx")
    with pytest.raises(UserError, match="complex64"):
        write_bundle(tmp_path)
