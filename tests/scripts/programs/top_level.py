"""A script whose loop stands at the top level, and which writes in every way that scripts do."""

import logging
import os
import shutil
import tempfile
from pathlib import Path

import numpy as np
import torch

here = Path.cwd()
data = here / "cache.pt"
if not data.exists():  # a cache that the first run makes, and the others read
    torch.save(torch.randn(64, 4, generator=torch.Generator().manual_seed(1)), data)
x = torch.load(data)
logging.basicConfig(filename="train.log", level=logging.INFO)  # appends to a log that was there
Path("settings.json").write_text("{}")  # overwrites before the first step
if Path("/proc/self/comm").exists():  # the name of the process, as absl writes it
    Path("/proc/self/comm").write_text("train")
number = len(list(here.glob("runs/exp*")))
Path(f"runs/exp{number}").mkdir(parents=True)  # a folder for each run
if Path("stale").exists():
    shutil.rmtree("stale")

weight = torch.nn.Parameter(torch.zeros(4, 1))
optimizer = torch.optim.Adam([weight], lr=1e-3)
try:
    for step in range(200):
        optimizer.zero_grad()
        loss = ((x @ weight - x.sum(1, keepdim=True)) ** 2).mean()
        loss.backward()
        optimizer.step()
        logging.info("step %d", step)
        if step % 2 == 0:
            torch.save({"weight": weight}, "last.pt")  # over a file that was there
            assert torch.equal(torch.load("last.pt", weights_only=True)["weight"], weight)  # and reads it back
            torch.save(weight, "new.pt.tmp")
            os.replace("new.pt.tmp", "best.pt")  # the same by a rename
            assert torch.equal(torch.load("best.pt", weights_only=True), weight)
            torch.save(weight, f"runs/exp{number}/step{step}.pt")
            np.save("array.npy", weight.detach().numpy())
            with open("history.csv", "a") as file:
                file.write(f"{step}\n")
            with open("history.csv") as file:
                assert file.readlines()[0] == "step\n"  # what was there is there
            shutil.copy("array.npy", "copied.npy")
            Path("notes.txt").unlink(missing_ok=True)
            Path("fresh").mkdir(exist_ok=True)
            Path("fresh/file.txt").write_text("new")
            tempfile.mkdtemp()
            try:
                from safetensors.torch import save_file

                save_file({"weight": weight.detach().contiguous()}, "model.safetensors")
            except ImportError:
                pass
finally:
    Path("finally").touch()
