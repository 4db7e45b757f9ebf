"""What layers are that have no matrix of attention weights, by what their class is called.

A name proves nothing: it is asked for only where a module ran and gave no weights, to say in the
ledger what such layers do instead. Knows names; sees no tensors.
"""

from __future__ import annotations

import re

_STATE_SPACE = (
    "a state-space layer (Gu & Dao 2023), a recurrence in which no attention weights exist"
)
_DELTA = "a recurrence over positions, in which no attention weights exist"
_LINEAR = (
    "linear attention (Katharopoulos et al. 2020), which sums keys times values once for all "
    "queries: no matrix of weights exists"
)
_POINTS = (
    "deformable attention (Zhu et al. 2021), whose points could not be followed to the maps that "
    "they sample"
)
_DELAYS = (
    "auto-correlation (Wu et al. 2021): its weights belong to delays of the whole series, found in "
    "its frequencies, not to pairs of positions"
)
_RESOLUTIONS = (
    "multi-resolution attention (Zeng et al. 2022): kernels of its own compute it block by block, "
    "without a matrix of weights"
)
_HASHES = (
    "attention by hashing (YOSO, Zeng et al. 2021): values are summed up whose keys fall where the "
    "query falls, without a softmax"
)
_OUTLOOK = (
    "outlook attention (Yuan et al. 2021): what overlapping windows give to a position is added "
    "up, so that its shares of all positions are no weights that sum to 1"
)
_NGRAM = (
    "n-gram attention (ProphetNet, Qi et al. 2020): its predicting streams look at the positions "
    "of two sequences at once, the main stream's and their own"
)
_KINDS = (
    (r"outlook\w*(attention|attn)$", _OUTLOOK),
    (r"ngramselfattention$", _NGRAM),
    (r"autoformerattention$", _DELAYS),
    (r"mra(self)?attention$", _RESOLUTIONS),
    (r"yoso(self)?attention$", _HASHES),
    (r"deformable\w*(attention|attn)$", _POINTS),
    (r"(mamba\d*|ssm|hsmssd|s4d?)(mixer|layer|block)?$|(bamba|falconh1)mixer$", _STATE_SPACE),
    (r"(delta|retention|recurrent|[xm]lstm)\w*(net|attention|block|layer)$", _DELTA),
    (r"rwkv\w*attention$", _DELTA),
    (r"(linear(self)?|lightning|additive|lite|separable\w*)(attention|attn|mla)\d*$", _LINEAR),
    (
        r"fouriertransform$",
        "a Fourier transform over positions (Lee-Thorp et al. 2022), no weights",
    ),
)


def kind_of(name: str) -> str:
    """Return in words what layers of a class of this name do; empty where it is unknown."""
    for pattern, words in _KINDS:
        if re.search(pattern, name.lower()):
            return words
    return ""
