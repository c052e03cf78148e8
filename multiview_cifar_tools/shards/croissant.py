"""croissant.json: what a dataset's Parquet files hold, as MLCommons Croissant describes it.

    distribution  the files: a FileSet by their names, in the repository where they are published
    recordSet     samples      a record a row: every column, and the split and the class by name
                  splits       the names of the splits
                  label_names  number and name of each class; so of every column of labels

Its size does not depend on the number of shards, and it stays true when shards are added. By it
`mlcroissant`, of which this was tried with 1.1.1, reads the rows. All else in it is the author's:
nothing is made up.

https://docs.mlcommons.org/croissant/docs/croissant-spec-1.1.html
https://docs.mlcommons.org/croissant/docs/croissant-rai-spec.html
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

import datasets

from multiview_cifar import OptionError
from multiview_cifar_tools.arguments import expect_path, short_repr
from multiview_cifar_tools.shards.manifest import MANIFEST
from multiview_cifar_tools.shards.schema import features_json
from multiview_cifar_tools.storage.regular_file import regular_file

CROISSANT = "croissant.json"
# Fields that NeurIPS asks for, beside those that Croissant itself requires: the "minimal RAI" of
# https://neurips.cc/Conferences/2026/EvaluationsDatasetsHosting, in the terms of Croissant RAI 1.0
# and 1.1 and of PROV-O.
RAI_FIELDS = (
    "rai:dataLimitations",
    "rai:dataBiases",
    "rai:personalSensitiveInformation",
    "rai:dataUseCases",
    "rai:dataSocialImpact",
    "rai:hasSyntheticData",
    "prov:wasDerivedFrom",
    "prov:wasGeneratedBy",
)
CORE_FIELDS = ("creator", "datePublished", "license", "citeAs")
# What describes the files, which no author writes by hand.
STRUCTURE = ("@type", "@graph", "conformsTo", "distribution", "recordSet")
# The context of the specification, with the vocabularies of the fields above.
CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "arrayShape": "cr:arrayShape",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "containedIn": "cr:containedIn",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "description": {"@container": "@language"},
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileObject": "cr:fileObject",
    "fileProperty": "cr:fileProperty",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isArray": "cr:isArray",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "name": {"@container": "@language"},
    "parentField": "cr:parentField",
    "path": "cr:path",
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
# By the beginning of a dtype of `datasets`; what has another one is named as not described.
DATA_TYPES = {
    "bool": "sc:Boolean",
    "int": "sc:Integer",
    "uint": "sc:Integer",
    "float": "sc:Float",
    "string": "sc:Text",
    "large_string": "sc:Text",
    "date": "sc:Date",
    "timestamp": "sc:DateTime",
    "time": "sc:Time",
    "null": "sc:Text",  # of a column without a value
}
REPOSITORY, FILES = "repo", "parquet-files"

Json = dict[str, Any]


class ShardPlace(NamedTuple):
    """Where the Parquet files are.

    Attributes:
        name: Of the dataset.
        prefix: What stands before the split in the path of a file, such as "data/".
        container: A FileObject beside the FileSet of the Parquet files.
        url: Of the dataset, "" where it has none.
    """

    name: str
    prefix: str
    container: Json
    url: str = ""


def repository_place(repo_id: str, url: str, revision: str) -> ShardPlace:
    """The place of what is published on a branch of the Hub, a repository of Git."""
    branch = "" if revision == "main" else f"/tree/refs%2Fheads%2F{quote(revision, safe='')}"
    repository = {
        "@type": "cr:FileObject",
        "@id": REPOSITORY,
        "name": REPOSITORY,
        "description": "The repository of the dataset.",
        "contentUrl": url + branch,
        "encodingFormat": "git+https",
        # As the Hub writes it: a digest is asked for, and a repository has none.
        "sha256": "https://github.com/mlcommons/croissant/issues/80",
    }
    return ShardPlace(repo_id.rpartition("/")[2], "data/", repository, url)


def folder_place(manifest: bytes) -> ShardPlace:
    """The place of what is exported: the folder in which croissant.json is, beside the manifest,
    whose digest stands for those of all shards, which it has.
    """
    digests = {
        "@type": "cr:FileObject",
        "@id": MANIFEST,
        "name": MANIFEST,
        "description": "The rows, bytes and SHA-256 of each Parquet file.",
        "contentUrl": MANIFEST,
        "contentSize": f"{len(manifest)} B",
        "encodingFormat": "application/json",
        "sha256": hashlib.sha256(manifest).hexdigest(),
    }
    # Of no folder: the same rows give the same file wherever they are.
    return ShardPlace("multi-view images", "", digests)


def make_croissant(
    place: ShardPlace,
    features: datasets.Features,
    splits: Iterable[str],
    known: Mapping[str, Any],
    old: Mapping[str, Any],
    author: Mapping[str, Any],
) -> bytes:
    """The text of croissant.json.

    Args:
        place: Where the Parquet files are.
        features: Of the rows.
        splits: Their names.
        known: Fields that the card beside it says, or None for what it does not say.
        old: What `parse_fields` gave of the file that was there. It stays, but for the address and
            what is known.
        author: What `read_author_fields` gave, which wins.
    """
    fields = {
        "name": place.name,
        "description": _description(features),
        **old,
        **{key: value for key, value in {**known, "url": place.url}.items() if value},
        **author,
    }
    aliases = {**old.get("@context", {}), **author.get("@context", {})}
    versions = ["http://mlcommons.org/croissant/1.1"]
    if any(key.startswith("rai:") for key in fields):
        versions.append("http://mlcommons.org/croissant/RAI/1.0")
    document = fields | {
        "@context": {**aliases, **CONTEXT},
        "@type": "sc:Dataset",
        "conformsTo": versions,
        "distribution": [place.container, _file_set(place)],
        "recordSet": _record_sets(place.prefix, features_json(features), [*splits]),
    }
    order = ["@context", "@type", "conformsTo", *fields]  # so that its reader sees the text first
    document = {key: document[key] for key in dict.fromkeys([*order, *document])}
    return (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode()


def _description(features: datasets.Features) -> str:
    """What stays true, however many samples there are."""
    label = "its label, " if "label" in features else ""
    return (
        "Multi-view images: a row is a sample, with the list of its images (views), "
        f"{label}its name and the names of its views."
    )


# --- files and records ----------------------------------------------------------------------------


def _file_set(place: ShardPlace) -> Json:
    """The Parquet files, of the repository; or else of the folder of croissant.json."""
    is_published = place.container["@id"] == REPOSITORY
    return {
        "@type": "cr:FileSet",
        "@id": FILES,
        "name": FILES,
        "description": "Parquet files, each with rows of one split.",
        **({"containedIn": {"@id": REPOSITORY}} if is_published else {}),
        "encodingFormat": "application/x-parquet",
        "includes": f"{place.prefix}*.parquet",
    }


def _record_sets(prefix: str, features: Mapping[str, Any], splits: Sequence[str]) -> list[Json]:
    """The samples, and the names that their fields refer to."""
    names = {column: found for column in features if (found := _label_names(features[column]))}
    fields = {column: _column_field(column, features[column]) for column in features}
    left_out = [column for column, field in fields.items() if field is None]
    split = _split_field(_free_name("split", features), prefix, splits)
    first = [split]
    if "label" in names:
        # mlcroissant 1.1.1 joins by the first reference alone: that to the names of the classes.
        label_name = {"field": {"@id": f"{_names_id('label')}/name"}}
        name = _free_name("label_name", features)
        joined = _field(name, dataType="sc:Text", source=label_name)
        first = [*filter(None, [fields.pop("label")]), joined, split]
    samples = {
        "@type": "cr:RecordSet",
        "@id": "samples",
        "name": "samples",
        "description": "A record a sample."
        + f" Columns that are not described: {', '.join(left_out)}." * bool(left_out),
        "key": [{"@id": split["@id"]}, {"@id": _field_id("sample_id")}],
        "field": [*first, *filter(None, fields.values())],
    }
    columns = {"index": "sc:Integer", "name": "sc:Text"}
    return [
        _enumeration("splits", "cr:Split", {"name": "sc:Text"}, [[split] for split in splits]),
        *(
            _enumeration(_names_id(column), "sc:Enumeration", columns, enumerate(own))
            for column, own in names.items()
        ),
        samples,
    ]


def _enumeration(
    name: str, kind: str, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]
) -> Json:
    """A RecordSet whose records stand in the file itself, by the first of its columns."""
    ids = [f"{name}/{column}" for column in columns]
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "dataType": kind,
        "key": {"@id": ids[0]},
        "field": [
            {"@type": "cr:Field", "@id": i, "name": column, "dataType": columns[column]}
            for i, column in zip(ids, columns, strict=True)
        ],
        "data": [dict(zip(ids, row, strict=True)) for row in rows],
    }


def _split_field(name: str, prefix: str, splits: Sequence[str]) -> Json:
    """The split of a record, from the path of its file."""
    either = "|".join(map(re.escape, splits))
    source = {
        "fileSet": {"@id": FILES},
        "extract": {"fileProperty": "fullpath"},
        "transform": {"regex": rf"{prefix}({either})-.+\.parquet$"},
    }
    return _field(name, dataType="sc:Text", source=source, references=_reference("splits/name"))


def _column_field(column: str, feature: Any) -> Json | None:
    """The field of a column; None where there is no word for what the column holds."""
    item, depth = _item(feature)
    if "_type" not in item or isinstance(item["_type"], dict):
        return _struct_field(column, item, depth)
    if item["_type"] == "Image" and depth < 2:
        # A field that is not `repeated` takes no list of images: mlcommons/croissant#909.
        path = {"transform": {"jsonPath": "[*].bytes" if depth else "bytes"}}
        source = _column_source(column, **path)
        return _field(column, dataType="sc:ImageObject", source=source, **_repeated(depth))
    if (kind := _data_type(item)) is None:
        return None
    field = _field(column, dataType=kind, source=_column_source(column), **_repeated(depth))
    if not _label_names(feature):
        return field
    names = _reference(f"{_names_id(column)}/index")
    return field | {"dataType": [kind, "cr:Label"], "references": names}


def _struct_field(column: str, parts: Mapping[str, Any], depth: int) -> Json | None:
    """The field of a column of structs, or lists of them, whose parts are plain values."""
    fields = []
    for name, part in parts.items():
        kind = _data_type(part) if isinstance(part, dict) else None
        if kind is None or depth > 1 or re.search(r"[\"\\]", name):
            return None
        path = f'{"[*]" * depth}["{name}"]'
        source = _column_source(column, transform={"jsonPath": path})
        field = _field(name, dataType=kind, source=source)
        fields.append({**field, "@id": f"{_field_id(column)}/{quote(name, safe='')}"})
    return _field(column, subField=fields, **_repeated(depth)) if fields else None


def _field(name: str, **properties: Any) -> Json:
    return {"@type": "cr:Field", "@id": _field_id(name), "name": name, **properties}


def _field_id(column: str) -> str:
    return f"samples/{quote(column, safe='')}"  # an @id is an IRI


def _names_id(column: str) -> str:
    return f"{quote(column, safe='')}_names"


def _free_name(name: str, taken: Iterable[str]) -> str:
    return _free_name(f"{name}_", taken) if name in taken else name


def _reference(field: str) -> Json:
    return {"field": {"@id": field}}


def _column_source(column: str, **properties: Any) -> Json:
    return {"fileSet": {"@id": FILES}, "extract": {"column": column}, **properties}


def _repeated(depth: int) -> Json:
    """That a field is a list: in the words of 1.1, and of 1.0, which mlcroissant 1.1.1 obeys."""
    shape = ",".join(["-1"] * depth)
    return {"repeated": True, "isArray": True, "arrayShape": shape} if depth else {}


def _item(feature: Any) -> tuple[Json, int]:
    """What a feature of lists holds in the end, as JSON, and in how many lists."""
    if isinstance(feature, list):
        item, depth = _item(feature[0])
        return item, depth + 1
    if feature.get("_type") in ("Sequence", "LargeList"):
        item, depth = _item(feature["feature"])
        return item, depth + 1
    return feature, 0


def _data_type(feature: Mapping[str, Any]) -> str | None:
    """The dataType of a plain value."""
    if feature.get("_type") == "ClassLabel":
        return "sc:Integer"
    dtype = feature.get("dtype") if feature.get("_type") == "Value" else None
    found = (kind for start, kind in DATA_TYPES.items() if str(dtype).startswith(start))
    return next(found, None)


def _label_names(feature: Any) -> list[str]:
    """The names of the labels in a column; none where it has no labels."""
    names = _item(feature)[0].get("names")
    return names if _item(feature)[0].get("_type") == "ClassLabel" and names else []


# --- the author's fields --------------------------------------------------------------------------


def read_author_fields(given: Mapping[str, Any] | str | os.PathLike[str] | None) -> Json:
    """The fields that an author gives, in a JSON file or as a dict; none for None.

    OptionError where they are no JSON object, or describe the files, as only this tool does.
    """
    if given is None:
        return {}
    place = "croissant"
    try:
        if isinstance(given, Mapping):
            fields = parse_object(json.dumps(dict(given)))
        else:
            place = expect_path(given, 'croissant="fields.json"', OptionError)
            with open(os.path.expanduser(place), "rb", opener=regular_file) as file:
                fields = parse_object(file.read())
    except (OSError, ValueError, TypeError) as error:
        raise OptionError(
            f"{place} cannot be read ({error}). Expected a JSON object with the fields of "
            'croissant.json that its author writes, such as {"rai:dataBiases": "..."}.',
            "croissant",
        ) from None
    if ours := [key for key in fields if _local_name(key) in STRUCTURE]:
        raise OptionError(
            f"{place} has {', '.join(ours)}. Expected none of {', '.join(STRUCTURE)}: they "
            "describe the files, and are written by this tool. Leave them out.",
            "croissant",
        )
    return fields


def parse_object(data: bytes | str) -> Json:
    """The JSON object that a file holds; ValueError where it holds none."""

    def refuse(constant: str) -> None:
        raise ValueError(f"{constant} is not JSON")

    try:
        found = json.loads(data, parse_constant=refuse)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(found, dict):
        raise ValueError(f"it holds {short_repr(found)}")
    if not isinstance(found.get("@context", {}), dict):
        raise ValueError(f"its @context is {short_repr(found['@context'])}, no object")
    return found


def parse_fields(data: bytes | str) -> Json:
    """The fields of a croissant.json that do not describe the files; ValueError where it is none.

    "" is for no file.
    """
    found = parse_object(data) if data else {}
    return {key: value for key, value in found.items() if _local_name(key) not in STRUCTURE}


def _local_name(key: str) -> str:
    """The name of a property without its vocabulary: of cr:recordSet, or of an IRI."""
    return key if key.startswith("@") else re.split("[:/#]", key)[-1]


def empty_fields(document: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Those of the fields that are not there, or say nothing."""
    context = document.get("@context", {})
    aliases = {key: value for key, value in context.items() if isinstance(value, str)}
    filled = {aliases.get(key, key) for key, value in document.items() if _says_something(value)}
    return [name for name in names if aliases.get(name, name) not in filled]


def _says_something(value: Any) -> bool:
    if isinstance(value, str):
        return bool(value.strip())
    if isinstance(value, list | dict):
        return any(map(_says_something, value if isinstance(value, list) else value.values()))
    return value is not None
