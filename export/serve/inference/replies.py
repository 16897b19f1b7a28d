"""Turns the body of one request into that of its reply, whatever the server around it."""

import json
from typing import Any

import numpy as np

from inference.answers import answers
from inference.errors import InputError
from inference.images import read_image
from inference.limits import RefusedError
from inference.model import Model
from inference.rows import arrays_from_json
from inference.settings import Settings

JSON = "application/json"
FORM = "multipart/form-data"


def reply(model: Model, settings: Settings, body: bytes, content_type: str, invert: bool) -> bytes:
    """Answers one request.

    Args:
        model: The model.
        settings: The limits.
        body: JSON, one image, or a form with image files.
        content_type: Which of them.
        invert: Whether black and white of images change places.

    Returns:
        `{"classes": [...], "predictions": [...]}` as JSON.

    Raises:
        InputError: Something in the body cannot be used.
        RefusedError: The model takes nothing of this type.
    """
    kind = content_type.partition(";")[0].strip().lower()
    if kind == JSON:
        arrays = arrays_from_json(model, parse_json(body), settings.max_rows)
        names = None
    elif model.image is not None and (kind.startswith("image/") or kind == FORM):
        files = _files(body, content_type) if kind == FORM else [("body", body)]
        if len(files) > settings.max_rows:
            raise InputError("too_many_rows", f"{len(files)} images, and at most {settings.max_rows} are taken at once")
        names = [name for name, _ in files]
        arrays = _arrays_from_images(model, settings, files, invert)
    else:
        images = f", image/* or {FORM}" if model.image is not None else ""
        raise RefusedError(415, "wrong_media_type", f"{kind or 'no type'} is not taken; send {JSON}{images}")
    predictions = answers(model, model.run(arrays, settings.batch))
    for name, prediction in zip(names or [], predictions, strict=bool(names)):
        prediction["file"] = name
    return json.dumps({"classes": list(model.classes), "predictions": predictions}, allow_nan=False).encode()


def parse_json(body: bytes) -> Any:
    """Reads JSON.

    Raises:
        InputError: It is none.
    """
    try:
        return json.loads(body.decode("utf-8"))
    except UnicodeDecodeError:
        raise InputError("not_json", "the text is not UTF-8") from None
    except RecursionError:
        raise InputError("not_json", "lists are nested too deeply") from None
    except json.JSONDecodeError as error:
        raise InputError("not_json", f"{error.msg}", f"line {error.lineno}, column {error.colno}") from None
    except ValueError:
        raise InputError("not_json", "holds a number with too many digits") from None


def _arrays_from_images(
    model: Model, settings: Settings, files: list[tuple[str, bytes]], invert: bool
) -> dict[str, np.ndarray]:
    images = []
    for name, content in files:
        images.append(read_image(content, model.image, name, invert=invert, most_pixels=settings.max_pixels))
        if images[-1].shape != images[0].shape:
            raise InputError("wrong_shape", "has another size than the first image; send those of one size", name)
    (wanted,) = model.inputs
    return {wanted.name: np.stack(images).astype(wanted.dtype)}


def _files(body: bytes, content_type: str) -> list[tuple[str, bytes]]:
    """Reads the files of a form."""
    from python_multipart.exceptions import FormParserError
    from python_multipart.multipart import FormParser, parse_options_header

    _, options = parse_options_header(content_type)
    boundary = options.get(b"boundary")
    if not boundary:
        raise InputError("not_a_form", "the content type of the form names no boundary")
    found: list[tuple[str, bytes]] = []

    def keep(file: Any) -> None:
        file.file_object.seek(0)
        found.append(((file.file_name or b"").decode("utf-8", "replace"), file.file_object.read()))
        file.close()

    def refuse(field: Any) -> None:
        name = (field.field_name or b"").decode("utf-8", "replace")
        raise InputError("unknown_field", f"field {name!r} is no file; send image files alone")

    # The body is in memory already; no part of it needs a file.
    parser = FormParser(FORM, refuse, keep, boundary=boundary, config={"MAX_MEMORY_FILE_SIZE": len(body) + 1})
    try:
        parser.write(body)
        parser.finalize()
    except FormParserError:
        raise InputError("not_a_form", "the form cannot be read") from None
    finally:
        parser.close()
    if not found:
        raise InputError("no_rows", "the form holds no image file")
    return found
