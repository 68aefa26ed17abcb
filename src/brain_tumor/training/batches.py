"""Batches of features, cut so that any number of GPUs sees the same ones together."""

import lightning
import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import DataLoader, Dataset
from torch.utils.data.distributed import DistributedSampler

from brain_tumor.data.arrays import Arrays, SplitArrays
from brain_tumor.data.cells import UNKNOWN, Coverage
from brain_tumor.errors import UserError
from brain_tumor.model.classifier import Classifier
from brain_tumor.model.features import DeviceFeatures, FeatureCache, Features
from brain_tumor.training.task import Batch


class FeatureDataset(Dataset[Batch]):
    """Features and labels, fetched a batch at a time."""

    def __init__(
        self, features: Features | DeviceFeatures, labels: NDArray[np.int64], cells: Coverage | None = None
    ) -> None:
        if len(features) != len(labels):
            raise ValueError(f"{len(features)} features, {len(labels)} labels")
        self.features, self.labels = features, labels
        self.cells = np.full((len(labels), 1, 1), UNKNOWN, np.uint8) if cells is None else cells

    def __len__(self) -> int:
        return len(self.labels)

    def __getitems__(self, rows: list[int]) -> Batch:
        """Features and labels of several images; what `DataLoader` calls where it is there."""
        chosen = np.asarray(rows)
        return self.features.gather(chosen), torch.from_numpy(self.labels[chosen]), torch.from_numpy(self.cells[chosen])


class FeatureBatches(lightning.LightningDataModule):
    """Features of train and validation, computed by the first process of a machine and read by all.

    A training batch is the same set of images whatever the number of processes: `torch`'s sampler deals the shuffled
    images out one by one, and each process takes its share of `batch_size`. The order follows from seed and epoch.
    """

    trainer: lightning.Trainer

    def __init__(self, arrays: Arrays, classifier: Classifier, cache: FeatureCache, batch_size: int, seed: int) -> None:
        super().__init__()
        self.arrays, self.classifier, self.cache, self.seed = arrays, classifier, cache, seed
        self.batch_size = min(batch_size, len(arrays.train))

    def prepare_data(self) -> None:
        for split in (self.arrays.train, self.arrays.validation):
            self.cache.fill(self.classifier, split.images, self.trainer.strategy.root_device)

    def setup(self, stage: str) -> None:  # noqa: ARG002
        processes = self.trainer.world_size
        if self.batch_size % processes:
            raise UserError(f"train.batch_size: {self.batch_size} images cannot be dealt out to {processes} processes")

    def train_dataloader(self) -> DataLoader[Batch]:
        dataset, processes, rank = self._dataset(self.arrays.train), self.trainer.world_size, self.trainer.global_rank
        sampler: DistributedSampler[Batch] = DistributedSampler(
            dataset, processes, rank, seed=self.seed, drop_last=True
        )
        return self._loader(dataset, sampler, drop_last=True)

    def val_dataloader(self) -> DataLoader[Batch]:
        dataset = self._dataset(self.arrays.validation)
        own = range(self.trainer.global_rank, len(dataset), self.trainer.world_size)
        return self._loader(dataset, own, drop_last=False)

    def _dataset(self, split: SplitArrays) -> FeatureDataset:
        device = self.trainer.strategy.root_device
        features = self.cache.open(self.classifier, split.images, device)
        return FeatureDataset(features if device.type == "cpu" else features.on(device), split.labels, split.cells)

    def _loader(
        self, dataset: FeatureDataset, sampler: DistributedSampler[Batch] | range, drop_last: bool
    ) -> DataLoader[Batch]:
        size = self.batch_size // self.trainer.world_size
        # `__getitems__` has returned a batch already, no list of items.
        return DataLoader(dataset, size, sampler=sampler, drop_last=drop_last, collate_fn=lambda batch: batch)
