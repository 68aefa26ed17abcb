"""On which devices a run goes: no parameter, because the result is the same."""

import argparse
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any, Self

PREFIX = "BRAIN_TUMOR_"


@dataclass(frozen=True)
class Devices:
    """Arguments of Lightning's Trainer of the same names.

    Attributes:
        accelerator: `auto` (a GPU if there is one), `cpu`, `gpu`, …
        devices: `auto`, or how many on this machine.
        nodes: machines.
        strategy: `auto`, `ddp`, `fsdp`, …
    """

    accelerator: str = "auto"
    devices: str = "auto"
    nodes: int = 1
    strategy: str = "auto"

    @classmethod
    def from_arguments(
        cls, arguments: Sequence[str] | None = None, environment: Mapping[str, str] = os.environ
    ) -> Self:
        """Options of the command line; where one is not given `BRAIN_TUMOR_DEVICES` and so on; then the launcher's.

        Args:
            arguments: those after the program's name; by default the process's own.
            environment: variables.
        """
        parser = argparse.ArgumentParser(description="Train the classifier and keep the epoch with the best score.")
        launched = _launcher(environment)
        for field in fields(cls):
            name = field.name
            default = environment.get(PREFIX + name.upper()) or launched.get(name) or field.default
            parser.add_argument(
                f"--{name}",
                default=default,
                type=type(field.default),
                help=f"Lightning's, by default {PREFIX}{name.upper()}, else {field.default}",
            )
        return cls(**vars(parser.parse_args(arguments)))

    def trainer_arguments(self) -> dict[str, Any]:
        """As keyword arguments of `lightning.Trainer`."""
        devices = int(self.devices) if self.devices.isdigit() else self.devices
        return {
            "accelerator": self.accelerator,
            "devices": devices,
            "num_nodes": self.nodes,
            "strategy": self.strategy,
        }


def _launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """What `torchrun` or SLURM have decided: Lightning detects both, but wants to be told how many they started."""
    if "TORCHELASTIC_RUN_ID" in environment:
        local = int(environment["LOCAL_WORLD_SIZE"])
        nodes = int(environment["WORLD_SIZE"]) // local
        return {"devices": str(local), "nodes": str(nodes), "strategy": "ddp"}
    if "SLURM_NTASKS" in environment:
        return {
            "devices": environment.get("SLURM_NTASKS_PER_NODE", "auto"),
            "nodes": environment.get("SLURM_NNODES", "1"),
        }
    return {}
