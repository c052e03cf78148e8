"""preview: the page in a real browser, what it shows and what it never does; and the command."""

import base64
import itertools
import json
import re

import datasets
import numpy as np
import pytest
from PIL import Image

import multiview_cifar
from browser import needs_browser
from multiview_cifar_tools.cli.main import main
from multiview_cifar_tools.previews.page import preview
from multiview_cifar_tools.previews.samples import SampleBudget
from multiview_cifar_tools.previews.sheet import contact_sheet
from pictures import encoded, picture
from sampling import sampled

EVIL = "</script><script>alert(1)</script>"
NAMES = [
    "<script>alert(1)",
    "\"'& <img src=x onerror=alert(2)>",
    "<!--",
    "]]>{{}}",
    "猫 é\u2028",
    "__proto__",
]


@pytest.fixture
def visit(browser):
    """visit(file, width=390, color_scheme="dark"): the page; at the end, that nothing was wrong:
    no error, no dialog, nothing loaded but the file itself.
    """
    contexts, wrong = [], []

    def open_page(file, width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, **options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text))
        page.on("dialog", lambda dialog: (wrong.append(dialog.message), dialog.dismiss()))

        def check(route):
            if route.request.url == file.as_uri():
                route.continue_()
            else:
                wrong.append(route.request.url)
                route.abort()

        page.route(re.compile("^(?!data:)"), check)
        page.goto(file.as_uri())
        page.wait_for_function("!shown.length || document.querySelector('.card')")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture
def look_at(tmp_path, visit):
    """look_at(tree, num_views=2): the page of a folder, and what `preview` returned."""

    def make(tree, name="page", preview_options=(), **options):
        splits = multiview_cifar.load_dataset(
            data_dir=str(tree), streaming=True, verify="none", **options
        )
        file = tmp_path / f"{name}.html"
        return preview(splits, file, **dict(preview_options)), visit(file)

    return make


def ids(page):
    return page.locator(".card .id").all_inner_texts()


def pixels(page, selector):
    """What the browser decoded (H, W, 4)."""
    width, height, data = page.evaluate(
        """selector => {
        const image = document.querySelector(selector);
        const [width, height] = [image.naturalWidth, image.naturalHeight];
        const canvas = Object.assign(document.createElement("canvas"), {width, height});
        const context = canvas.getContext("2d");
        context.drawImage(image, 0, 0);
        return [width, height, [...context.getImageData(0, 0, width, height).data]];
    }""",
        selector,
    )
    return np.array(data, np.uint8).reshape(height, width, 4)


def noise(file, size=(8, 6), seed=0, mode="RGB", **options):
    shape = (size[1], size[0], len(mode)) if len(mode) > 1 else size[::-1]
    values = np.random.default_rng(seed).integers(0, 256, shape, np.uint8)
    Image.fromarray(values).save(file, **options)
    return values


# --- the page -------------------------------------------------------------------------------------


@needs_browser
def test_samples_by_class(look_at, make_tree):
    tree = make_tree(
        "train/dog/1/a.png", "train/cat/1/a.png", "train/cat/1/b.png", "test/cat/2/a.png"
    )
    seen, page = look_at(tree)
    assert page.locator("main h2").all_inner_texts() == ["cat2 samples", "dog1 sample"]
    assert ids(page) == ["cat/1", "cat/2", "dog/1"]
    assert page.locator("#totals").inner_text() == (
        "3 samples · 4 images · 2 classes · train 2 · test 1"
    )
    assert page.title() == page.locator("h1").inner_text() == "page"
    assert seen.table.to_dict("list") == {
        "split": ["train", "test", "train"],
        "label": ["cat", "cat", "dog"],
        "sample_id": ["cat/1", "cat/2", "dog/1"],
        "views": [2, 1, 1],
        "sizes": [("4 x 4", "4 x 4"), ("4 x 4",), ("4 x 4",)],
    }


@needs_browser
def test_names_are_text(look_at, make_tree, visit):
    tree = make_tree(*(f"{name}/{name}/{name}.png" for name in NAMES))
    _, page = look_at(tree, name='<b>"&')
    assert sorted(ids(page)) == sorted(f"{name}/{name}" for name in NAMES)
    assert page.locator("h1").inner_text() == '<b>"&'
    assert page.locator("#label option").all_inner_texts()[1:] == sorted(
        NAMES, key=multiview_cifar.natural_key
    )
    page.focus("main")
    page.keyboard.press("Enter")
    for _ in NAMES:
        name = page.locator("#name").inner_text().partition("/")[0]
        assert page.locator("figcaption").first.inner_text().startswith(name)
        page.keyboard.press("ArrowRight")
    assert page.locator("main script, dialog script, main img[src=x]").count() == 0


@needs_browser
def test_filters_and_counts(look_at, make_tree, tmp_path):
    tree = make_tree(
        "train/cat/1/a.png",
        "train/cat/1/b.png",
        "train/cat/10/a.png",
        "test/dog/2/a.png",
        "test/dog/3/a.png",
    )
    noise(tree / "test/dog/3/b.png", (5, 7))
    _, page = look_at(tree)
    count = page.locator("#count")
    assert count.inner_text() == "4 samples"
    page.select_option("#split", label="test")
    assert (ids(page), count.inner_text()) == (["dog/2", "dog/3"], "2 of 4 samples")
    page.select_option("#views", label="2 views")
    assert (ids(page), count.inner_text()) == (["dog/3"], "1 of 4 samples")
    page.select_option("#label", label="cat")
    assert (ids(page), count.inner_text()) == ([], "0 of 4 samples")
    page.click("#clear")
    assert (ids(page), count.inner_text()) == (["cat/1", "cat/10", "dog/2", "dog/3"], "4 samples")
    page.get_by_label("Sample", exact=True).fill("T/1")
    assert ids(page) == ["cat/1", "cat/10"]
    page.get_by_label("Sample", exact=True).fill("")
    page.select_option("#size", label="7 x 5")
    assert ids(page) == ["dog/3"]


@needs_browser
def test_histograms_count_and_filter(look_at, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/2/a.png", "dog/1/a.png")
    _, page = look_at(tree)
    bars = page.locator(".bar")
    assert [text.split("\n") for text in bars.all_inner_texts()] == [
        ["cat", "2"],
        ["dog", "1"],
        ["1 view", "2"],
        ["2 views", "1"],
        ["4 x 4", "4"],
    ]
    lengths = [bars.nth(i).locator(".length").bounding_box()["width"] for i in range(2)]
    assert lengths[0] == pytest.approx(2 * lengths[1], rel=0.02)
    bars.nth(0).click()
    bars.nth(2).click()
    assert ids(page) == ["cat/2"]
    assert bars.nth(0).get_attribute("aria-pressed") == "true"
    assert page.input_value("#label") == "0"
    bars.nth(0).click()
    assert ids(page) == ["cat/2", "dog/1"]


@needs_browser
def test_missing_and_unreadable_views(look_at, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/2/b.png", "cat/3/a.png", "cat/3/b.png")
    noise(tree / "cat/3/a.jpg", (300, 200))
    whole = (tree / "cat/3/a.jpg").read_bytes()
    (tree / "cat/3/a.jpg").unlink()
    (tree / "cat/3/a.png").write_bytes(whole[: len(whole) // 2])
    (tree / "cat/3/b.png").write_bytes(b"")
    seen, page = look_at(tree, view_names=["a", "b"], on_missing_view="null")
    cards = page.locator(".card")
    assert [cards.nth(i).locator("img").count() for i in range(3)] == [2, 1, 0]
    assert cards.nth(1).locator(".tile").all_inner_texts() == ["missing"]
    assert cards.nth(2).locator(".tile").all_inner_texts() == ["unreadable"] * 2
    assert seen.notes == ["Unreadable images: 2, of cat/3."]
    assert page.locator(".note").all_inner_texts() == seen.notes
    page.select_option("#size", label="unreadable")
    assert ids(page) == ["cat/3"]
    cards.nth(0).click()
    assert "truncated" in page.locator("figcaption").nth(0).inner_text()
    assert "no known format (0 bytes)" in page.locator("figcaption").nth(1).inner_text()


@needs_browser
def test_the_keyboard_alone(look_at, make_tree):
    tree = make_tree(*(f"{label}/{i:02}/a.png" for label in ("cat", "dog") for i in range(20)))
    _, page = look_at(tree)
    current = page.locator("[aria-selected=true] .id")
    name = page.locator("#name")
    for _ in range(3):  # name, class, samples
        page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.id") == "samples"
    assert (
        page.evaluate("getComputedStyle(document.querySelector('[aria-selected]')).outlineStyle")
        == "solid"
    )
    for key, expected in [
        ("ArrowRight", "cat/01"),
        ("ArrowLeft", "cat/00"),
        ("End", "dog/19"),
        ("ArrowRight", "dog/19"),
        ("Home", "cat/00"),
    ]:
        page.keyboard.press(key)
        assert current.inner_text() == expected
        assert page.locator("main").get_attribute("aria-activedescendant") == (
            page.locator("[aria-selected=true]").get_attribute("id")
        )
    page.keyboard.press("ArrowDown")
    assert current.inner_text() > "cat/01"
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    assert name.inner_text() == "cat/00"
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowRight")
    assert name.inner_text() == "cat/01"
    page.keyboard.press("Escape")
    assert not name.is_visible()
    assert page.evaluate("document.activeElement.id") == "samples"
    assert current.inner_text() == "cat/01"


@needs_browser
def test_full_size_is_the_file_itself(look_at, make_tree):
    tree = make_tree("cat/1/")
    small = noise(tree / "cat/1/a.png", (30, 20))
    large = noise(tree / "cat/1/b.png", (200, 150))
    _, page = look_at(tree)
    assert pixels(page, ".card img")[..., :3].tolist() == small.tolist()
    assert page.evaluate("document.images[1].naturalWidth") == 96
    page.click(".card")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert pixels(page, "figure:nth-child(1) img")[..., :3].tolist() == small.tolist()
    assert pixels(page, "figure:nth-child(2) img")[..., :3].tolist() == large.tolist()
    assert page.locator("figcaption").nth(1).inner_text().startswith("b\n150 \u00d7 200, PNG, ")
    assert page.locator("figure img").nth(1).bounding_box()["width"] == 200


@needs_browser
def test_what_thumbnails_leave_is_for_full_size(look_at, make_tree):
    tree = make_tree("cat/1/", "cat/2/", "cat/3/")
    for i in (1, 2, 3):
        noise(tree / f"cat/{i}/a.png", (400, 400), seed=i)  # 480 kB, 640 kB in the page
    seen, page = look_at(tree, preview_options={"max_size": 1})
    assert seen.notes == [
        "Samples at full size: 1 of 3, the first of each class. The others are thumbnails. "
        "About --max-size 2 (MB) shows all at full size."
    ]
    assert seen.contents() == ["3 samples", "3 images"]
    page.click(".card")
    assert "thumbnail" not in page.locator("figcaption").inner_text()
    page.keyboard.press("ArrowRight")
    assert "shown from its thumbnail" in page.locator("figcaption").inner_text()
    assert page.locator("figure img").bounding_box()["width"] == 400
    seen, _ = look_at(tree, "larger", preview_options={"max_size": 2})
    assert seen.notes == []


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
def test_a_page_of_a_part(visit, tmp_path, width):
    """Of 400 samples of about 6 kB in the page, each with two views."""
    views = [
        {"bytes": encoded(picture("RGB", (30, i)), "bmp"), "path": None} for i in range(20, 40)
    ]
    names = ["cat", "dog", "bird"]
    features = datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=names),
            "sample_id": datasets.Value("string"),
        }
    )
    labels = [0] * 340 + [1] * 50 + [2] * 10
    ds = datasets.Dataset.from_list(
        [
            {"images": [views[i % 20]] * 2, "label": label, "sample_id": f"{names[label]}/{i:03}"}
            for i, label in enumerate(labels)
        ],
        features=features,
    )
    seen = preview({"train": ds}, tmp_path / "page.html", max_size=1)
    assert 0.9e6 < (tmp_path / "page.html").stat().st_size < 1e6
    shown = len(seen.shown)
    assert seen.summary() == [
        f"{shown} of 400 samples, {2 * shown} of 800 images",
        "The page has room for the first samples of each class alone. A larger --max-size (MB) "
        "shows more.",
    ]
    counts = seen.table.groupby("label").size().to_dict()
    assert counts == {"cat": 340, "dog": 50, "bird": 10}  # of the dataset
    page = visit(tmp_path / "page.html", width=width)
    assert page.locator("#totals").inner_text() == (
        f"{shown} of 400 samples · {2 * shown} of 800 images · 3 classes · train 400"
    )
    assert page.locator("#count").inner_text() == f"{shown} samples in this page"
    cats = shown - 60
    assert page.locator("main h2").first.inner_text() == f"cat{cats} of 340 samples"
    page.select_option("#label", label="bird")
    assert page.locator("#count").inner_text() == f"10 of {shown} samples in this page"
    assert ids(page) == [f"bird/{i}" for i in range(390, 400)]
    assert page.locator(".bar").first.inner_text().split("\n") == ["cat", "340"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@needs_browser
def test_a_page_without_room_for_a_sample(look_at, make_tree):
    tree = make_tree("cat/1/", "cat/2/")
    for i in (1, 2):
        noise(tree / f"cat/{i}/a.png", (700, 700))
    seen, page = look_at(tree, preview_options={"max_size": 1, "thumbnail": 700})
    assert seen.shown == []
    assert (
        page.locator("#totals").inner_text().startswith("0 of 2 samples · 0 of 2 images · 1 class")
    )
    assert [sample.sizes for sample in seen.samples] == [("700 x 700",)] * 2


FORMATS = {
    "a.png": "PNG",
    "b.jpg": "JPEG",
    "c.gif": "GIF",
    "d.webp": "WEBP",
    "e.bmp": "BMP",
    "f.tif": "TIFF",
    "g.ppm": "PPM",
    "h.jp2": "JPEG2000",
    "i.avif": "AVIF",
}


@needs_browser
@pytest.mark.parametrize("size", [(20, 10), (400, 200)], ids=["small", "large"])
def test_every_format(look_at, make_tree, size):
    tree = make_tree("cat/1/")
    for name in FORMATS:
        noise(tree / "cat/1" / name, size)
    noise(tree / "cat/1/j.png", size, mode="RGBA")
    noise(tree / "cat/1/k.png", size, mode="L")
    Image.new("CMYK", size, "red").save(tree / "cat/1/l.jpg")
    Image.new("I;16", size).save(tree / "cat/1/m.tif")
    seen, page = look_at(tree)
    page.click(".card")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    assert page.locator(".tile").count() == 0
    found = page.evaluate(
        "[...document.querySelectorAll('figure img')].map("
        "image => [image.naturalWidth, image.naturalHeight])"
    )
    assert found == [list(size)] * 13
    assert set(seen.table.sizes[0]) == {f"{size[1]} x {size[0]}"}


@needs_browser
@pytest.mark.parametrize(
    ("suffix", "size"),
    sampled(itertools.product([".jpg", ".png", ".webp", ".tif"], [(60, 30), (400, 200)]), 4),
)
def test_images_are_turned_as_exif_says(look_at, make_tree, size, suffix):
    tree = make_tree("cat/1/")
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned to the right
    image = Image.new("RGB", size, "red")
    image.paste("blue", (0, 0, size[0] // 2, size[1]))
    image.save(tree / f"cat/1/a{suffix}", exif=exif)
    seen, page = look_at(tree)
    assert seen.table.sizes[0] == (f"{size[0]} x {size[1]}",)
    page.click(".card")
    page.wait_for_function("[...document.images].every(image => image.complete)")
    for selector in (".card img", "figure img"):
        found = pixels(page, selector)
        height, width, _ = found.shape
        assert height == 2 * width
        assert found[height // 8, width // 2, 2] > 200 > found[height // 8, width // 2, 0]


@needs_browser
def test_masks_and_further_columns(look_at, make_tree, visit, tmp_path):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/1/maps/a-map.png", "cat/1/maps/b-map.png")
    layout = {"images": "{label}/{sample}/{view}", "masks": "{label}/{sample}/maps/{view}-map"}
    _, page = look_at(tree, layout=layout)
    assert page.locator(".card .views").count() == 2
    page.click(".card")
    assert page.locator("dialog h3").all_inner_texts() == ["images", "masks"]
    assert page.locator("figure").count() == 4

    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), layout=layout, split="train", cache_dir=str(tmp_path / "cache")
    )
    ds = ds.add_column("weather", [EVIL]).add_column("times", [[1, 2]])
    preview({"train": ds}, tmp_path / "more.html")
    page = visit(tmp_path / "more.html")
    page.click(".card")
    facts = page.locator(".facts > div").all_inner_texts()
    assert [text.split("\n") for text in facts][:3] == [
        ["class", "cat"],
        ["split", "train"],
        ["views", "2"],
    ]
    assert ["weather", EVIL] in [text.split("\n") for text in facts]
    assert ["times", "[1, 2]"] in [text.split("\n") for text in facts]


@needs_browser
def test_view_labels(look_at, make_tree):
    tree = make_tree("left/cat/1/a.png", "right/cat/1/a.png")
    _, page = look_at(tree, layout="{view_label}/{label}/{sample}/{view}")
    page.click(".card")
    captions = page.locator("figcaption").all_inner_texts()
    assert [caption.split("\n")[0] for caption in captions] == ["left/a", "right/a"]


@needs_browser
def test_thousands_of_samples(tmp_path, visit, write_image):
    """However far one scrolls, few images are in the page; the last sample can be reached."""
    write_image(tmp_path / "a.png", "any")
    view = {"bytes": (tmp_path / "a.png").read_bytes(), "path": None}
    names = ["cat", "dog"]
    features = datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=names),
            "sample_id": datasets.Value("string"),
        }
    )
    ds = datasets.Dataset.from_list(
        [
            {"images": [view] * 4, "label": i % 2, "sample_id": f"{names[i % 2]}/{i:04}"}
            for i in range(3000)
        ],
        features=features,
    )
    preview({"train": ds}, tmp_path / "page.html")
    page = visit(tmp_path / "page.html")
    height = page.evaluate("document.documentElement.scrollHeight")
    assert height > 100_000
    for part in (0, 0.3, 0.31, 0.9, 0.1, 1):
        page.evaluate(
            "y => new Promise(done => { scrollTo(0, y); requestAnimationFrame(() =>"
            " requestAnimationFrame(done)); })",
            part * height,
        )
        assert 0 < page.evaluate("document.images.length") < 400
    assert page.locator(".card .id").last.inner_text() == "dog/2999"
    assert page.locator(".card .id").last.is_visible()
    page.focus("main")
    page.keyboard.press("Home")
    page.keyboard.press("End")
    assert page.locator("[aria-selected=true] .id").inner_text() == "dog/2999"


@needs_browser
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_any_width_in_light_and_dark(tmp_path, visit, make_tree, width, scheme):
    tree = make_tree(
        *(
            f"{'long' * 20}/{'name' * 20}{i}/{'view' * 20}{j}.png"
            for i in range(2)
            for j in range(9)
        )
    )
    noise(tree / f"{'long' * 20}/{'name' * 20}0/large.png", (900, 300))
    splits = multiview_cifar.load_dataset(data_dir=str(tree), streaming=True)
    preview(splits, tmp_path / "page.html")
    page = visit(tmp_path / "page.html", width=width, color_scheme=scheme)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.click(".card")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.evaluate("dialog.scrollWidth <= dialog.clientWidth")
    for selector in ("body", "dialog", ".panel"):
        style = page.evaluate(
            "selector => { const style = getComputedStyle(document.querySelector(selector));"
            " return [style.color, style.backgroundColor]; }",
            selector,
        )
        text, back = (sum(map(int, re.findall(r"\d+", colour)[:3])) for colour in style)
        assert abs(text - back) > 400
        assert (text > back) == (scheme == "dark")


# --- what is in it --------------------------------------------------------------------------------


def test_no_label_and_no_view(tmp_path, make_tree):
    features = datasets.Features(
        {
            "images": datasets.Sequence(datasets.Image()),
            "label": datasets.ClassLabel(names=["cat"]),
            "sample_id": datasets.Value("string"),
        }
    )
    ds = datasets.Dataset.from_list(
        [
            {"images": [], "label": None, "sample_id": "x"},
            {"images": [None], "label": 0, "sample_id": "y"},
        ],
        features=features,
    )
    table = preview({"train": ds}, tmp_path / "page.html").table
    assert dict(zip(table.sample_id, table.label, strict=True)) == {"x": "(no label)", "y": "cat"}
    assert dict(zip(table.sample_id, table.views, strict=True)) == {"x": 0, "y": 0}


@pytest.mark.parametrize("way", [lambda ds: ds, lambda ds: ds.to_iterable_dataset()])
def test_rows_of_others_without_labels(way, tmp_path):
    view = {"bytes": encoded(picture("RGB", (5, 4)), "png"), "path": None}
    ds = datasets.Dataset.from_list(
        [{"shots": [view]}, {"shots": [view, view]}],
        features=datasets.Features(shots=datasets.Sequence(datasets.Image())),
    )
    found = preview({"train": way(ds)}, tmp_path / "page.html")
    assert found.table.sample_id.tolist() == ["0", "1"]
    assert found.table.views.tolist() == [1, 2]
    assert found.table.label.tolist() == ["(no label)"] * 2
    sheet = contact_sheet({"train": way(ds)})
    assert sheet.tobytes() == found.sheet.tobytes()
    assert sheet.getextrema() != ((255, 255),) * 3  # all white


def test_rows_of_another_kind(tmp_path, fails):
    ds = datasets.Dataset.from_dict({"text": ["a"]})
    with fails("PreviewError", "'train'", "the columns text", "image lists", path="train"):
        preview({"train": ds}, tmp_path / "page.html")
    assert not [*tmp_path.iterdir()]


def test_which_samples_are_taken():
    """The first ones of all classes before the second ones, whatever order rows come in."""
    rows = [(rank, label) for label in range(4) for rank in range(25)]
    for order in (rows, rows[::-1], sorted(rows)):
        share = SampleBudget(10)
        for row in order:
            share.add(*row, 1)
        kept = [row for row in rows if share.fits(*row)]
        assert sorted(kept) == [
            *((rank, label) for rank in (0, 1) for label in range(4)),
            (2, 0),
            (2, 1),
        ]


def read_page(file):
    text = file.read_text()
    blocks = re.findall(r'<script type="application/json" id="(.+?)">(.*?)</script>', text)
    return {name: json.loads(block) for name, block in blocks}


def test_small_images_are_in_the_page_as_they_are(tmp_path, make_tree):
    tree = make_tree("cat/1/a.png", "cat/1/b.jpg")
    main(["preview", str(tree), "-o", str(tmp_path / "page.html")])
    [sample] = read_page(tmp_path / "page.html")["chunk-0"]
    for name, view in zip(["a.png", "b.jpg"], sample["columns"]["images"], strict=True):
        data = base64.b64decode(view["src"].partition(",")[2])
        assert data == (tree / "cat/1" / name).read_bytes()


def test_a_shuffled_dataset_is_grouped_all_the_same(tmp_path, make_tree):
    tree = make_tree(*(f"{label}/{i}/a.png" for label in ("cat", "dog") for i in range(30)))
    ds = multiview_cifar.load_dataset(
        data_dir=str(tree), split="train", cache_dir=str(tmp_path / "cache")
    ).shuffle(seed=0)
    seen = preview({"train": ds}, tmp_path / "page.html")
    assert [*seen.table.label] == ["cat"] * 30 + ["dog"] * 30
    assert read_page(tmp_path / "page.html")["index"]["id"] == [*seen.table.sample_id]
    assert sorted(seen.table.sample_id) == sorted(ds["sample_id"])


# --- the command ----------------------------------------------------------------------------------


@pytest.fixture
def here(tmp_path, monkeypatch):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def test_the_command(make_tree, here, capsys):
    tree = make_tree("cat/1/a.png", "dog/1/a.png")
    assert main(["preview", str(tree)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "wrote preview.html (2 samples, 2 images)",
        "wrote preview.png",
    ]
    assert sorted(path.name for path in here.iterdir()) == ["preview.html", "preview.png"]
    assert read_page(here / "preview.html")["index"]["title"] == "photos"
    with Image.open(here / "preview.png") as picture:
        assert picture.format == "PNG"


def test_the_example(here, capsys):
    assert (
        main(
            [
                "preview",
                "shapes",
                "-o",
                "looks/shapes.html",
                "--sheet",
                "picture.png",
                "--num-views",
                "2",
            ]
        )
        == 0
    )
    assert "looks/shapes.html (300 samples, 600 images)" in capsys.readouterr().out
    assert set(read_page(here / "looks/shapes.html")["index"]["views"]) == {2}
    assert (here / "picture.png").exists()


def test_a_folder_with_all_that_can_be_wrong(make_tree, here, capsys, caplog):
    tree = make_tree("cat/1/a.png", "cat/1/b.png", "cat/2/b.png", "cat/1/notes.txt")
    (tree / "cat/1/a.png").write_bytes(b"no image")
    assert main(["preview", str(tree), "--view-names", '["a", "b"]']) == 0
    index = read_page(here / "preview.html")["index"]
    assert dict(index["choices"]["size"]) == {
        "4 x 4": 2,
        "unreadable": 1,
        "missing": 1,
        "other sizes": 0,
    }
    assert "Unreadable images: 1, of cat/1." in capsys.readouterr().out
    assert "notes.txt" in caplog.text


@pytest.mark.parametrize("whole", [True, False])
def test_what_save_to_disk_wrote(make_tree, here, capsys, tmp_path, whole):
    tree = make_tree("train/cat/1/a.png", "test/dog/1/a.png")
    splits = multiview_cifar.load_dataset(data_dir=str(tree), cache_dir=str(tmp_path / "cache"))
    (splits if whole else splits["test"]).save_to_disk(tmp_path / "saved")
    assert main(["preview", str(tmp_path / "saved")]) == 0
    index = read_page(here / "preview.html")["index"]
    assert index["id"] == (["cat/1", "dog/1"] if whole else ["dog/1"])
    splits = [name for name, _ in index["choices"]["split"]]
    assert splits == (["train", "test"] if whole else ["test"])
    assert main(["preview", str(tmp_path / "saved"), "--num-views", "1"]) == 2
    assert "takes no options" in capsys.readouterr().err


def publish_and_preview(tree, folder):
    from multiview_cifar_tools.publishing.publish import publish

    splits = multiview_cifar.load_dataset(data_dir=tree, cache_dir=f"{folder}/cache")
    publish(splits, "me/photos")
    good = main(["preview", "me/photos", "-o", f"{folder}/page.html"])
    return good, main(["preview", "me/none", "-o", f"{folder}/none.html"])


def test_a_dataset_of_the_hub(hub, make_tree, tmp_path):
    tree = make_tree("train/cat/1/a.png", "test/dog/1/a.png")
    assert hub.run(publish_and_preview, str(tree), str(tmp_path)) == (0, 2)
    index = read_page(tmp_path / "page.html")["index"]
    assert (index["id"], index["title"]) == (["cat/1", "dog/1"], "me/photos")
    assert not (tmp_path / "none.html").exists()


WRONG = {
    "no folder": (["nowhere"], 2, "does not exist"),
    "no number of samples": (["photos", "--samples-per-class", "0"], 2, "1 or more"),
    "no thumbnail": (["photos", "--thumbnail", "0"], 2, "16 or more"),
    "no size": (["photos", "--max-size", "nan"], 2, "1 or more"),
    "no page": (["photos", "-o", "a.png"], 2, "does not end in .html"),
    "into the dataset": (["photos", "-o", "photos/a.html"], 2, "in the dataset itself"),
    "option": (["photos", "--image-size", "0"], 2, "height and width"),
    "a folder": (["photos", "-o", "folder", "--sheet", "a.png"], 2, "folder"),
}


@pytest.mark.parametrize(("arguments", "code", "says"), WRONG.values(), ids=WRONG)
def test_an_error_is_one_line(make_tree, tmp_path, monkeypatch, capsys, arguments, code, says):
    make_tree("cat/1/a.png")
    (tmp_path / "folder").mkdir()
    monkeypatch.chdir(tmp_path)
    assert main(["preview", *arguments]) == code
    [line] = capsys.readouterr().err.splitlines()
    assert says in line
    assert sorted(path.name for path in tmp_path.iterdir()) == ["folder", "photos"]


def test_nothing_half_written(make_tree, here, capsys):
    """An old page stays when a new one cannot be made."""
    tree = make_tree("cat/1/a.png", "cat/2/a.png")
    assert main(["preview", str(tree)]) == 0
    before = (here / "preview.html").read_bytes()
    (tree / "cat/2/a.png").write_bytes(b"no image")
    assert main(["preview", str(tree), "--mode", "L", "--on-error", "raise"]) == 2
    assert "cat/2/a.png" in capsys.readouterr().err
    assert (here / "preview.html").read_bytes() == before
    assert len([*here.iterdir()]) == 2


def test_help(capsys):
    assert main(["preview", "--help"]) == 0
    text = capsys.readouterr().out
    for part in ("multiview-cifar preview shapes", "--view-names", "--max-size", "USER/NAME"):
        assert part in text
