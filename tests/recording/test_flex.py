import attention_reference as reference
import numpy as np
import pytest
import torch
from torch.nn.attention.flex_attention import create_block_mask, flex_attention

pytestmark = pytest.mark.filterwarnings("ignore:flex_attention called without torch.compile")


def operands(heads=4, key_heads=4):
    torch.manual_seed(5)
    return torch.randn(2, heads, 6, 16), *torch.randn(2, 2, key_heads, 6, 16)


SLOPES = torch.tensor([0.5, 0.25, 0.125, 0.0625])


def tilted(score, batch, head, query, key):
    return score + SLOPES[head] * (key - query) + batch


def window(batch, head, query, key):
    return (query >= key) & (query - key < 3) & ((head > 0) | (query != 2))


CASES = {
    "plain": (None, None),
    "score function": (tilted, None),
    "mask function": (None, window),
    "both": (tilted, window),
}


@pytest.mark.parametrize(("score_mod", "mask_mod"), CASES.values(), ids=CASES.keys())
@pytest.mark.parametrize("key_heads", [4, 2])
def test_score_and_mask_functions_are_evaluated(score_mod, mask_mod, key_heads):
    query, key, value = operands(key_heads=key_heads)
    mask = None
    if mask_mod is not None:
        mask = create_block_mask(mask_mod, None, 4, 6, 6, device="cpu")

    def attend(query, key, value):
        return flex_attention(
            query, key, value, score_mod, mask, scale=0.2, enable_gqa=key_heads == 2
        )

    run, _ = reference.record(attend, query, key, value, example=1)
    bias = torch.zeros(4, 6, 6)
    for head in range(4):
        for row in range(6):
            for column in range(6):
                if score_mod is not None:
                    bias[head, row, column] += SLOPES[head] * (column - row)
                if mask_mod is not None and not window(1, head, row, column):
                    bias[head, row, column] = -torch.inf
    expected = reference.weights_of(query[1], key[1], scale=0.2, mask=bias)
    (attention,) = run.attentions
    assert np.abs(attention.weights - expected).max() < 2e-6
    assert attention.residual < 1e-5
    assert run.ledger[0].call == "flex_attention"


def test_a_compiled_function_inside_a_model_is_left_alone():
    @torch.compile(backend="eager")
    def attend(query, key, value):
        return torch.softmax(query @ key.mT, -1) @ value

    run, _ = reference.record(attend, *operands())
    assert run.attentions[0].residual < 1e-5
