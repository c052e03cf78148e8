"""Bad input: the error names the path, says what was found and what was expected, and a way out."""

import multiprocessing
import os
import pickle
import shutil
import socket
import tempfile
from pathlib import Path

import pytest
from PIL import Image

import multiview_cifar

# --- the folder -----------------------------------------------------------------------------------


@pytest.mark.every_route
def test_no_such_folder(load, tmp_path, fails):
    with fails("LayoutError", str(tmp_path / "nowhere"), "does not exist", "folder"):
        load(tmp_path / "nowhere")


def test_a_file_in_place_of_the_folder(load, make_tree, fails):
    tree = make_tree("photos.rar")
    with fails("LayoutError", "photos.rar", "is a file", "archive", ".zip .tar"):
        load(tree / "photos.rar")


def test_no_folder_given(load, fails):
    with fails("OptionError", "data_dir", "class/sample/view.png", "shapes", path="data_dir"):
        load()


def test_a_relative_path_is_named_in_full(load, tmp_path, monkeypatch, fails):
    monkeypatch.chdir(tmp_path)
    with fails("LayoutError", "'nowhere'", str(tmp_path / "nowhere")):
        load("nowhere")


def test_data_files_are_not_taken(load, make_tree, fails):
    tree = make_tree("cat/1/a.png")
    with fails("OptionError", "data_files", "data_dir", path="data_files"):
        load(tree, data_files=str(tree / "cat/1/a.png"))


@pytest.mark.parametrize(
    ("paths", "found"),
    [
        (["empty/"], "nothing"),
        (["notes.txt", "cat/1/a.heic"], "notes.txt"),
        ([".a.png"], "nothing"),
    ],
)
def test_a_folder_without_images(stream, make_tree, tmp_path, fails, paths, found):
    tree = make_tree(*paths)
    with fails("LayoutError", str(tree), "no images", found, "class/sample/view.png", ".png"):
        stream(tree)


# --- names that do not fit ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "options", "path", "says"),
    [
        (["cat/1.png"], {}, "cat/1.png", ["{label}/{sample}/{view}", 'layout="{label}/{sample}"']),
        (["cat/1/a.png", "cat/2.png"], {}, "cat/2.png", ["{label}/{sample}/{view}", "sample"]),
        (["1.png"], {}, "1.png", ["{label}/{sample}/{view}"]),
        (
            ["cat/1/a.png", "cat/2/notes.txt"],
            {},
            "cat/2",
            ["notes.txt", "no images", ".png", 'on_error="skip_sample"'],
        ),
        (["cat/1/a.png", "cat/2/"], {}, "cat/2", ["nothing", 'on_error="skip_sample"']),
        (["cat/1/a.png", "cat/2/deep/a.png"], {}, "cat/2", ["deep", "layout="]),
        (["cat/1/a.png", "cat/1/a.jpg"], {}, None, ["cat/1/a.png", "cat/1/a.jpg", "view", "'a'"]),
        (["cat/1/a.png", "cat/1/a.PNG"], {}, None, ["cat/1/a.png", "cat/1/a.PNG", "view"]),
        (
            ["train/cat/1/a.png", "training/cat/1/b.png"],
            {},
            None,
            ["'train'", "training", "rename"],
        ),
        (
            ["cat/1.png", "cat/1.jpg"],
            {"layout": "{label}/{sample}"},
            None,
            ["cat/1.png", "cat/1.jpg", "rename"],
        ),
        (
            ["cat/1/a.png", "dog/1/a.png"],
            {"class_names": ["cat"]},
            "dog",
            ["class_names", "leaves out", "'dog'"],
        ),
        (["cat/1/a.png"], {"class_names": ["cat", "dgo"]}, "dgo", ["class_names", "'cat'"]),
        (["cat/1/a.png"], {"view_names": ["front"]}, "front", ["view_names", "'a'"]),
        (
            ["my split/cat/1/a.png"],
            {"layout": "{split}/{label}/{sample}/{view}"},
            "my split",
            ["rename"],
        ),
        (["all/cat/1/a.png"], {"layout": "{split}/{label}/{sample}/{view}"}, "all", ["rename"]),
    ],
)
def test_names_that_do_not_fit(stream, make_tree, fails, paths, options, path, says):
    with fails("LayoutError", *says, *[path] * bool(path), path=path):
        stream(make_tree(*paths), **options)


@pytest.mark.every_route
def test_a_sample_without_images_may_be_skipped(load, make_tree, shown, caplog):
    ds = load(make_tree("cat/1/a.png", "cat/2/notes.txt"), on_error="skip_sample")
    assert shown(ds) == [("cat/1", "cat/1/a.png")]
    assert "cat/2" in caplog.text


def test_a_class_that_a_split_lacks_is_a_warning(load, make_tree, caplog):
    tree = make_tree("train/cat/1/a.png", "train/dog/1/a.png", "test/cat/1/a.png")
    assert len(list(load(tree, split="test"))) == 1
    (warning,) = [
        r.getMessage()
        for r in caplog.records
        if "lack" in r.getMessage() or "no sample" in r.getMessage()
    ]
    assert "test" in warning
    assert "dog" in warning
    assert "cat" not in warning


@pytest.mark.parametrize("name", [b"\xff.png", b"\xff"], ids=["file", "folder"])
def test_a_name_that_is_not_utf8(stream, make_tree, fails, name):
    tree = make_tree("cat/1/a.png")
    folder = os.fsencode(tree / "cat/1")
    if name.endswith(b".png"):
        Path(os.fsdecode(folder + b"/" + name)).touch()
    else:
        os.mkdir(folder + b"/" + name)
    with fails("LayoutError", "cat/1", "UTF-8", "\\udcff"):
        stream(tree)


# --- templates ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ("{label}/{sample}/{camera}", "{camera}"),
        ("{label}/{sample}/{}", "{}"),
        ("{label}/{sample}/{0}", "{0}"),
        ("{label}/{view}", "{sample}"),
        ("{label}/{sample}/{view", "a brace that is not closed"),
        ("{label/{sample}/{view}", "a brace that is not closed"),
        ("{label}/{sample/{view}", "a brace that is not closed"),
        ("label/sample/view", "write fields in braces"),
        ("{label}{sample}/{view}", "{label}{sample}, with nothing between the two"),
        ("{label}/{sample}/view}", "brace"),
        ("{label}//{sample}", "empty"),
        ("/{label}/{sample}", "empty"),
        ("{label}/{sample}/", "empty"),
        ("{label}/{sample}/.png", "an empty part"),
        ("{label}/{sample}/{**}", "a brace"),
        ("{label}/{sample}/{view:02d}", "{view:02d}"),
        ("{label}/{sample}/{view!r}", "{view!r}"),
        ("", "{sample}"),
    ],
)
def test_wrong_templates(quick, make_tree, fails, layout, says):
    with fails("OptionError", repr(layout), says, "{label}/{sample}/{view}", path="layout"):
        quick(make_tree("cat/1/a.png"), layout=layout)


def test_the_right_fields_are_listed(quick, make_tree, fails):
    with fails("OptionError", "split", "label", "sample", "view", "view_label"):
        quick(make_tree("cat/1/a.png"), layout="{label}/{sample}/{camera}")


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"", "0 bytes"), (b"\x89PNG\r\n\x1a\n" + bytes(20), "28 bytes"), (b"a text", "a text")],
    ids=["empty", "broken", "text"],
)
def test_an_unreadable_image(load, make_tree, fails, data, found):
    tree, path = make_tree("cat/1/a.png", "cat/1/b.png"), "cat/1/b.png"
    (tree / path).write_bytes(data)
    with fails("ImageError", path, found, 'on_error="skip_view"', path=path) as caught:
        list(load(tree))
    assert "object at 0x" not in str(caught.value)


def test_an_image_that_is_cut_off(stream, make_tree, fails):
    """It is an image, so the error says what happened to it, and what finds all such files."""
    tree, path = make_tree("cat/1/a.png"), "cat/1/a.png"
    Image.effect_noise((64, 64), 9).save(tree / path)
    (tree / path).write_bytes((tree / path).read_bytes()[:999])
    says = "is damaged or cut off (999 bytes", "`multiview-cifar check` lists all such files"
    with fails("ImageError", path, *says, 'on_error="skip_view"', path=path):
        list(stream(tree))


@pytest.mark.every_route
@pytest.mark.parametrize("num_proc", [None, 2])
def test_the_image_error_reaches_the_user(build, make_tree, fails, num_proc):
    tree = make_tree(*(f"cat/{i}/a.png" for i in range(8)))
    (tree / "cat/6/a.png").write_bytes(b"a text")
    with fails("ImageError", "cat/6/a.png", "on_error=", path="cat/6/a.png"):
        build(tree, num_proc=num_proc)


def test_after_an_error_the_mended_tree_builds(build, make_tree, write_image, shown):
    tree = make_tree("cat/1/a.png")
    (tree / "cat/1/a.png").write_bytes(b"a text")
    with pytest.raises(ValueError, match=r"cat/1/a\.png"):
        build(tree)
    write_image(tree / "cat/1/a.png", "cat/1/a.png")
    assert shown(build(tree)) == [("cat/1", "cat/1/a.png")]


def test_all_errors_can_be_pickled():
    for kind in ("OptionError", "LayoutError", "ImageError"):
        error = getattr(multiview_cifar, kind)("what was found", "cat/1")
        again = pickle.loads(pickle.dumps(error))
        assert isinstance(again, ValueError)
        assert (type(again), str(again), again.path) == (type(error), str(error), "cat/1")


def test_a_file_deleted_between_listing_and_building(make_tree, tmp_path, fails):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    builder = multiview_cifar.MultiviewCifar(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    os.remove(tree / "cat/2/a.png")
    with fails("ImageError", "cat/2/a.png", "gone", "on_error=", path="cat/2/a.png"):
        builder.download_and_prepare()


def test_a_file_deleted_between_listing_and_streaming(stream, make_tree, fails, shown, caplog):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    ds, skipping = stream(tree), stream(tree, on_error="skip_sample")
    os.remove(tree / "cat/2/a.png")
    with fails("ImageError", "cat/2/a.png", "gone", "on_error=", path="cat/2/a.png"):
        list(ds)
    assert shown(skipping) == [("cat/1", "cat/1/a.png")]
    assert "cat/2/a.png" in caplog.text


# --- what is no file, and may have no end ---------------------------------------------------------


def make_socket(path):
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


NO_FILES = {
    "pipe": os.mkfifo,
    "link to a pipe": lambda path: (os.mkfifo(f"{path}.fifo"), path.symlink_to(f"{path}.fifo")),
    "device": lambda path: path.symlink_to("/dev/zero"),
}


@pytest.mark.every_route
@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
def test_a_pipe_or_device_called_like_an_image(load, make_tree, fails, shown, make):
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    make(tree / "cat/2/b.png")
    with fails("ImageError", "cat/2/b.png", "is a pipe, socket or device", "on_error="):
        list(load(tree))
    ds = load(tree, on_error="skip_view")
    assert shown(ds) == [("cat/1", "cat/1/a.png"), ("cat/2", "cat/2/a.png")]


def test_a_socket_called_like_an_image(load, make_tree, fails, tmp_path, monkeypatch):
    tree = make_tree("cat/1/a.png")
    monkeypatch.chdir(tree / "cat/1")  # a socket's name is short
    make_socket("b.png")
    with fails("ImageError", "cat/1/b.png", "cannot be read"):
        list(load(tree))


@pytest.mark.parametrize("make", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("name", ["metadata.csv", "metadata.jsonl", "metadata.parquet"])
def test_a_pipe_or_device_called_like_metadata(quick, make_tree, fails, name, make):
    tree = make_tree("cat/1/a.png")
    make(tree / name)
    with fails("LayoutError", name, "is a pipe, socket or device", "drop_metadata"):
        quick(tree)


def test_a_pipe_called_like_a_tiff_of_pages(quick, make_tree, fails):
    tree = make_tree("cat/1/a.png")
    os.mkfifo(tree / "cat/1/b.tif")
    with fails("ImageError", "cat/1/b.tif", "is a pipe, socket or device"):
        list(quick(tree, pages="views"))


def test_links_that_make_folders_without_end(quick, make_tree, fails):
    """Two links in each of 20 folders to the next one would be a million folders."""
    tree = make_tree("cat/1/a.png")
    for i in range(20):
        (tree / f"d{i}").mkdir()
        for name in "ab":
            (tree / f"d{i}" / name).symlink_to(f"../d{i + 1}")
    (tree / "d20").mkdir()
    with fails("LayoutError", "/d1", "is found again and again", "remove some"):
        quick(tree)


def test_a_folder_may_be_linked_to_from_many_samples(quick, make_tree, shown):
    tree = make_tree("cat/0/a.png")
    for i in range(1, 300):
        (tree / f"cat/{i}").symlink_to("0")
    assert len(shown(quick(tree))) == 300


# --- no permission (root may read everything, so a process of another user tries) -----------------


@pytest.fixture
def open_tree():
    """cat/1/a.png and cat/2/a.png in a folder open to all, as pytest's own folders are not."""
    folder = tempfile.mkdtemp()
    tree = Path(folder, "photos")
    for sample in ("cat/1", "cat/2"):
        (tree / sample).mkdir(parents=True)
        Image.new("RGB", (4, 4)).save(tree / sample / "a.png")
    os.chmod(folder, 0o777)
    yield tree
    (tree / "cat/2").chmod(0o755)
    shutil.rmtree(folder)


def as_nobody(action):
    """Name, path and text of the error that a user without rights gets."""

    def act(report):
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            action()
        except multiview_cifar.MultiviewError as error:
            report.send((type(error).__name__, error.path, str(error)))

    result, report = multiprocessing.Pipe(duplex=False)
    process = multiprocessing.get_context("fork").Process(target=act, args=(report,))
    process.start()
    process.join(60)
    assert result.poll(), "no error was raised"
    return result.recv()


def test_an_image_without_permission(open_tree):
    cache = str(open_tree.parent / "cache")
    ds = multiview_cifar.load_dataset(
        data_dir=str(open_tree), split="train", cache_dir=cache, streaming=True
    )
    assert len(list(ds)) == 2  # nobody may not even be allowed to import what this has imported
    (open_tree / "cat/2/a.png").chmod(0)
    kind, path, message = as_nobody(lambda: list(ds))
    assert (kind, path) == ("ImageError", "cat/2/a.png")
    assert "Permission denied" in message
    assert "on_error=" in message


def test_a_folder_without_permission(open_tree):
    (open_tree / "cat/2").chmod(0)
    cache = str(open_tree.parent / "cache")
    kind, path, message = as_nobody(
        lambda: multiview_cifar.load_dataset(data_dir=str(open_tree), cache_dir=cache)
    )
    assert (kind, path) == ("LayoutError", "cat/2")
    assert "Permission denied" in message
    assert "cat/2" in message


# --- the text -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("paths", "options"),
    [
        (["cat/1.png"], {}),
        (["cat/1/a.png", "cat/2/"], {}),
        (["cat/1/a.png", "cat/1/a.jpg"], {}),
        (["train/cat/1/a.png", "training/cat/1/b.png"], {}),
        (["notes.txt"], {}),
        (["cat/1/a.png"], {"class_names": ["dog"]}),
        (["cat/1/a.png"], {"view_names": ["b"]}),
        (["cat/1/a.png"], {"layout": "{label}"}),
        (["cat/1/a.png"], {"verify": "full"}),
        (["cat/1/a.png"], {"num_views": 2}),
        (["train/cat/1/a.png"], {"split_ratios": {"train": 1.0}}),
    ],
)
def test_an_error_is_a_few_whole_sentences(quick, make_tree, paths, options):
    with pytest.raises(ValueError, match="Expected") as caught:
        quick(make_tree(*paths), **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    assert len(message) < 500


def test_long_lists_are_cut(quick, make_tree, fails):
    tree = make_tree(*(f"class {i}/1/a.png" for i in range(200)))
    with fails("LayoutError", "'class 0'", "more") as caught:
        quick(tree, class_names=["class 199"])
    assert len(str(caught.value)) < 1500


def test_errors_are_value_errors_with_a_path():
    for kind in ("OptionError", "LayoutError", "ImageError"):
        assert issubclass(getattr(multiview_cifar, kind), multiview_cifar.MultiviewError)
    assert issubclass(multiview_cifar.MultiviewError, ValueError)
