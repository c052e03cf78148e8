"""build_shards: what it goes on from."""

import fsspec
import pytest

from exports import digests, flip
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.shards.build import OutputState, build_shards

PATHS = [f"{label}/{number}/a.png" for label in ("cat", "dog") for number in range(2)]
SHARD = "data/train-00001.parquet"


@pytest.fixture
def tree(make_tree):
    return make_tree(*PATHS)


def build(source, output, engine=None, **options):
    with open_engine() as local:
        options = {"max_shard_size": 1, **options}
        return build_shards(source, output, engine=engine or local, **options)


def interrupt(*args):
    raise KeyboardInterrupt


# --- going on -------------------------------------------------------------------------------------


def test_a_finished_output_with_another_byte(tree, tmp_path, fails):
    build(tree, tmp_path / "out")
    assert build(tree, tmp_path / "out").resumed == len(PATHS)
    flip(tmp_path / "out" / SHARD, 100)
    with fails("OutputError", f"{SHARD} in", "the sha256", "empty the place", path=SHARD):
        build(tree, tmp_path / "out")


def test_a_finished_shard_with_another_byte_is_made_again(tree, tmp_path, monkeypatch, caplog):
    build(tree, tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(OutputState, "finalize", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tree, tmp_path / "out")
    flip(tmp_path / "out" / SHARD, 100)
    assert build(tree, tmp_path / "out").resumed == len(PATHS) - 1
    assert f"{SHARD} has the sha256" in caplog.text
    assert "it is made again" in caplog.text
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_finished_output_behind_a_url_with_another_byte(tree, fails):
    output = "memory://build/another-byte"
    build(tree, output)
    assert build(tree, output).resumed == len(PATHS)
    fs, path = fsspec.core.url_to_fs(f"{output}/{SHARD}")
    data = bytearray(fs.cat_file(path))
    data[100] ^= 255
    fs.pipe_file(path, bytes(data))
    with fails("OutputError", f"{SHARD} in {output}", "the sha256", path=SHARD):
        build(tree, output)
