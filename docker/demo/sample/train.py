#!/usr/bin/python3
"""Learns to read handwritten digits, and says after every epoch how well it does.

Reads params.json, which lies beside it. Writes metrics.json and curve.png, and checkpoint.joblib on the way:
when the scheduler takes the GPUs back, it saves and stops, and goes on from there when it is started again.

The 1,797 digits come with scikit-learn. Three fifths train the network, one fifth chooses the best epoch,
and the last fifth, which decides nothing, says how good the result really is.
"""

import copy
import json
import signal
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

import joblib
import matplotlib
import numpy as np
from scipy import ndimage
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.neural_network import MLPClassifier

matplotlib.use("Agg")  # no screen on a compute node
from matplotlib import pyplot as plt

PARAMS = Path("params.json")
METRICS = Path("metrics.json")
CURVE = Path("curve.png")
CHECKPOINT = Path("checkpoint.joblib")
SIZE = 8  # pixels on each side
SHIFTS = [(down, right) for down in (0, -1, 1) for right in (0, -1, 1)]


@dataclass(frozen=True)
class Params:
    seed: int
    epochs: int
    hidden_layers: list
    learning_rate: float
    weight_decay: float
    batch_size: int


@dataclass(frozen=True)
class Epoch:
    number: int
    train_loss: float
    validation_loss: float
    validation_accuracy: float
    seconds: float


@dataclass
class Training:
    """All that is needed to go on later."""

    params: Params
    model: MLPClassifier
    best: MLPClassifier
    epochs: list = field(default_factory=list)


class Notice:
    """Has the scheduler said that the time is nearly up? SIGUSR1: save; SIGTERM: save and stop."""

    def __init__(self):
        self.save = self.stop = False
        signal.signal(signal.SIGUSR1, self.on_signal)
        signal.signal(signal.SIGTERM, self.on_signal)

    def on_signal(self, number, _frame):
        self.save = True
        self.stop = self.stop or number == signal.SIGTERM


def main():
    notice = Notice()
    params = Params(**json.loads(PARAMS.read_text()))
    train, validation, test = split(params.seed)
    training = resume(params) or begin(params)
    print(
        f"{len(train[1])} digits to learn from, {len(validation[1])} to choose by, {len(test[1])} to judge by",
        flush=True,
    )
    while len(training.epochs) < params.epochs:
        learn_one_epoch(training, train, validation)
        if notice.save:
            save(training)
            notice.save = False
        if notice.stop:
            sys.exit("Asked to stop: the checkpoint is saved, start again to go on.")
    report(training, test)


def split(seed):
    """Training, validation and test digits, each as (pixels from 0 to 1, labels). Only the first are multiplied."""
    digits = load_digits()
    pixels = digits.data / 16
    rest, test, rest_labels, test_labels = train_test_split(
        pixels, digits.target, test_size=0.2, stratify=digits.target, random_state=seed
    )
    train, validation, train_labels, validation_labels = train_test_split(
        rest, rest_labels, test_size=0.25, stratify=rest_labels, random_state=seed
    )
    return shifted(train, train_labels), (validation, validation_labels), (test, test_labels)


def shifted(pixels, labels):
    """Each digit nine times: as it is, and moved by a pixel in each of the eight directions."""
    images = pixels.reshape(-1, SIZE, SIZE)
    moved = [ndimage.shift(images, (0, *shift), order=0).reshape(-1, SIZE * SIZE) for shift in SHIFTS]
    return np.concatenate(moved), np.tile(labels, len(SHIFTS))


def begin(params):
    model = MLPClassifier(
        hidden_layer_sizes=params.hidden_layers,
        learning_rate_init=params.learning_rate,
        alpha=params.weight_decay,
        batch_size=params.batch_size,
        random_state=params.seed,
    )
    return Training(params, model, best=model)


def resume(params):
    """The training that an earlier start of this job has saved, if it had the same parameters."""
    if not CHECKPOINT.exists():
        return None
    training = joblib.load(CHECKPOINT)  # ours: it lies in this job's own folder
    if training.params != params:
        return None
    print(f"Going on after epoch {len(training.epochs)}", flush=True)
    return training


def save(training):
    """In one step: a checkpoint that is cut short would be worse than none."""
    draft = CHECKPOINT.with_suffix(".new")
    joblib.dump(training, draft)
    draft.replace(CHECKPOINT)
    print(f"Saved after epoch {len(training.epochs)}", flush=True)


def learn_one_epoch(training, train, validation):
    began = time.monotonic()
    training.model.partial_fit(*train, classes=np.arange(10))
    likely = training.model.predict_proba(validation[0])
    epoch = Epoch(
        number=len(training.epochs) + 1,
        train_loss=float(training.model.loss_),
        validation_loss=float(log_loss(validation[1], likely)),
        validation_accuracy=float(accuracy_score(validation[1], likely.argmax(axis=1))),
        seconds=time.monotonic() - began,
    )
    if all(epoch.validation_loss < earlier.validation_loss for earlier in training.epochs):
        training.best = copy.deepcopy(training.model)
    training.epochs.append(epoch)
    print(
        f"epoch {epoch.number:3d}/{training.params.epochs}   loss {epoch.train_loss:.4f}   "
        f"validation {epoch.validation_loss:.4f}   accuracy {epoch.validation_accuracy:.1%}   {epoch.seconds:.2f} s",
        flush=True,
    )


def report(training, test):
    best = min(training.epochs, key=lambda epoch: epoch.validation_loss)
    accuracy = float(accuracy_score(test[1], training.best.predict(test[0])))
    metrics = {
        "test_accuracy": accuracy,
        "best_epoch": best.number,
        "params": asdict(training.params),
        "epochs": [asdict(epoch) for epoch in training.epochs],
    }
    METRICS.write_text(json.dumps(metrics, indent=2) + "\n")
    draw(training.epochs, best, accuracy)
    print(f"Best was epoch {best.number}. On digits it never saw, {accuracy:.1%} are right.", flush=True)


def draw(epochs, best, accuracy):
    numbers = [epoch.number for epoch in epochs]
    figure, axes = plt.subplots(figsize=(8, 4.5), layout="constrained")
    axes.plot(numbers, [epoch.train_loss for epoch in epochs], label="training")
    axes.plot(numbers, [epoch.validation_loss for epoch in epochs], label="validation")
    axes.axvline(best.number, color="grey", linestyle=":", label=f"best epoch: {best.number}")
    axes.set(
        title=f"Handwritten digits: {accuracy:.1%} of the test set right",
        xlabel="epoch",
        ylabel="loss (log scale)",
        yscale="log",
    )
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(CURVE, dpi=150)


if __name__ == "__main__":
    main()
