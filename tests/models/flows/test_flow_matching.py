"""Flow matching against closed forms: the loss at the exact field, the order of the solvers, guidance."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from genlab.cli import main
from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.flows.flow_matching import FlowMatching
from genlab.nn.diffusion.solvers import evenly, solve
from genlab.nn.diffusion.times import sample_times
from tests.support.fields import POINT, known


def model(function: Any = None, shape: tuple[int, int, int] = POINT, **options: Any) -> FlowMatching:
    return known(FlowMatching, function, shape, **options)


def test_the_loss_is_zero_at_the_field_that_leads_to_the_only_data_point() -> None:
    center = torch.tensor([3.0, -1.0]).reshape(POINT)
    exact = model(lambda x, t, label: (center - x) / (1 - t))
    rng.seed(0)
    assert float(exact.loss(center.expand(64, *POINT))["loss"]) < 1e-6


def test_the_loss_at_first_is_the_mean_square_of_the_paths() -> None:
    """The network starts at zero; E‖x₁ − x₀‖² = ‖x₁‖² + D."""
    rng.seed(0)
    loss = model(shape=(1, 4, 4)).loss(torch.ones(4000, 1, 4, 4))["loss"]
    assert float(loss.detach()) == pytest.approx(16 + 16, rel=0.02)


@pytest.mark.parametrize(("solver", "order"), [("euler", 1), ("midpoint", 2), ("heun", 2), ("rk4", 4)])
def test_the_solvers_have_their_order(solver: Any, order: int) -> None:
    """dx/dt = t·x: x(1) = √e·x(0)."""

    start = torch.ones(1, *POINT, dtype=torch.float64)

    def error(steps: int) -> float:
        *_, found = solve(lambda x, t: t * x, start, evenly(0, 1, steps), solver)
        return float((found - torch.e**0.5 * start).abs().max())

    assert error(16) / error(32) == pytest.approx(2**order, rel=0.1)


def test_the_flow_of_a_gaussian_is_its_closed_form() -> None:
    """Data N(m, s²): x_t ~ N(t m, σ²) with σ² = (1 − t)² + t² s²; the flow maps x₀ to m + s x₀."""
    m, s = 3.0, 0.5

    def velocity(x: Any, t: Any, label: Any) -> Any:
        return m + (t * s**2 - (1 - t)) / ((1 - t) ** 2 + t**2 * s**2) * (x - t * m)

    exact = model(velocity)
    rng.seed(0)
    first, *_, end = exact.path(100, steps=40, solver="rk4")
    assert torch.allclose(end, m + s * first, atol=1e-4)
    rng.seed(1)
    data = m + s * rng.normal(20_000, *POINT, like=first)
    losses = []
    for offset in (0.0, 0.2, -0.2):  # no other field has a smaller loss
        rng.seed(2)
        losses.append(float(model(lambda x, t, label, d=offset: velocity(x, t, label) + d).loss(data)["loss"]))
    assert losses[1] - losses[0] == pytest.approx(2 * 0.2**2, rel=0.3)
    assert losses[2] - losses[0] == pytest.approx(2 * 0.2**2, rel=0.3)


def test_times_are_uniform_or_prefer_the_middle() -> None:
    rng.seed(0)
    like = torch.zeros(())
    uniform, middle = (sample_times(20_000, name, like) for name in ("uniform", "logit_normal"))  # type: ignore[arg-type]
    for t in (uniform, middle):
        assert t.min() >= 0
        assert t.max() < 1
        assert float(t.mean()) == pytest.approx(0.5, abs=0.01)
    assert float(uniform.std()) == pytest.approx(12**-0.5, abs=0.01)
    assert float(middle.logit().std()) == pytest.approx(1, abs=0.02)


def test_samples_follow_the_solver_and_a_path_has_every_state() -> None:
    """dx/dt = t·x: x(1) = √e·x(0)."""
    growing = model(lambda x, t, label: t * x)
    rng.seed(0)
    states = list(growing.path(5, steps=4, solver="rk4"))
    rng.seed(0)
    assert torch.equal(growing.sample(5, steps=4, solver="rk4"), states[-1])
    assert len(states) == 5
    assert torch.allclose(states[-1], torch.e**0.5 * states[0], rtol=1e-3)


def test_guidance_moves_the_velocity_beyond_that_of_the_class() -> None:
    toward = model(lambda x, t, label: torch.zeros_like(x) if label is None else x * 0 + 1, conditional=True)
    moved = []
    for guidance in (0.0, 1.0, 3.0):
        rng.seed(0)
        moved.append(toward.sample(4, steps=2, guidance=guidance, label=1))
    assert torch.allclose(moved[1] - moved[0], torch.ones(4, *POINT))
    assert torch.allclose(moved[2] - moved[0], torch.full((4, *POINT), 3.0))


def test_labels_go_in_turn_or_are_the_one_asked_for() -> None:
    field = model(lambda x, t, label: x, conditional=True)
    field.sample(5, steps=1, solver="euler")
    field.sample(2, steps=1, solver="euler", label=2)
    assert [label.tolist() for label in field.network.labels] == [[0, 1, 2, 0, 1], [2, 2]]


def test_a_fraction_of_the_labels_is_hidden_while_training() -> None:
    field = model(lambda x, t, label: x, conditional=True, label_dropout=0.25)
    label = torch.arange(4000) % 3
    rng.seed(0)
    field.loss(torch.zeros(4000, *POINT), label)
    [given] = field.network.labels
    hidden = given == 3
    assert float(hidden.float().mean()) == pytest.approx(0.25, abs=0.03)
    assert torch.equal(given[~hidden], label[~hidden])


def test_a_model_without_classes_takes_neither_label_nor_guidance() -> None:
    for options in ({"label": 1}, {"guidance": 2.0}):
        with pytest.raises(ConfigError, match=r"without classes; keys label and guidance; train with"):
            model().sample(2, **options)  # type: ignore[arg-type]


def test_guidance_needs_a_network_that_has_learned_without_classes() -> None:
    field = model(lambda x, t, label: x, conditional=True, label_dropout=0.0)
    field.sample(2, steps=1)
    for guidance in (0.0, 2.0):
        with pytest.raises(ConfigError, match=r"guidance other than 1 needs .* key model.label_dropout; train with"):
            field.sample(2, steps=1, guidance=guidance)


def test_images_are_samples_in_their_range_and_points_are_not_clamped() -> None:
    far = model(lambda x, t, label: x * 0 + 9, shape=(1, 4, 4))
    assert far.sample(2, steps=1).eq(1).all()
    assert model(lambda x, t, label: x * 0 + 9).sample(2, steps=1).min() > 2


def test_its_options_are_those_of_genlab_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["model=flow_matching", "model.network={name: film_mlp, width: 8, layers: 1}", "model.conditional=true"]
    run = [
        *words,
        "optimizer.lr=0.1",
        "trainer.steps=5",
        "evaluator=none",
        "logger=quiet",
        f"hydra.run.dir={tmp_path / 'run'}",
    ]
    assert main.main(["train", *run]) == 0
    made = set()
    for option in ("steps=3", "solver=euler", "guidance=2", "label=4"):
        capsys.readouterr()
        assert main.main(["sample", str(tmp_path / "run"), "n=4", option]) == 0
        made.add(Path(capsys.readouterr().out.strip()).read_bytes())
    assert len(made) == 4
    assert main.main(["sample", str(tmp_path / "run"), "step=3"]) == 2
    assert "did you mean 'steps'?" in capsys.readouterr().err
