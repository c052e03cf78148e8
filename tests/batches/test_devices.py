"""Batches on their way to a device: pinned, copied while others are read, channels last."""

import importlib.util
import sys

import pytest
import torch
from torch.utils.data import DataLoader

from conftest import REPOSITORY
from multiview_cifar_tools import TorchBatches
from multiview_cifar_tools.flat_png import flat_png
from pictures import make_rows, png

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device")
DEVICES = ["cpu", pytest.param("cuda", marks=needs_cuda)]


def copy_dense(batches):
    """The recipe of docs/training.md."""
    return {**batches[0], "images": batches[0]["images"].clone()}


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize("device", DEVICES)
def test_batches_are_copied_to_a_device(device, encode):
    data = TorchBatches(make_rows([2] * 6, encode))
    seen = 0
    for batch in DataLoader(data, batch_size=4, pin_memory=device == "cuda"):
        copied = {name: values.to(device, non_blocking=True) for name, values in batch.items()}
        right = data[range(seen, seen + len(batch["label"]))]
        assert copied["images"].device.type == device
        assert all(torch.equal(copied[name].cpu(), right[name]) for name in right)
        seen += len(batch["label"])


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize("options", [{}, {"dtype": torch.float32}, {"contiguous": True}])
def test_models_in_channels_last(encode, options):
    images = TorchBatches(make_rows([2] * 4, encode, size=(8, 9)), **options)[:]["images"]
    flat = images.flatten(0, 1)  # (B * V, C, H, W), without a copy
    assert flat.data_ptr() == images.data_ptr()
    last = flat.contiguous(memory_format=torch.channels_last)
    assert last.is_contiguous(memory_format=torch.channels_last) and torch.equal(last, flat)
    if "dtype" in options:  # a conversion leaves them so
        assert last.data_ptr() == images.data_ptr()
    model = torch.nn.Conv2d(3, 5, 3).to(memory_format=torch.channels_last)
    plain = torch.nn.functional.conv2d(flat.float().contiguous(), model.weight, model.bias)
    assert torch.allclose(model(last.float()), plain, rtol=1e-3, atol=1e-3)


def test_flat_png_without_gaps():
    """As a device takes them: else they would be copied once more before they can be sent."""
    data = TorchBatches(make_rows([2] * 4, flat_png, size=(8, 8)))
    (batch,) = DataLoader(data, batch_size=4, collate_fn=copy_dense)
    images = batch["images"].flatten(0, 1)
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert not data[:]["images"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(batch["images"], data[:]["images"])


@needs_cuda
@pytest.mark.parametrize("workers", [0, 2])
def test_pinned(workers):
    data = TorchBatches(make_rows([2] * 4), columns=["label", "sample_id"])
    loader = DataLoader(
        data, batch_size=2, num_workers=workers, pin_memory=True, collate_fn=copy_dense
    )
    for batch in loader:
        assert batch["images"].is_pinned() and batch["label"].is_pinned()
        assert batch["images"].flatten(0, 1).is_contiguous(memory_format=torch.channels_last)
        assert isinstance(batch["sample_id"][0], str)


def test_the_example_runs(capsys, monkeypatch, tmp_path):
    path = REPOSITORY / "examples/keep_gpu_busy.py"
    spec = importlib.util.spec_from_file_location("keep_gpu_busy", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    options = ["--device", "cpu", "--batch-size", "2", "--steps", "2", "--workers", "0"]
    monkeypatch.setattr(sys, "argv", ["keep_gpu_busy.py", *options])
    module.main()
    shown = capsys.readouterr().out
    assert "on cpu" in shown and "busy" in shown
