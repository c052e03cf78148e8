"""What is no regular file is never waited for, whatever is called so."""

import json
import os

import datasets
import pytest

from multiview_cifar import row_features
from multiview_cifar_tools import export, load
from multiview_cifar_tools.storage.regular_file import NotAFileError, regular_file


def test_only_regular_files_are_opened(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to("file")
    for name in ("file", "link"):
        with open(tmp_path / name, "rb", opener=regular_file) as file:
            assert file.read() == b"abc"
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero", tmp_path):
        with pytest.raises(NotAFileError, match="is a pipe, socket, device or folder"):
            regular_file(path, os.O_RDONLY)


SHARDS = {"parquet": "parquet", "webdataset": "tar", "tfrecord": "tfrecord", "hdf5": "h5"}


@pytest.mark.parametrize(("name", "ending"), SHARDS.items())
def test_a_pipe_called_like_a_shard(tmp_path, fails, name, ending):
    pipe = tmp_path / f"shards/train.{ending}"
    pipe.parent.mkdir()
    os.mkfifo(pipe)
    with fails("FormatError", "shards has none", "Expected"):
        load(pipe.parent, source_format=name)


def test_a_pipe_in_place_of_an_exported_shard(make_tree, tmp_path, fails):
    export(load(make_tree("cat/1/a.png")), tmp_path / "out", format="numpy")
    manifest = json.loads((tmp_path / "out/multiview_cifar.json").read_text())
    path = manifest["splits"]["train"]["shards"][0]["path"]
    os.rename(tmp_path / "out" / path, tmp_path / "moved")
    os.mkfifo(tmp_path / "out" / path)
    with fails("FormatError", path, "is not there"):
        load(tmp_path / "out")


def test_a_pipe_behind_a_url_of_this_machine(make_tree, fails):
    tree = make_tree("cat/1/a.png")
    os.mkfifo(tree / "cat/1/b.png")
    with fails("ImageError", "cat/1/b.png", "is a pipe, socket, device or folder"):
        list(load(f"local://{tree}", streaming=True)["train"])


def test_a_pipe_in_what_save_to_disk_wrote(tmp_path, fails):
    datasets.Dataset.from_dict({"label": [1]}).save_to_disk(tmp_path / "saved")
    os.remove(tmp_path / "saved/dataset_info.json")
    os.mkfifo(tmp_path / "saved/dataset_info.json")
    with fails("FormatError", "saved", "is a pipe"):
        load(tmp_path / "saved")


def test_a_pipe_that_a_dataset_names(tmp_path, fails):
    os.mkfifo(tmp_path / "a.png")
    features = row_features(["images"], ["cat"], None)
    views = [{"path": str(tmp_path / "a.png"), "bytes": None}]
    row = {"images": views, "label": 0, "sample_id": "cat/1", "view_names": ["a"]}
    rows = datasets.Dataset.from_list([row], features=features)
    with fails("FormatError", "a.png", "is a pipe"):
        export(rows, tmp_path / "out", format="folder")
