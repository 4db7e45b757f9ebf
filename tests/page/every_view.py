"""A run that has something to show in every view, and the addresses of all of them."""

from __future__ import annotations

from PIL import Image
from runs import softmax

from attnreport import Attention, Axis, LedgerEntry, Position, Provenance, Run
from attnreport.picture import Picture

_WORDS = ("[CLS]", "Ada", " met", " Gra", "ce", " and", " Ada", " left", ".")
_SIDE = 3  # patches of the picture, along each edge
_PATCH = 32  # pixels
SCORES = "#layer=1&sort=previous_token"
FRAGMENTS = {
    "heatmap": "#layer=1&query=2&key=1",
    "part of a heatmap": "#layer=1&rows=0-4&columns=1-6&hideKeys=4&sinks=hidden&rescale=on",
    "arrows": "#layer=1&view=arrows&head=0,1,2&query=3",
    "arcs": "#layer=1&view=arrows&graph=arcs",
    "text": "#layer=1&view=text&query=3&more=4,5",
    "words": "#layer=1&view=text&unit=words&sinks=hidden",
    "two texts": "#layer=2&view=text&key=1",
    "picture": "#layer=0&view=overlay&query=3",
    "contour lines": "#layer=0&view=overlay&mode=contours&query=3",
    "side by side": "#layer=0&view=overlay&mode=beside&query=3",
    "each head": "#layer=0&view=overlay&mode=heads&head=0,1,2",
    "joined map": "#map=0&view=heatmap",
    "sorted pictures": SCORES,
    "chart of scores": f"{SCORES}&tiles=chart&atLeast=10",
}


def text_axis(name, words=_WORDS):
    """A text in whose first place a special token stands for no character."""
    text, positions = "", [Position(words[0], role="special")]
    for word in words[1:]:
        span = (len(text), len(text) + len(word))
        text, positions = text + word, [*positions, Position(word.strip(), span=span)]
    return Axis(name, tuple(positions), text)


def picture_axis():
    """Square patches of a picture, behind a class token."""
    edge = _PATCH * _SIDE
    picture = Image.linear_gradient("L").resize((edge, edge)).convert("RGB")
    corners = [(x * _PATCH, y * _PATCH) for y in range(_SIDE) for x in range(_SIDE)]
    patches = tuple(
        Position(f"r{y // _PATCH} c{x // _PATCH}", box=(x, y, x + _PATCH, y + _PATCH))
        for x, y in corners
    )
    return Axis("picture", (Position("[CLS]", role="special"), *patches), None, Picture.of(picture))


def every_run():
    """Three layers of three heads: a picture's, a text's, and from a second text to the first.

    One attention was missed and one layer misses its output, so that warnings stand there too.
    """
    picture, text = picture_axis(), text_axis("text")
    answer = text_axis("answer", ("[BOS]", "Both", " are", " gone"))
    sides = [("self", picture, picture), ("self", text, text), ("cross", answer, text)]
    attentions = tuple(
        Attention(
            softmax((3, len(queries), len(keys)), layer),
            f"layer.{layer}.attention",
            layer,
            kind,
            queries,
            keys,
            residual=0.25 if layer == 1 else 1e-7,
        )
        for layer, (kind, queries, keys) in enumerate(sides)
    )
    ledger = [LedgerEntry(each.name, "softmax", each.layer) for each in attentions]
    ledger.append(
        LedgerEntry("decoder.flash", "flash_attn", reason="no recorder reads this kernel")
    )
    made = Provenance(model="owner/name", input_text=text.text, notes=("Padding was left out.",))
    return Run(attentions, tuple(ledger), made)
