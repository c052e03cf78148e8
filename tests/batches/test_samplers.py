"""Samplers: what stands together in a batch, on any number of ranks, gone on with after any."""

import itertools
import json
from collections import Counter

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from multiview_cifar_tools import (
    BalancedSampler,
    BatchError,
    BatchReader,
    ElasticSampler,
    EpisodicSampler,
    PKSampler,
    SizeSampler,
)
from multiview_cifar_tools.batches.decode import decode_image, read_shape
from multiview_cifar_tools.flat_png import flat_png
from pictures import FEATURES, chunk, encoded, exif, make_rows, picture, with_chunk
from sampling import examples

SIZES = [(4, 4), (6, 3), (3, 6)]
ALL_SIZES = datasets.concatenate_datasets([make_rows([2] * 30, size=size) for size in SIZES])


def sized_rows(sizes):
    """A sample of two views for each number, of SIZES[number]; at most 30 of each."""
    left = [[*range(30 * number, 30 * number + 30)] for number in range(3)]
    return ALL_SIZES.select([left[number].pop() for number in sizes])


def epoch_of(make, epoch=0, replicas=1):
    """The batches of each rank in an epoch."""
    ranks = []
    for rank in range(replicas):
        sampler = make(num_replicas=replicas, rank=rank)
        sampler.set_epoch(epoch)
        ranks.append([*sampler])
        assert len(ranks[-1]) == len(sampler)
    return ranks


labels_of_classes = st.lists(st.integers(1, 9), min_size=1, max_size=6).flatmap(
    lambda counts: st.permutations(
        [label for label, count in enumerate(counts) for _ in range(count)]
    )
)


@examples(60)
@given(st.data())
def test_batches_of_classes_and_samples(data):
    labels = data.draw(labels_of_classes)
    counts = Counter(labels)
    samples = data.draw(st.integers(1, max(counts.values())))
    enough = sum(count >= samples for count in counts.values())
    classes = data.draw(st.integers(1, enough))
    replicas, epoch = data.draw(st.integers(1, 3)), data.draw(st.integers(0, 3))

    def make(**ranks):
        options = {"seed": 3, "on_few_samples": "skip_class", **ranks}
        return PKSampler(labels, classes, samples, **options)

    # More batches would need some class twice in one of them.
    groups = [count // samples for count in counts.values()]
    most = max(b for b in range(99) if sum(min(group, b) for group in groups) >= classes * b)
    if most < replicas:
        with pytest.raises(BatchError, match=f"fill {most} batches"):
            make(num_replicas=replicas)
        return
    ranks = epoch_of(make, epoch, replicas)
    assert {len(batches) for batches in ranks} == {most // replicas}
    for batch in itertools.chain(*ranks):
        own = Counter(labels[i] for i in batch)
        assert len(own) == classes and {*own.values()} == {samples}
        assert [labels[i] for i in batch[::samples]] == [*own]  # class by class
    seen = [i for batches in ranks for batch in batches for i in batch]
    assert len(seen) == len({*seen})
    assert ranks == epoch_of(make, epoch, replicas)


@examples(40)
@given(labels_of_classes, st.integers(1, 12), st.integers(1, 3), st.integers(0, 3))
def test_each_class_equally_often(labels, batch_size, replicas, epoch):
    def make(**ranks):
        return BalancedSampler(labels, batch_size, seed=1, **ranks)

    ranks = epoch_of(make, epoch, replicas)
    assert len({len(batches) for batches in ranks}) == 1
    batches = [*itertools.chain(*zip(*ranks, strict=True))]
    assert {len(batch) for batch in batches} == {batch_size}
    seen = [*itertools.chain(*batches)]
    assert len(labels) <= len(seen) < len(labels) + batch_size * replicas
    for chosen, most in [(seen, 1), *((batch, 2) for batch in batches)]:
        counts = Counter({label: 0 for label in labels})
        counts.update(labels[i] for i in chosen)
        assert max(counts.values()) - min(counts.values()) <= most
    for label in {*labels}:  # of a class each sample as often as the others, or once more
        own = Counter({i: 0 for i, other in enumerate(labels) if other == label})
        own.update(i for i in seen if labels[i] == label)
        assert max(own.values()) - min(own.values()) <= 1
    assert ranks == epoch_of(make, epoch, replicas)


@examples(40)
@given(
    st.lists(st.integers(0, 2), min_size=1, max_size=20),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 3),
)
def test_batches_of_one_size(sizes, batch_size, replicas, epoch):
    ds = sized_rows(sizes)

    def make(**ranks):
        return SizeSampler(ds, batch_size, seed=1, **ranks)

    batches = sum(-(-count // batch_size) for count in Counter(sizes).values())
    if len(sizes) < -(-batches // replicas) * replicas:
        with pytest.raises(BatchError, match="cannot share equally"):
            make(num_replicas=replicas)
        return
    ranks = epoch_of(make, epoch, replicas)
    batches = [*itertools.chain(*ranks)]
    assert sorted(itertools.chain(*batches)) == [*range(len(sizes))]
    assert all(len({sizes[i] for i in batch}) == 1 <= len(batch) <= batch_size for batch in batches)
    assert len({len(own) for own in ranks}) == 1
    assert ranks == epoch_of(make, epoch, replicas)


LABELS = [0, 1, 2, 3] * 12
MAKERS = {
    "pk": lambda **ranks: PKSampler(LABELS, 2, 3, seed=5, **ranks),
    "balanced": lambda **ranks: BalancedSampler(LABELS[:-5], 4, seed=5, **ranks),
    "episodic": lambda **ranks: EpisodicSampler(LABELS, 3, 1, 2, seed=5, **ranks),
    "size": lambda **ranks: SizeSampler(sized_rows([0, 1, 0, 0, 2] * 6), 2, seed=5, **ranks),
}


@pytest.mark.parametrize("make", MAKERS.values(), ids=[*MAKERS])
def test_going_on_after_any_batch(make):
    whole = epoch_of(make, 2)[0]
    for done in range(len(whole) + 1):
        sampler = make()
        sampler.set_epoch(2)
        seen = [*itertools.islice(sampler, done)]
        state = json.loads(json.dumps(sampler.state_dict()))
        assert make().state_dict(batches=done) == {**state, "epoch": 0}
        resumed = make()
        resumed.load_state_dict(state)
        resumed.set_epoch(2)  # which it is at: this changes nothing
        assert resumed.epoch == 2 and [*seen, *resumed] == whole
        assert [*resumed] == whole  # a pass after the last batch begins anew
        resumed.load_state_dict(state)
        resumed.set_epoch(1)
        assert [*resumed] == epoch_of(make, 1)[0]


@pytest.mark.parametrize("make", MAKERS.values(), ids=[*MAKERS])
def test_epochs_differ_and_ranks_share(make):
    ranks = epoch_of(make, 1, 2)
    assert ranks != epoch_of(make, 2, 2)
    first, second = make(num_replicas=2), make(num_replicas=2, rank=1)
    next(iter(first)), next(iter(second))
    assert first.state_dict() == second.state_dict()
    resumed = make(num_replicas=2, rank=1)
    resumed.load_state_dict(first.state_dict())
    resumed.set_epoch(0)
    assert [*resumed] == epoch_of(make, 0, 2)[1][1:]


def test_classes_meet_all_others():
    """Each pair of classes in some batch of an epoch, none in all of them."""
    labels = np.repeat(np.arange(12), 120)
    pairs = Counter()
    for batch in PKSampler(labels, 4, 3):
        pairs.update(itertools.combinations(sorted({labels[i] for i in batch}), 2))
    assert len(pairs) == 66
    assert max(pairs.values()) < 30  # on average 10.9


def test_episodes():
    labels = ["cat"] * 9 + ["dog"] * 6 + ["elk"] * 6
    sampler = EpisodicSampler(labels, ways=2, shots=1, queries=2, seed=1)
    assert sampler.support_mask.tolist() == [True] * 2 + [False] * 4
    assert sampler.episode_labels.tolist() == [0, 1, 0, 0, 1, 1]
    reader = BatchReader(make_rows([2] * len(labels)), columns=["sample_id"])
    for batch, numbers in zip(reader.batches(sampler=sampler), sampler, strict=True):
        classes = [labels[numbers[0]], labels[numbers[1]]]
        assert classes[0] != classes[1]
        assert [labels[i] for i in numbers] == [classes[i] for i in sampler.episode_labels]
        support, query = sampler.split(batch)
        assert support["sample_id"] + query["sample_id"] == [f"cat/{i}" for i in numbers]
        assert (len(support["images"]), len(query["view_mask"])) == (2, 4)
        assert np.array_equal(support["images"], batch["images"][sampler.support_mask])
    with pytest.raises(BatchError, match="batch=None is not right"):
        sampler.split(None)
    with pytest.raises(BatchError, match="ragged"):
        sampler.split(BatchReader(reader.dataset, ragged="flat")[[0, 1, 2, 3, 4, 5]])


def test_classes_of_few_samples(fails):
    labels = [7] * 8 + [8] * 2 + [9] * 5
    with fails("BatchError", "1 of 3 classes", "8 (2)", "skip_class", path="8"):
        PKSampler(labels, 2, 3)
    skipping = PKSampler(labels, 2, 3, on_few_samples="skip_class")
    assert {labels[i] for batch in skipping for i in batch} == {7, 9}
    repeating = PKSampler(labels, 3, 3, on_few_samples="repeat")
    (batch,) = repeating
    assert Counter(labels[i] for i in batch) == {7: 3, 8: 3, 9: 3}
    assert {i for i in batch if labels[i] == 8} == {8, 9}
    with fails("BatchError", "support and query at once"):
        EpisodicSampler(labels, 2, 1, 2, on_few_samples="repeat")


def test_labels_of_any_kind():
    ds = make_rows([1] * 8)
    right = [*PKSampler([0, 1] * 4, 2, 2)]
    for labels in (ds["label"], tuple(ds["label"]), np.array(ds["label"], np.uint8)):
        assert [*PKSampler(labels, 2, 2)] == right
    assert [*PKSampler(["a", "b"] * 4, 2, 2)] == right


WRONG = {
    "more classes": (lambda: PKSampler([0, 1, 1, 0], 3, 2), "classes=3", "2 classes", "at most"),
    "more after skipping": (
        lambda: PKSampler([0, 1, 1], 2, 2, on_few_samples="skip_class"),
        "1 classes with 2 samples or more",
    ),
    "more samples": (lambda: PKSampler([0, 1, 1], 1, 3), "0 (1), 1 (2)", "fewer than 3"),
    "more ranks": (lambda: PKSampler([0, 1], 2, 1, num_replicas=2), "1 batches", "2 ranks"),
    "no label": (lambda: PKSampler([0, None, 1], 1, 1), "1 of 3", "samples 1.", "ds.filter"),
    "minus one": (lambda: BalancedSampler([0, -1, -1], 1), "2 of 3", "samples 1, 2.", "ds.filter"),
    "nan": (lambda: BalancedSampler([0.0, float("nan")], 1), "1 of 2"),
    "floats": (lambda: BalancedSampler([0.5, 1.0], 1), "integers or text"),
    "no labels": (lambda: BalancedSampler([], 1), 'ds["label"]'),
    "a text": (lambda: BalancedSampler("label", 1), "labels='label'", 'ds["label"]'),
    "lists": (lambda: BalancedSampler([[0], [1, 2]], 1), 'ds["label"]'),
    "no classes": (lambda: PKSampler([0, 1], 0, 1), "classes=0"),
    "no samples": (lambda: PKSampler([0, 1], 1, 1.5), "samples=1.5"),
    "batch size": (lambda: BalancedSampler([0, 1], 0), "batch_size=0"),
    "seed": (lambda: BalancedSampler([0, 1], 1, seed=-1), "seed=-1"),
    "rank": (lambda: BalancedSampler([0], 1, num_replicas=2, rank=2), "rank=2", "num_replicas=2"),
    "ways": (lambda: EpisodicSampler([0, 1], 0, 1, 1), "ways=0"),
    "queries": (lambda: EpisodicSampler([0, 1], 1, 1, 0), "queries=0"),
    "few": (lambda: PKSampler([0, 1], 1, 1, on_few_samples="skip"), "'skip_class'"),
    "shared": (lambda: SizeSampler(sized_rows([0]), 1, num_replicas=2), "1 samples", "2 ranks"),
    "a path": (lambda: SizeSampler("photos", 1), "load('photos')"),
    "no epoch": (lambda: PKSampler([0], 1, 1).set_epoch(-1), "epoch=-1"),
    "no state": (lambda: PKSampler([0], 1, 1).load_state_dict({}), "state_dict() of a PKSampler"),
    "many batches": (lambda: PKSampler([0], 1, 1).state_dict(2), "batches=2", "at most 1"),
}


@pytest.mark.parametrize(("call", "says"), [(w[0], w[1:]) for w in WRONG.values()], ids=[*WRONG])
def test_wrong_use(call, says, fails):
    with fails("BatchError", *says):
        call()


def test_states_of_others(fails):
    state = PKSampler(LABELS, 2, 3).state_dict()
    with fails("BatchError", "The state has samples=3, and here it is 4"):
        PKSampler(LABELS, 2, 4).load_state_dict(state)
    with fails("BatchError", "The state has labels="):
        PKSampler(LABELS[:-1], 2, 3).load_state_dict(state)
    with fails("BatchError", "The state has sampler='PKSampler'"):
        BalancedSampler(LABELS, 6).load_state_dict(state)
    with fails("BatchError", "The state has 99 batches"):
        PKSampler(LABELS, 2, 3).load_state_dict({**state, "batches": 99})


# --- in a reader ----------------------------------------------------------------------------------


def numbers_in(batches):
    return [[int(name[4:]) for name in batch["sample_id"]] for batch in batches]


def test_a_reader_takes_any_sampler(fails):
    ds = make_rows([2] * 9)
    reader = BatchReader(ds, columns=["sample_id"])
    lists = [[8, 0], [3], range(2, 4)]
    assert numbers_in(reader.batches(sampler=lists)) == [[8, 0], [3], [2, 3]]
    with fails("BatchError", "batch_size=4", "sampler=[[8, 0]"):
        reader.batches(4, sampler=lists)
    with fails("BatchError", "batch_size=None is not right"):
        reader.batches()
    with fails("BatchError", "shuffle=True is given with a sampler"):
        reader.batches(sampler=lists, shuffle=True)
    with fails("BatchError", "sampler=3 is not right"):
        reader.batches(sampler=3)
    with fails("BatchError", "single samples, the first is 4", "BatchSampler"):
        next(reader.batches(sampler=[4, 5]))
    elastic = ElasticSampler(9, 4, seed=1)
    assert numbers_in(reader.batches(sampler=elastic)) == [*elastic]


def test_the_epoch_is_the_samplers(fails):
    ds = make_rows([2] * 9)
    reader = BatchReader(ds, columns=["sample_id"], augment=add_noise)
    sampler = BalancedSampler(ds["label"], 4)
    sampler.set_epoch(2)
    first = [*reader.batches(sampler=sampler)]
    assert numbers_in(first) == [*sampler]
    for batch, numbers in zip(first, sampler, strict=True):
        assert np.array_equal(batch["images"], reader.read(numbers, 2)["images"])
    reader.set_epoch(2)
    assert numbers_in(reader.batches(sampler=sampler)) == numbers_in(first)
    reader.set_epoch(3)
    with fails("BatchError", "reader is at epoch 3", "sampler.set_epoch(3)"):
        reader.batches(sampler=sampler)


def test_views_of_an_epoch_whatever_the_sampler():
    """What is drawn for a sample follows from the epoch, not from what stands beside it."""
    ds = make_rows([4] * 9)
    reader = BatchReader(ds, columns=["sample_id"], num_views=2, view_sampling="random")
    for epoch in range(2):
        right = {i: reader.read([i], epoch)["images"][0] for i in range(9)}
        for sampler in (PKSampler(ds["label"], 2, 2), SizeSampler(ds, 4)):
            sampler.set_epoch(epoch)
            for batch in reader.batches(sampler=sampler):
                for i, images in zip(*numbers_in([batch]), batch["images"], strict=True):
                    assert np.array_equal(images, right[i])


def add_noise(images, seeds):
    return images + (seeds % 256).astype(np.uint8)[:, None, None, None]


# --- sizes of images ------------------------------------------------------------------------------


def test_a_sample_of_two_sizes(fails):
    ds = sized_rows([0, 1])
    both = [row["images"][0] for row in ds]
    rows = datasets.Dataset.from_dict(
        {"images": [both], "label": [0], "sample_id": ["cat/2"], "view_names": [["0", "1"]]},
        features=FEATURES,
    )
    with fails("BatchError", "cat/2", "(4, 4, 3)", "(3, 6, 3)", "image_size", path="cat/2"):
        SizeSampler(rows, 2)


def test_sizes_are_counted(tmp_path):
    ds = sized_rows([0, 1, 0, 2]).select([3, 0, 2, 1, 1])
    sampler = SizeSampler(ds, 2)
    assert sampler.sizes == {(6, 3, 3, "uint8"): 1, (4, 4, 3, "uint8"): 2, (3, 6, 3, "uint8"): 2}
    reader = BatchReader(ds)
    shapes = [batch["images"].shape for batch in reader.batches(sampler=sampler)]
    assert sorted(shapes) == [(1, 2, 6, 3, 3), (2, 2, 3, 6, 3), (2, 2, 4, 4, 3)]
    assert SizeSampler(make_rows([[None], [True]]), 1).sizes[None] == 1
    (tmp_path / "a.png").write_bytes(encoded(picture("L", (5, 7))))
    paths = {"images": [[str(tmp_path / "a.png")]], "label": [0]}
    features = datasets.Features({name: FEATURES[name] for name in paths})
    ds = datasets.Dataset.from_dict(paths, features=features)
    assert [*SizeSampler(ds, 1).sizes] == [(7, 5, 1, "uint8")]


def test_no_header(fails):
    ds = make_rows([1, 1], encode=lambda image: b"no image")
    with fails("BatchError", "view 0 of cat/0", "verify", path="cat/0"):
        SizeSampler(ds, 1)


PHOTO = picture("RGB", (5, 7))
TURNED = encoded(PHOTO, exif=exif(6))
LATE_EXIF = encoded(PHOTO)[:-12] + chunk(b"eXIf", exif(6).tobytes()[6:]) + encoded(PHOTO)[-12:]
FILES = {
    **{f"png {mode}": encoded(picture(mode, (5, 7))) for mode in ("L", "RGB", "RGBA", "I;16")},
    **{f"flat {mode}": flat_png(picture(mode, (5, 7))) for mode in ("L", "RGB", "RGBA", "I;16")},
    **{f"tiff {mode}": encoded(picture(mode, (5, 7)), "tiff") for mode in ("I", "F", "I;16")},
    **{f"{kind}": encoded(PHOTO, kind) for kind in ("jpeg", "webp", "gif", "bmp", "jpeg2000")},
    "png 1": encoded(PHOTO.convert("1")),
    "png LA": encoded(PHOTO.convert("LA")),
    "png P": encoded(PHOTO.convert("P")),
    "png P transparent": encoded(PHOTO.convert("P"), transparency=0),
    "png RGB transparent": encoded(PHOTO, transparency=(1, 2, 3)),
    "png text": with_chunk(encoded(PHOTO), b"tEXt", b"a\0b"),
    "png turned": TURNED,
    "png turned at the end": LATE_EXIF,
    "jpeg grey": encoded(PHOTO.convert("L"), "jpeg"),
    "jpeg CMYK": encoded(PHOTO.convert("CMYK"), "jpeg"),
    "jpeg turned": encoded(PHOTO, "jpeg", exif=exif(8)),
    "jpeg mirrored": encoded(PHOTO, "jpeg", exif=exif(2)),
    "jpeg of a long header": encoded(PHOTO, "jpeg", comment=b"a" * 65000, exif=exif(6)),
    "tiff turned": encoded(PHOTO, "tiff", exif=exif(6)),
    "large tiff": encoded(picture("RGB", (200, 300)), "tiff"),
    "webp turned": encoded(PHOTO, "webp", exif=exif(6)),
}


@pytest.mark.parametrize("keep_indices", [False, True])
@pytest.mark.parametrize("data", FILES.values(), ids=[*FILES])
def test_headers_say_what_decoding_gives(data, keep_indices):
    pixels = decode_image(data, keep_indices=keep_indices)
    shape = read_shape(memoryview(data), keep_indices)
    assert shape == (*pixels.shape, pixels.dtype.name)
