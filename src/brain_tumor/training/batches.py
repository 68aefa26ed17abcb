"""Batches of features, cut so that any number of processes sees the same ones together."""

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from brain_tumor.data.arrays import Arrays, SplitArrays
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import DeviceFeatures, FeatureCache, Features
from brain_tumor.training.task import Batch


class FeatureDataset(Dataset[Batch]):
    """Features and labels, fetched a batch at a time."""

    def __init__(self, features: Features | DeviceFeatures, labels: NDArray[np.int64]) -> None:
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} features, {len(labels)} labels")
        self.features = features
        self.labels = labels

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Features and labels of several images; what `DataLoader` calls where it is there."""
        chosen = np.asarray(rows)
        return self.features.gather(chosen), torch.from_numpy(self.labels[chosen])


class FeatureBatches(lightning.LightningDataModule):
    """Features of train and validation, computed by the first process of a machine and read by all.

    A training batch is the same set of images whatever the number of processes: `torch`'s sampler deals the shuffled
    images out one by one, and each process takes its share of `batch_size`. The order follows from seed and epoch.
    """

    def __init__(self, arrays: Arrays, classifier: Classifier, cache: FeatureCache, batch_size: int, seed: int) -> None:
        super().__init__()
        self.arrays = arrays
        self.classifier = classifier
        self.cache = cache
        self.batch_size = min(batch_size, len(arrays.train))
        self.seed = seed

    def prepare_data(self) -> None:
        for part in (self.arrays.train, self.arrays.validation):
            self.cache.fill(self.classifier, part.images, self._device)

    def setup(self, stage: str) -> None:  # noqa: ARG002
        processes = self._trainer.world_size
        if self.batch_size % processes:
            raise UserError(f"train.batch_size: {self.batch_size} images cannot be dealt out to {processes} processes")
        self.train, self.validation = (self._open(part) for part in (self.arrays.train, self.arrays.validation))

    def train_dataloader(self) -> DataLoader[Batch]:
        trainer = self._trainer
        sampler: DistributedSampler[Batch] = DistributedSampler(
            self.train, trainer.world_size, trainer.global_rank, shuffle=True, seed=self.seed, drop_last=True
        )
        return self._loader(self.train, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        own = range(self._trainer.global_rank, len(self.validation), self._trainer.world_size)
        return self._loader(self.validation, own, drop_last=False)

    def _open(self, part: SplitArrays) -> FeatureDataset:
        features = self.cache.open(self.classifier, part.images, self._device)
        return FeatureDataset(features if self._device.type == "cpu" else features.on(self._device), part.labels)

    def _loader(
        self, dataset: FeatureDataset, sampler: DistributedSampler[Batch] | range, drop_last: bool
    ) -> DataLoader[Batch]:
        return DataLoader(
            dataset,
            batch_size=self.batch_size // self._trainer.world_size,
            sampler=sampler,
            drop_last=drop_last,
            collate_fn=_as_fetched,  # type: ignore[arg-type]  # __getitems__ returns a batch, no list of items
        )

    @property
    def _trainer(self) -> lightning.Trainer:
        if self.trainer is None:
            raise RuntimeError("only within Trainer.fit")
        return self.trainer

    @property
    def _device(self) -> torch.device:
        return self._trainer.strategy.root_device


def _as_fetched(batch: tuple[Tensor, Tensor]) -> Batch:
    return batch
