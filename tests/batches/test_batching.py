"""BatchReader: rows as arrays, the pixels those that Pillow reads, however they are stored."""

import io
import pickle
import zlib

import datasets
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import multiview_cifar
from multiview_cifar_tools.batches import columns
from multiview_cifar_tools.batches.reader import BatchError, BatchReader
from multiview_cifar_tools.flat_png import flat_png
from pictures import FEATURES, encoded, expected, make_rows, picture, png
from sampling import examples


def check(reader, ds, samples):
    """That a padded batch holds just what `datasets` decodes."""
    batch = reader[samples]
    for i, row in enumerate(expected(ds, samples)):
        for v in range(batch["images"].shape[1]):
            view = row[v] if v < len(row) else None
            assert batch["view_mask"][i, v] == (view is not None)
            assert view is None or batch["images"].dtype == view.dtype
            assert np.array_equal(
                batch["images"][i, v], 0 * batch["images"][i, v] if view is None else view
            )
    assert batch["images"].dtype.isnative and batch["images"].dtype in (np.uint8, np.uint16)
    assert batch["view_mask"].dtype == np.bool_
    assert batch["label"].dtype == np.int64
    assert batch["label"].tolist() == [ds[i]["label"] for i in samples]
    assert batch["sample_id"] == [ds[i]["sample_id"] for i in samples]
    assert batch["view_names"] == [ds[i]["view_names"] for i in samples]


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize(
    ("mode", "size"),
    [
        ("RGB", (5, 4)),
        ("L", (1, 1)),
        ("RGBA", (3, 7)),
        ("RGB", (150, 160)),
        ("I;16", (5, 4)),
        ("I;16", (1, 1)),
        ("I;16", (150, 221)),
    ],
)
def test_pixels(encode, mode, size):
    ds = make_rows([2] * 7, encode, mode, size)
    check(BatchReader(ds), ds, [6, 0, 3, 3, -1])


@pytest.mark.parametrize("encode", [flat_png, png])
def test_rows_of_others(encode):
    """Their only column of image lists is taken, and there is no label."""
    ds = make_rows([2] * 3, encode)
    others = ds.rename_column("images", "shots").select_columns(["shots"])
    batch = BatchReader(others)[[2, 0]]
    assert set(batch) == {"images", "view_mask"}
    assert np.array_equal(batch["images"], BatchReader(ds)[[2, 0]]["images"])


def test_two_columns_of_images_and_none_called_so(fails):
    left, right = (make_rows([1]).rename_column("images", name) for name in ("left", "right"))
    ds = datasets.concatenate_datasets([left, right.select_columns(["right"])], axis=1)
    assert BatchReader(ds, "right")[[0]]["images"].shape == (1, 1, 4, 5, 3)
    with fails("BatchError", "no column 'images'", "['left', 'right']", path="images"):
        BatchReader(ds)


@pytest.mark.skipif(datasets.__version__.startswith("3."), reason="3.x breaks such columns itself")
def test_lists_of_a_fixed_length():
    ds = make_rows([2] * 3)
    fixed = ds.cast_column("images", datasets.Sequence(datasets.Image(), length=2))
    found = BatchReader(fixed.select(range(1, 3)))[[1, 0]]
    assert np.array_equal(found["images"], BatchReader(ds)[[2, 1]]["images"])


def test_flat_images_are_not_decoded(monkeypatch):
    ds = make_rows([2] * 4)
    deep = make_rows([2] * 4, mode="I;16")
    monkeypatch.setattr("multiview_cifar_tools.batches.columns.decode_image", None)
    assert BatchReader(ds)[[2, 1]]["images"].shape == (2, 2, 4, 5, 3)
    assert BatchReader(deep)[[2, 1]]["images"].shape == (2, 2, 4, 5, 1)
    with pytest.raises(BatchError):
        BatchReader(make_rows([2] * 4, png))[[2, 1]]


@pytest.mark.parametrize("encode", [flat_png, png])
@pytest.mark.parametrize(
    "views", [[2, 3, 1], [2, [True, None], 0], [[None], [None, None]], [[None, True]] * 3]
)
def test_samples_that_differ_in_views(encode, views):
    ds = make_rows(views, encode)
    for reader in (BatchReader(ds), BatchReader(ds, num_views=5)):
        if any(any(row or ()) for row in ds["images"]):
            check(reader, ds, list(range(len(views))))
        else:
            assert not reader[[0, 1]]["view_mask"].any()


@pytest.mark.parametrize("encode", [flat_png, png])
def test_ragged_flat_and_list(encode):
    ds = make_rows([2, [True, None, True], 1], encode)
    samples = [1, 2, 0]
    rows = expected(ds, samples)
    flat = BatchReader(ds, ragged="flat")[samples]
    assert flat["offsets"].tolist() == [0, 3, 4, 6]
    assert flat["view_mask"].tolist() == [True, False, True, True, True, True]
    views = [view for row in rows for view in row]
    for view, array in zip(views, flat["images"], strict=True):
        assert not array.any() if view is None else np.array_equal(view, array)
    listed = BatchReader(ds, ragged="list")[samples]
    assert [len(images) for images in listed["images"]] == [3, 1, 2]
    assert np.array_equal(np.concatenate(listed["images"]), flat["images"])
    assert np.array_equal(np.concatenate(listed["view_mask"]), flat["view_mask"])


@pytest.mark.parametrize("encode", [flat_png, png])
def test_selections_shuffles_and_concatenations(encode):
    ds = make_rows([2] * 9, encode)
    other = make_rows([2] * 5, png)
    for view in (
        ds.select([7, 1, 4]),
        ds.select(range(3, 7)),
        ds.shuffle(seed=3),
        ds.filter(lambda row: row["label"] == 1),
        datasets.concatenate_datasets([ds.select(range(4)), other, ds.shuffle(seed=1)]),
    ):
        check(BatchReader(view), view, list(range(len(view)))[::-1])


@pytest.mark.parametrize("batch_rows", [1, 2, 100])
def test_built_and_through_parquet(make_tree, tmp_path, batch_rows):
    tree = make_tree(*(f"cat/{i}/{v}.png" for i in range(5) for v in range(3)))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree),
        split="train",
        encoding="flat_png",
        cache_dir=str(tmp_path / "cache"),
        writer_batch_size=batch_rows,
    )
    check(BatchReader(ds), ds, [4, 0, 2])
    raw = ds.cast_column("images", datasets.Sequence(datasets.Image(decode=False)))
    raw.to_parquet(str(tmp_path / "rows.parquet"))
    again = datasets.load_dataset(
        "parquet",
        data_files=str(tmp_path / "rows.parquet"),
        split="train",
        cache_dir=str(tmp_path / "cache"),
        features=ds.features,
    )
    check(BatchReader(again), again, [4, 0, 2])


def test_view_labels_and_numbers_are_arrays():
    features = multiview_cifar.row_features(["images"], ["cat"], ["front", "side"])
    views = [["front", None, "side"], ["side"]]
    ds = datasets.Dataset.from_dict(
        {
            "images": [
                [v and {"bytes": png(picture("L", (2, 2))), "path": None} for v in row]
                for row in views
            ],
            "label": [None, 0],
            "sample_id": ["a", "b"],
            "view_names": [["0", None, "1"], ["1"]],
            "view_labels": views,
        },
        features=features,
    ).add_column("age", [0.5, 1.5])
    padded = BatchReader(ds)[[1, 0]]
    assert padded["view_labels"].tolist() == [[1, -1, -1], [0, -1, 1]]
    assert padded["label"].tolist() == [0, -1]
    assert padded["age"].tolist() == [1.5, 0.5]
    flat = BatchReader(ds, ragged="flat")[[1, 0]]
    assert flat["view_labels"].tolist() == [1, 0, -1, 1]
    listed = BatchReader(ds, ragged="list")[[1, 0]]
    assert [labels.tolist() for labels in listed["view_labels"]] == [[1], [0, -1, 1]]


def test_images_by_path(tmp_path):
    files = [tmp_path / f"{i}.png" for i in range(3)]
    for i, file in enumerate(files):
        picture("RGB", (5, 4), i).save(file)
    lists = [
        [{"bytes": None, "path": str(files[0])}, None],
        [{"bytes": files[1].read_bytes(), "path": None}, {"bytes": None, "path": str(files[2])}],
    ]
    ds = datasets.Dataset.from_dict(
        {"images": lists}, features=datasets.Features({"images": FEATURES["images"]})
    )
    batch = BatchReader(ds)[[0, 1]]
    assert batch["view_mask"].tolist() == [[True, False], [True, True]]
    for i, image in enumerate(batch["images"][batch["view_mask"]]):
        assert np.array_equal(image, np.asarray(picture("RGB", (5, 4), i)))


# --- epochs and the whole set ---------------------------------------------------------------------


def test_an_epoch_of_batches():
    ds = make_rows([2] * 10)
    reader = BatchReader(ds, seed=3)
    orders = []
    for epoch in (0, 1, 0):
        reader.set_epoch(epoch)
        batches = list(reader.batches(4, shuffle=True))
        assert [len(batch["label"]) for batch in batches] == [4, 4, 2]
        orders.append([name for batch in batches for name in batch["sample_id"]])
        for batch in batches:
            for name, images in zip(batch["sample_id"], batch["images"], strict=True):
                assert np.array_equal(images, expected(ds, [int(name[4:])])[0])
    assert sorted(orders[0]) == sorted(ds["sample_id"])
    assert orders[0] == orders[2] != orders[1]
    assert len(list(reader.batches(4, drop_last=True))) == 2
    assert [b["sample_id"][0] for b in reader.batches(5)] == ["cat/0", "cat/5"]


@pytest.mark.parametrize("mapped", [False, True])
@pytest.mark.parametrize("encode", [flat_png, png])
def test_the_whole_set(encode, mapped, tmp_path):
    ds = make_rows([2, [True, None, True], 1] * 30, encode).select(range(1, 90))
    file = tmp_path / "images.npy" if mapped else None
    arrays = BatchReader(ds).to_arrays(memmap=file)
    assert arrays["images"].shape == (89, 3, 4, 5, 3)
    assert isinstance(arrays["images"], np.memmap) == mapped
    for i, row in enumerate(expected(ds, range(89))):
        views = row + [None] * (3 - len(row))
        assert arrays["view_mask"][i].tolist() == [view is not None for view in views]
        for view, array in zip(views, arrays["images"][i], strict=True):
            assert not array.any() if view is None else np.array_equal(view, array)
    assert arrays["label"].tolist() == list(ds["label"])
    assert arrays["sample_id"] == list(ds["sample_id"])
    if mapped:
        assert [path.name for path in tmp_path.iterdir()] == ["images.npy"]
        assert np.array_equal(np.load(file), arrays["images"])


def test_a_whole_set_that_is_no_array(fails, tmp_path):
    rows = datasets.concatenate_datasets([make_rows([1] * 70), make_rows([1], size=(6, 6))])
    with fails("BatchError", "cat/0", "cat/0", "(6, 6, 3)", "image_size=(4, 5)"):
        BatchReader(rows).to_arrays(memmap=tmp_path / "images.npy")
    assert not (tmp_path / "images.npy").exists()
    with fails("BatchError", "ragged='flat'", 'ragged="pad"'):
        BatchReader(rows, ragged="flat").to_arrays()
    with fails("BatchError", "0 samples"):
        BatchReader(rows.select([])).to_arrays()


# --- the images' own type ------------------------------------------------------------------------


def tiff(image):
    return encoded(image, "tiff")


@pytest.mark.parametrize("views", [[2, 2], [1, [True, None, True]]])
@pytest.mark.parametrize(
    ("mode", "encode", "dtype"),
    [
        ("I", tiff, np.int32),
        ("F", tiff, np.float32),
        ("I;16", tiff, np.uint16),
        ("I;16", flat_png, np.uint16),
    ],
)
def test_deep_grey_keeps_its_values(mode, encode, dtype, views):
    ds = make_rows(views, encode, mode)
    batch, arrays = BatchReader(ds)[[1, 0]], BatchReader(ds).to_arrays()
    assert batch["images"].dtype == arrays["images"].dtype == dtype
    for images, rows in (
        (batch["images"], expected(ds, [1, 0])),
        (arrays["images"], expected(ds, [0, 1])),
    ):
        for row, real in zip(rows, images, strict=True):
            for view, pixels in zip(row, real, strict=False):
                assert np.array_equal(pixels, 0 * pixels if view is None else view)


def palette(image):
    return encoded(image.quantize(16))


def test_palettes_are_colours_in_images_and_indices_in_masks():
    ds = make_rows([2, 1], palette)
    rows = ds.to_dict()["images"]
    ds = ds.add_column("masks", rows, feature=FEATURES["images"])
    right = [[Image.open(io.BytesIO(view["bytes"])) for view in row] for row in rows]
    colours, masks = BatchReader(ds)[[0]]["images"], BatchReader(ds, "masks")[[0]]["images"]
    assert np.array_equal(colours[0], [np.asarray(view.convert("RGB")) for view in right[0]])
    assert np.array_equal(masks[0, ..., 0], [np.asarray(view) for view in right[0]])
    others = ds.remove_columns("masks").rename_column("images", "pictures")
    assert np.array_equal(BatchReader(others, "pictures")[[0]]["images"], colours)


# --- what only looks flat -------------------------------------------------------------------------


@examples(50)
@given(st.data())
def test_a_changed_file_never_gives_wrong_pixels(data):
    size = data.draw(st.sampled_from([(5, 4), (1, 3), (150, 150)]))
    mode, light = data.draw(st.sampled_from([("RGB", "white"), ("I;16", 0xFFFF)]))
    good = flat_png(picture(mode, size, 1))
    # All that is no pixel: the head, what stands between the rows, checksums and end.
    black, white = (flat_png(Image.new(mode, size, colour)) for colour in (0, light))
    kept = [i for i in range(len(good)) if black[i] == white[i] or i >= len(good) - 20]
    at = data.draw(st.sampled_from(kept))
    bad = bytearray(good)
    bad[at] ^= data.draw(st.integers(1, 255))
    files = [[flat_png(picture(mode, size, 0))], [bytes(bad)]]
    ds = datasets.Dataset.from_dict(
        {"images": [[{"bytes": f, "path": None} for f in row] for row in files]},
        features=datasets.Features({"images": FEATURES["images"]}),
    )
    try:
        _, got = BatchReader(ds)[[0, 1]]["images"]
    except BatchError as error:
        assert error.path == "row 1"  # noqa: PT017
        return
    try:
        with Image.open(io.BytesIO(bytes(bad))) as image:
            right = np.asarray(image)
    except Exception:  # Pillow refuses a wrong checksum, and the pixels are the good file's
        right = np.asarray(picture(mode, size, 1))
    assert np.array_equal(got[0], right.reshape(got[0].shape))


# --- checksums ------------------------------------------------------------------------------------


def damaged(files, row, view, at):
    """Rows of flat files, lists of (mode, size), of which one has another byte at that place."""
    rows = [
        [flat_png(picture(*kind, seed=9 * i + v)) for v, kind in enumerate(views)]
        for i, views in enumerate(files)
    ]
    bad = bytearray(rows[row][view])
    bad[at] ^= 4
    rows[row][view] = bytes(bad)
    return datasets.Dataset.from_dict(
        {"images": [[{"bytes": data, "path": None} for data in views] for views in rows]},
        features=datasets.Features({"images": FEATURES["images"]}),
    )


KINDS = [("RGB", (5, 4)), ("L", (1, 3)), ("RGB", (150, 150)), ("I;16", (5, 4))]
PLACES = {"pixel": 54, "Adler-32": -17, "CRC-32": -13}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", PLACES)
@pytest.mark.parametrize("views", [(2, 2, 2), (2, 3, 1)])
def test_checksums_are_compared(kind, at, views, fails, caplog):
    place = 49 if kind == ("L", (1, 3)) and at == "pixel" else PLACES[at]
    ds = damaged([[kind] * count for count in views], 1, 1, place)
    assert BatchReader(ds)[[0, 1, 2]]["view_mask"].sum() == sum(views)  # not compared
    reader = BatchReader(ds, verify_checksums=True)
    for _ in range(2):
        with fails("BatchError", "View 1 of row 1 cannot be decoded", "checksum", path="row 1"):
            reader[[2, 1, 1]]
    rest = reader[[2, 0]]["images"]
    assert np.array_equal(rest, BatchReader(ds)[[2, 0]]["images"])
    batch = BatchReader(ds, verify_checksums=True, on_error="skip_view")[[0, 1, 2]]
    assert batch["view_mask"].sum(1).tolist() == [views[0], views[1] - 1, views[2]]
    assert not batch["images"][1, 1].any()
    assert "View 1 of row 1" in caplog.text


def test_checksums_are_compared_once_a_row(monkeypatch):
    ds = make_rows([2] * 4)
    reader = BatchReader(ds, verify_checksums=True)
    compared = []
    monkeypatch.setattr(
        columns, "find_wrong_checksum", lambda file, layout: compared.append(file.tobytes())
    )
    for samples in ([0, 1], [1, 1, 2], [3, 0], [0, 1, 2, 3]):
        reader[samples]
    assert len(compared) == len({*compared}) == 8


def test_checksums_of_flat_files_among_others(fails):
    """Of several sizes: each is decoded by itself, and Pillow would take a wrong CRC."""
    ds = damaged([[("RGB", (5, 4))], [("RGB", (4, 4))], [("RGB", (4, 5))]], 1, 0, -13)
    assert BatchReader(ds)[[1]]["view_mask"].all()
    with fails("BatchError", "View 0 of row 1", "CRC-32"):
        BatchReader(ds, verify_checksums=True)[[1]]


@pytest.mark.parametrize(("mode", "width"), [("L", 65535), ("RGB", 21846), ("I;16", 32768)])
def test_images_wider_than_a_block(mode, width):
    """Their rows are cut anywhere, so that no stride finds them; black margins hid that."""
    image = Image.new(mode, (width, 2))
    image.paste(picture(mode, (100, 2)), (100, 0))
    ds = datasets.Dataset.from_dict(
        {"images": [[{"bytes": flat_png(image), "path": None}]]},
        features=datasets.Features({"images": FEATURES["images"]}),
    )
    assert np.array_equal(BatchReader(ds)[[0]]["images"][0, 0], expected(ds, [0])[0][0])


def test_one_image_that_is_not_flat_but_as_long():
    flat, other = flat_png(picture("RGB", (20, 20))), png(Image.new("RGB", (20, 20), "red"))
    text = b"tEXtx\0" + b"y" * (len(flat) - len(other) - 14)  # a chunk that makes up the length
    chunk = (len(text) - 4).to_bytes(4, "big") + text + zlib.crc32(text).to_bytes(4, "big")
    other = other[:-12] + chunk + other[-12:]
    assert len(other) == len(flat)
    ds = datasets.Dataset.from_dict(
        {"images": [[{"bytes": file, "path": None}] for file in (flat, other, flat)]},
        features=datasets.Features({"images": FEATURES["images"]}),
    )
    reader = BatchReader(ds)
    for samples in ([0, 2], [0, 1, 2], [1, 0], [2, 0]):
        images = reader[samples]["images"]
        for row, image in zip(expected(ds, samples), images, strict=True):
            assert np.array_equal(row[0], image[0])


# --- errors ---------------------------------------------------------------------------------------


def test_sizes_that_differ_name_both_samples(fails):
    rows = datasets.concatenate_datasets([make_rows([1]), make_rows([1, 1], png, size=(6, 6))])
    with fails("BatchError", "cat/0", "(4, 5, 3)", "cat/1", "(6, 6, 3)", "image_size=(4, 5)"):
        BatchReader(rows)[[0, 2]]


def test_numbers_of_views_that_do_not_fit(fails):
    ds = make_rows([2, 3])
    with fails("BatchError", "cat/0", "2 views", "cat/1", "3", "num_views"):
        BatchReader(ds, ragged="error")[[0, 1]]
    with fails("BatchError", "cat/1", "3 views", "num_views=2"):
        BatchReader(ds, num_views=2)[[0, 1]]


def test_rows_without_images_say_what_is_expected(fails):
    rows = datasets.Dataset.from_dict({"label": [0]})
    with fails("BatchError", "Expected rows of load_dataset", "(columns: label)"):
        BatchReader(rows)


def test_a_corrupt_image_is_named(fails):
    ds = datasets.concatenate_datasets([make_rows([2], png), make_rows([2], lambda _: b"no image")])
    says = "View '0' (0) of cat/0", "on_error", "`multiview-cifar check` lists all such files"
    with fails("BatchError", *says):
        BatchReader(ds)[[0, 1]]


def test_an_empty_file_is_no_missing_view(fails):
    ds = make_rows([2, 1], lambda _: b"")
    with fails("BatchError", "View '0' (0) of cat/0 is not an image"):
        BatchReader(ds)[[0, 1]]
    assert not BatchReader(ds, on_error="skip_view")[[0, 1]]["view_mask"].any()


@pytest.mark.parametrize("num_threads", [1, 3])
def test_a_corrupt_image_can_be_skipped(num_threads, caplog):
    good, bad = make_rows([2, 1], png), make_rows([3], lambda _: b"no image")
    for order, views in (([good, bad], [2, 1, 0]), ([bad, good], [0, 2, 1])):
        ds = datasets.concatenate_datasets(order)
        reader = BatchReader(ds, on_error="skip_view", num_threads=num_threads)
        caplog.clear()
        batch = reader[[0, 1, 2]]
        assert batch["view_mask"].sum(1).tolist() == views
        assert not batch["images"][~batch["view_mask"]].any()
        for i, count in enumerate(views):
            row = expected(good, [0 if count == 2 else 1])[0] if count else []
            assert np.array_equal(batch["images"][i, :count], row or batch["images"][i, :0])
        said = [record.getMessage() for record in caplog.records]
        assert sorted(said) == [
            f"View '{v}' ({v}) of cat/0 is not an image that Pillow knows. It is skipped."
            for v in range(3)
        ]


@pytest.mark.parametrize(("mode", "dtype"), [("I", "int32"), ("F", "float32"), ("I;16", "uint16")])
def test_types_that_differ_name_both_samples(fails, mode, dtype):
    rows = [make_rows([1], tiff, "L"), make_rows([1, 1], tiff, mode)]
    both = BatchReader(datasets.concatenate_datasets(rows))
    remedy = 'mode="RGB"' if dtype == "uint16" else "value_range=(low, high)"
    with fails("BatchError", "cat/0", "(4, 5, 1), uint8", "cat/1", f"(4, 5, 1), {dtype}", remedy):
        both[[0, 2]]
    with fails("BatchError", "uint8", dtype):
        BatchReader(datasets.concatenate_datasets([rows[0]] * 64 + rows)).to_arrays()


@pytest.mark.parametrize("index", [2, -3])
def test_an_index_out_of_range(index):
    with pytest.raises(IndexError, match=f"2 samples.* {index}"):
        BatchReader(make_rows([1, 1]))[[0, index]]


def test_wrong_use(fails):
    ds = make_rows([1])
    with fails("BatchError", "'masks'", "images"):
        BatchReader(ds, "masks")
    with fails("BatchError", "'colour'", "sample_id"):
        BatchReader(ds, columns=["colour"])
    with fails("BatchError", "'pads'", "'pad', 'flat', 'list'"):
        BatchReader(ds, ragged="pads")
    with fails("BatchError", "on_error='skip_sample'", "'raise', 'skip_view'"):
        BatchReader(ds, on_error="skip_sample")
    with fails("BatchError", "seed=-1"):
        BatchReader(ds, seed=-1)
    with fails("BatchError", "batch_size=0"):
        list(BatchReader(ds).batches(0))
    with fails("BatchError", "list of sample numbers"):
        BatchReader(ds)[[]]


# --- processes ------------------------------------------------------------------------------------


def test_a_pickle_holds_no_data(make_tree, tmp_path):
    tree = make_tree(*(f"cat/{i}/{v}.png" for i in range(50) for v in range(4)))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree),
        split="train",
        image_size=(64, 64),
        encoding="flat_png",
        cache_dir=str(tmp_path / "cache"),
    )
    reader = BatchReader(ds)
    batch = reader[[3, 1]]
    data = pickle.dumps(reader)
    assert len(data) < 20_000 < ds.data.nbytes
    again = pickle.loads(data)[[3, 1]]
    assert np.array_equal(again["images"], batch["images"])
