"""A device as late as a GPU may be, played on the CPU: streams whose work is done in any order that they allow.

Each stream's work is done in the order in which it was queued; between streams only events are an order, and which
stream goes on next is drawn. What nobody wrote yet reads as POISON. Nothing runs before somebody waits or luck has it.
"""

import random
from collections import deque
from contextlib import contextmanager

import numpy as np
import torch

from resload.devices import AHEAD

POISON = 0xA5


class Event:
    """Something that is done at some time."""

    def __init__(self):
        self.done = False


class Streams:
    """The work of a device. luck: how often work is done while somebody queues more."""

    def __init__(self, seed=0, luck=0.3):
        self.rng, self.luck = random.Random(seed), luck
        self.queues, self.current, self.given_back, self.buses = {}, "main", 0, 0

    @contextmanager
    def on(self, stream):
        """Work of the caller is queued there meanwhile, as in torch.cuda.stream."""
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    def queue(self, run, stream=None, after=None):
        """Queue some work, and the event of its end."""
        event = Event()
        self.queues.setdefault(stream or self.current, deque()).append((run, after, event))
        while self.rng.random() < self.luck and self.step():
            pass
        return event

    def step(self):
        """Do a piece of work of any stream that can go on; False where none can."""
        able = [queue for queue in self.queues.values() if queue and (queue[0][1] is None or queue[0][1].done)]
        if not able:
            assert not any(self.queues.values()), "streams wait for each other"
            return False
        run, _, event = self.rng.choice(able).popleft()
        run()
        event.done = True
        return True

    def reach(self, event):
        while not event.done:
            self.step()

    def finish(self):
        while self.step():
            pass

    # -- as resload asks for them --

    def bus_to(self, device):
        self.buses += 1
        return LateBus(self, f"copies of loader {self.buses}")

    def keeper_on(self, device):
        return LateKeeper(self)


def poisoned(shape, dtype):
    """Memory that nobody wrote."""
    out = torch.empty(shape, dtype=dtype)
    out.numpy().view(np.uint8)[...] = POISON
    return out


class LateBus:
    """Copies on a stream of their own, which take what the host's memory holds when they are done."""

    def __init__(self, streams, name):
        self.streams, self.name, self.handed_out = streams, name, deque()

    def memory(self, size):
        return np.full(size, POISON, np.uint8)

    def send(self, images):
        return Copy(self.streams, self.name, images)

    def handed(self):
        self.handed_out.append(self.streams.queue(lambda: None))
        if len(self.handed_out) > AHEAD:
            self.streams.reach(self.handed_out.popleft())


class Copy:
    """One copy of a LateBus."""

    def __init__(self, streams, name, images):
        self.streams, host = streams, torch.from_numpy(images)
        self.there = poisoned(host.shape, host.dtype)
        self.event = streams.queue(lambda: self.there.copy_(host), name)

    def done(self):
        return self.event.done

    def wait(self):
        self.streams.reach(self.event)

    def arrived(self):
        self.streams.queue(lambda: None, after=self.event)
        return self.there


class LateKeeper:
    """`residence.keepers.Keeper` of such streams."""

    def __init__(self, streams):
        self.streams = streams

    def free(self):
        return None

    def room(self, shape, dtype):
        return poisoned(shape, dtype)

    def put(self, kept, rows, arrived):
        self.streams.queue(lambda: kept.index_copy_(0, torch.from_numpy(rows), arrived))

    def take(self, kept, rows):
        out = poisoned((len(rows), *kept.shape[1:]), kept.dtype)
        self.streams.queue(lambda: out.copy_(kept[torch.from_numpy(rows)]))
        return out

    def mark(self):
        return self.streams.queue(lambda: None)

    def after(self, mark):
        self.streams.queue(lambda: None, after=mark)

    def give_back(self):
        self.streams.finish()
        self.streams.given_back += 1
