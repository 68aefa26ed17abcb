import pytest
import torch

from brain_tumor.model.precision import resolve


@pytest.mark.parametrize(("instructions", "expected"), [(True, "bf16"), (False, "fp32")])
def test_auto_is_bfloat16_where_the_processor_has_instructions_for_it(monkeypatch, instructions, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: {"amx_bf16": instructions})

    assert resolve("auto") == expected


@pytest.mark.parametrize("precision", ["bf16", "fp32"])
def test_a_format_that_is_asked_for_is_taken(precision):
    assert resolve(precision) == precision
