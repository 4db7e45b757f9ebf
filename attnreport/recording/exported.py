"""Know what a program of ``torch.export`` computes with, and where each step came from.

An exported program calls operators of ATen instead of torch functions, in one flat function; what
module a step was part of is written in its graph.
"""

from __future__ import annotations

import functools
import linecache
from types import FrameType
from typing import Any

import torch
from torch.nn import functional as F  # noqa: N812 - everybody calls it so

# What scaled_dot_product_attention is where a program is decomposed; the output comes first.
KERNELS = tuple(
    f"_scaled_dot_product_{name}"
    for name in (
        *("attention_math", "flash_attention_for_cpu", "flash_attention"),
        *("efficient_attention", "cudnn_attention", "fused_attention_overrideable"),
    )
)
# Operators whose torch function has another name, or lives where it is not looked for first.
_NAMED: dict[str, Any] = {
    "_safe_softmax": torch.softmax,
    "_softmax": torch.softmax,
    "_to_copy": torch.Tensor.to,
    "batch_norm": F.batch_norm,
    "embedding": F.embedding,
    "layer_norm": F.layer_norm,
    "linear": F.linear,
    "pad": F.pad,
    "scaled_dot_product_attention": F.scaled_dot_product_attention,
    "slice": torch.narrow,
}


@functools.cache
def torch_function_of(operator: Any) -> Any:
    """Return the torch function that an operator of ATen is, or the operator itself.

    Args:
        operator: one overload of it, as programs call it, or all of them, as code does.
    """
    packet = isinstance(operator, torch._ops.OpOverloadPacket)
    full = operator._qualified_op_name if packet else operator._schema.name
    space, _, name = full.partition("::")
    if space != "aten":
        return operator
    if name in _NAMED:
        return _NAMED[name]
    return getattr(torch, name, None) or getattr(torch.Tensor, name, operator)


def step_path(frame: FrameType, module: torch.fx.GraphModule) -> str | None:
    """Return the path of the module that the running step of a graph was exported from.

    None where the graph does not say.
    """
    line = linecache.getline(frame.f_code.co_filename, frame.f_lineno, frame.f_globals)
    name = line.partition("=")[0].strip()
    for node in module.graph.nodes:
        if node.name == name:
            stack = node.meta.get("nn_module_stack")
            return str(list(stack.values())[-1][0]) if stack else None
    return None
