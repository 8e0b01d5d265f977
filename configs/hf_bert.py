"""A small BERT from Hugging Face's transformers, made from a config (nothing is downloaded), that sorts lines of text.

Which of eight help topics of Python does a line come from? The batches are dictionaries, passed to the model as keyword
arguments. They hold `labels`, so the model returns its own loss: neither loss_fn nor training_step is needed.

lrfinder sweep configs/hf_bert.py
"""

import pydoc_data.topics
import zlib

import torch
from torch.utils.data import DataLoader
from transformers import BertConfig, BertForSequenceClassification

LENGTH = 16  # words of a line that the model sees
VOCABULARY = 2000  # words are hashed into this many ids; 0 is padding

topics = pydoc_data.topics.topics
names = sorted(topics, key=lambda name: (-len(topics[name]), name))[:8]  # the eight longest


def tokenize(line):
    ids = [zlib.crc32(word.lower().encode()) % (VOCABULARY - 1) + 1 for word in line.split()][:LENGTH]
    padding = LENGTH - len(ids)
    return {"input_ids": ids + [0] * padding, "attention_mask": [1] * len(ids) + [0] * padding}


samples = [
    {**tokenize(line), "labels": label}
    for label, name in enumerate(names)
    for line in topics[name].splitlines()
    if len(line.split()) >= 4
]
order = torch.randperm(len(samples), generator=torch.Generator().manual_seed(0)).tolist()
samples = [samples[index] for index in order]
cut = int(0.85 * len(samples))


def collate(batch):
    return {key: torch.tensor([sample[key] for sample in batch]) for key in batch[0]}


def model():
    config = BertConfig(
        vocab_size=VOCABULARY,
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=128,
        max_position_embeddings=LENGTH,
        num_labels=len(names),
    )
    return BertForSequenceClassification(config)


def train_loader(batch_size=32):
    return DataLoader(samples[:cut], batch_size=batch_size, shuffle=True, drop_last=True, collate_fn=collate)


def val_loader():
    return DataLoader(samples[cut:], batch_size=256, collate_fn=collate)


def optimizer(params, lr):
    return torch.optim.AdamW(params, lr=lr, weight_decay=0.01)
