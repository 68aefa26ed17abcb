"""What training runs on: no parameter, because the result is the same."""

import argparse
import os
from collections.abc import Mapping, Sequence
from typing import Any

import lightning
import torch
from lightning.fabric.utilities.exceptions import MisconfigurationException

from brain_tumor.errors import UserError

CPU: Mapping[str, Any] = {"accelerator": "cpu"}

OPTIONS = {"accelerator": "auto", "devices": "auto", "nodes": 1, "strategy": "auto"}
"""By name, Lightning's Trainer's defaults."""


def devices_of(
    arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
) -> Mapping[str, Any]:
    """Arguments of Lightning's Trainer from options of the command line, else from `BRAIN_TUMOR_DEVICES` and so on.

    Args:
        arguments: those after the program's name; by default the process's own.
        environment: variables.
    """
    parser = argparse.ArgumentParser(description="Train the classifier and keep the epoch with the lowest loss.")
    for name, usual in OPTIONS.items():
        variable = f"BRAIN_TUMOR_{name.upper()}"
        given = environment.get(variable) or usual
        words = f"Lightning's, by default {variable}, else {usual}"
        parser.add_argument(f"--{name}", default=given, type=type(usual), help=words)
    values = vars(parser.parse_args(arguments))
    return {"num_nodes": values.pop("nodes"), **values}


def trainer_on(devices: Mapping[str, Any], **arguments: Any) -> lightning.Trainer:
    """Lightning's Trainer.

    Raises:
        UserError: it cannot run on these devices.
    """
    try:
        return lightning.Trainer(**devices, **arguments, logger=False)
    except (MisconfigurationException, RuntimeError, TypeError, ValueError) as error:  # SLURM's tasks
        asked = ", ".join(f"{name} {value}" for name, value in devices.items())
        raise UserError(f"training cannot run on {asked}: {str(error).splitlines()[0]}") from None


def training_device(devices: Mapping[str, Any]) -> torch.device:
    """Where this process will train, as the Trainer chooses.

    Raises:
        UserError: no such devices, or several processes without GPUs.
    """
    trainer = trainer_on(devices, enable_checkpointing=False, enable_progress_bar=False)
    device = trainer.strategy.root_device
    processes = max(trainer.world_size, int(os.environ.get("WORLD_SIZE", 1)))  # a launcher's, even where not used
    if processes > 1 and device.type == "cpu":
        raise UserError(f"{processes} processes cannot train without GPUs: start one, with --devices 1 and no launcher")
    return device
