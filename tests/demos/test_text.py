"""demo:text: the axis of any text, and what it refuses."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from attnreport import demos
from attnreport.demos import text
from attnreport.demos.labels import readable
from attnreport.errors import InvalidInput


@pytest.fixture(scope="module")
def model():
    return text.factory()


def test_axis_of_a_text_with_long_characters(model):
    ids, axis = text.prepare("a é\n😀", model=model).axes[0]

    assert ids.tolist() == [[256, *"a é\n😀".encode()]]
    assert axis.name == "text"
    assert axis.text == "a é\n😀"
    assert axis.labels == ("<bos>", "a", "␣", "é", "·2", "⏎", "😀", "·2", "·3", "·4")
    spans = [None, (0, 1), (1, 2), (2, 3), (2, 3), (3, 4), *[(4, 5)] * 4]
    assert [position.span for position in axis] == spans
    assert axis.positions[0].role == "special"
    assert {position.role for position in axis.positions[1:]} == {"input"}


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=127))
def test_any_text_has_one_readable_position_per_byte(model, written):
    ids, axis = text.prepare(written, model=model).axes[0]

    assert ids.shape == (1, 1 + len(written.encode()))
    assert len(axis) == ids.shape[1]
    assert text.decode(ids[0].tolist()) == written
    for position in axis.positions[1:]:
        assert position.label.isprintable()
        assert position.label.strip()
    covered = {position.span for position in axis.positions[1:]}
    assert covered == {(at, at + 1) for at in range(len(written))}


@torch.no_grad()
def test_the_call_runs_up_to_the_longest_text(model):
    call = text.prepare("x" * 511, model=model)
    assert call.args[0] is call.axes[0][0]
    assert model(*call.args).shape == (1, 512, 256)


@pytest.mark.parametrize(
    ("written", "message"),
    [
        ("", "expected a text, got an empty one; give at least one character"),
        ("ä" * 256, "takes up to 511 bytes of UTF-8, the text has 512; shorten it"),
        ("ab\ud800", "UTF-8 can hold, got '\\ud800' at character 2; remove it"),
    ],
)
def test_what_it_cannot_take_is_named(model, written, message):
    with pytest.raises(InvalidInput) as caught:
        text.prepare(written, model=model)
    assert message in str(caught.value)


def test_a_target_is_refused(model):
    with pytest.raises(InvalidInput, match="has no target; append it to the text"):
        text.prepare("a", model=model, target="b")


def test_generating_past_the_end_is_refused(model):
    ids = torch.tensor([text.encode("abc")])
    with pytest.raises(InvalidInput, match="up to 511 bytes, the text has 3 and 509 are to follow"):
        model.generate(ids, 509)


def test_generating_continues_random_bytes_that_were_said_before(model):
    generator = torch.Generator().manual_seed(5)
    said = torch.stack([torch.randperm(256, generator=generator)[:60] for _ in range(40)])
    start = torch.cat((torch.full((40, 1), text.BOS), said, said[:, :50]), dim=1)

    continued = model.generate(start, 10)[:, -10:]
    assert (continued == said[:, 50:]).float().mean() > 0.75


@pytest.mark.parametrize(
    ("character", "label"),
    [
        ("a", "a"),
        (" ", "␣"),
        ("\n", "⏎"),
        ("\t", "⇥"),
        ("\0", "U+0000"),
        ("\u200b", "U+200B"),
        ("\u0301", "◌\u0301"),
        ("\u00a0", "U+00A0"),
    ],
)
def test_labels_can_be_read(character, label):
    assert readable(character) == label


def test_registry_names_modules_that_hold_the_contract():
    assert demos.names() == ("text", "translate", "vision")
    for name in demos.names():
        assert demos.DEMOS[name].module == f"attnreport.demos.{name}"
        assert demos.DEMOS[name].description
