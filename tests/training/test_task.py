import pytest
import torch

from brain_tumor.training.task import scheduler_of


@pytest.mark.parametrize(
    ("schedule", "first", "highest", "last"),
    [("constant", 1, 1, 1), ("cosine", 1, 1, 0), ("one_cycle", 1 / 25, 1, 4e-6)],
)
def test_learning_rate_over_a_run(train_params, schedule, first, highest, last):
    params = train_params.model_copy(update={"schedule": schedule, "learning_rate": 0.01})
    optimizer = torch.optim.AdamW([torch.nn.Parameter(torch.zeros(1))], lr=params.learning_rate)
    scheduler = scheduler_of(optimizer, params, 100)
    rates = []
    for _ in range(100):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step() if len(rates) < 100 else None

    assert rates[0] == pytest.approx(0.01 * first)
    assert max(rates) == pytest.approx(0.01 * highest, rel=1e-3)
    assert rates[-1] == pytest.approx(0.01 * last, abs=1e-5)
