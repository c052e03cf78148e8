"""The three loaders people write themselves, and the line that replaces each: the same samples.

They list folders with `os.listdir`, in the file system's order: samples are compared by name.
"""

import os

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

import multiview_cifar
from multiview_cifar_tools.batches.pytorch import TorchBatches
from multiview_cifar_tools.batches.reader import BatchReader

SIZE = (8, 10)  # (height, width)


@pytest.fixture
def photos(tmp_path):
    """Three classes of four samples of three smooth views, each sample of another size."""
    for c in range(3):
        for s in range(4):
            folder = tmp_path / "photos" / f"class_{c}" / f"{s:03d}"
            folder.mkdir(parents=True)
            for v in range(3):
                small = np.random.default_rng([c, s, v]).integers(0, 256, (3, 3, 3), np.uint8)
                image = Image.fromarray(small).resize((20 + s, 16 + s), Image.Resampling.BICUBIC)
                image.save(folder / f"view_{v}.png")
    return str(tmp_path / "photos")


@pytest.fixture
def rows(photos, tmp_path):
    """The first half of the line that replaces each of them."""
    return multiview_cifar.load_dataset(
        data_dir=photos,
        split="train",
        image_size=SIZE,
        mode="RGB",
        encoding="flat_png",
        cache_dir=str(tmp_path / "cache"),
    )


def list_samples(root):
    """(folder, files, label) of each sample, in the order that `os.listdir` happens to have."""
    classes = sorted(os.listdir(root))
    return [
        (folder, [os.path.join(folder, name) for name in sorted(os.listdir(folder))], label)
        for label, class_name in enumerate(classes)
        for sample in os.listdir(os.path.join(root, class_name))
        for folder in [os.path.join(root, class_name, sample)]
    ]


def read_views(files):
    """(V, H, W, C) uint8."""
    return np.stack(
        [
            np.asarray(Image.open(file).convert("RGB").resize(SIZE[::-1], Image.Resampling.BICUBIC))
            for file in files
        ]
    )


def by_content(batches):
    """{the images' bytes: label} over all batches of (images (B, V, H, W, C), labels (B,))."""
    return {
        np.ascontiguousarray(sample).tobytes(): int(label)
        for images, labels in batches
        for sample, label in zip(images, labels, strict=True)
    }


# --- PyTorch --------------------------------------------------------------------------------------


class FolderDataset(Dataset):
    def __init__(self, root, transform):
        self.samples, self.transform = list_samples(root), transform

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, i):
        _, files, label = self.samples[i]
        views = [self.transform(image) for image in read_views(files)]
        return torch.stack(views), label


def normalise(image):
    return (torch.from_numpy(image).permute(2, 0, 1).float() / 255 - 0.5) / 0.25


def test_a_folder_dataset_of_pytorch(photos, rows):
    theirs = DataLoader(FolderDataset(photos, normalise), batch_size=5, shuffle=True)
    ours = DataLoader(
        TorchBatches(rows, dtype=torch.float32, mean=[0.5] * 3, std=[0.25] * 3),
        batch_size=5,
        shuffle=True,
    )
    right = [(images, label) for batch in theirs for images, label in zip(*batch, strict=True)]
    found = [
        (images, label)
        for batch in ours
        for images, label in zip(batch["images"], batch["label"], strict=True)
    ]
    assert len(found) == len(right) == 12
    for images, label in right:
        (match,) = [other for other in found if torch.allclose(other[0], images, atol=1e-5)]
        assert match[1] == label
    assert found[0][0].shape == right[0][0].shape
    assert found[0][0].dtype == right[0][0].dtype


# --- NumPy ----------------------------------------------------------------------------------------


def load_in_memory(root):
    samples = list_samples(root)
    images = np.stack([read_views(files) for _, files, _ in samples])
    return images, np.array([label for *_, label in samples])


def shuffled_batches(images, labels, batch_size, seed):
    order = np.random.default_rng(seed).permutation(len(images))
    for at in range(0, len(order), batch_size):
        chosen = order[at : at + batch_size]
        yield images[chosen], labels[chosen]


def test_all_in_memory_with_numpy(photos, rows):
    right = by_content(shuffled_batches(*load_in_memory(photos), 5, 0))
    assert len(right) == 12
    batches = list(BatchReader(rows, seed=0).batches(5, shuffle=True))
    assert by_content((batch["images"], batch["label"]) for batch in batches) == right
    arrays = BatchReader(rows).to_arrays()
    assert by_content([(arrays["images"], arrays["label"])]) == right
    assert [len(batch["label"]) for batch in batches] == [5, 5, 2]


# --- TensorFlow -----------------------------------------------------------------------------------


def tensorflow_pipeline(root, batch_size):
    import tensorflow as tf

    def load_view(file):
        image = tf.io.decode_png(tf.io.read_file(file), channels=3)
        image = tf.image.resize(image, SIZE, "bicubic", antialias=True)
        return tf.cast(tf.clip_by_value(tf.round(image), 0, 255), tf.uint8)

    def load(files, label):
        return tf.map_fn(load_view, files, fn_output_signature=tf.uint8), label

    _, files, labels = zip(*list_samples(root), strict=True)
    data = tf.data.Dataset.from_tensor_slices((list(files), list(labels)))
    return data.shuffle(len(files)).map(load).batch(batch_size).prefetch(tf.data.AUTOTUNE)


def test_slices_and_map_of_tensorflow(photos, rows):
    from multiview_cifar_tools.batches.tensorflow import to_tf_dataset

    def samples(batches):
        return [
            (images.astype(int), label)
            for batch in batches
            for images, label in zip(*(tensor.numpy() for tensor in batch), strict=True)
        ]

    right = samples(tensorflow_pipeline(photos, 5))
    data = to_tf_dataset(rows, 5, shuffle=True)
    found = samples((batch["images"], batch["label"]) for batch in data)
    assert len(found) == len(right) == 12
    for images, label in right:  # TensorFlow's bicubic is not quite Pillow's
        (match,) = [other for other in found if np.abs(other[0] - images).mean() < 2]
        assert match[1] == label
