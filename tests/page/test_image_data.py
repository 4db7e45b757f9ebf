"""Pictures of codes are what other PNG readers read, and text of bytes needs no escape in HTML."""

from __future__ import annotations

import base64
import zlib

import numpy as np
import pytest
from page_acts import pixels_of

from attnreport.page.base85 import bytes_of, text_of
from attnreport.page.imagedata import codes_of, image_data, size_of


def smooth(rows, columns, noise):
    """Codes that are nearly those beside them, which is when Paeth's filter is the shorter one."""
    rng = np.random.default_rng(0)
    slope = np.add.outer(np.arange(rows) * 3, np.arange(columns) * 2)
    return ((slope + rng.integers(0, noise, (rows, columns))) % 256).astype(np.uint8)


CASES = {
    "smooth": (smooth(197, 150, 2), 4),
    "wide": (smooth(3, 300, 3), 4),
    "tall": (smooth(300, 2, 3), 4),
    "noise": (smooth(60, 90, 256), 0),
    "empty": (np.zeros((20, 30), np.uint8), 0),
    "one": (np.full((1, 1), 7, np.uint8), 0),
}


@pytest.mark.parametrize(("codes", "kind"), CASES.values(), ids=CASES)
def test_another_reader_sees_the_codes_and_so_do_we(codes, kind):
    content = image_data(codes)
    lines = zlib.decompress(content)
    assert {line[0] for line in np.frombuffer(lines, np.uint8).reshape(len(codes), -1)} == {kind}
    np.testing.assert_array_equal(pixels_of(content, codes.shape), codes)
    np.testing.assert_array_equal(codes_of(lines, *codes.shape), codes)
    assert len(content) <= size_of(codes)


def test_every_byte_comes_back():
    rng = np.random.default_rng(0)
    for length in [*range(9), 1000]:
        content = rng.bytes(length)
        text = text_of(content)
        assert len(text) == -(-length * 5 // 4)
        assert not set('&<>"\\`') & set(text)
        assert bytes_of(text) == content
        plain = base64.b85encode(content).decode()
        assert text == plain.translate(str.maketrans("&<>`", ",./:"))


@pytest.mark.parametrize("text", ["&0000", "~~~~~", "\u00e4", "a b c"])
def test_other_text_is_refused(text):
    with pytest.raises(ValueError, match="base85"):
        bytes_of(text)
