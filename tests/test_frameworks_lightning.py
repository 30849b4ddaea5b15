"""resload inside Lightning's Trainer: every step in its place, from start to end and across checkpoints."""

import pytest
import torch
from frameworks import by_processes, dataset, expected, loader_of, plan, told
from loading import NumberReader
from torch.utils.data import DataLoader

from resload import Loader
from resload.samplers import Fixed, Images, Sampler

lightning = pytest.importorskip("lightning.pytorch")
StatefulDataLoader = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

pytestmark = [
    # Lightning's own: it compares tree specs in a way that torch 2.13 deprecates, names no resload code
    pytest.mark.filterwarnings("ignore:.*isinstance.treespec, LeafSpec.. is deprecated"),
    # and torchdata 0.11 marks its use for torch's telemetry
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated"),
    # it recommends worker processes to every DataLoader without
    pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers"),
]
STEPS = {"fixed": 6, "mixed": 7}


class Model(lightning.LightningModule):
    """Remembers what it was trained and validated on; one weight, so that there is something to save."""

    def __init__(self):
        super().__init__()
        self.scale = torch.nn.Linear(1, 1)
        self.trained, self.validated = [], []

    def training_step(self, batch, number):
        self.trained.append(told(batch))
        images = batch.images if hasattr(batch, "images") else batch[0]
        return self.scale(images.float().mean((2, 3))).square().mean() * 1e-9

    def validation_step(self, batch, number):
        self.validated.append((self.trainer.sanity_checking, self.current_epoch, told(batch)[0]))

    def predict_step(self, batch, number):
        return told(batch)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=1e-3)


class SaveAt(lightning.Callback):
    """Saves a checkpoint once so many batches of training are done, in the hook named."""

    def __init__(self, path, after, hook):
        self.path, self.after, self.hook = path, after, hook

    def _save(self, hook, trainer, model):
        if hook == self.hook and len(model.trained) == self.after:
            trainer.save_checkpoint(self.path)

    def on_train_batch_end(self, trainer, model, *rest):
        self._save("batch", trainer, model)

    def on_train_epoch_end(self, trainer, model):
        self._save("epoch", trainer, model)

    def on_validation_end(self, trainer, model):
        self._save("validation", trainer, model)


def trainer(root, epochs=3, **options):
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    fixed = {"accelerator": "cpu", "devices": 1, "default_root_dir": root}
    return lightning.Trainer(max_epochs=epochs, **fixed | quiet | options)


def whole(name, epochs=3):
    return [step for epoch in range(epochs) for step in expected(plan(name), epoch)]


def validation(films=10):
    """Shuffled, so that its order would show that an epoch was skipped: 3 batches."""
    sampler = Sampler(NumberReader(films), sizes=Fixed(4), budget=Images(4), tail="exact", seed=1)
    return Loader(NumberReader(films), sampler=sampler), sampler


@pytest.mark.parametrize("name", STEPS)
def test_fit_with_a_loader(name, tmp_path):
    """Three epochs of training are the plan's three epochs."""
    model, loader = Model(), loader_of(name)
    trainer(tmp_path).fit(model, loader, validation()[0])
    assert len(loader) == STEPS[name]
    assert model.trained == whole(name)


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("distributed_sampler", [True, False])
def test_fit_with_a_dataloader(name, distributed_sampler, tmp_path):
    """A Sampler as batch_sampler, too; in one process Lightning leaves it alone, whatever use_distributed_sampler."""
    model, loader = Model(), DataLoader(dataset(), batch_sampler=plan(name))
    trainer(tmp_path, use_distributed_sampler=distributed_sampler).fit(model, loader, validation()[0])
    assert model.trained == whole(name)


SAVED = [("batch", 1), ("batch", 3), ("batch", "last"), ("epoch", "last"), ("validation", "last")]


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize(("hook", "after"), SAVED)
@pytest.mark.parametrize("epoch", [0, 1])
def test_resume_of_a_loader(name, hook, after, epoch, tmp_path):
    """Saved within an epoch, at its last batch, at its end or after its validation: nothing lost, repeated or moved."""
    after = epoch * STEPS[name] + (STEPS[name] if after == "last" else after)
    first, second = Model(), Model()
    path = tmp_path / "saved.ckpt"
    trainer(tmp_path, callbacks=[SaveAt(path, after, hook)]).fit(first, loader_of(name), validation()[0])
    trainer(tmp_path).fit(second, loader_of(name, prefetch=1), validation()[0], ckpt_path=path)
    assert first.trained == whole(name)
    assert first.trained[:after] + second.trained == whole(name)


def stateful(model, workers):
    """Give the model its own way to make torchdata's DataLoader.

    Lightning asks for batches before it says which epoch, and worker processes take them at once; a checkpoint that was
    saved in on_train_epoch_end does not bring the loader's position along. So the epoch is set where it is made.
    """

    def train_dataloader():
        sampler = plan()
        sampler.set_epoch(model.trainer.fit_loop.epoch_progress.current.processed)
        return StatefulDataLoader(dataset(), batch_sampler=sampler, num_workers=workers)

    model.train_dataloader = train_dataloader
    model.val_dataloader = lambda: validation()[0]
    return model


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize(("hook", "after"), SAVED)
def test_resume_of_a_stateful_dataloader(workers, hook, after, tmp_path):
    """torchdata's DataLoader with a Sampler: the same, with worker processes too."""
    after = STEPS["mixed"] + (STEPS["mixed"] if after == "last" else after)
    first, second, path = stateful(Model(), workers), stateful(Model(), workers), tmp_path / "saved.ckpt"
    trainer(tmp_path, callbacks=[SaveAt(path, after, hook)]).fit(first)
    trainer(tmp_path).fit(second, ckpt_path=path)
    assert first.trained == whole("mixed")
    assert first.trained[:after] + second.trained == whole("mixed")


def test_resume_of_a_dataloader_at_an_epochs_end(tmp_path):
    """torch's own DataLoader keeps no position: Lightning's set_epoch brings it to the epoch that comes."""
    after = 2 * STEPS["mixed"]
    first, second, path = Model(), Model(), tmp_path / "saved.ckpt"
    save = SaveAt(path, after, "epoch")
    trainer(tmp_path, callbacks=[save]).fit(first, DataLoader(dataset(), batch_sampler=plan()), validation()[0])
    trainer(tmp_path).fit(second, DataLoader(dataset(), batch_sampler=plan()), validation()[0], ckpt_path=path)
    assert first.trained[:after] + second.trained == whole("mixed")


@pytest.mark.parametrize("every", [1, 2])
def test_loaders_made_anew_go_on(every, tmp_path):
    """reload_dataloaders_every_n_epochs: a loader that is made in a later epoch begins with that epoch."""
    model, made = Model(), []
    model.train_dataloader = lambda: made.append(loader_of("mixed")) or made[-1]
    model.val_dataloader = lambda: validation()[0]
    trainer(tmp_path, reload_dataloaders_every_n_epochs=every).fit(model)
    assert len(made) == (3 if every == 1 else 2)
    assert model.trained == whole("mixed")
    validated = [rows for sanity, _, rows in model.validated if not sanity]
    assert validated == [rows for epoch in range(3) for rows, _ in expected(validation()[1], epoch)]


@pytest.mark.parametrize("films", [6, 10])
def test_sanity_validation_moves_nothing(films, tmp_path):
    """Before training the first two batches of validation are tried, here all of it or a part: then it begins anew."""
    model, (loader, sampler) = Model(), validation(films)
    trainer(tmp_path).fit(model, loader_of("mixed"), loader)
    plans = [[rows for rows, _ in expected(sampler, epoch)] for epoch in range(3)]
    assert [rows for sanity, _, rows in model.validated if sanity] == plans[0][:2]
    assert [(epoch, rows) for sanity, epoch, rows in model.validated if not sanity] == [
        (epoch, rows) for epoch in range(3) for rows in plans[epoch]
    ]
    assert model.trained == whole("mixed")


def test_validation_within_an_epoch(tmp_path):
    """Three times an epoch: training goes on where it was, also from a checkpoint made there."""
    first, second, path = Model(), Model(), tmp_path / "saved.ckpt"
    options = {"val_check_interval": 2, "num_sanity_val_steps": 0}
    trainer(tmp_path, callbacks=[SaveAt(path, 11, "validation")], **options).fit(
        first, loader_of("mixed"), validation()[0]
    )
    trainer(tmp_path, **options).fit(second, loader_of("mixed"), validation()[0], ckpt_path=path)
    assert first.trained == whole("mixed")
    assert first.trained[:11] + second.trained == whole("mixed")


def test_epochs_cut_short(tmp_path):
    """limit_train_batches leaves the rest of an epoch out; the next epoch is the next."""
    model = Model()
    trainer(tmp_path, limit_train_batches=4).fit(model, loader_of("mixed"), validation()[0])
    assert model.trained == [step for epoch in range(3) for step in expected(plan(), epoch)[:4]]


def test_predict_with_a_loader(tmp_path):
    """The plan's order, padding or not."""
    loader, sampler = validation()
    assert trainer(tmp_path).predict(Model(), loader) == expected(sampler, 0)


@pytest.mark.filterwarnings("ignore:You are using a custom batch sampler `Sampler` for prediction")  # and keeps it
def test_predict_with_a_dataloader(tmp_path):
    """Lightning wraps the Sampler to predict, and keeps its sizes and order."""
    assert trainer(tmp_path).predict(Model(), DataLoader(dataset(), batch_sampler=plan())) == expected(plan(), 0)


TWO = """
import torch
from frameworks import dataset, loader_of, plan, say
from test_frameworks_lightning import Model, SaveAt, trainer, validation
from torch.utils.data import DataLoader

model, again, path = Model(), Model(), "saved.ckpt"
two = {"strategy": "ddp", "devices": 2, "use_distributed_sampler": False}
trainer(".", callbacks=[SaveAt(path, 11, "batch")], **two).fit(model, loader_of(), validation(12)[0])
rank = torch.distributed.get_rank()
torch.distributed.barrier()
trainer(".", **two).fit(again, loader_of(), validation(12)[0], ckpt_path=path)
plain = Model()
trainer(".", 1, **two).fit(plain, DataLoader(dataset(), batch_sampler=plan()), validation(12)[0])
try:
    trainer(".", 1, **two | {"use_distributed_sampler": True}).fit(
        Model(), DataLoader(dataset(), batch_sampler=plan()), validation(12)[0])
    error = None
except Exception as exc:
    error = f"{type(exc).__name__}: {exc}"
say({"rank": rank, "trained": model.trained, "again": again.trained, "plain": plain.trained,
     "validated": [rows for sanity, _, rows in model.validated if not sanity], "error": error})
"""


@pytest.mark.slow
def test_two_processes(tmp_path):
    """DDP: each process is served its part of every step, and goes on with it from a checkpoint within an epoch.
    use_distributed_sampler=True with a DataLoader fails loudly."""
    for rank, said in enumerate(by_processes(TWO, tmp_path)):
        steps = [[rows, list(size)] for epoch in range(3) for rows, size in expected(plan(), epoch, rank, 2)]
        assert said["rank"] == rank
        assert said["trained"] == steps
        assert said["again"] == steps[11:]
        assert said["plain"] == steps[:7]
        assert "TypeError" in said["error"]
        assert "can't inject a (distributed) sampler" in said["error"]
        assert said["validated"] == [
            rows for epoch in range(3) for rows, _ in expected(validation(12)[1], epoch, rank, 2)
        ]
