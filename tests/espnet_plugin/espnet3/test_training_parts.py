"""Batches, optimizer and scheduler as the training configuration names them."""

from __future__ import annotations

import pytest
import torch
from espnet2.train.collate_fn import CommonCollateFn
from espnet3.components.data.dataset import CombinedDataset, do_nothing

from espnet_plugin.espnet3.dataset import Dataset
from espnet_plugin.espnet3.training_parts import (
    build_optimizer,
    build_scheduler,
    unique_image_batches,
)


def combined(*sets: Dataset) -> CombinedDataset:
    dataset = CombinedDataset(list(sets), [(do_nothing, do_nothing)] * len(sets))
    dataset.use_espnet_collator = True
    return dataset


OPTIONS = {"batch_size": 4, "sort_window": 1, "seed": 0, "num_workers": 0}


def test_batches_are_new_each_epoch_and_hold_no_picture_twice(tiny_corpus) -> None:
    collate = CommonCollateFn(not_sequence=("image", "image_id"))
    dataset = combined(Dataset(tiny_corpus.data))
    factory = unique_image_batches(dataset, [], collate_fn=collate, **OPTIONS)
    epochs = [[(ids, batch) for ids, batch in factory.build_iter(epoch)] for epoch in (1, 2)]
    for batches in epochs:
        assert sorted(key for ids, _ in batches for key in ids) == sorted(tiny_corpus.utt2image)
        for ids, batch in batches:
            assert len({tiny_corpus.utt2image[key] for key in ids}) == len(ids)
            assert [int(i[3]) for i in ids] == batch["image_id"].flatten().tolist()
    assert [ids for ids, _ in epochs[0]] != [ids for ids, _ in epochs[1]]


def test_an_epoch_has_as_many_batches_as_told(tiny_corpus) -> None:
    collate = CommonCollateFn(not_sequence=("image", "image_id"))
    dataset = combined(Dataset(tiny_corpus.data))
    for number in (1, 9):  # less and more than the set has
        factory = unique_image_batches(
            dataset, [], collate_fn=collate, num_iters_per_epoch=number, **OPTIONS
        )
        assert len(list(factory.build_iter(1))) == number


def test_several_training_sets_are_refused(tiny_corpus, tmp_path) -> None:
    for file in ("wav.scp", "image_feat.scp", "utt2image_id"):
        text = (tiny_corpus.data / file).read_text()
        (tmp_path / file).write_text("".join(f"x{line}\n" for line in text.splitlines()))
    dataset = combined(Dataset(tiny_corpus.data), Dataset(tmp_path))
    with pytest.raises(ValueError, match=r"sets in dataset.train: 2"):
        unique_image_batches(dataset, [], collate_fn=list, **OPTIONS)


def test_optimizer_and_scheduler_of_an_espnet2_configuration() -> None:
    layer = torch.nn.Linear(3, 2)
    options = {"name": "adamw", "conf": {"lr": 0.5, "weight_decay": 0.1}}
    optimizer = build_optimizer(layer.parameters(), exclude_weight_decay=True, **options)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    conf = {"warmup_steps_list": [0, 2, 4], "warmup_lr_list": [0.0, 1.0, 0.0]}
    scheduler = build_scheduler(optimizer, name="piecewiselinearwarmuplr", conf=conf)
    optimizer.step()
    scheduler.step()
    rising = optimizer.param_groups[0]["lr"]
    assert 0 < rising <= 1.0
    plain = build_optimizer(layer.parameters(), **options)
    constant = build_scheduler(plain, name=None, conf={})
    for _ in range(8):
        plain.step()
        constant.step()
    assert plain.param_groups[0]["lr"] == 0.5
