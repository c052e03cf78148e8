"""The batches of `train.py` with this project, which builds the folder first."""

import numpy as np
import torch

from multiview_cifar import load_dataset
from multiview_cifar_tools import TorchLoader


def load_batches(folder, train, test, num_views, size, num_workers):
    rows = load_dataset(
        data_dir=folder,
        split="train",
        num_views=num_views,
        view_sampling="first",
        mode="RGB",
        image_size=(size, size),
        encoding="flat_png",
        num_proc=num_workers or None,
    )
    loaders = []
    for samples in (train, test):
        chosen = rows.select(np.flatnonzero(np.isin(rows["sample_id"], samples)))
        options = {"shuffle": samples is train, "dtype": torch.float32}
        loaders.append(TorchLoader(chosen, 16, columns=["label"], **options))
    return loaders
