"""The tensors and JSON files of a checkpoint folder, read without running anything they hold.

Weights are read from safetensors or, without unpickling code, from `pytorch_model.bin`, each also in shards with an index.
"""

from __future__ import annotations

import json
import pickle
import zipfile
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from drlongformer.errors import CheckpointError


def read_weights(folder: Path) -> dict[str, Tensor]:
    """All tensors of a checkpoint by name; raises CheckpointError where there are none, or they cannot be read."""
    for name, read in (("model.safetensors", _read_safetensors), ("pytorch_model.bin", _read_pickle)):
        if (folder / name).is_file():
            return read(folder / name)
        index = folder / f"{name}.index.json"
        if index.is_file():
            return {name: tensor for shard in _shards(index) for name, tensor in read(shard).items()}
    raise CheckpointError(f"{folder} has neither model.safetensors nor pytorch_model.bin, nor an index of their shards")


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object; raises CheckpointError for anything else."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise CheckpointError(f"{path.parent} has no {path.name}") from None
    except OSError as error:
        raise _unreadable(path, error) from error
    except ValueError as error:
        raise CheckpointError(f"{path.name} is not JSON") from error
    if not isinstance(content, dict):
        raise CheckpointError(f"{path.name} is not a JSON object")
    return content


def _shards(index: Path) -> list[Path]:
    """The files an index names, which lie beside it."""
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise CheckpointError(f"{index.name} has no weight_map")
    shards = sorted({str(shard) for shard in weight_map.values()})
    if strange := [shard for shard in shards if Path(shard).name != shard]:
        raise CheckpointError(f"{index.name} names shards outside its folder: {strange[:3]}")
    if absent := [shard for shard in shards if not (index.parent / shard).is_file()]:
        raise CheckpointError(f"{index.name} names shards that are missing: {absent[:3]}")
    return [index.parent / shard for shard in shards]


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except OSError as error:
        raise _unreadable(path, error) from error
    except SafetensorError as error:
        raise CheckpointError(f"{path.name} is not a whole safetensors file: {error}") from error


def _read_pickle(path: Path) -> dict[str, Tensor]:
    """Tensors of a `torch.save` file, without ever running what the pickle asks for."""
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except OSError as error:
        raise _unreadable(path, error) from error
    except (pickle.UnpicklingError, RuntimeError, EOFError) as error:
        raise CheckpointError(f"{path.name} cannot be read as tensors alone: {type(error).__name__}") from error
    if not isinstance(content, dict) or not all(isinstance(tensor, Tensor) for tensor in content.values()):
        raise CheckpointError(f"{path.name} is not a table of tensors")
    return content


def _unreadable(path: Path, error: OSError) -> CheckpointError:
    return CheckpointError(f"{path} cannot be read: {error.strerror or type(error).__name__}")
