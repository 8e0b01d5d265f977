"""A LightningModule as it is: its own training_step, configure_optimizers and train_dataloader are used.

A denoising autoencoder on 8x8 digits. No Trainer is needed for the sweep; `self.log` then does nothing, and the
learning-rate scheduler is left out, since the sweep sets the rate.

lrfinder sweep configs/lightning_module.py
"""

import lightning
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

images = torch.tensor(load_digits().data, dtype=torch.float32) / 16.0  # pixels run from 0 to 16
images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(2))]


class DenoisingAutoencoder(lightning.LightningModule):
    def __init__(self, width=96, code=12):
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, width), nn.GELU(), nn.Linear(width, code))
        self.decoder = nn.Sequential(nn.Linear(code, width), nn.GELU(), nn.Linear(width, 64))

    def forward(self, images):
        return self.decoder(self.encoder(images))

    def train_dataloader(self):
        return DataLoader(TensorDataset(images[:1400]), batch_size=64, shuffle=True, drop_last=True)

    def training_step(self, batch):
        (clean,) = batch
        noisy = clean + 0.1 * torch.randn_like(clean)
        loss = functional.mse_loss(self(noisy), clean)
        self.log("train_loss", loss)
        return loss

    def configure_optimizers(self):
        optimizer = torch.optim.RAdam(self.parameters(), lr=1e-3)
        scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=1000)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}


model = DenoisingAutoencoder  # a class makes the model too: a new one for every repeat
