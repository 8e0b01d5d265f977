"""The rate for fine-tuning, in full and by adapters: our picks beside the usual constants, scored by real runs.

python tests/benchmarks/tuning.py FILE [--tasks NAME ...] [--steps T]    results go to FILE, a JSON object a line

What FILE has already is kept. Regret is (loss - best) / (loss before tuning - best), with the best rate of the grid.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
import tuning_models
import tuning_tasks
from training import forever, warm_up_and_linear
from transformers import Trainer, TrainingArguments

import lrfinder
from lrfinder.integrations.huggingface import find_lr

KINDS = [(kind, rank) for kind in ("digits", "language") for rank in (None, 2, 8)]
# 1e-4 to 1: four rates a decade, and two for the decoder, whose updates take five times as long.
GRIDS = {"digits": tuple(10 ** (n / 4) for n in range(-16, 1)), "language": tuple(10 ** (n / 2) for n in range(-8, 1))}
FULL, ADAPTERS = 2e-5, 3e-4  # what people use without looking
SEEDS = (0, 1)
WAYS = ("trainer", "model file")


def name_of(kind: str, rank: int | None) -> str:
    return f"{kind}_full" if rank is None else f"{kind}_rank_{rank}"


def final_loss(kind: str, rank: int | None, rate: float, seed: int, steps: int) -> float:
    """Tune at a peak `rate`, and return the held-out loss; at most that before tuning."""
    train, held_out = tuning_models.data_of(kind)
    torch.manual_seed(seed)
    net = tuning_models.model(kind, rank)
    before = held_out_loss(net, held_out)
    weights = [weight for weight in net.parameters() if weight.requires_grad]
    adam = torch.optim.AdamW(weights, lr=rate, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.LambdaLR(adam, warm_up_and_linear(steps))
    batches = forever(tuning_models.loader(train, shuffle=True))
    for _ in range(steps if rate else 0):
        adam.zero_grad()
        loss = net(**next(batches))["loss"]
        if not math.isfinite(loss.item()):
            return before
        loss.backward()
        adam.step()
        schedule.step()
    after = held_out_loss(net, held_out)
    return min(after, before) if math.isfinite(after) else before


def held_out_loss(net: torch.nn.Module, data: Any) -> float:
    net.eval()
    with torch.no_grad():
        losses = [net(**batch)["loss"].item() for batch in tuning_models.loader(data, shuffle=False, batch_size=200)]
    net.train()
    return statistics.fmean(losses)


def by_trainer(kind: str, rank: int | None, seed: int, steps: int) -> Any:
    """Return what find_lr says of a real Trainer."""
    torch.manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        args = TrainingArguments(
            folder,
            max_steps=steps,
            per_device_train_batch_size=32,
            dataloader_drop_last=True,
            remove_unused_columns=False,
            max_grad_norm=0.0,
            learning_rate=FULL if rank is None else ADAPTERS,
            report_to=[],
            use_cpu=True,
            disable_tqdm=True,
        )
        trainer = Trainer(
            tuning_models.model(kind, rank),
            args,
            train_dataset=tuning_models.data_of(kind)[0],
            data_collator=tuning_models.batch_of,
        )
        return find_lr(trainer, seed=seed)


def by_model_file(kind: str, rank: int | None, seed: int, steps: int) -> Any:
    """Return what a sweep of the model file allows to recommend."""
    result = lrfinder.sweep(f"{tuning_tasks.__file__}:{name_of(kind, rank)}", seed=seed)
    return lrfinder.recommend(result, steps=steps)


def missing(done: set[tuple[Any, ...]], task: str, steps: int) -> Iterator[tuple[str, float, int]]:
    """Yield what is to be done: (what, rate, seed)."""
    constant = FULL if task.endswith("full") else ADAPTERS
    jobs = [("run", rate, seed) for rate in (0.0, *GRIDS[task.partition("_")[0]], constant) for seed in SEEDS]
    jobs += [(way, 0.0, seed) for way in WAYS for seed in SEEDS]
    yield from (job for job in jobs if (task, steps, *job) not in done)


def measure(file: Path, tasks: list[str], steps: int) -> None:
    """Do what is missing, and append it to `file`; a pick is followed by real runs at its rate."""
    torch.set_num_threads(1)
    rows = read(file)
    done = {(row["task"], row["steps"], row["what"], row["rate"], row["seed"]) for row in rows}
    with file.open("a") as out:
        for kind, rank in KINDS:
            task = name_of(kind, rank)
            for what, rate, seed in missing(done, task, steps) if task in tasks else ():
                begun, row = (
                    time.process_time(),
                    {"task": task, "steps": steps, "what": what, "rate": rate, "seed": seed},
                )
                if what == "run":
                    row["loss"] = final_loss(kind, rank, rate, seed, steps)
                else:
                    advice = (by_trainer if what == "trainer" else by_model_file)(kind, rank, seed, steps)
                    row |= {
                        "pick": advice.lr,
                        "status": advice.status.value,
                        "updates": advice.updates,
                        "why": advice.why,
                    }
                    own = 0.0 if advice.lr is None else advice.lr
                    row["loss"] = statistics.fmean(final_loss(kind, rank, own, one, steps) for one in SEEDS)
                row["seconds"] = round(time.process_time() - begun, 2)
                out.write(json.dumps(row) + "\n")
                out.flush()


def read(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def show(rows: list[dict[str, Any]], steps: int) -> None:
    """Print the table: a line for each task; each way's mean and worst regret, and that of the constant."""
    print(f"| {steps} updates | best rate | constant | regret | by trainer | regret | by model file | regret |")
    for kind, rank in KINDS:
        task = name_of(kind, rank)
        own = [row for row in rows if row["task"] == task and row["steps"] == steps]
        runs = {rate: _mean(own, rate) for rate in GRIDS[kind] if _mean(own, rate) is not None}
        before = _mean(own, 0.0)
        if not runs or before is None:
            continue
        best = min(runs, key=lambda rate: runs[rate])
        constant = FULL if rank is None else ADAPTERS

        def regret(loss: float, lowest: float = runs[best], start: float = before) -> float:
            return (loss - lowest) / (start - lowest)

        cells = [task, f"{best:.2g}", f"{constant:g}", f"{regret(_mean(own, constant) or before):.3f}"]
        for way in WAYS:
            picks = [row for row in own if row["what"] == way]
            cells.append(", ".join(f"{row['pick'] or 0:.3g} ({row['status']})" for row in picks))
            cells.append(", ".join(f"{regret(row['loss']):.3f}" for row in picks))
        print(f"| {' | '.join(cells)} |")


def _mean(rows: list[dict[str, Any]], rate: float) -> float | None:
    losses = [row["loss"] for row in rows if row["what"] == "run" and row["rate"] == rate]
    return statistics.fmean(losses) if losses else None


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--tasks", nargs="+", default=[name_of(*each) for each in KINDS])
    parser.add_argument("--steps", type=int, default=300)
    given = parser.parse_args()
    given.file.parent.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    measure(given.file, given.tasks, given.steps)
    show(read(given.file), given.steps)
