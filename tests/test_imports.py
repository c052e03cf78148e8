"""The public names, and what importing each module loads."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

import multiview_cifar
import multiview_cifar_tools
from conftest import REPOSITORY
from imports import frameworks_loaded_by

PACKAGE = Path(multiview_cifar_tools.__file__).parent
FRAMEWORKS = ("batches.jax", "batches.pytorch", "batches.tensorflow", "elastic.pytorch")


def test_importing_the_package_imports_nothing_else():
    code = """if True:
        import sys
        before = {*sys.modules}
        import multiview_cifar_tools
        print(*{name.partition(".")[0] for name in {*sys.modules} - before})"""
    command = [sys.executable, "-c", code]
    printed = subprocess.run(command, check=True, capture_output=True, text=True, cwd=PACKAGE)
    loaded = {*printed.stdout.split()} - sys.stdlib_module_names
    assert loaded == {"multiview_cifar_tools"}


def test_every_public_name_is_listed_once_and_seen_by_type_checkers():
    tree = ast.parse((PACKAGE / "__init__.py").read_text(encoding="utf-8"))
    checked = next(node for node in tree.body if isinstance(node, ast.If))
    imports = {a.name: node.module for node in checked.body for a in node.names}
    assert imports == multiview_cifar_tools._MODULES
    assert sorted([*imports, "__version__"]) == multiview_cifar_tools.__all__
    assert {*multiview_cifar_tools.__all__} <= {*dir(multiview_cifar_tools)}


def test_every_public_name_is_there():
    for name, module in multiview_cifar_tools._MODULES.items():
        if module.removeprefix("multiview_cifar_tools.") not in FRAMEWORKS:  # see below
            assert getattr(multiview_cifar_tools, name).__doc__


NEED = {
    "jax": "JaxBatches",
    "torch": "SeededTransform TorchBatches TorchElastic TorchLoader TorchStream",
    "tensorflow": "to_tf_dataset",
}


@pytest.mark.parametrize("framework", NEED)
def test_all_can_be_imported_without_a_framework(framework):
    code = f"""if True:
        import sys
        sys.modules[{framework!r}] = None  # as where it is not installed
        from multiview_cifar_tools import *
        public = {{name for name in dir() if name[0] != "_"}}
        import multiview_cifar_tools as tools
        assert public - {{"sys"}} == {{*tools.__all__}} - {{"__version__"}}, public
        missing = {{*tools._MODULES}} - public
        print(*sorted(missing))
        try:
            getattr(tools, min(missing))
        except ImportError as error:
            print(error)"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    names, hint = done.stdout.splitlines()
    assert names == NEED[framework]
    assert f"multiview-cifar[{framework}]" in hint


def test_no_public_name_is_called_as_a_module():
    """A module that is imported becomes an attribute of its package, in place of the function."""
    modules = {file.stem for file in PACKAGE.iterdir() if file.suffix in ("", ".py")}
    assert not modules & {*multiview_cifar_tools.__all__}


def test_the_script_imports_the_package_only_where_it_is_asked_for_more():
    """The loader of datasets 3 takes an import that begins a line for one that has to be there."""
    text = Path(multiview_cifar.__file__).read_text(encoding="utf-8")
    imports = re.findall(r"^( *)from multiview_cifar_tools(?:\.(\w+))?\S* import (\w+)", text, re.M)
    assert all(indent for indent, _, _ in imports)
    modules = {package or name for _, package, name in imports}
    expected = "conversion metadata pages parent_watch places planning storage"
    assert modules == {*expected.split()}


def test_a_name_that_is_not_there():
    with pytest.raises(AttributeError, match="has no attribute 'BatchWriter'"):
        multiview_cifar_tools.BatchWriter  # noqa: B018


TOOLS = "multiview_cifar_tools"
LIGHT = ["multiview_cifar"] + [
    f"{TOOLS}.{name}"
    for name in (
        "batches.augment",
        "batches.columns",
        "batches.decode",
        "batches.reader",
        "cli.main",
        "elastic",
    )
]


def test_importing_loads_no_framework():
    assert frameworks_loaded_by(*LIGHT, folder=REPOSITORY) == {module: [] for module in LIGHT}


@pytest.mark.parametrize(
    ("modules", "framework"),
    [(["batches.pytorch", "elastic.pytorch"], "torch"), (["batches.jax"], "jax")],
)
def test_each_loads_its_own(modules, framework):
    first, *others = (f"{TOOLS}.{name}" for name in modules)
    loaded = frameworks_loaded_by(first, *others, folder=REPOSITORY)
    assert loaded == {first: [framework], **{module: [] for module in others}}


def test_tensorflow_loads_no_torch():  # TensorFlow itself loads JAX where it finds it
    module = f"{TOOLS}.batches.tensorflow"
    loaded = frameworks_loaded_by(module, folder=REPOSITORY)[module]
    assert {"tensorflow"} <= {*loaded} <= {"tensorflow", "jax"}


def test_the_tests_above_can_fail(tmp_path):
    (tmp_path / "careless.py").write_text("import torch\n")
    (tmp_path / "torch.py").touch()  # as good as the real one, and imported at once
    assert frameworks_loaded_by("careless", folder=tmp_path) == {"careless": ["torch"]}
