"""COCO's instances.json (Lin et al. 2014): pictures, and the objects marked in them."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from attnlab.datasets.readers.paths import damage, opened
from attnlab.datasets.readers.row import BadRowError, FileReader, Row
from attnlab.errors import UserError

PARTS = ("images", "annotations", "categories")


class CocoReader(FileReader):
    """A row for each picture: `file`, all its `objects`, and the `label` with the most area.

    `boxes` are those of the objects with that label. An object has `category`, `box` (left, top,
    right, bottom), `outline` (polygons or run lengths, if it has any) and `crowd`.
    """

    def read(self, path: Path) -> Iterator[Row]:
        content = _parts(path)
        names = {each["id"]: str(each["name"]) for each in content["categories"]}
        marked: dict[Any, list[Any]] = defaultdict(list)
        for annotation in content["annotations"]:
            marked[annotation.get("image_id")].append(annotation)
        for number, image in enumerate(content["images"], start=1):
            values = {"file": image.get("file_name")}
            try:
                values |= _marks([_object(each, names) for each in marked.pop(image["id"], ())])
                yield Row(path.name, number, values)
            except BadRowError as error:
                yield Row(path.name, number, problem=str(error))
        if marked:
            unknown = next(iter(marked))
            raise UserError(f"{path}: annotations of image {unknown}, which is not among 'images'")


def _parts(path: Path) -> dict[str, Any]:
    """The whole file, since JSON is read as one."""
    with damage(path), opened(path) as file:
        try:
            content = json.load(file)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}: no JSON ({error.msg}, line {error.lineno})") from None
    missing = [part for part in PARTS if not isinstance(content, dict) or part not in content]
    if missing:
        raise UserError(
            f"{path}: not as COCO's instances.json: it has no '{missing[0]}'; "
            f"needed: {', '.join(PARTS)}"
        )
    return content


def _object(annotation: Mapping[str, Any], names: Mapping[Any, str]) -> dict[str, Any]:
    category, box = annotation.get("category_id"), annotation.get("bbox")
    name, where = names.get(category), f"annotation {annotation.get('id')}"
    if name is None:
        raise BadRowError(f"{where}: category {category} is not among 'categories'")
    if not isinstance(box, list) or len(box) != 4 or min(box[2:]) <= 0:
        raise BadRowError(f"{where}: bbox {box} is no [left, top, width, height] with an area")
    left, top, width, height = box
    return {
        "category": category,
        "name": name,
        "box": [left, top, left + width, top + height],
        "outline": annotation.get("segmentation"),
        "crowd": bool(annotation.get("iscrowd")),
    }


def _marks(objects: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What columns say of the objects of a picture."""
    areas: dict[str, float] = defaultdict(float)
    for each in objects:
        left, top, right, bottom = each["box"]
        areas[each["name"]] += (right - left) * (bottom - top)
    label = max(areas, key=lambda name: areas[name], default="")
    boxes = [each["box"] for each in objects if each["name"] == label]
    return {"objects": list(objects), "label": label, "boxes": boxes}
