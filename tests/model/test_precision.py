import pytest
import torch

from brain_tumor.model.precision import resolve


@pytest.mark.parametrize(
    ("instructions", "expected"),
    [
        ({"amx_bf16": True, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": True}, "bf16"),
        ({"amx_bf16": False, "avx512_bf16": False, "avx512_f": True}, "fp32"),
        ({}, "fp32"),
    ],
)
def test_auto_is_bfloat16_where_the_processor_has_instructions_for_it(monkeypatch, instructions, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: instructions)

    assert resolve("auto") == expected


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_format_that_is_asked_for_is_taken(precision):
    assert resolve(precision) == precision
