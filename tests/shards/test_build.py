"""build_shards: what it goes on from, and a source that changes meanwhile."""

import os
import shutil
import zipfile

import fsspec
import pytest

from exports import digests, flip
from multiview_cifar_tools.engines.open import open_engine
from multiview_cifar_tools.shards.build import OutputState, build_shards
from multiview_cifar_tools.shards.store import NOTES_FOLDER, FsspecStore

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


def test_a_note_that_was_changed(tree, tmp_path, monkeypatch, fails):
    with monkeypatch.context() as patch:
        patch.setattr(OutputState, "finalize", interrupt)
        with pytest.raises(KeyboardInterrupt):
            build(tree, tmp_path / "out")
    [note, *_] = (tmp_path / "out" / NOTES_FOLDER).iterdir()
    note.write_text(note.read_text().replace('"num_rows": 1', '"num_rows": 2'))
    with fails("OutputError", note.name, "is damaged", "empty the place"):
        build(tree, tmp_path / "out")


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


# --- a source that changes ------------------------------------------------------------------------


class Changing:
    """An engine that calls `change` once the first shard is made."""

    def __init__(self, engine, change):
        self.engine, self.check, self.change = engine, engine.check, change

    def run(self, function, calls):
        for i, result in enumerate(self.engine.run(function, calls)):
            if i == 0:
                self.change()
            yield result


def build_changing(source, output, change, **options):
    with open_engine() as engine:
        return build(source, output, Changing(engine, change), **options)


CHANGES = {
    "a file is rewritten": lambda tree: shutil.copy(tree / PATHS[0], tree / PATHS[-1]),
    "it is not an image now": lambda tree: (tree / PATHS[-1]).write_bytes(b"no image"),
    "its time is another": lambda tree: os.utime(tree / PATHS[-1]),
}


@pytest.mark.parametrize("num_proc", [1, 2])
@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_folder_that_changes_while_it_is_built(tree, tmp_path, fails, change, num_proc):
    with (
        fails("SourceChangedError", "changed while it was read", "again", path=str(tree)),
        open_engine(num_proc=num_proc) as engine,
    ):
        changing = Changing(engine, lambda: change(tree))
        build(tree, tmp_path / "out", changing, on_error="skip_sample")
    assert not (tmp_path / "out/multiview_cifar.json").exists()


def test_a_file_that_is_removed_while_a_folder_is_built(tree, tmp_path, fails):
    with fails("ImageError", PATHS[-1], "was listed, but is gone now"):
        build_changing(tree, tmp_path / "out", lambda: os.remove(tree / PATHS[-1]))
    assert not (tmp_path / "out/multiview_cifar.json").exists()


def test_a_folder_that_changes_and_changes_back(tree, tmp_path, fails):
    """What was made of the one that was planned is whole; of the other one nothing was."""
    build(tree, tmp_path / "whole")
    other = tmp_path / "other"
    shutil.copytree(tree, other)
    for path in PATHS:
        shutil.copy(tree / PATHS[0], other / path)

    def swap():
        for old, new in ((tree, "aside"), (other, tree.name), (tmp_path / "aside", "other")):
            old.rename(tmp_path / new)

    with fails("ArchiveError", "changed while it was read", path=str(tree)):
        build_changing(tree, tmp_path / "out", swap)
    swap()
    assert build(tree, tmp_path / "out").resumed == 1
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


ADDITIONS = {
    "a log": lambda tree: (tree / "build.log").write_text("a line"),
    "a view": lambda tree: shutil.copy(tree / PATHS[-1], tree / "dog/1/b.png"),
    "metadata": lambda tree: (tree / "metadata.csv").write_text("sample_id,x\ndog/1,1\n"),
}


@pytest.mark.parametrize("add", ADDITIONS.values(), ids=ADDITIONS)
def test_files_that_are_not_planned_may_change(tree, tmp_path, add):
    """So the output may stand in the folder."""
    build(tree, tmp_path / "whole")
    build_changing(tree, tmp_path / "out", lambda: add(tree))
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_an_archive_that_changes_while_it_is_built(tree, tmp_path, fails):
    archive = tmp_path / "photos.zip"

    def write(paths):
        with zipfile.ZipFile(tmp_path / "new.zip", "w") as opened:
            for path in paths:
                opened.write(tree / path, path)
        (tmp_path / "new.zip").rename(archive)

    write(PATHS)
    with fails("ArchiveError", f"{archive} changed while it was read", path=str(archive)):
        build_changing(archive, tmp_path / "out", lambda: write(PATHS[::-1]))
    assert not (tmp_path / "out/multiview_cifar.json").exists()


def kill_at_name(number, source, output):
    """A build in a process that ends just before a file gets its name for the time `number`; its
    exit code.
    """
    replace, names = os.replace, []

    def replace_or_end(*paths):
        names.append(paths)
        if len(names) == number:
            os._exit(9)
        replace(*paths)

    if pid := os.fork():
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    try:
        os.replace = replace_or_end
        build(source, output)
        os._exit(0)
    finally:
        os._exit(1)


def test_a_build_that_is_killed_before_any_name_goes_on(tree, tmp_path):
    build(tree, tmp_path / "whole")
    number, codes = 1, []
    while not codes or codes[-1] == 9:
        codes.append(kill_at_name(number, tree, tmp_path / f"out{number}"))
        build(tree, tmp_path / f"out{number}")
        assert digests(tmp_path / f"out{number}") == digests(tmp_path / "whole"), number
        number += 1
    # The place and what is begun, of each shard itself and its note, the manifest.
    assert codes == [9] * (2 + 2 * len(PATHS) + 1) + [0]


def test_one_build_at_a_time(tree, tmp_path, fails):
    output = tmp_path / "out"
    with (
        FsspecStore(str(output)).lock(),
        fails("OutputError", "Another process builds to", "wait for it", path=str(output)),
    ):
        build(tree, output)
    build(tree, output)


def test_what_a_killed_build_was_writing_is_removed_by_the_next(tree, tmp_path, monkeypatch):
    notes = tmp_path / "out/.multiview_cifar"
    assert kill_at_name(3, tree, tmp_path / "out") == 9
    assert [*notes.glob("shard-*")]
    monkeypatch.setattr(OutputState, "finalize", interrupt)
    with pytest.raises(KeyboardInterrupt):
        build(tree, tmp_path / "out")
    assert sorted(os.listdir(notes)) == ["begun.json", "done"]
