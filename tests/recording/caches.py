"""What a decoder calls its cache: transformers renamed the argument in 5.24."""

from __future__ import annotations

import inspect


def with_cache(model, cache):
    """The keyword argument that hands a cache to a model."""
    known = inspect.signature(model.forward).parameters
    return {"cache" if "cache" in known else "past_key_values": cache}
