"""The networks of a study: by name, or made by the user.

    "small"                    resload's own, for a first look: `networks`
    "resnet34" "densenet121"   MONAI's, as Sabottke & Spieler compared them (Radiology: AI 2020;2(1):e190015); untrained
    "timm:NAME"                any of timm's, untrained; "timm:NAME:pretrained" with its weights
    "FILE.py:NAME"             or package.module:NAME: a factory of the user's

A factory is called with those of `outputs=` (targets, or masks), `channels=` and `size=` (height, width) that it has
arguments of these names for, and returns a torch Module.
"""

import functools
import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

import torch

from resload import byname
from resload.errors import ArgumentError, require
from resload.size import Size
from resload.study.networks import Small, SmallUNet
from resload.study.settings import Factory, Settings

NAMES = ("small", "resnet34", "densenet121")


def factories(settings: Settings) -> dict[str, Factory]:
    """The networks that are asked for, by name. Raises ArgumentError for a name of none, or of nothing callable."""
    models = settings.models
    if isinstance(models, str):
        return {models: named(models, settings.task)}
    if isinstance(models, Mapping):
        found = {str(name): named(one, settings.task) if isinstance(one, str) else one for name, one in models.items()}
    else:
        found = {getattr(models, "__name__", type(models).__name__): models}
    if not found:
        raise ArgumentError("models= needs at least one network; found none")
    for name, factory in found.items():
        if not callable(factory) or isinstance(factory, torch.nn.Module):
            raise ArgumentError(
                f"models= takes functions that make a network, since each run needs a new one; {name!r} is a "
                f"{type(factory).__name__}"
            )
    return found


def named(name: str, task: str) -> Factory:
    """The factory of a name. Raises ArgumentError, MissingPackageError."""
    if name == "small":
        return SmallUNet if task == "segmentation" else Small
    if name == "resnet34":
        return _resnet34
    if name == "densenet121":
        return _densenet121
    if name.startswith("timm:"):
        return partial(_timm, *_of_timm(name))
    if ":" not in name:
        raise ArgumentError(
            f"a network is one of {', '.join(NAMES)}, timm:NAME, FILE.py:NAME or package.module:NAME; found {name!r}"
        )
    return _blamed(name, byname.found(name, "model"))


def _blamed(name: str, factory: Any) -> Factory:
    """The same factory; what it raises names the user's line."""
    if not callable(factory):
        raise ArgumentError(f"model {name} must be a function that makes a network; found {type(factory).__name__}")

    @functools.wraps(factory)
    def made(*args: Any, **offered: Any) -> torch.nn.Module:
        with byname.blamed(f"model {name}", f"when it was called with {', '.join(offered) or 'nothing'}"):
            network: torch.nn.Module = factory(*args, **offered)
            return network

    return made


def made(factory: Factory, outputs: int, channels: int, size: Size) -> torch.nn.Module:
    """A new network. Raises ArgumentError where the factory makes something else."""
    offered = {"outputs": outputs, "channels": channels, "size": tuple(size)}
    wanted = inspect.signature(factory).parameters
    network = factory(**{name: value for name, value in offered.items() if name in wanted})
    if not isinstance(network, torch.nn.Module):
        raise ArgumentError(f"a model's factory must return a torch.nn.Module; found {type(network).__name__}")
    return network


def _resnet34(outputs: int, channels: int) -> torch.nn.Module:
    nets = require("monai.networks.nets", "study", "for the network resnet34")
    # MONAI's stem does not halve unless it is told to; He et al. 2015 (arXiv 1512.03385, table 1) have a stride of 2
    return _module(nets.resnet34(spatial_dims=2, n_input_channels=channels, conv1_t_stride=2, num_classes=outputs))


def _densenet121(outputs: int, channels: int) -> torch.nn.Module:
    nets = require("monai.networks.nets", "study", "for the network densenet121")
    return _module(nets.DenseNet121(spatial_dims=2, in_channels=channels, out_channels=outputs))


def _of_timm(name: str) -> tuple[str, bool]:
    own = name.removeprefix("timm:")
    bare = own.removesuffix(":pretrained")
    return bare, bare != own


def _timm(name: str, pretrained: bool, outputs: int, channels: int) -> torch.nn.Module:
    timm = require("timm", "timm", f"for the network {name}")
    return _module(timm.create_model(name, pretrained=pretrained, num_classes=outputs, in_chans=channels))


def _module(network: Any) -> torch.nn.Module:
    assert isinstance(network, torch.nn.Module)
    return network
