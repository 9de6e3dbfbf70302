"""A tiny random text encoder, saved as hubs ship them."""

import pytest
import torch

transformers = pytest.importorskip("transformers")

VOCABULARY = (
    "[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "face", "house", "cat", "dog", "shoe", "chair",
    "bottle", "a", "b",
)


def save_text_encoder(folder):
    """A BERT of one layer that knows :data:`VOCABULARY`."""
    folder.mkdir(parents=True)
    names = {word: row for row, word in enumerate(VOCABULARY)}
    transformers.BertTokenizer(vocab=names).save_pretrained(folder)
    config = transformers.BertConfig(
        vocab_size=len(VOCABULARY), hidden_size=16, num_hidden_layers=1, num_attention_heads=2,
        intermediate_size=24, max_position_embeddings=16,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        transformers.BertModel(config).save_pretrained(folder)
    return folder
