"""A small network trained on plans of mixed sizes: what tests of several processes compare."""

import torch
from frameworks import N, plan, told
from loading import NumberReader

from resload import Loader


class Striped(NumberReader):
    """Films that differ from place to place, so that their gradients tell them apart."""

    def fill(self, slot, rows, size, start):
        super().fill(slot, rows, size, start)
        for place, row in enumerate(rows.tolist(), start=start):
            slot.out[place] = row * 2000 + 500 * (row % 5) * (torch.arange(size.width).numpy() % (2 + row % 3))


def network() -> torch.nn.Module:
    """The same weights each time; takes images of any size."""
    torch.manual_seed(7)
    return torch.nn.Sequential(
        torch.nn.Conv2d(1, 4, 3, padding=1), torch.nn.Tanh(), torch.nn.Conv2d(4, 4, 3, padding=1), torch.nn.Tanh(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(4, 1),
    )  # fmt: skip


def trained(wrapped=lambda model: model, steps: int = 10) -> dict:
    """What a process was served in so many steps, the gradients of each, and the weights before and after."""
    sampler = plan()
    loader = Loader(Striped(N), sampler=sampler)
    model = wrapped(network())
    optimiser = torch.optim.SGD(model.parameters(), lr=0.1)
    found = {"served": [], "gradients": [], "start": flat(model)}
    while True:
        for batch in loader:
            loss = (model(batch.images) - batch.targets / N).square().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            found["served"].append(told(batch))
            found["gradients"].append(torch.cat([one.grad.flatten() for one in model.parameters()]).tolist())
            if len(found["served"]) == steps:
                return found | {"weights": flat(model)}


def flat(model: torch.nn.Module) -> list[float]:
    """All weights."""
    return torch.cat([one.detach().flatten() for one in model.parameters()]).tolist()
