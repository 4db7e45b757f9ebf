"""Record the attention of one real run of any PyTorch model, without changing a bit of it.

``capture`` opens a ``Watch``, a torch function mode. Each way of computing attention has a file
with its recorder: ``sdpa``, ``multihead``, ``fused``, ``handwritten``. ``streams`` knows which
sequence a tensor belongs to, ``naming`` which module is running, ``assemble`` makes a ``Run`` of it
all. ``ablate`` runs a model without each of its heads.
"""

from attnreport.recording.ablation import Ablated, Trial, ablate
from attnreport.recording.recording import Recording, capture

__all__ = ["Ablated", "Recording", "Trial", "ablate", "capture"]
