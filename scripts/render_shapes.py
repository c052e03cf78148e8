"""Render `shapes`, the example set of Multi-view CIFAR: ten solids, each seen from four sides.

The pictures are our own work, released under CC0. A sample is one object: a solid with its own
proportions, pose and colours. Its views are taken by a camera, with the light over its shoulder,
that goes round the object. Solids are signed distance functions, drawn by sphere tracing in the
object's own frame (x right, y up, z to the front; objects are about 2 wide, around the origin).

The pixels are the same on every machine, because arrays meet only operations that IEEE 754 rounds
exactly (+ - * / sqrt) or that do not round (abs, floor, minimum, comparisons). So sines come from
`math` and are rounded, dot products are written out, and random numbers are hashes of names.
"""

from __future__ import annotations

import argparse
import colorsys
import hashlib
import io
import math
import zipfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

Array = npt.NDArray[np.float64]  # points, directions and colours have 3 components on axis 0
Distance = Callable[[Array], Array]  # points (3, ...) -> signed distance to the solid (...)
Draw = Callable[[str, float, float], float]  # name, low, high -> number in [low, high)
Turn = tuple[int, int, float]  # in the plane of axes i and j, by degrees

SPLITS = {"train": 24, "test": 6}  # samples per class
AZIMUTHS = (0, 90, 180, 270)  # degrees, one per view
SIZE = 32  # pixels per side
OVERSAMPLING = 3  # rays per pixel, along each side
EYE = 6.0  # distance of the camera from the object's centre
LIGHT = (-0.48, 0.6, 0.64)  # unit vector along the camera's right, up and back


def _circle(x: Array, z: Array) -> Array:
    return np.sqrt(x * x + z * z)


def _square(x: Array, z: Array) -> Array:
    return np.maximum(np.abs(x), np.abs(z))


def _triangle(x: Array, z: Array) -> Array:
    return np.maximum(-z, math.sqrt(0.75) * np.abs(x) + z / 2)


def _column(section: Array, y: Array, radius: float, half: float) -> Array:
    """A column from y = -half to half, round, square or triangular by its `section` above."""
    return np.maximum(section - radius, np.abs(y) - half)


def _sides(section: Array, y: Array, radius: float, height: float) -> Array:
    """Sloping sides, from `radius` at y = 0 to an apex at y = height."""
    slant = math.sqrt(height * height + radius * radius)
    return (height * section + radius * (y - height)) / slant


def _spire(section: Array, y: Array, radius: float, half: float) -> Array:
    """A cone or pyramid, 2 * half high; its base is nearer to y = 0, to stand mid-picture."""
    y = y + 0.65 * half
    return np.maximum(_sides(section, y, radius, 2 * half), -y)


# Signed distances (or lower bounds, which trace as well); h in [0.6, 0.8) varies the proportions.
_SOLIDS: dict[str, Callable[[Array, Array, Array, float], Array]] = {
    "capsule": lambda x, y, z, h: _circle(_circle(x, z), np.maximum(np.abs(y) - h + 0.1, 0)) - 0.42,
    "cone": lambda x, y, z, h: _spire(_circle(x, z), y, 0.8, h + 0.1),
    "cube": lambda x, y, z, h: _column(_square(x, z), y, 0.65, 0.65),
    "cylinder": lambda x, y, z, h: _column(_circle(x, z), y, 0.6, h),
    "octahedron": lambda x, y, z, h: _sides(_square(x, z), np.abs(y), 0.75, h + 0.35),
    "prism": lambda x, y, z, h: _column(_triangle(x, y), z, 0.39, h + 0.2),
    "pyramid": lambda x, y, z, h: _spire(_square(x, z), y, 0.75, h),
    "sphere": lambda x, y, z, h: _circle(_circle(x, z), y) - 0.85,
    "tetrahedron": lambda x, y, z, h: _spire(_triangle(x, z), y, 0.54, 0.54 * math.sqrt(2)),
    "torus": lambda x, y, z, h: _circle(_circle(x, z) - 0.75, y) - 0.4 * h,
}
SHAPES = tuple(_SOLIDS)


def _uniform(sample: str, name: str, low: float, high: float) -> float:
    """A number in [low, high) that depends on the two names alone."""
    digest = hashlib.blake2b(f"{sample}/{name}".encode(), digest_size=6).digest()
    return low + (high - low) * int.from_bytes(digest, "big") / 2**48


def _dot(a: Array, b: Array) -> Array:
    dot: Array = a[0] * b[0] + a[1] * b[1] + a[2] * b[2]
    return dot


def _unit(vector: Array) -> Array:
    return vector / np.sqrt(_dot(vector, vector))


def _axes(*turns: Turn) -> Array:
    """Three unit vectors, right, up and back (3, 3), after the turns."""
    axes = np.eye(3)
    for i, j, degrees in turns:
        cos = round(math.cos(math.radians(degrees)), 9)
        sin = round(math.sin(math.radians(degrees)), 9)
        a, b = axes[:, i], axes[:, j]
        axes[:, i], axes[:, j] = cos * a + sin * b, cos * b - sin * a
    return axes


def _cameras(draw: Draw, pose: tuple[Turn, ...]) -> tuple[Array, Array]:
    """Each view's right, up and back (3, 3, V, 1, 1), and its unit rays (3, V, n, n)."""
    # Views a little off the solid's own axes show more than one face of it.
    elevation, azimuth = draw("elevation", 25, 35), draw("azimuth", 30, 60)
    axes = [_axes((1, 2, elevation), (0, 2, azimuth + a), *pose) for a in AZIMUTHS]
    right, up, back = cameras = np.stack(axes, axis=-1)[..., None, None]
    n = SIZE * OVERSAMPLING
    at = (2 * np.arange(n) + 1 - n) / n * draw("field", 1.2, 1.4)
    return cameras, _unit(at * right - at[:, None] * up - EYE * back)


def _trace(distance: Distance, origin: Array, ray: Array) -> Array:
    """Where each unit ray, from EYE away, ends: on the solid, or far behind if it misses."""
    point = origin + (EYE - 1.5) * ray
    for _ in range(32):
        point = point + distance(point) * ray
    return point


def _floor(distance: Distance, pose: tuple[Turn, ...], eye: Array, ray: Array) -> Array:
    """Where each ray meets the ground, which touches the solid's lowest point."""
    right, up, back = _axes(*pose)[..., None, None, None]
    grid = np.arange(-24, 25) / 20
    underside = _trace(distance, right * grid + back * grid[:, None] - EYE * up, up)
    height = float(_dot(underside, up).min())
    return eye + (height - _dot(eye, up)) / _dot(ray, up) * ray


def _normal(distance: Distance, point: Array) -> Array:
    """Unit normals of the surface: the gradient of the distance, by central differences."""
    steps = 0.001 * np.eye(3)[..., None, None, None]
    return _unit(np.stack([distance(point + step) - distance(point - step) for step in steps]))


def _sunlight(distance: Distance, point: Array, light: Array) -> Array:
    """The part of the light, 0 to 1, that reaches each point past the solid: soft shadows."""
    way, lit = np.full(point.shape[1:], 0.04), np.ones(point.shape[1:])
    for _ in range(16):
        gap = distance(point + way * light)
        lit = np.minimum(lit, 6 * gap / way)
        way = way + np.minimum(np.maximum(gap, 0.05), 0.3)
    return np.maximum(lit, 0)


def _colour(hue: float, saturation: float, value: float) -> Array:
    """An RGB colour (3, 1, 1, 1) in linear light, for a display gamma of 2: sqrt is exact."""
    rgb: Array = np.array(colorsys.hsv_to_rgb(hue % 1, saturation, value)).reshape(3, 1, 1, 1)
    return rgb * rgb


def _paint(draw: Draw, point: Array) -> Array:
    """The object's two colours, in a band, stripes or opposite quarters that turn with it."""
    across, _, along = _axes((0, 1, draw("lean", 25, 60)), (0, 2, draw("turn", 0, 360)))
    across, along = _dot(across, point), _dot(along, point)
    shift = draw("shift", 0.05, 0.15)  # off the middle, for opposite views to differ
    stripe = (across - shift) / 0.7
    patterns = (
        np.abs(across - shift) < 0.22,
        stripe - np.floor(stripe) < 0.5,
        (across < shift) == (along < shift),
    )
    hue = draw("hue", 0, 1)
    vivid = _colour(hue, draw("saturation", 0.6, 0.9), draw("value", 0.75, 1))
    light = _colour(hue + draw("contrast", 0.3, 0.7), draw("second saturation", 0.2, 0.6), 0.95)
    return np.where(patterns[int(draw("pattern", 0, len(patterns)))], light, vivid)


def _shade(paint: Array, normal: Array, ray: Array, up: Array, light: Array, lit: Array) -> Array:
    """The object under ambient, diffuse and specular light."""
    diffuse = np.maximum(_dot(normal, light), 0)
    gloss = np.maximum(_dot(normal, _unit(light - ray)), 0)
    for _ in range(5):  # to the power of 32
        gloss = gloss * gloss
    ambient = 0.22 + 0.1 * _dot(normal, up)
    shaded: Array = paint * (ambient + 0.85 * lit * diffuse) + 0.35 * lit * gloss
    return shaded


def _encode(light: Array) -> npt.NDArray[np.uint8]:
    """Average the rays of each pixel: linear light (C, V, n, n) to uint8 (V, H, W, C)."""
    k = OVERSAMPLING
    parts = [light[:, :, i::k, j::k] for i in range(k) for j in range(k)]
    mean = sum(parts[1:], parts[0]) / len(parts)
    pixels = np.floor(255 * np.sqrt(np.minimum(mean, 1)) + 0.5).astype(np.uint8)
    return pixels.transpose(1, 2, 3, 0)


def render_sample(split: str, shape: str, index: int) -> npt.NDArray[np.uint8]:
    """The views of one sample: uint8 (V, H, W, C) = (4, 32, 32, 3), RGB, 0 to 255."""
    if shape not in SHAPES or index not in range(SPLITS.get(split, 0)):
        raise ValueError(
            f"No sample {index!r} of {shape!r} in {split!r}. Expected an index below the split's "
            f"number of samples, one of {SPLITS}, and a shape of {', '.join(SHAPES)}."
        )
    draw = partial(_uniform, f"{split}/{shape}/{index:04d}")
    proportion = draw("proportion", 0.6, 0.8)

    def distance(point: Array) -> Array:
        return _SOLIDS[shape](point[0], point[1], point[2], proportion)

    pose = (1, 2, draw("pitch", -10, 10)), (0, 1, draw("roll", -10, 10))
    (right, up, back), ray = _cameras(draw, pose)
    light = LIGHT[0] * right + LIGHT[1] * up + LIGHT[2] * back
    floor = _floor(distance, pose, EYE * back, ray)
    point = _trace(distance, EYE * back, ray)
    hit = distance(point) < 0.003
    point = np.where(hit, point, floor)
    lit = _sunlight(distance, point, light)
    solid = _shade(_paint(draw, point), _normal(distance, point), ray, up, light, lit)
    tint = _colour(draw("tint", 0, 1), draw("paleness", 0.05, 0.25), draw("brightness", 0.75, 1))
    ground = tint * (0.45 + 0.55 * lit) / (1 + 0.03 * _dot(floor, floor))
    return _encode(np.where(hit, solid, ground))


def _write_sample(archive: zipfile.ZipFile, split: str, shape: str, index: int) -> None:
    for azimuth, view in zip(AZIMUTHS, render_sample(split, shape, index), strict=True):
        png = io.BytesIO()
        Image.fromarray(view).save(png, "PNG", optimize=True)
        # ZipInfo stores by default, and dates 1980-01-01; what it takes from the system is fixed.
        member = zipfile.ZipInfo(f"{split}/{shape}/{index:04d}/azimuth_{azimuth:03d}.png")
        member.create_system = 3  # Unix
        member.external_attr = 0o100644 << 16  # a file, rw-r--r--
        archive.writestr(member, png.getvalue())


def write_archive(path: str | Path) -> None:
    """Write all views to a zip file, as split/class/sample/view.png in sorted order."""
    with zipfile.ZipFile(path, "w") as archive:
        for split in sorted(SPLITS):
            for shape in SHAPES:
                for index in range(SPLITS[split]):
                    _write_sample(archive, split, shape, index)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Render the example set `shapes` to a zip file.")
    parser.add_argument("path", type=Path)
    write_archive(parser.parse_args().path)
