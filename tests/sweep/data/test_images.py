import io
import os
import random
import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets.folder import pil_loader

from sweep.data import images
from sweep.errors import BadInput

RAMP = np.arange(0, 65536, 1024).reshape(8, 8).astype(np.uint16)  # 64 levels from black on


def saved(folder, pixels, name):
    Image.fromarray(pixels).save(folder / name)
    return str(folder / name)


def tiff(levels, bits=16, photometric=1, planes=1, order="<"):
    """The bytes of a TIFF without compression, for what Pillow does not write. Levels are (C, H, W)."""
    channels, height, width = levels.shape
    if bits == 12:  # two levels in three bytes
        first, second = levels.flatten().reshape(-1, 2).T.astype(np.uint16)
        packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], 1).astype(np.uint8)
        parts = [packed.tobytes()]
    else:
        wide = levels.astype(f"{order}u{bits // 8}")
        parts = [plane.tobytes() for plane in wide] if planes == 2 else [wide.transpose(1, 2, 0).tobytes()]
    out = bytearray(struct.pack(f"{order}2sHI", b"II" if order == "<" else b"MM", 42, 0))
    starts = []
    for part in parts:
        starts.append(len(out))
        out += part

    def put(kind, *values):
        packed = struct.pack(f"{order}{len(values)}{kind}", *values)
        if len(packed) > 4:
            out.extend(packed)
            packed = struct.pack(f"{order}I", len(out) - len(packed))
        return {"H": 3, "I": 4}[kind], len(values), packed.ljust(4, b"\0")

    tags = {
        256: put("I", width),
        257: put("I", height),
        258: put("H", *[bits] * channels),
        259: put("H", 1),
        262: put("H", photometric),
        273: put("I", *starts),
        277: put("H", channels),
        278: put("I", height),
        279: put("I", *map(len, parts)),
        284: put("H", planes),
    }
    struct.pack_into(f"{order}I", out, 4, len(out))
    out += struct.pack(f"{order}H", len(tags))
    for tag, (kind, count, value) in tags.items():
        out += struct.pack(f"{order}HHI", tag, kind, count) + value
    return bytes(out + bytes(4))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("16.png", lambda: RAMP),
        ("16.tiff", lambda: RAMP),
        ("16.pgm", lambda: b"P5 8 8 65535\n" + RAMP.astype(">u2").tobytes()),
        # White is 4095 in these: by the file, not by what is stored.
        ("12.pgm", lambda: b"P5 8 8 4095\n" + (RAMP // 16).astype(">u2").tobytes()),
        ("plain.pgm", lambda: b"P2 8 8 65535\n" + " ".join(map(str, RAMP.flatten())).encode()),
        ("12.tiff", lambda: tiff(RAMP[None] // 16, bits=12)),
        ("little.tiff", lambda: tiff(RAMP[None])),
        ("big.tiff", lambda: tiff(RAMP[None], order=">")),
    ],
)
def test_levels_of_more_than_8_bits_keep_their_scale(tmp_path, name, content):
    content = content()
    path = tmp_path / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        saved(tmp_path, content, name)
    assert images.header(str(path)) == ((3, 8, 8), True)
    found = images.pixels(str(path))
    assert found.dtype == torch.uint8
    assert torch.equal(found, torch.from_numpy(RAMP // 256).to(torch.uint8).expand(3, 8, 8))


@pytest.mark.parametrize("order", "<>")
def test_colors_of_16_bits_are_reduced_as_grey_is(tmp_path, order):
    colors = np.stack([RAMP, RAMP[::-1], RAMP.T])
    path = tmp_path / "colors.tiff"
    path.write_bytes(tiff(colors, photometric=2, order=order))
    assert images.header(str(path)) == ((3, 8, 8), False)
    assert torch.equal(images.pixels(str(path)), torch.from_numpy((colors // 256).astype(np.uint8)))


@pytest.mark.parametrize(
    "content",
    [
        RAMP.astype(np.int32),
        np.linspace(0, 1, 64, dtype=np.float32).reshape(8, 8),
        b"Pf 8 8 -1.0\n" + np.linspace(0, 1, 64, dtype=np.float32).tobytes(),
        tiff(RAMP[None], photometric=0),  # 0 is white
        tiff(np.stack([RAMP] * 3), photometric=2, planes=2),
    ],
    ids=["int32", "float32", "pfm", "white-is-zero", "planes"],
)
def test_what_pillow_would_clip_or_misread_is_refused_by_file(tmp_path, content):
    path = tmp_path / "0.tiff"
    path.write_bytes(content) if isinstance(content, bytes) else saved(tmp_path, content, "0.tiff")
    for read in (images.header, images.pixels, images.cropped):
        with pytest.raises(BadInput, match=r"^\S+/0\.tiff: .*save it ") as error:
            read(str(path))
        assert "\n" not in str(error.value)


def test_8_bits_stored_as_16_are_refused_and_do_not_become_black(tmp_path):
    path = saved(tmp_path, RAMP // 256, "0.png")
    with pytest.raises(BadInput, match=r"0\.png: its values of 16 bits are all below 256"):
        images.pixels(path)
    assert not images.pixels(saved(tmp_path, RAMP * 0, "black.png")).any()


def test_a_crop_of_16_bits_keeps_its_scale(tmp_path):
    path = saved(tmp_path, np.full((300, 300), 77 << 8, dtype=np.uint16), "0.png")
    for seed in (None, 3):
        assert images.cropped(path, seed).unique().tolist() == [77]


MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "YCbCr")


@pytest.mark.parametrize("name", ["0.png", "0.jpg", "0.bmp", "0.tiff", "0.webp", "0.gif", "0.ppm"])
def test_images_of_8_bits_are_what_pillow_makes_of_them(tmp_path, name):
    source = np.random.default_rng(0).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    written = 0
    for mode in MODES:
        path = tmp_path / name
        try:
            Image.fromarray(source).convert(mode).save(path)
        except (OSError, ValueError):  # not a mode of this format
            continue
        written += 1
        assert images.header(str(path)) == ((3, 6, 5), False)
        usual = torch.from_numpy(np.array(pil_loader(path))).permute(2, 0, 1)
        assert torch.equal(images.pixels(str(path)), usual)
    assert written >= 2


def test_an_image_that_lies_on_its_side_has_the_shape_of_its_pixels(tmp_path):
    Image.new("RGB", (6, 4)).save(tmp_path / "0.tiff", tiffinfo={274: 6})
    path = str(tmp_path / "0.tiff")
    assert images.header(path)[0] == tuple(images.pixels(path).shape)


def test_the_ending_of_a_name_does_not_decide_what_an_image_is(tmp_path):
    # Images from the web are often so, some of ImageNet too.
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "0.JPEG", "PNG")
    Image.new("RGB", (4, 4), (9, 9, 9)).save(tmp_path / "1.jpg", "GIF")
    assert all(images.pixels(str(tmp_path / name)).unique().tolist() == [9] for name in ("0.JPEG", "1.jpg"))


@pytest.mark.parametrize("kind", ["EPS", "PDF", "ICO", "TGA", "PCX", "JPEG2000", "SGI"])
def test_formats_that_are_not_meant_are_not_tried(tmp_path, kind):
    Image.new("RGB", (16, 16)).save(tmp_path / "0.png", kind)
    with pytest.raises(BadInput, match=r"0\.png: cannot be read as an image: .* put there one of JPEG, PNG"):
        images.header(str(tmp_path / "0.png"))


def bomb(folder, side):
    """A PNG of a few bytes whose header asks for side × side pixels."""
    small = io.BytesIO()
    Image.new("L", (1, 1)).save(small, "PNG")
    content = bytearray(small.getvalue())
    content[16:24] = struct.pack(">II", side, side)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    (folder / "0.png").write_bytes(content)
    return str(folder / "0.png")


@pytest.mark.parametrize("side", [13_000, 30_000, 65_535])
def test_a_decompression_bomb_is_one_line_and_nothing_of_it_is_decoded(tmp_path, side, recwarn):
    path = bomb(tmp_path, side)
    for read in (images.header, images.pixels, images.cropped):
        with pytest.raises(BadInput, match=r"0\.png: has more than 89478485 pixels, .*: resize or remove it"):
            read(path)
    assert not recwarn.list


def test_a_pipe_a_device_or_nothing_is_one_line_and_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "device.png").symlink_to("/dev/zero")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "folder.png").mkdir()
    for name in ("pipe.png", "device.png", "loop.png", "folder.png", "gone.png", "x" * 300 + ".png"):
        for read in (images.header, images.pixels, images.cropped):
            with pytest.raises(BadInput, match=rf"{name}: (there is no regular file|cannot be read)"):
                read(str(tmp_path / name))


@pytest.mark.slow
def test_a_damaged_image_is_an_image_or_one_line(tmp_path):
    """Whatever Pillow raises of it: bytes changed and left out, of each format."""
    draw = random.Random(0)
    source = Image.fromarray(np.random.default_rng(0).integers(0, 256, (9, 7, 3), dtype=np.uint8))
    path, refused = tmp_path / "0.png", 0
    for kind in ("PNG", "JPEG", "TIFF", "GIF", "WEBP", "BMP", "PPM"):
        whole = io.BytesIO()
        source.save(whole, kind)
        for _ in range(40):
            content = bytearray(whole.getvalue())
            for _ in range(draw.randint(1, 8)):
                content[draw.randrange(min(200, len(content)))] = draw.choice(
                    (0, 1, 127, 255, draw.randrange(256))
                )
            path.write_bytes(content[: draw.choice((len(content), draw.randrange(len(content))))])
            for read in (images.header, images.pixels):
                try:
                    read(str(path))
                except BadInput as error:
                    refused += 1
                    assert "\n" not in str(error)
    assert refused > 100
