"""Read scores that multiply values without a softmax that is known: ReLU, sparsemax, any other.

What tells them from other products is that they were a product of two sequences themselves, and
that rows and columns are positions of these. Knows no function that makes weights.

Sources: Martins & Astudillo 2016, From Softmax to Sparsemax https://arxiv.org/abs/1602.02068;
Wortsman et al. 2023, Replacing softmax with ReLU in Vision Transformers
https://arxiv.org/abs/2309.08586; Sun et al. 2023, Retentive Network https://arxiv.org/abs/2307.08621
"""

from __future__ import annotations

from attnreport.recording.apart import quietly
from attnreport.recording.following import Followed, Origin
from attnreport.recording.gradients import as_it_is
from attnreport.recording.positions import lie_along_positions
from attnreport.recording.product import Matrices, record
from attnreport.recording.sides import is_between
from attnreport.recording.watch import Watch
from attnreport.recording.weightless import kind_of

CALL = "scores"
_SAID = "no softmax was followed to them: what multiplied the values is shown"
# Half a precision may round a weight of 1 up.
_ROUNDING = 1e-5


def unfollowed(watch: Watch, product: Matrices) -> bool:
    """Record a product of scores and values, or say why not; tell whether it was one."""
    rows = product.weights if product.rows is None else product.rows
    if not is_between(watch.streams, rows):
        return False
    name = watch.names.current()
    if name is None or kind_of(watch.names.class_of(name)):
        return False
    arrange = product.arrange or as_it_is
    if not (
        lie_along_positions(watch.streams, rows, arrange)
        and lie_along_positions(watch.streams, product.source, product.align)
    ):
        return False
    if not product.weights.numel():
        return True
    with quietly(product.weights):
        low, high = (float(each) for each in product.weights.detach().aminmax())
    if low < 0 or high > 1 + _ROUNDING:
        if watch.wanted(CALL) is not None:
            watch.miss(CALL, f"scores from {low:.3g} to {high:.3g} multiply the values, no shares")
        return True
    origin = Origin(CALL, name, tuple(rows.shape))
    watch.origins.append(origin)
    record(watch, Followed(origin, reasons=(_SAID,)), product)
    return True
