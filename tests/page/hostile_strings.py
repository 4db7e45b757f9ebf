"""Strings that have broken pages, or could: more than 500, the same ones in every run.

Knows nothing of where they are put.
"""

from __future__ import annotations

from itertools import product

RUN = "window.__pwned=1"
_OUTSIDE = "https://example.invalid"


def families() -> dict[str, tuple[str, ...]]:
    """Return the strings by family; none stands in two."""
    made = {
        "script": _scripts(),
        "handler": _handlers(),
        "raw text": _raw_text(),
        "markup": _markup(),
        "template": _templates(),
        "entity": _entities(),
        "address": _addresses(),
        "style": _styles(),
        "expression": _expressions(),
        "json": _json(),
        "control": _controls(),
        "no character": _no_characters(),
        "direction": _directions(),
        "invisible": _invisible(),
        "combining": _combining(),
        "long": _long(),
        "file name": _file_names(),
    }
    seen: set[str] = set()
    unique = {}
    for name, strings in made.items():
        unique[name] = tuple(one for one in dict.fromkeys(strings) if one not in seen)
        seen.update(unique[name])
    return unique


def _scripts():
    tags = (
        "script",
        "SCRIPT",
        "ScRiPt",
        "script ",
        "script/",
        "script\t",
        "script\n",
        "script x=''",
    )
    yield from (f"<{tag}>{RUN}</{tag.split()[0].rstrip('/')}>" for tag in tags)
    yield from (f"</{tag}><script>{RUN}</script>" for tag in tags)
    yield from ("</script>", "</script", "</script >", "<\\/script>", "<script>", "<!--<script>")
    yield from (f"<script type=module>{RUN}</script>", f"<script src={_OUTSIDE}/a.js></script>")
    yield from (
        f"<script src='data:text/javascript,{RUN}'></script>",
        f"<<script>{RUN}//<</script>",
    )
    yield f"<svg><script>{RUN}</script></svg>"
    yield f"<svg><script href='data:,{RUN}'/></svg>"


def _handlers():
    elements = (
        ("img src=x", "error"), ("svg", "load"), ("body", "load"), ("video src=x", "error"),
        ("audio src=x", "error"), ("iframe", "load"), ("object data=x", "error"),
        ("input autofocus", "focus"), ("details open", "toggle"), ("marquee", "start"),
        ("style", "load"), ("a href=x tabindex=0", "focus"), ("form", "submit"),
    )  # fmt: skip
    for (element, event), quote in product(elements, ("", "'", '"')):
        yield f"<{element} on{event}={quote}{RUN}{quote}>"
    for quote, event in product(("'", '"', "`", ""), ("mouseover", "focus", "click")):
        yield f"{quote} on{event}={RUN} autofocus x={quote}"
    yield from (f"{quote}><img src=x onerror={RUN}>" for quote in ("'", '"', "`", "-->", "]]>"))


def _raw_text():
    elements = (
        "title", "style", "textarea", "noscript", "xmp", "iframe", "noembed", "noframes",
        "plaintext", "template", "select", "option", "optgroup", "table", "td", "svg", "math",
        "foreignObject", "desc", "p", "li", "dd", "body", "html", "head", "main", "bdi", "dialog",
        "button",
    )  # fmt: skip
    for element in elements:
        yield f"</{element}><b>out</b>"
        yield f"<{element}>"
    yield "</title></style></textarea></svg></table></select>"
    yield "<noscript><p title='</noscript>'>"
    yield f"<math><mtext></p><img src=x onerror={RUN}>"


def _markup():
    yield from ("<!-- -->", "<!--", "-->", "<!-->", "<!--->", "--!>", "<!---->", "<![CDATA[", "]]>")
    yield from (
        "<?xml version='1.0'?>",
        "<!DOCTYPE html>",
        "<!ENTITY x 'y'>",
        "<",
        ">",
        "<>",
        "</>",
    )
    yield from ("< b>", "<b", "<b/", "<b\0>", "<\0b>", "</ b>", "<1>", "<b a=1 a=2>", "<p>" * 50)
    yield from (f"<base href={_OUTSIDE}/>", f"<link rel=stylesheet href={_OUTSIDE}/a.css>")
    yield f"<meta http-equiv=refresh content='0;url={_OUTSIDE}/'>"
    yield f"<iframe srcdoc='<script>parent.{RUN}</script>'>"
    yield f"<img src={_OUTSIDE}/a.png>"
    yield f"<form action={_OUTSIDE}><button>"
    yield "<a name=getElementById><img name=querySelector>"
    yield '<a id="document"></a>'


def _templates():
    inside = ("7 * 7", "page.__class__.__mro__", "config", "''.__class__", RUN)
    brackets = (
        ("{{ ", " }}"),
        ("{% ", " %}"),
        ("${", "}"),
        ("`${", "}`"),
        ("<%= ", " %>"),
        ("#{", "}"),
    )
    yield from (f"{start}{words}{end}" for (start, end), words in product(brackets, inside))
    yield from (
        "{# comment #}",
        "{% raw %}{% include 'page' %}",
        "{{",
        "}}",
        "{%",
        "[[ x ]]",
        "%s%n",
    )
    yield from ("{0}{page}", "{page.report}", "%(page)s")


def _entities():
    names = (
        "&lt;b&gt;",
        "&amp;lt;",
        "&amp;amp;",
        "&quot;",
        "&apos;",
        "&notanentity;",
        "&notit;",
        "&",
    )
    numbers = (
        f"&#{number};" for number in ("60", "x3c", "0", "x0", "128", "xD800", "x110000", "9999999")
    )
    yield from (*names, *numbers, "&#x3c", "&lt", "&#;", "&#x;", "&NotEqualTilde;", "&#60script>")


def _addresses():
    schemes = (
        "javascript:",
        "JaVaScRiPt:",
        "java\tscript:",
        "java\nscript:",
        " javascript:",
        "vbscript:",
    )
    yield from (f"{scheme}{RUN}" for scheme in schemes)
    yield f"data:text/html,<script>{RUN}</script>"
    yield from (
        f"{_OUTSIDE}/a.png",
        "//example.invalid/a.js",
        "file:///etc/passwd",
        "blob:x",
        "#layer=1",
    )
    yield from (
        "about:blank",
        "%3Cscript%3E",
        "%00",
        "?a=b&c=d#e",
        "\\\\example.invalid\\a",
        "mailto:a@b",
    )


def _styles():
    yield from (
        "<style>*{display:none}</style>",
        "</style><style>",
        "}*{display:none}",
        "*/ * {} /*",
    )
    yield from (
        "expression(1)",
        f"url({_OUTSIDE}/a.png)",
        "url(javascript:1)",
        "color:red",
        ";color:red",
    )
    yield from (f"@import '{_OUTSIDE}/a.css';", "\\3c b\\3e", "--x:{}", "var(--ink)", "rgb(0 0 0)")
    yield from ("' style='display:none", '" style="display:none', "!important", "position:fixed")


def _expressions():
    yield from (
        "datum.x + event.y",
        "datum['x']",
        "event.view.document",
        "signal('x')",
        "labels[0]",
    )
    yield from (
        f"');{RUN};('",
        f"\\');{RUN};//",
        f"'+({RUN})+'",
        f'"+({RUN})+"',
        f"{{signal: '{RUN}'}}",
    )
    yield from (
        "toString()",
        "[0]",
        "isValid(datum)",
        "'",
        '"',
        "`",
        "''",
        "/* */",
        "//",
        "\\x41",
        ";",
    )
    yield from (
        "null",
        "undefined",
        "NaN",
        "Infinity",
        "-0",
        "1e9",
        "0x10",
        "true",
        "2021-03-05",
        "12:30",
    )
    yield from (
        "__proto__",
        "constructor",
        "hasOwnProperty",
        "toString",
        "valueOf",
        "length",
        "prototype",
    )


def _json():
    yield from (
        "\\",
        "\\\\",
        "\\\\\\n",
        "\\u003cscript\\u003e",
        "\\u0000",
        '","x":"',
        '"}',
        '"]}',
        "\\ud800",
    )
    yield from ("{}", "[]", '{"a":1}', "a\u2028b", "a\u2029b", "\u2028", "\u2029", "\\/", "\\'")


def _controls():
    codes = [*range(0x20), *range(0x7F, 0xA0)]
    yield from (chr(code) for code in codes)
    yield from (f"a{chr(code)}b" for code in codes)
    yield from ("a\r\nb\rc\nd\te", "\x1b[31mred\x1b[0m", "".join(map(chr, range(0x20))))


def _no_characters():
    codes = (0xFDD0, 0xFDEF, 0xFFFE, 0xFFFF, 0x1FFFE, 0x1FFFF, 0x10FFFE, 0x10FFFF, 0xFFFD, 0xE000)
    surrogates = (0xD800, 0xDBFF, 0xDC00, 0xDFFF)
    yield from (chr(code) for code in (*codes, *surrogates))
    yield from (f"a{chr(code)}b" for code in (*codes, *surrogates))
    yield from ("\udc00\ud800", "\ud7ff\ue000", "\uf8ff", "\U000f0000")


def _directions():
    marks = "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u200e\u200f\u061c"
    yield from marks
    yield from (f"{mark}gnp.exe" for mark in marks)
    yield from ("\u202e\u202dgnp.exe\u202c\u2066\u2069", "مرحبا", "שלום (abc) 123", "abc مرحبا def")


def _invisible():
    yield from " \u00a0\u00ad\u034f\u115f\u1160\u17b4\u180b\u180e\u2800\u3000"
    yield from "\u3164\uffa0\ufeff\ufe0f"
    yield from map(chr, range(0x2000, 0x200E))
    yield from map(chr, range(0x2060, 0x2065))
    yield from ("\U000e0001", "\U000e0041", "\U000e0100", "\U0001d173", "  ", " \u00a0\u3000 ")
    yield from (
        "\ufeff\u200b\u200d\ufe0f",
        "a\u200bb",
        "\u200ba",
        "a\ufeff",
        "\n",
        "\n\n",
        "\t",
        " a ",
    )


def _combining():
    yield from (f"e{mark * 200}" for mark in "\u0301\u0489\u20dd\u0e49")
    yield from ("\u0301", "\u0301\u0302", "\u20e3", "◌\u0301", "नि", "ก็", "한", "각")
    yield from ("👩‍👩‍👧‍👦🏳️‍🌈", "🇩🇪🇫", "👍🏽", "1️⃣", "Z̷̧̛͎a̸͇͝l̶̰̈g̴̱̑o̷͚͝", "𝔘𝔫𝔦", "日本語", "ไทย")


def _long():
    pieces = (
        "x",
        "字",
        "<",
        "&",
        "'",
        "a ",
        "\u202e",
        "👩‍👧",
        "\\",
        "<b>",
        "&lt;",
        "\n",
        "e\u0301",
    )
    yield from (piece * (3000 // len(piece)) for piece in pieces)


def _file_names():
    yield from (
        "../../etc/passwd",
        "C:\\Windows\\x",
        "a/b\\c:d*e?f",
        "CON",
        ".",
        "..",
        "a.html#b?c",
    )
    yield from (
        "=cmd|' /C calc'!A0",
        "+1",
        "-1",
        "@SUM(1)",
        "'; DROP TABLE x; --",
        "$(touch x)",
        "`id`",
    )
    yield from ("-rf", "--help", "~root", "%PATH%", "a\0.html", "naïve.html", "a" * 255 + ".html")
