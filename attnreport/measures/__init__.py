"""Numbers about heads: one score per head, layers joined into one matrix, heads worth a look.

::

    entropy = head_scores(run, "entropy").array        # (layer, head)
    shares = rollout(run).parts[0].weights              # (query, key)
    for found in joined_maps(run):
        found.values                                    # (variant, query, key)
    for found in notable_heads(run):
        found.reason                                    # "layer 3 head 5 attends to …"

    @measure("mine", title=…, formula=…, range=(0, 1), source=…, link=…, reading=…)
    def mine(attention):
        return attention.weights[:, -1, 0]              # one number per head

Everything here reads a Run with numpy and needs no model. How rows that are masked, broken or
short of 1 are treated is written in ``rows``.
"""

from __future__ import annotations

from attnreport.measures import (  # noqa: F401 - they register
    distance,
    exact,
    gradient,
    norms,
    position,
    repeats,
    spread,
    taken,
)
from attnreport.measures.alignment import Alignment, alignment_error_rate, read_alignment
from attnreport.measures.chain import Fusion, Joined, Part, Settings
from attnreport.measures.flow import FLOW, flow
from attnreport.measures.gradient import GRADIENT_ATTENTION
from attnreport.measures.joinedmap import JoinedMap
from attnreport.measures.maps import is_reduced, joined_maps, left_out
from attnreport.measures.notable import NotableHead, notable_heads
from attnreport.measures.registry import (
    Description,
    Measure,
    Measured,
    all_head_scores,
    find_measure,
    head_scores,
    known_measures,
    measure,
)
from attnreport.measures.relevance import RELEVANCE, relevance
from attnreport.measures.rollout import ROLLOUT, rollout
from attnreport.measures.similarity import head_similarity

__all__ = [
    "FLOW",
    "GRADIENT_ATTENTION",
    "RELEVANCE",
    "ROLLOUT",
    "Alignment",
    "Description",
    "Fusion",
    "Joined",
    "JoinedMap",
    "Measure",
    "Measured",
    "NotableHead",
    "Part",
    "Settings",
    "alignment_error_rate",
    "all_head_scores",
    "find_measure",
    "flow",
    "head_scores",
    "head_similarity",
    "is_reduced",
    "joined_maps",
    "known_measures",
    "left_out",
    "measure",
    "notable_heads",
    "read_alignment",
    "relevance",
    "rollout",
]
