import pytest
from hypothesis import given
from hypothesis import strategies as st

from attnreport.sources.labels import labels_of, visible

WOMAN = "👩".encode()

CASES = {
    "a word loses the space before it": ([b" cat"], ["cat"]),
    "a space inside stays": ([b" of the "], ["of the"]),
    "nothing but spaces": ([b" ", b"  ", "\u3000".encode()], ["␣", "␣␣", "␣"]),
    "many spaces are counted": ([b" " * 12, b"\n" * 5], ["␣×12", "⏎×5"]),
    "line ends and tabs": ([b"\n", b".\n", b"\t", b" \n"], ["⏎", ".⏎", "⇥", "␣⏎"]),
    "a split character": ([b" h\xc3", b"\xa9llo"], ["h é(1/2)", "é(2/2) llo"]),
    "a split emoji": ([WOMAN[:2], WOMAN[2:]], ["👩(1/2)", "👩(2/2)"]),
    "a character over four tokens": (
        [bytes([byte]) for byte in WOMAN],
        ["👩(1/4)", "👩(2/4)", "👩(3/4)", "👩(4/4)"],
    ),
    "the end of one and the start of the next": (
        [b"\xe2\x82", b"\xac\xe2", b"\x82\xac"],
        ["€(1/2)", "€(2/2) €(1/2)", "€(2/2)"],
    ),
    "a ready label ends a character": ([b"\xc3", "[SEP]", b"\xa9"], ["0xC3", "[SEP]", "0xA9"]),
    "bytes that are no character": ([b"\xff", b"ab\xfe"], ["0xFF", "ab 0xFE"]),
    "an empty token inside a character": ([b"\xc3", b"", b"\xa9"], ["é(1/2)", "(empty)", "é(2/2)"]),
    "a joined family stays whole": (["👩\u200d👧".encode()], ["👩\u200d👧"]),
    "a joiner alone is named": (["\u200d".encode()], ["U+200D"]),
    "a combining mark stands on a circle": (["\u0301".encode()], ["◌\u0301"]),
    "a mark on its letter stays": (["e\u0301".encode()], ["e\u0301"]),
    "what turns the text around is named": (["a\u202eb".encode()], ["a⟨U+202E⟩b"]),
    "the sign for a broken character is named": (["\ufffd".encode()], ["U+FFFD"]),
    "right to left": ([" שלום".encode()], ["שלום"]),
    "Chinese": (["東京".encode()], ["東京"]),
}


@pytest.mark.parametrize("name", CASES)
def test_a_label_shows_what_the_token_holds(name):
    pieces, expected = CASES[name]
    assert list(labels_of(pieces)) == expected


@given(st.text(min_size=1), st.data())
def test_any_cut_of_any_text_gives_readable_labels(text, data):
    stream = text.encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]

    labels = labels_of(pieces)

    assert len(labels) == len(pieces)
    for label in labels:
        assert label
        assert "\ufffd" not in label
        assert not set(label) & {"\n", "\r", "\u202e", "\u2028"}


@given(st.binary())
def test_bytes_that_are_no_text_never_become_the_replacement_sign(content):
    pieces = [bytes([byte]) for byte in content]
    assert all(label and "\ufffd" not in label for label in labels_of(pieces))


@given(st.text(alphabet="abc é東", min_size=1))
def test_ordinary_text_is_its_own_label(text):
    if text.strip():
        assert visible(text) == text.strip()
