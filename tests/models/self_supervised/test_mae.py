"""MAE: hidden patches do not reach the encoder, the loss is theirs alone, patches and images are inverse."""

from __future__ import annotations

import pytest
import torch

from genlab.core import rng
from genlab.errors import ConfigError
from genlab.models.self_supervised.mae import MAE
from genlab.nn.networks.transformer import image_of, patches_of

TINY = {"width": 16, "layers": 1, "heads": 2, "decoder_width": 8, "decoder_layers": 1}


def mae(**changes: object) -> MAE:
    torch.manual_seed(0)
    return MAE((1, 8, 8), patch=2, **{**TINY, **changes}).eval()  # type: ignore[arg-type]


@pytest.mark.parametrize(("height", "width"), [(8, 8), (9, 6), (5, 7)])
def test_patches_are_squares_row_by_row_and_go_back(height: int, width: int) -> None:
    image = torch.rand(2, 3, height, width)
    patches = patches_of(image, 4)
    assert torch.equal(image_of(patches, 4, height, width), image)
    assert torch.equal(patches[:, 0].view(2, 3, 4, 4), image[:, :, :4, :4])
    if width > 4:
        second = image[:, :, :4, 4:8]
        assert torch.equal(patches[:, 1].view(2, 3, 4, 4)[..., : second.shape[3]], second)


def test_a_quarter_of_the_patches_is_encoded() -> None:
    model, seen = mae(), []
    model.encoder.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].shape))
    model.loss(torch.rand(3, 1, 8, 8))
    assert seen == [(3, 4, 16)]
    assert MAE((1, 4, 2), patch=2, **TINY).visible == 1  # type: ignore[arg-type]


def test_the_loss_is_that_of_hidden_patches_by_hand() -> None:
    model, image = mae(), torch.rand(3, 1, 8, 8)
    with torch.no_grad():
        model.pixels.weight.mul_(0.1)
        model.pixels.bias.fill_(0.5)  # predictions inside [0, 1], to which inpainting clips
    rng.seed(1)
    values = model.loss(image)
    rng.seed(1)
    shown = rng.uniform(3, 16, like=image).argsort(1)[:, :4]
    mask = torch.ones(3, 16, dtype=torch.bool).scatter(1, shown, False)
    of_pixels = image_of(mask[:, :, None].expand(-1, -1, 4).float(), 2, 8, 8).bool()
    filled = model.inpaint(image, of_pixels)
    error = (filled - image).square().sum((1, 2, 3)).mean()
    assert values["loss"].item() == pytest.approx(error.item(), rel=1e-4)
    assert values["pixel_error"].item() == pytest.approx(values["loss"].item() / (12 * 4))
    rng.seed(1)
    other = torch.where(of_pixels, 1 - image, image)
    assert model.loss(other)["loss"].item() != values["loss"].item()
    assert torch.allclose(
        model.inpaint(other, of_pixels)[of_pixels], filled[of_pixels], atol=1e-5
    )  # it sees none of it


def test_an_image_that_is_all_unknown_is_filled_in() -> None:
    image = torch.rand(2, 1, 8, 8)
    filled = mae().inpaint(image, torch.ones(2, 1, 8, 8, dtype=torch.bool))
    assert filled.isfinite().all()
    assert torch.allclose(filled[0], filled[1], atol=1e-5)


def test_one_patch_is_one_line() -> None:
    with pytest.raises(ConfigError, match="one patch of 4"):
        MAE((1, 4, 4), patch=4, **TINY)  # type: ignore[arg-type]
