from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from segzoo.datasets.base import Sample
from segzoo.errors import DatasetError, OptionError
from segzoo.recipe import Augmentation
from segzoo.training.data import Draws, InMemory, Share, batches
from tests.training.streets import InArrays, sample

AUGMENTATION = Augmentation(crop_size=(32, 40))


def draws(count: int = 5, seed: int = 0, data: InArrays | None = None) -> Draws:
    return Draws(data or InArrays(count), AUGMENTATION, mean=(1, 2, 3), std=(4, 5, 6), classes=2, seed=seed)


def test_every_round_shows_every_picture_in_another_order() -> None:
    made = draws()
    rounds = [tuple(made.index(number) for number in range(start, start + 5)) for start in range(0, 50, 5)]
    assert all(sorted(one) == [0, 1, 2, 3, 4] for one in rounds)
    assert len(set(rounds)) > 5
    assert [made.index(number) for number in range(5)] == list(rounds[0])  # asked again, answered alike
    assert any(draws(seed=1).index(number) != made.index(number) for number in range(5))


def test_a_draw_is_decided_by_its_number_and_the_seed() -> None:
    first, again, other = draws()[7], draws()[7], draws(seed=1)[7]
    assert torch.equal(first[0], again[0])
    assert torch.equal(first[1], again[1])
    assert not torch.equal(first[0], other[0])
    assert first[0].shape == (3, 32, 40)
    assert first[0].dtype == torch.float32
    assert first[1].shape == (32, 40)
    assert first[1].dtype == torch.uint8
    assert not torch.equal(draws(count=1)[0][0], draws(count=1)[1][0])  # the same picture, another view


@pytest.mark.parametrize(("world", "passes"), [(1, 1), (2, 1), (1, 2), (2, 3), (3, 2)])
def test_shares_of_a_step_are_the_step(world: int, passes: int) -> None:
    shares = [Share(12 // world // passes, passes, rank, world) for rank in range(world)]
    assert {share.total for share in shares} == {12}
    seen = [number for share in shares for each in range(passes) for number in share.numbers(3, each)]
    assert sorted(seen) == list(range(36, 48))


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_depend_on_neither_workers_nor_where_they_begin(workers: int) -> None:
    share = Share(2, passes=2)
    whole = list(batches(draws(), share, 0, 3))
    assert len(whole) == 6
    later = list(batches(draws(), share, 1, 3, workers=workers))
    assert len(later) == 4
    for (images, labels), (expected_images, expected_labels) in zip(later, whole[2:], strict=True):
        assert torch.equal(images, expected_images)
        assert torch.equal(labels, expected_labels)


def test_nobody_elses_random_numbers_are_used() -> None:
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    list(batches(draws(), Share(2), 0, 2))
    assert random.getstate() == states[0]
    assert np.random.get_state()[1].tolist() == states[1]
    assert torch.equal(torch.get_rng_state(), states[2])


class Wrong(InArrays):
    def __getitem__(self, index: int, /) -> Sample:
        made = sample(index)
        made.label[10, 10] = 2
        return made


class Uneven(InArrays):
    def __getitem__(self, index: int, /) -> Sample:
        made = sample(index)
        return Sample(made.image, made.label[1:], made.name)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_wrong_sample_is_named(workers: int) -> None:
    loader = batches(draws(data=Wrong(3)), Share(2), 0, 1, workers=workers)
    with pytest.raises(DatasetError, match=r"^picture\d: its label map holds 2, but the model has 2 classes"):
        next(loader)
    loader = batches(draws(data=Uneven(3)), Share(2), 0, 1, workers=workers)
    with pytest.raises(DatasetError, match=r"^picture\d: picture and label map differ in size \(80x72, 80x71\)"):
        next(loader)


def test_what_cannot_be_drawn_from() -> None:
    with pytest.raises(DatasetError, match="no pictures"):
        draws(count=0)
    with pytest.raises(OptionError, match="crop_size"):
        Draws(InArrays(1), Augmentation(), mean=(0, 0, 0), std=(1, 1, 1), classes=2)


def test_pictures_kept_in_memory_are_read_once() -> None:
    class Counted(InArrays):
        reads = 0

        def __getitem__(self, index: int, /) -> Sample:
            self.reads += 1
            return super().__getitem__(index)

    data = Counted(2)
    kept = InMemory(data)
    assert len(kept) == 2
    assert kept[1] is kept[1]
    assert np.array_equal(kept[0].image, sample(0).image)
    assert data.reads == 2
