"""What the page may ask of a model: the replies are the model's own images, and other requests are refused."""

from __future__ import annotations

import base64
import io
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from genlab.cli.explore.codes import principal
from genlab.cli.explore.session import Session
from genlab.core import rng
from genlab.errors import ConfigError, DataError
from tests.support.models import PRESETS
from tests.support.untrained import loaded_run

HALF_LEVEL = 0.5 / 255 + 1e-5
UNSEEN = ("kmeans", "classifier", "simclr", "vicreg", "mae")  # encode images, and show nothing on the page


def session(preset: str, **model: Any) -> Session:
    return Session(loaded_run(preset, **model), n=40)


def images(sheet: dict[str, Any]) -> Tensor:
    """The images (n, 8, 8) in [0, 1] of a reply."""
    pixels = torch.from_numpy(np.array(Image.open(io.BytesIO(base64.b64decode(sheet["png"])))) / 255).float()
    rows = pixels.unflatten(0, (-1, sheet["height"])).unflatten(2, (-1, sheet["width"]))
    return rows.transpose(1, 2).flatten(0, 1)[: sheet["n"]]


def numbers(text: str, *shape: int) -> Tensor:
    return torch.from_numpy(np.frombuffer(base64.b64decode(text), "<f4").copy()).view(*shape)


@pytest.mark.parametrize("preset", PRESETS)
def test_every_part_that_a_model_is_said_to_have_answers(preset: str) -> None:
    asked = session(preset)
    described, pixels = asked.described, [0] * 64
    requests = {
        "codes": [("codes", {})],
        "draw": [("draw", {"pixels": pixels, "label": 3} if described["conditional"] else {"pixels": pixels})],
        "translate": [("translate", {"pixels": pixels})],
        "back": [("translate", {"pixels": pixels, "back": True})],
        "sample": [("sample", {"n": 3})],
        "mix": [("mix", {"first": 1, "second": 2, "layers": 1})],
        "path": [("path", {"n": 2, "frames": 3, "options": {"steps": 2}})],
    }
    assert any(described[part] not in (None, False) for part in requests) or preset in UNSEEN
    for part, calls in requests.items():
        for action, request in calls:
            if described[part] in (None, False):
                if action != "translate" or not described["translate"]:
                    with pytest.raises(ConfigError):
                        asked.answer(action, request)
            else:
                assert asked.answer(action, request)


def test_decoded_codes_are_the_images_of_the_model() -> None:
    asked = session("vae")
    codes = torch.randn(5, 5)
    found = images(asked.answer("decode", {"codes": codes.tolist(), "columns": 2}))
    assert (found - asked.model.decode(codes)[:, 0]).abs().max() <= HALF_LEVEL


def test_the_map_holds_the_codes_of_the_data() -> None:
    asked = session("vae")
    found = asked.answer("codes", {})
    drawn = asked.loaded.data().split("valid").drawn(40)
    [image] = drawn.take(40, ("image",))
    codes = numbers(found["codes"], 40, 5)
    assert torch.allclose(codes, asked.model.encode(image), atol=1e-5)
    assert found["labels"] == drawn.classes().tolist()
    assert (images(found["thumbnails"]) - image[:, 0]).abs().max() <= HALF_LEVEL
    # a slider moved by its number of deviations, from the mean, arrives at the point's place on the map
    place = (codes - codes.mean(0)) @ numbers(found["directions"], 5, 5).T
    assert torch.allclose(place[:, :3], numbers(found["positions"], 40, 3), atol=1e-4)
    assert torch.allclose(place.std(0, correction=0), torch.tensor(found["spread"]), atol=1e-4)


def test_random_codes_are_placed_by_their_images() -> None:
    asked = session("gan")
    found = asked.answer("codes", {})
    codes = numbers(found["codes"], 40, 5)
    assert not found["ofData"]
    assert found["labels"] is None
    assert (images(found["thumbnails"]) - asked.model.decode(codes)[:, 0]).abs().max() <= HALF_LEVEL
    directions = numbers(found["directions"], -1, 5)
    assert torch.allclose(directions.norm(dim=1), torch.ones(len(directions)), atol=1e-5)


def test_principal_components_are_those_of_a_singular_value_decomposition() -> None:
    x = torch.randn(50, 4) @ torch.diag(torch.tensor([5.0, 3.0, 1.0, 0.2]))
    positions, directions, spread = principal(x)
    assert torch.allclose(spread, torch.linalg.svdvals(x - x.mean(0)) / 50**0.5, atol=1e-4)
    assert torch.allclose(positions @ directions, x - x.mean(0), atol=1e-4)


def test_tsne_places_every_code() -> None:
    found = numbers(session("vae").answer("tsne", {})["positions"], 40, 3)
    assert found.isfinite().all()
    assert (found[:, 2] == 0).all()
    assert found[:, :2].std() > 0


def test_a_drawing_gives_its_code_and_reconstruction() -> None:
    asked = session("cvae")
    pixels = torch.randint(0, 256, (64,))
    image, label = pixels.view(1, 1, 8, 8) / 255, torch.tensor([7])
    found = asked.answer("draw", {"pixels": pixels.tolist(), "label": 7})
    assert (images(found) - asked.model.reconstruct(image, label)[:, 0]).abs().max() <= HALF_LEVEL
    assert torch.allclose(numbers(found["code"], 1, -1), asked.model.encode(image, label), atol=1e-5)


def test_samples_are_those_of_the_seed_and_class() -> None:
    asked = session("cgan")
    rng.seed(4)
    wanted = asked.model.sample(6, label=7)[:, 0]
    found = asked.answer("sample", {"n": 6, "seed": 4, "options": {"label": 7}})
    assert (images(found) - wanted).abs().max() <= HALF_LEVEL
    assert asked.answer("sample", {"n": 20})["columns"] == 10  # a column for each class


def test_a_mix_has_the_coarse_styles_of_the_first_and_the_fine_ones_of_the_second() -> None:
    asked = session("stylegan2")
    layers = asked.described["mix"]
    for count, same in ((layers, 0), (0, 1)):
        found = images(asked.answer("mix", {"first": 3, "second": 9, "layers": count, "truncation": 0.7}))
        assert torch.equal(found[2], found[same])
    assert not torch.equal(found[0], found[1])


def test_truncation_shortens_styles() -> None:
    asked = session("stylegan2")
    codes = torch.randn(2, asked.model.latent_dim)
    found = images(asked.answer("decode", {"codes": codes.tolist(), "truncation": 0.0}))
    assert torch.equal(found[0], found[1])  # both are the image of the mean style


def test_a_path_ends_at_the_sample() -> None:
    asked = session("flow_matching")
    options = {"steps": 4, "solver": "euler"}
    path = images(asked.answer("path", {"n": 2, "frames": 3, "seed": 5, "options": options}))
    samples = images(asked.answer("sample", {"n": 2, "seed": 5, "options": options}))
    assert len(path) == 6
    assert torch.equal(path[[2, 5]], samples)


def test_options_of_classes_are_shown_where_classes_were_trained() -> None:
    names = [
        [each["name"] for each in session("flow_matching", conditional=on).described["path"]] for on in (False, True)
    ]
    assert names == [["steps", "solver"], ["steps", "solver", "guidance", "label"]]


@pytest.mark.parametrize(
    ("action", "request_", "said"),
    [
        ("delete", {}, "no action"),
        ("answer", {}, "no action"),
        ("_image", {"pixels": []}, "no action"),
        ("decode", {"codes": [[1.0]]}, "5 numbers"),
        ("decode", {"codes": [[1.0, 2.0], [1.0]]}, "5 numbers"),
        ("decode", {"codes": []}, "codes"),
        ("decode", {"codes": [[0.0] * 5] * 1000}, "codes"),
        ("decode", {"codes": [["a"] * 5]}, "codes"),
        ("decode", {}, "codes"),
        ("draw", {"pixels": [0] * 63}, "64 values"),
        ("draw", {"pixels": [256] * 64}, "pixels"),
        ("sample", {"n": 101}, "n"),
        ("sample", {"options": {"label": 3}}, "label"),
        ("mix", {"first": 0, "second": 1, "layers": 1}, "lacks"),
        ("example", {"index": 0, "column": "label"}, "column"),
    ],
)
def test_other_requests_are_refused(action: str, request_: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        session("vae").answer(action, request_)


def test_without_the_data_random_codes_are_shown(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def gone(self: Any) -> Any:
        raise DataError("gone", "data", "restore it")

    asked = session("vae")
    monkeypatch.setattr(type(asked.loaded), "data", gone)
    assert not asked.answer("codes", {})["ofData"]
    assert "gone" in capsys.readouterr().err
    with pytest.raises(ConfigError, match="not there"):
        asked.answer("example", {})
