"""Runs that the tests of the measures share: random ones, and ones with something odd in them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from attnreport import Attention, Axis, Position, Run

WORDS = ("the", "cat", "saw", "the", "dog", "and", "the", "dog")


def text_axis(name="text", words=WORDS):
    """Words with spans between two separators; some words occur again."""
    text = " ".join(words)
    positions, start = [Position("[CLS]", role="special")], 0
    for word in words:
        positions.append(Position(word, span=(start, start + len(word))))
        start += len(word) + 1
    return Axis(name, (*positions, Position("[SEP]", role="special")), text)


def mixed_axis():
    """A class token, a 2 × 3 grid of patches of which the last is narrow, and words."""
    boxes = [(16 * x, 16 * y, min(16 * x + 16, 40), 16 * y + 16) for y in (0, 1) for x in (0, 1, 2)]
    patches = [Position(f"patch {number}", box=box) for number, box in enumerate(boxes)]
    words = [Position(word) for word in ("a", "b", "a")]
    return Axis("prompt", (Position("<img>", role="special"), *patches, *words))


def softmax(shape, seed, *, causal=False):
    if 0 in shape:
        return np.zeros(shape, np.float32)
    scores = np.random.default_rng(seed).normal(0, 2, shape)
    if causal:
        scores[..., np.triu(np.ones(shape[-2:], dtype=bool), 1)] = -np.inf
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    return (weights / weights.sum(axis=-1, keepdims=True)).astype(np.float32)


def self_attention(axis, heads=3, seed=0, *, layer=0, causal=False):
    weights = softmax((heads, len(axis), len(axis)), seed, causal=causal)
    return Attention(weights, f"layer.{layer}", layer, "self", axis, axis)


def cross_attention(queries, keys, heads=3, seed=0, *, layer=0):
    weights = softmax((heads, len(queries), len(keys)), seed)
    return Attention(weights, f"layer.{layer}", layer, "cross", queries, keys)


def with_weights(attention, change, **fields):
    """The same attention after ``change`` has had its way with a copy of the weights."""
    weights = attention.weights.copy()
    change(weights)
    return replace(attention, weights=weights, **fields)


def _mask_rows(weights):
    weights[0, 2] = 0
    weights[:, 4] = 0


def _mask_head(weights):
    weights[1] = 0


def _break_rows(weights):
    weights[0, 1, 3] = np.nan
    weights[1, :, 2] = np.inf
    weights[2, 5, :2] = np.nan, -np.inf


def _same_heads(weights):
    weights[:] = weights[0]


def _one_hot(weights):
    weights[:] = 0
    weights[:, :, 3] = 1


def with_sink(attention, seed=7):
    sink = np.random.default_rng(seed).uniform(0, 1, attention.weights.shape[:2])
    sink[0, 1], sink[1, 2] = 1, 0
    weights = (attention.weights * (1 - sink)[:, :, None]).astype(np.float32)
    return replace(attention, weights=weights, sink=sink.astype(np.float32))


def _broken_sink(sink):
    sink = sink.copy()
    sink[0, 0], sink[2, 5] = np.nan, np.inf
    return sink


def sigmoid(attention, seed=8):
    weights = np.random.default_rng(seed).uniform(0, 1, attention.weights.shape)
    weights[0, 0] = 0
    return replace(attention, weights=weights.astype(np.float32), normalised=False)


def attentions():
    """Every single attention that a measure has to cope with, by name."""
    text, mixed = text_axis(), mixed_axis()
    plain = self_attention(text)
    one = Axis.of_labels("one", ["only"])
    numbered = Axis.numbered("rows", 6)
    return {
        "plain": plain,
        "causal": self_attention(text, seed=1, causal=True),
        "one head": self_attention(text, heads=1, seed=2),
        "mixed": self_attention(mixed, seed=3),
        "cross": cross_attention(text, mixed, seed=4),
        "numbered": self_attention(numbered, seed=5),
        "two positions": self_attention(Axis.numbered("pair", 2), seed=6, causal=True),
        "one position": self_attention(one),
        "one key": cross_attention(text, one),
        "one query": cross_attention(one, text),
        "masked rows": with_weights(plain, _mask_rows),
        "masked head": with_weights(plain, _mask_head),
        "NaN and infinity": with_weights(plain, _break_rows),
        "same heads": with_weights(plain, _same_heads),
        "one hot": with_weights(plain, _one_hot),
        "sink": with_sink(plain),
        "sink, two keys": with_sink(cross_attention(text, Axis.numbered("two", 2))),
        "sigmoid": sigmoid(plain),
        "broken sink": replace(with_sink(plain), sink=_broken_sink(with_sink(plain).sink)),
        "long": self_attention(text_axis(words=("this", "or", "that", "or") * 30), seed=9),
        "tiny weights": with_weights(plain, _tiny),
    }


def _tiny(weights):
    """Rows as a sharp softmax leaves them: one key has nearly all, others underflow."""
    weights[:] = np.float32(1e-30)
    weights[:, :, ::3] = 0
    weights[:, :, 4] = 1


def encoder_decoder(seed=0, *, causal=True):
    """Two layers over the source, then twice self and cross over the target."""
    source, target = text_axis("source"), Axis.of_labels("target", ["eine", "Katze", "sah"])
    return Run(
        (
            self_attention(source, seed=seed, layer=0),
            self_attention(source, heads=2, seed=seed + 1, layer=1),
            self_attention(target, seed=seed + 2, layer=2, causal=causal),
            cross_attention(target, source, seed=seed + 3, layer=3),
            self_attention(target, seed=seed + 4, layer=4, causal=causal),
            cross_attention(target, source, seed=seed + 5, layer=5),
        )
    )


def stack(layers=3, heads=3, seed=0, *, causal=False, axis=None):
    axis = axis or text_axis()
    return Run(
        tuple(
            self_attention(axis, heads, seed + layer, layer=layer, causal=causal)
            for layer in range(layers)
        )
    )


def broken_stack():
    """Three layers: one with masked rows, one with NaN, one with a sink."""
    run = stack()
    return Run(
        (
            with_weights(run.attentions[0], _mask_rows),
            with_weights(run.attentions[1], _break_rows),
            with_sink(run.attentions[2]),
        )
    )
