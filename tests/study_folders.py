"""A study's folder without a network: records and answers drawn so that what must be found is known.

`nodule` is seen the better the more pixels it has, up to a size from which nothing is gained; `effusion` at every size
alike; the control arm loses nearly as much as the sizes do.
"""

import hashlib
import json

import numpy as np

from resload import seeds
from resload.study.folder import Folder

SIZES = (64, 128, 256, 512)
FILMS = 400
STRENGTHS = {64: 0.4, 128: 1.2, 256: 2.6, 512: 2.6}
"""How far films with a nodule score above those without, in standard deviations."""


def common(**others):
    """What study.json holds."""
    found = {"task": "binary", "epochs": 4, "batch_size": 16, "batches": "fixed", "lr": 1e-3, "lr_rule": "constant",
             "schedule": "cosine", "weight_decay": 0.01, "precision": "float32", "balanced": False, "channels": 1,
             "columns": [], "any_size": False, "repeats": 400, "optimizer": "torch.optim.adamw.AdamW",
             "train_step": None, "predict": None, "transform": None, "at": "512x512", "reference": "512x512",
             "margin": 0.03, "normalized_at": "512x512", "normalization": [0.5, 0.25], "films": "0123456789abcdef",
             "counts": {"train": 1000, "val": 200, "test": FILMS}, "notes": []}  # fmt: skip
    return {**found, **others}


def write(path, *, targets=("nodule", "effusion"), sizes=SIZES, n_seeds=3, control=True, models=("small",),
          skip=lambda **run: False, kept=True, **others):  # fmt: skip
    """A folder with a record and answers for every network but those that `skip` names; returns its path."""
    folder = Folder(path)
    folder.begin(common(**others))
    rng = seeds.generator(7, 0, "study")
    truth = (rng.random((FILMS, len(targets))) < 0.4).astype(np.float32)
    hardness = rng.standard_normal((FILMS, len(targets)))
    columns = {"rows": np.arange(FILMS), "ids": np.arange(FILMS).astype(str), "patients": np.arange(FILMS) // 2,
               "truth": truth, "targets": np.array(targets, str)}  # fmt: skip
    folder.write_films(**columns, **(about(truth, sizes, rng) if kept else {}))
    for model in models:
        for seed in range(n_seeds):
            for enlarged in (False, True) if control else (False,):
                for shows in sizes[:-1] if enlarged else sizes:
                    for number, target in enumerate(targets):
                        run = {"model": model, "seed": seed, "control": enlarged, "shows": shows, "target": target}
                        if not skip(**run):
                            finish(folder, run, truth[:, number], hardness[:, number], sizes[-1])
    return path


def about(truth, sizes, rng):
    """What else is kept of the films."""
    sides = 2 ** rng.uniform(3, 6.5, len(truth))
    pixels = [np.where(truth > 0, sides[:, None] * size / 512, np.nan) for size in sizes]
    positive = truth.sum(axis=0).astype(int)
    return {
        "splits": np.array(["train", "val", "test"]),
        "split_films": np.array([1000, 200, len(truth)]),
        "split_patients": np.array([500, 100, len(truth) // 2]),
        "split_known": np.full((3, truth.shape[1]), len(truth)),
        "split_positive": np.stack([positive] * 3),
        "shown_fits": np.array(["stretch"] * len(sizes)),
        "shown_sizes": np.array([f"{size}x{size}" for size in sizes]),
        "spacings": np.array([[180 / size] * 2 for size in sizes]),
        "lesion_pixels": np.array(pixels, np.float32),
    }


def finish(folder, run, truth, hardness, largest):
    """One network: answers that are as good as its size allows."""
    shows, seed, target = run["shows"], run["seed"], run["target"]
    strength = 2.0 if target == "effusion" else STRENGTHS.get(shows, 2.6)
    own = seeds.generator(seed, shows + 10_000 * run["control"], "study").standard_normal(len(truth))
    scores = (strength * truth + 0.97 * hardness + 0.2 * own).astype(np.float32)
    served = f"{largest}x{largest}" if run["control"] else f"{shows}x{shows}"
    pixels = int(served.split("x", maxsplit=1)[0]) ** 2
    history = [{"train_loss": 0.7, "validation_loss": 0.6, "metric": 0.6 + 0.05 * epoch} for epoch in range(4)]
    record = {
        "run": hashlib.sha256(json.dumps(run).encode()).hexdigest()[:16],
        "targets": [target],
        "model": run["model"],
        "kernel": "triangle",
        "fit": "stretch",
        "control": run["control"],
        "size": served,
        "shows": f"{shows}x{shows}",
        "seed": seed,
        "batch_size": 16,
        "lr": 1e-3,
        "steps": 250,
        "epochs": 4,
        "chosen_epoch": 3,
        "metric": "auc",
        "tests": {served: {target: 0.8}},
        "history": history,
        "seconds": {"train": 1 + pixels / 1e4, "validate": 1.0, "test": 1.0},
        "images_per_second": 1e7 / pixels,
        "peak_bytes": 300_000_000 + 4000 * pixels,
        "peak_of": "process",
        "parameters": 123_456,
        "flops_per_image": 1080 * pixels,
        "bytes_per_film": 2 * shows**2,
        "environment": {"processor": "one of some kind", "cores": 2, "torch": {"version": "2"}, "decoders": ["png"]},
    }
    folder.finish(record, {served: scores[:, None]})
