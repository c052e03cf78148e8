"""Fixtures: trees of tiny images whose pixels encode their path, and each route that loads them.

The routes: `import multiview_cifar` under every version of `datasets`, and under 3.x the script
too, copied alone; each builds or streams.
"""

import gc
import hashlib
import os
import shutil
import signal
import tempfile
from contextlib import contextmanager
from pathlib import Path

import pytest

HOME = tempfile.mkdtemp(prefix="multiview-tests-")
for name in [name for name in os.environ if name.startswith("HF_")]:
    del os.environ[name]
os.environ.update(HF_HOME=HOME, HF_HUB_OFFLINE="1", HF_DATASETS_DISABLE_PROGRESS_BARS="1")
os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = HOME

# A shell's background jobs ignore Ctrl-C, and so would all processes that the tests start.
signal.signal(signal.SIGINT, signal.default_int_handler)

import datasets  # noqa: E402  (reads HF_HOME when it is imported)
from PIL import Image  # noqa: E402

import commands  # noqa: E402
import hub_server  # noqa: E402
import multiview_cifar  # noqa: E402
import s3_server  # noqa: E402
import sampling  # noqa: E402
from browser import browser  # noqa: E402, F401 - a fixture
from cifar_files import make_folder  # noqa: E402, F401 - a fixture
from multiview_cifar_tools.planning import num_proc  # noqa: E402

REPOSITORY = Path(__file__).parents[1]
HAS_SCRIPTS = datasets.__version__.startswith("3.")
BUILT = ["import-built", *["script-built"] * HAS_SCRIPTS]
STREAMED = ["import-streamed", *["script-streamed"] * HAS_SCRIPTS]
ROUTES = BUILT + STREAMED
LOSSLESS = {".webp": {"lossless": True}, ".png": {"compress_level": 0}}  # one size, one length


def pytest_unconfigure():
    shutil.rmtree(HOME, ignore_errors=True)


def pytest_ignore_collect(collection_path, config):
    """For the serial tests modules that have none are not imported."""
    if config.option.markexpr == "serial" and collection_path.suffix == ".py":
        return "mark.serial" not in collection_path.read_text(encoding="utf-8") or None


LATE = (
    "test_cluster",
    "test_examples",
    "test_export_formats",
    "test_mutations",
    "test_jax_batches",
    "test_tf_batches",
    "test_tfrecord_format",
    "test_usual_loaders",
)
# What goes by other paths under another `datasets`: of the rest a few tests show that it works.
SAME_ON_ALL_DATASETS = {
    *"batches checks cli elastic engines formats planning previews scripts".split(),
    *"test_archives test_arguments test_bombs test_build test_croissant test_disk".split(),
    *"test_examples test_export_formats test_export_resume test_flat_png_elsewhere".split(),
    *"test_imports test_mutations test_places test_spelling test_training_page".split(),
}


def pytest_collection_modifyitems(config, items):
    """Take the sample of sampling.py; put last what spoils a process for others."""
    kept = items
    if sampling.SMOKE:
        few = [
            item for item in items if SAME_ON_ALL_DATASETS & {item.path.parent.name, item.path.stem}
        ]
        kept = sampling.without(kept, sampling.all_but_a_few(few, 4))
    if not sampling.EXHAUSTIVE:
        kept = [item for item in kept if not item.get_closest_marker("exhaustive")]
        kept = sampling.without(kept, sampling.repeated_routes(kept, ROUTES))
        kept = sampling.without(kept, sampling.repeated_values(kept))
    config.hook.pytest_deselected(items=sampling.without(items, kept))
    # Once JAX is imported, which TensorFlow does too, it warns at every later fork; and Ray leaves
    # threads. Processes take modules in this order.
    items[:] = sorted(kept, key=lambda item: item.path.stem in LATE)


def pytest_collection_finish():
    """What is imported by now stays: no collection of garbage has to walk through it."""
    gc.collect()
    gc.freeze()


def colour_of(path):
    return tuple(hashlib.blake2b(path.encode(), digest_size=3).digest())


def far(colour, other):
    return sum(abs(a - b) for a, b in zip(colour, other, strict=True))


# --- trees ----------------------------------------------------------------------------------------


@pytest.fixture
def write_image():
    """write_image(file, like="cat/1/a.png"): 4x4 pixels in that path's colour."""

    def write(file, like):
        suffix = Path(file).suffix.lower()
        Image.new("RGB", (4, 4), colour_of(like)).save(file, **LOSSLESS.get(suffix, {}))

    return write


@pytest.fixture
def made():
    """The path of each image that `make_tree` made in this test, and its colour."""
    return {}


@pytest.fixture
def make_tree(tmp_path, write_image, made):
    """make_tree("cat/1/a.png", "cat/notes.txt", "dog/"): the folder that holds just these."""

    def make(*paths, under="photos"):
        for path in paths:
            file = tmp_path / under / path
            if path.endswith("/"):
                file.mkdir(parents=True, exist_ok=True)
                continue
            file.parent.mkdir(parents=True, exist_ok=True)
            if file.suffix.lower() in multiview_cifar.IMAGE_EXTENSIONS:
                write_image(file, path)
                made[path] = colour_of(path)
            else:
                file.write_text(f"the text of {path}")
        return tmp_path / under

    return make


# --- routes ---------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def script(tmp_path_factory):
    """The loading script, copied alone."""
    return str(shutil.copy(REPOSITORY / "multiview_cifar.py", tmp_path_factory.mktemp("alone")))


def loader(request, route):
    """load(tree, **options): as `load_dataset`, but split="train" and a cache of the test's own."""
    how, mode = route.split("-")
    if how == "script":
        script, load = request.getfixturevalue("script"), datasets.load_dataset
        arguments, always = (script,), {"trust_remote_code": True}
    else:
        arguments, always, load = (), {}, multiview_cifar.load_dataset
    always["cache_dir"] = str(request.getfixturevalue("tmp_path") / "cache")

    def load_tree(tree=None, **options):
        if tree is not None:
            options["data_dir"] = str(tree)
        options = {"split": "train", **always, **options}
        return load(*arguments, streaming=mode == "streamed", **options)

    return load_tree


@pytest.fixture(params=BUILT + STREAMED)
def load(request):
    """Every route."""
    return loader(request, request.param)


@pytest.fixture(autouse=True)
def every_process_pays(monkeypatch):
    """Tests that ask for worker processes get them, though their images are few and tiny."""
    monkeypatch.setattr(num_proc, "processes_pay", lambda *_: True)


@pytest.fixture(params=BUILT)
def build(request):
    """The routes that build."""
    return loader(request, request.param)


@pytest.fixture(params=STREAMED)
def stream(request):
    """The routes that stream."""
    return loader(request, request.param)


@pytest.fixture
def quick(request):
    """One route, for what is the same on all of them: imported and streamed."""
    return loader(request, "import-streamed")


# --- what came back -------------------------------------------------------------------------------


@pytest.fixture
def seen(made):
    """seen(images): the path that each image's pixels encode; None for None."""

    def path_of(image):
        if image is None:
            return None
        pixel = image.convert("RGB").getpixel((1, 1))
        return min(made, key=lambda path: far(made[path], pixel))  # a JPEG's may be a little off

    return lambda images: [path_of(image) for image in images]


@pytest.fixture
def shown(seen):
    """shown(ds): for each row its sample_id and the path of each view."""

    def rows(ds, column="images"):
        return [(row["sample_id"], *seen(row[column])) for row in ds]

    return rows


@pytest.fixture
def stored():
    """stored(ds): for each row the bytes of each view."""

    def rows(ds, column="images"):
        raw = datasets.Sequence(datasets.Image(decode=False))
        views = [row[column] for row in ds.cast_column(column, raw)]
        return [[view and view["bytes"] for view in row] for row in views]

    return rows


@pytest.fixture
def fails():
    """with fails("LayoutError", "cat/1", "what to do"): the error's name, and what it says.

    By name, as a script's classes are not those of the imported module.
    """

    @contextmanager
    def check(kind, *says, path=None):
        with pytest.raises(ValueError) as caught:  # noqa: PT011  (the message is checked below)
            yield caught
        error = caught.value
        names = [base.__name__ for base in type(error).__mro__]
        assert kind in names[: names.index("ValueError")], repr(error)
        for text in says:
            assert text in str(error)
        if path is not None:
            assert error.path == path

    return check


# --- the command line -----------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """run("build", "photos"): the finished command, run in this process in the test's folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: commands.run_here(capsys, arguments)


@pytest.fixture
def run_process(tmp_path):
    """The same in a process of its own, and with these variables in its environment."""
    return lambda *arguments, **more: commands.run_process(tmp_path, arguments, **more)


# --- stores on loopback ---------------------------------------------------------------------------


@pytest.fixture(scope="session")
def s3_address():
    """S3 that all tests share, see s3_server.py."""
    with s3_server.serve() as server:
        yield server


# --- the Hub --------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def hub_address(tmp_path_factory):
    with hub_server.serve(tmp_path_factory.mktemp("hub")) as server:
        yield server


@pytest.fixture
def hub(hub_address):
    """A Hub that holds nothing yet, see hub_server.py; hub.run(function) is a client of it."""
    return hub_address.fresh()
