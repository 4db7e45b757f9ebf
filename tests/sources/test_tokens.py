import pytest
import transformers
from hypothesis import given
from hypothesis import strategies as st

from attnreport.sources.tokens import Piece, describe_generated, encode, spans_in

TEXTS = [
    "hello world",
    "  two  spaces\n\tand a tab ",
    "café naïve Ünïcode",
    "e\u0301 combining, a\u0308 too",
    "👩\u200d👧 family 🏳️\u200d🌈 flag",
    "שלום עולם مرحبا",
    "東京タワー 한국어",
    "<|end|> typed by hand",
    "nul-free \x01 control \u200b zero width",
]


def rows(axis):
    return [(p.label, p.span and axis.text[slice(*p.span)], p.role) for p in axis]


@pytest.mark.parametrize("text", TEXTS)
def test_byte_level_tokens_cover_the_text_and_show_no_marks(byte_level, text):
    inputs, axis = encode(byte_level, text, name="text")

    assert len(axis) == len(inputs["input_ids"])
    covered = set()
    for position in axis:
        covered |= set(range(*position.span))
        assert not set(position.label) & {"Ġ", "Ċ", "\ufffd"}
    assert covered == set(range(len(text)))


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_byte_level_spans_hold_what_the_tokens_spell(byte_level, text):
    inputs, axis = encode(byte_level, text, name="text")
    # The reference is the tokenizer's own decoder, which undoes the alphabet by another road.
    whole = [byte_level.decode([token]) for token in inputs["input_ids"]]
    for position, spelled in zip(axis, whole, strict=True):
        if "\ufffd" not in spelled:
            assert axis.text[slice(*position.span)] == spelled


def test_a_split_character_is_named_in_every_part(byte_level):
    _, axis = encode(byte_level, "é👩", name="text")
    assert rows(axis) == [
        ("é(1/2)", "é", "input"),
        ("é(2/2)", "é", "input"),
        ("👩(1/4)", "👩", "input"),
        ("👩(2/4)", "👩", "input"),
        ("👩(3/4)", "👩", "input"),
        ("👩(4/4)", "👩", "input"),
    ]


def test_a_special_token_typed_by_hand_is_input(byte_level):
    _, axis = encode(byte_level, "a<|end|>", name="text")
    assert rows(axis) == [("a", "a", "input"), ("<|end|>", "<|end|>", "input")]


def test_word_piece_keeps_its_own_mark_and_shows_what_the_model_reads(word_piece):
    _, axis = encode(word_piece, "Héllo ☃ unaffable", name="text")
    assert rows(axis) == [
        ("[CLS]", None, "special"),
        ("hello", "Héllo", "input"),
        ("[UNK]", "☃", "input"),
        ("una", "una", "input"),
        ("##ffa", "ffa", "input"),
        ("##ble", "ble", "input"),
        ("[SEP]", None, "special"),
    ]


def test_hash_signs_that_the_user_wrote_are_no_continuation(word_piece):
    _, axis = encode(word_piece, "## a", name="text")
    assert rows(axis)[1:-1] == [("#", "#", "input"), ("#", "#", "input"), ("a", "a", "input")]


@pytest.mark.parametrize("text", ["שלום", "東京", "e\u0301"])
def test_word_piece_spans_in_other_scripts(word_piece, text):
    _, axis = encode(word_piece, text, name="text")
    pieces = [p for p in axis if p.role == "input"]
    assert "".join(text[slice(*p.span)] for p in pieces) in (text, text[0])


def test_metaspace_labels_show_no_mark(metaspace):
    _, axis = encode(metaspace, "hello world ab", name="text")
    assert rows(axis) == [
        ("hello", "hello", "input"),
        ("world", " world", "input"),
        ("␣", " ", "input"),
        ("a", "a", "input"),
        ("b", "b", "input"),
        ("</s>", None, "special"),
    ]
    assert "▁" not in "".join(axis.labels)


def test_a_space_that_the_tokenizer_added_has_no_place(metaspace):
    _, axis = encode(metaspace, "who", name="text")
    assert rows(axis)[:2] == [("␣", None, "special"), ("w", "w", "input")]


def test_byte_fallback_pieces_name_their_character(byte_fallback):
    _, axis = encode(byte_fallback, "hi é", name="text")
    assert axis.labels == ("<s>", "hi", "␣", "é(1/2)", "é(2/2)")
    assert axis.positions[0].role == "special"
    assert axis.text[slice(*axis.positions[3].span)] == "é"


def test_two_segments_share_one_text(word_piece):
    _, axis = encode(word_piece, "Who?", "Ada did.", name="text")
    assert axis.text == "Who?\nAda did."
    assert [row for row in rows(axis) if row[2] == "input"] == [
        ("who", "Who", "input"),
        ("?", "?", "input"),
        ("ada", "Ada", "input"),
        ("did", "did", "input"),
        (".", ".", "input"),
    ]
    assert axis.labels[0] == "[CLS]"
    assert axis.labels.count("[SEP]") == 2


def test_slow_byte_tokenizer_keeps_certain_spans():
    _, axis = encode(transformers.ByT5Tokenizer(), "né 👩", name="text")
    assert rows(axis)[:4] == [
        ("n", "n", "input"),
        ("é(1/2)", "é", "input"),
        ("é(2/2)", "é", "input"),
        ("␣", " ", "input"),
    ]
    assert rows(axis)[-1] == ("</s>", None, "special")


def test_spans_are_left_out_where_the_pieces_are_not_the_text():
    assert spans_in("abc", [Piece(b"ab"), Piece(b"C")]) == [None, None]
    assert spans_in("ab c", [Piece(b" ab"), Piece(b""), Piece(b" c")]) == [(0, 2), None, (2, 4)]
    assert spans_in("é", [Piece(b"\xc3"), Piece(b"\xa9")]) == [(0, 1), (0, 1)]


def test_generated_tokens_say_so_and_keep_their_place(metaspace):
    ids = metaspace("hello world")["input_ids"]
    axis = describe_generated(metaspace, [0, *ids], name="target")
    assert axis.text == "hello world"
    assert [p.role for p in axis] == ["special", "generated", "generated", "special"]
    assert [p.label for p in axis] == ["<pad>", "hello", "world", "</s>"]
    assert axis.text[slice(*axis.positions[1].span)] == "hello"


def test_generated_word_pieces_keep_their_place(word_piece):
    ids = word_piece("hello unaffable", add_special_tokens=False)["input_ids"]
    axis = describe_generated(word_piece, ids, name="target")
    assert [(p.label, axis.text[slice(*p.span)]) for p in axis] == [
        ("hello", "hello"),
        ("una", "una"),
        ("##ffa", "ffa"),
        ("##ble", "ble"),
    ]
