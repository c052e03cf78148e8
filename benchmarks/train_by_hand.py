"""The batches of `train.py` as people write them: listdir, Pillow, resize, stack, DataLoader."""

import os
import re

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset


def natural(name):
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]


def list_folder(folder, keep):
    paths = [os.path.join(folder, name) for name in sorted(os.listdir(folder), key=natural)]
    return [path for path in paths if keep(path)]


class Photos(Dataset):
    def __init__(self, folder, samples, num_views, size):
        self.size = size
        self.samples = []
        for label, class_folder in enumerate(list_folder(folder, os.path.isdir)):
            for sample in list_folder(class_folder, os.path.isdir):
                views = list_folder(sample, lambda path: path.endswith((".png", ".jpg")))
                if os.path.relpath(sample, folder) in samples:
                    self.samples.append((views[:num_views], label))

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        files, label = self.samples[index]
        views = []
        for file in files:
            with Image.open(file) as image:
                views.append(np.asarray(image.convert("RGB").resize((self.size, self.size))))
        images = torch.from_numpy(np.stack(views)).permute(0, 3, 1, 2)  # (V, 3, H, W)
        return {"images": images.float() / 255, "label": label}


def load_batches(folder, train, test, num_views, size, num_workers):
    options = {"batch_size": 16, "num_workers": num_workers}
    train_set = Photos(folder, train, num_views, size)
    test_set = Photos(folder, test, num_views, size)
    return DataLoader(train_set, shuffle=True, **options), DataLoader(test_set, **options)
