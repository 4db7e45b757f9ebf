"""Strings that have broken pages, and a run that has one in every place a string can stand."""

from __future__ import annotations

from dataclasses import replace

from runs import softmax

from attnreport import Attention, Axis, LedgerEntry, Position, Provenance, Run

_RUN = "window.__pwned=1"
STRINGS = (
    "</script>",
    f"</script><script>{_RUN}</script>",
    "<!--<script>",
    "<!-- -->",
    "<![CDATA[",
    "]]>",
    "--!>",
    f"<img src=x onerror={_RUN}>",
    f"<svg onload={_RUN}>",
    f"<svg><script>{_RUN}</script></svg>",
    f"<iframe srcdoc='<script>parent.{_RUN}</script>'>",
    f"<math><mtext></p><img src=x onerror={_RUN}>",
    f"<details open ontoggle={_RUN}>",
    "<base href=https://example.invalid/>",
    "<meta http-equiv=refresh content='0;url=https://example.invalid/'>",
    "<link rel=stylesheet href=https://example.invalid/a.css>",
    "<style>*{display:none}</style>",
    "<template><p>",
    "<plaintext>",
    "<noscript><p title='</noscript>'>",
    "</title></style></textarea></svg></table></select>",
    "</option></optgroup></select><p>",
    "</td></tr></table><p>",
    "<p>" * 50,
    f"' onmouseover={_RUN} x='",
    f'" onmouseover={_RUN} x="',
    f'"><img src=x onerror={_RUN}>',
    "`${window.__pwned=1}`",
    "${window.__pwned=1}",
    "{{ 7 * 7 }}",
    "{% raw %}{% include 'page' %}",
    "{# comment #}",
    "{{ page.__class__.__mro__ }}",
    f"javascript:{_RUN}",
    f"');{_RUN};('",
    f"\\');{_RUN};//",
    "\\u003cscript\\u003e",
    "\\",
    "\\\\\\n",
    "%3Cscript%3E",
    "&lt;script&gt;",
    "&amp;amp;",
    "&#x3c;b&#x3e;",
    "&notanentity;",
    "datum.x + event.y",
    "url(javascript:1)",
    "expression(1)",
    "__proto__",
    "constructor",
    "a\u2028b\u2029c",
    "a\0b",
    "\x01\x02\x08\x0b\x0c\x1b[31m\x7f\x80\x9f",
    "a\r\nb\rc\nd\te",
    " \u00a0\u3000 ",
    "\u202e\u202dgnp.exe\u202c\u2066\u2069",
    "\ufeff\u200b\u200d\ufe0f",
    "\ufffe\uffff\U0010ffff",
    "\ud7ff\ue000",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "e" + "\u0301" * 200,
    "مرحبا שלום 日本語 ไทย",
    "x" * 3000,
    "NaN",
    "null",
)


def run_with(strings):
    """A run with ``strings`` in every place: all of them where there are many places, the first
    where there is one."""
    first = strings[0]
    count = len(strings)
    text = "".join(strings)
    ends = [len("".join(strings[: index + 1])) for index in range(count)]
    positions = tuple(
        Position(string, span=(end - len(string), end))
        for string, end in zip(strings, ends, strict=True)
    )
    words = Axis(first, positions, text)
    others = [Axis(string, (Position(string), Position("b"))) for string in strings]
    attentions = [Attention(softmax((2, count, count), 0), first, 0, "self", words, words)]
    for index, (name, axis) in enumerate(zip(strings, others, strict=True), start=1):
        weights = softmax((1, 2, count), index)
        attentions.append(Attention(weights, name, index, "cross", axis, words, residual=1.0))
    ledger = [LedgerEntry(string, string, reason=string) for string in strings]
    ledger.append(LedgerEntry(first, first, 0, reason=first))
    provenance = Provenance(
        model=first,
        model_digest=first,
        input_text=first,
        input_digest=first,
        versions={f"{string}{index}": string for index, string in enumerate(strings)},
        dtype=first,
        device=first,
        command=first,
        created=first,
        notes=tuple(strings),
    )
    return Run(tuple(attentions), tuple(ledger), provenance)


def benign(strings):
    """Words that are as many, and as different from each other."""
    return tuple(f"word{index}" for index in range(len(strings)))


def rotated(strings, by):
    """The strings from another one on, so that each comes to stand where only one can."""
    return strings[by:] + strings[:by]


def with_model(run, model):
    """The run under another name."""
    return replace(run, provenance=replace(run.provenance, model=model))
