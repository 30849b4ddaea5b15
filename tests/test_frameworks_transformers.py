"""Hugging Face's Trainer with a Loader: what it is served, and where it goes on from a checkpoint."""

import pytest
import torch
from frameworks import expected, loader_of, plan, told

from resload.errors import StateError
from resload.interop import saved_with_trainer

transformers = pytest.importorskip("transformers")

pytestmark = [
    pytest.mark.slow,
    # the Trainer asks for pinned memory, which machines without an accelerator have not
    pytest.mark.filterwarnings("ignore:'pin_memory' argument is set as true"),
]
STEPS = 7


class Model(torch.nn.Module):
    """Takes what the Trainer hands over and remembers it."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Linear(1, 1)
        self.trained = []


class Training(transformers.Trainer):
    """As the page on frameworks shows it."""

    def __init__(self, loader, folder, *, keep=True, **options):
        self.loader = loader
        arguments = transformers.TrainingArguments(
            folder, ignore_data_skip=True, use_cpu=True, report_to="none", disable_tqdm=True, logging_strategy="no",
            **{"num_train_epochs": 3, "save_steps": 4} | options,
        )  # fmt: skip
        super().__init__(Model(), arguments, callbacks=[saved_with_trainer(loader)] if keep else [])

    def get_train_dataloader(self):
        return self.loader

    def compute_loss(self, model, batch, *args, **options):
        model.trained.append(told(batch))
        return model.scale(batch.images.float().mean((2, 3))).square().mean() * 1e-9


def trained(loader, folder, saved=None, **options):
    trainer = Training(loader, folder, **options)
    trainer.train(resume_from_checkpoint=saved)
    return trainer.model.trained


def whole(name="mixed"):
    return [step for epoch in range(3) for step in expected(plan(name), epoch)]


def test_three_epochs_and_resumes(tmp_path):
    """The plan's epochs; and from checkpoints within an epoch, at its end and in a later one, what was left of them."""
    assert trained(loader_of(), tmp_path, save_steps=1) == whole()
    for after in (4, STEPS, STEPS + 1, 2 * STEPS, 2 * STEPS + 3):
        assert trained(loader_of(), tmp_path, str(tmp_path / f"checkpoint-{after}")) == whole()[after:]


def test_accumulated_gradients(tmp_path):
    """Several batches to a step: a checkpoint lies between steps, not between batches."""
    options = {"gradient_accumulation_steps": 2, "save_steps": 1}
    assert trained(loader_of("fixed"), tmp_path, **options) == whole("fixed")
    for after in (1, 3, 5):
        saved = str(tmp_path / f"checkpoint-{after}")
        assert trained(loader_of("fixed"), tmp_path, saved, **options) == whole("fixed")[2 * after :]


def test_a_checkpoint_without_a_position_is_refused(tmp_path):
    """It says so, instead of beginning the epoch again."""
    trained(loader_of(), tmp_path, keep=False, max_steps=5)
    with pytest.raises(StateError, match=r"saved without saved_with_trainer\(loader\): it keeps no position"):
        trained(loader_of(), tmp_path, str(tmp_path / "checkpoint-4"))
