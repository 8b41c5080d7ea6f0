"""Small pictures of the data for cards: transparent WebP of at most 15 kB, readable on light and dark ground."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from d4c_pipeline.processing.preview import map_png

WIDTH, HEIGHT = 480, 300
MOST_BYTES = 15_000
_COLOUR = (42, 138, 114)
_QUALITIES = (80, 60, 40, 20)


def card_picture(data: Sequence[Path]) -> bytes | None:
    """Return the picture of the geometry in the files of `data`, None where there is none.

    Darkness of the operators' picture (`processing.preview`) becomes opacity of one colour. Raises DataError when the
    data can't be read.
    """
    png = map_png(tuple(data), WIDTH, HEIGHT)
    if not png:
        return None
    with Image.open(io.BytesIO(png)) as drawn:
        shade = 255 - np.asarray(drawn.convert("L"), dtype=np.int16)
    alpha = np.clip(shade * 2, 0, 255).astype(np.uint8)
    pixels = np.dstack([np.full_like(alpha, value) for value in _COLOUR] + [alpha])
    picture = Image.fromarray(pixels, "RGBA")
    for scale in (1, 2, 3):
        smaller = picture.resize((WIDTH // scale, HEIGHT // scale), Image.Resampling.LANCZOS) if scale > 1 else picture
        for quality in _QUALITIES:
            out = io.BytesIO()
            smaller.save(out, "WEBP", quality=quality, alpha_quality=quality, method=4)
            if out.tell() <= MOST_BYTES:
                return out.getvalue()
    return None
