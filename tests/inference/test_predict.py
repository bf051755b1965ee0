"""``predict`` against the published chain written out plainly."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from PIL import Image

from segzoo.errors import ImageError, OptionError
from segzoo.index import Protocol
from segzoo.inference import predict
from tests.inference.plain import Tiny, assert_same_labels, picture, plain_scores

MEAN, STD = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
WHOLE = Protocol(MEAN, STD, scale=(200, 100))
SLIDE = Protocol(MEAN, STD, mode="slide", scale=(260, 130), crop_size=(64, 48), stride=(40, 32))


def fitted(height: int, width: int, long: int, short: int) -> tuple[int, int]:
    ratio = min(long / max(height, width), short / min(height, width))
    return int(height * ratio + 0.5), int(width * ratio + 0.5)


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("stride", [1, 2, 4, 8, 16])
@pytest.mark.parametrize("size", [(100, 200), (37, 61), (333, 200), (90, 500), (7, 5), (240, 320)])
def test_whole(size: tuple[int, int], stride: int, align_corners: bool) -> None:
    model, image = Tiny(WHOLE, 7, stride, align_corners), picture(*size)
    scores = plain_scores(model, image, [fitted(*size, 200, 100)])
    result = predict(model, image, probabilities=True)
    assert_same_labels(predict(model, image).mask, scores)
    assert_same_labels(result.mask, scores)
    assert np.abs(result.probabilities - scores.numpy()).max() < 1e-5


@pytest.mark.parametrize("align_corners", [False, True])
@pytest.mark.parametrize("stride", [1, 4, 8])
@pytest.mark.parametrize("size", [(100, 200), (61, 37), (400, 300), (20, 30), (130, 40)])
def test_slide(size: tuple[int, int], stride: int, align_corners: bool) -> None:
    model, image = Tiny(SLIDE, 5, stride, align_corners), picture(*size, seed=1)
    scores = plain_scores(model, image, [fitted(*size, 260, 130)], crop=(64, 48), stride=(40, 32))
    result = predict(model, image, probabilities=True)
    assert_same_labels(predict(model, image).mask, scores)
    assert np.abs(result.probabilities - scores.numpy()).max() < 1e-5


@pytest.mark.parametrize(
    ("crop", "step"), [((32, 32), (31, 1)), ((50, 20), (50, 20)), ((500, 16), (9, 7)), ((33, 17), (5, 11))]
)
def test_slide_with_any_crop_and_stride(crop: tuple[int, int], step: tuple[int, int]) -> None:
    model, image = Tiny(WHOLE, 4), picture(75, 90)
    scores = plain_scores(model, image, [(75, 90)], crop=crop, stride=step)
    result = predict(model, image, "slide", crop_size=crop, stride=step, resize=None)
    assert_same_labels(result.mask, scores)


@pytest.mark.parametrize("protocol", [WHOLE, SLIDE], ids=["whole", "slide"])
@pytest.mark.parametrize("size", [(60, 90), (300, 420)], ids=["enlarged", "shrunk"])
@pytest.mark.parametrize("classes", [1, 2, 30])
def test_scales_and_flip(protocol: Protocol, size: tuple[int, int], classes: int) -> None:
    model, image = Tiny(protocol, classes, 4), picture(*size, seed=2)
    long, short = protocol.scale or (0, 0)
    sizes = [fitted(*size, int(long * r), int(short * r)) for r in (0.5, 1.0, 1.75)]
    scores = plain_scores(model, image, sizes, True, protocol.crop_size, protocol.stride)
    result = predict(model, image, scales=(0.5, 1.0, 1.75), flip=True, probabilities=True)
    mask = predict(model, image, scales=[0.5, 1.0, 1.75], flip=True).mask
    assert np.abs(result.probabilities - scores.numpy()).max() < 1e-5
    if classes > 1:
        assert_same_labels(mask, scores)
        assert_same_labels(result.mask, scores)
    else:
        sure = (scores[0] - 0.3).abs().numpy() > 1e-5
        assert ((mask == (scores[0] > 0.3).numpy()) | ~sure).all()


def test_flip_alone() -> None:
    model, image = Tiny(WHOLE, 6), picture(70, 141)
    scores = plain_scores(model, image, [fitted(70, 141, 200, 100)], flip=True)
    assert_same_labels(predict(model, image, flip=True).mask, scores)


def test_many_classes_that_nearly_tie() -> None:
    model, image = Tiny(WHOLE, 150, 8), picture(150, 260)
    model.second.weight.data *= 1e-3
    model.second.bias.data *= 1e-3
    scores = plain_scores(model, image, [fitted(150, 260, 200, 100)])
    assert_same_labels(predict(model, image).mask, scores, 1e-7)


def test_more_than_256_classes_give_a_wider_mask() -> None:
    model, image = Tiny(WHOLE, 300, 8), picture(60, 80)
    result = predict(model, image)
    assert result.mask.dtype == np.uint16
    assert_same_labels(result.mask, plain_scores(model, image, [fitted(60, 80, 200, 100)]))


def test_threshold_of_a_single_channel() -> None:
    model, image = Tiny(WHOLE, 1), picture(80, 120)
    scores = plain_scores(model, image, [fitted(80, 120, 200, 100)])[0].numpy()
    for threshold, result in ((0.3, predict(model, image)), (0.6, predict(model, image, threshold=0.6))):
        sure = np.abs(scores - threshold) > 1e-5
        assert ((result.mask == (scores > threshold)) | ~sure).all()
        assert result.classes == ("background", "class 0")
        assert len(result.palette) == 2
    assert predict(model, image, probabilities=True).probabilities.shape == (1, 80, 120)


def test_resize_options() -> None:
    model, image = Tiny(WHOLE, 5), picture(75, 120)
    predict(model, image)
    predict(model, image, resize=None)
    predict(model, image, resize=(60, 60))
    predict(model, image, resize=None, scales=[0.5])
    assert [shape[2:] for shape in model.seen] == [(100, 160), (75, 120), (38, 60), (38, 60)]


def test_numbers_may_be_numpys() -> None:
    model, image = Tiny(WHOLE, 4), picture(60, 90)
    crop, ratios = np.array([32, 48]), np.array([0.5, 1.0], np.float32)
    mask = predict(model, image, "slide", crop_size=tuple(crop), stride=np.int64(20), scales=list(ratios)).mask
    plain = predict(model, image, "slide", crop_size=(32, 48), stride=20, scales=[0.5, 1.0]).mask
    assert np.array_equal(mask, plain)


def test_size_divisor_resizes_twice() -> None:
    model, image = Tiny(Protocol(MEAN, STD, scale=(200, 100), size_divisor=32), 5), picture(75, 120)
    from segzoo.inference.resample import resize_bilinear

    twice = resize_bilinear(resize_bilinear(image, (100, 160)), (128, 160))
    x = (torch.from_numpy(twice).permute(2, 0, 1)[None].float() - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(
        STD
    ).view(1, 3, 1, 1)
    expected = torch.nn.functional.interpolate(model.logits(x), (128, 160), mode="bilinear")
    expected = torch.nn.functional.interpolate(expected, (75, 120), mode="bilinear").softmax(1)[0]
    assert_same_labels(predict(model, image).mask, expected.detach())


def test_resize_that_does_not_keep_the_ratio() -> None:
    model = Tiny(Protocol(MEAN, STD, scale=(96, 64), keep_ratio=False), 5)
    predict(model, picture(75, 120))
    assert model.seen[-1][2:] == (64, 96)


def test_list_equals_one_at_a_time() -> None:
    model = Tiny(SLIDE, 5)
    images = [picture(60, 90), picture(90, 60, 1), picture(60, 90, 2), Image.fromarray(picture(33, 77))]
    together = predict(model, images, scales=(0.5, 1), flip=True)
    alone = [predict(model, image, scales=(0.5, 1), flip=True) for image in images]
    assert isinstance(together, list)
    assert [r.mask.shape for r in together] == [(60, 90), (90, 60), (60, 90), (33, 77)]
    assert all(np.array_equal(a.mask, b.mask) for a, b in zip(together, alone, strict=True))
    assert predict(model, []) == []
    assert len(predict(model, (images[0],))) == 1


def test_batches_of_windows_change_nothing() -> None:
    model, image = Tiny(SLIDE, 5), picture(120, 400)
    one = predict(model, image)
    singles = len(model.seen)
    model.seen.clear()
    assert np.array_equal(one.mask, predict(model, image, batch_size=3).mask)
    assert {shape[0] for shape in model.seen} == {1, 3} or {shape[0] for shape in model.seen} == {3, 2}
    assert len(model.seen) < singles


def test_batches_are_halved_when_memory_runs_out() -> None:
    class Small(Tiny):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            if len(x) > 2:
                raise torch.OutOfMemoryError("out of memory")
            return super().logits(x)

    model, image = Small(SLIDE, 5), picture(120, 400)
    assert np.array_equal(predict(model, image, batch_size=8).mask, predict(Tiny(SLIDE, 5), image).mask)
    assert max(shape[0] for shape in model.seen) == 2

    class Full(Tiny):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        predict(Full(SLIDE, 5), image, batch_size=8)


def test_other_errors_of_the_network_are_not_hidden() -> None:
    class Broken(Tiny):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            raise RuntimeError("shapes do not match")

    with pytest.raises(RuntimeError, match="shapes do not match"):
        predict(Broken(SLIDE, 5), picture(50, 50), batch_size=8)


@pytest.mark.parametrize("training", [False, True])
def test_mode_and_gradients_are_left_alone(training: bool) -> None:
    model = Tiny(WHOLE, 5)
    model.train(training)
    model.backbone.train(not training)
    with pytest.raises(ImageError):
        predict(model, np.zeros((3, 3)))
    predict(model, picture(40, 40))
    assert (model.training, model.backbone.training, model.second.training) == (training, not training, training)
    assert all(p.requires_grad and p.grad is None for p in model.parameters())
    assert torch.is_grad_enabled()
    assert not torch.is_inference_mode_enabled()


def test_mode_is_put_back_after_an_error() -> None:
    class Broken(Tiny):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            assert not self.training
            raise RuntimeError("no")

    model = Broken(WHOLE).train()
    with pytest.raises(RuntimeError):
        predict(model, picture(40, 40))
    assert model.training


def test_model_in_half_precision_and_under_autocast() -> None:
    image = picture(80, 120)
    exact = predict(Tiny(WHOLE, 5), image).mask
    half = predict(Tiny(WHOLE, 5).to(torch.bfloat16), image).mask
    assert (half == exact).mean() > 0.9
    with torch.autocast("cpu", dtype=torch.bfloat16):
        under = predict(Tiny(WHOLE, 5), image, probabilities=True)
    assert under.probabilities.dtype == np.float32
    assert np.abs(under.probabilities.sum(0) - 1).max() < 1e-5


def test_channels_last_models_get_channels_last_input() -> None:
    class Watching(Tiny):
        def logits(self, x: torch.Tensor) -> torch.Tensor:
            self.layout = x.is_contiguous(memory_format=torch.channels_last)
            return super().logits(x)

    model = Watching(WHOLE)
    plain = predict(model, picture(40, 60)).mask
    assert not model.layout
    model = model.to(memory_format=torch.channels_last)
    assert np.array_equal(predict(model, picture(40, 60)).mask, plain)
    assert model.layout


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"mode": "sliding"}, "'whole' or 'slide'"),
        ({"mode": "slide", "crop_size": (32, 32), "stride": (33, 20)}, "gaps"),
        ({"mode": "slide", "crop_size": 0}, "crop_size"),
        ({"mode": "slide", "crop_size": (8, 8, 8)}, "crop_size"),
        ({"mode": "slide", "crop_size": "32"}, "crop_size"),
        ({"mode": "slide", "crop_size": 8, "stride": -1}, "stride"),
        ({"crop_size": 32}, "mode='slide'"),
        ({"mode": "whole", "stride": 32}, "mode='slide'"),
        ({"scales": ()}, "scales"),
        ({"scales": 1.0}, "scales"),
        ({"scales": (1.0, 0)}, "above 0"),
        ({"scales": (float("nan"),)}, "above 0"),
        ({"scales": ("1",)}, "above 0"),
        ({"flip": 1}, "flip"),
        ({"resize": "none"}, "resize"),
        ({"resize": 512}, "resize"),
        ({"resize": (0, 5)}, "resize"),
        ({"threshold": 0.5}, "one channel"),
        ({"batch_size": 0}, "batch_size"),
        ({"batch_size": True}, "batch_size"),
        ({"channel_order": "RGB"}, "channel_order"),
    ],
)
def test_bad_options_are_named(options: dict[str, object], says: str) -> None:
    with pytest.raises(OptionError, match=says):
        predict(Tiny(WHOLE, 3), picture(20, 20), **options)


@pytest.mark.parametrize("threshold", [-0.1, 1.5, "0.3", float("nan")])
def test_bad_threshold(threshold: object) -> None:
    with pytest.raises(OptionError, match="threshold"):
        predict(Tiny(WHOLE, 1), picture(20, 20), threshold=threshold)


def test_a_bad_picture_of_a_list_is_named() -> None:
    with pytest.raises(ImageError, match=r"picture 1 of the list: .*float32"):
        predict(Tiny(WHOLE), [picture(9, 9), np.zeros((4, 4, 3), np.float32)])
