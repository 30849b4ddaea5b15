"""What a network costs: its memory at its largest, and the arithmetic of one image."""

import re
from pathlib import Path

import torch

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


class Peak:
    """The most memory from here on: of the device, where it is CUDA's; else of this process, where Linux tells it."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        else:
            _forget_peak()

    def bytes(self) -> int | None:
        """So far; None where nobody tells."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        return _peak_of_process()


def _forget_peak() -> None:
    try:
        _CLEAR.write_text("5")  # proc(5): reset the peak resident set size
    except OSError:
        return


def _peak_of_process() -> int | None:
    try:
        found = re.search(r"VmHWM:\s+(\d+) kB", _STATUS.read_text(encoding="ascii"))
    except OSError:
        return None
    return None if found is None else int(found[1]) * 1024


def flops(network: torch.nn.Module, shape: tuple[int, ...], device: torch.device) -> int | None:
    """Multiplications and additions of one image's way through a network, forward, as torch counts them.

    None for a network that does not take a single image alone.
    """
    from torch.utils.flop_counter import FlopCounterMode

    training = network.training
    network.eval()
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, *shape, device=device))
        return int(counter.get_total_flops())
    except Exception:  # a network of the user's own, asked for a number that is good to have
        return None
    finally:
        network.train(training)
