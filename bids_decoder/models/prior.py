"""Diffusion prior: from decoded vectors to the distribution of vectors of images."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

N_TIMES = 100
CHUNK = 64
"""Number of elements of a vector per token."""


class DiffusionPrior(nn.Module):
    """Non-causal transformer that predicts the clean vector at every step of a diffusion [1]_.

    Tokens of the decoded vector, of the time, and of the noisy vector attend to each other; the
    clean vector is computed from the last ones. The untrained network returns the decoded
    vector, with each dimension shrunk by regression on the training pairs.

    Parameters
    ----------
    n_latents : int
        Length of the vectors.
    width, depth, n_heads : int
        Size of the transformer.
    dropout : float

    References
    ----------
    .. [1] Ramesh et al. 2022, Hierarchical text-conditional image generation with CLIP latents,
       arXiv 2204.06125.
    """

    n_context = 1

    def __init__(
        self, n_latents: int, width: int = 128, depth: int = 3, n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.n_latents = n_latents
        self.n_tokens = math.ceil(n_latents / CHUNK)
        self.register_buffer("gain", torch.ones(n_latents))
        self.register_buffer("centre", torch.zeros(n_latents))
        self.register_buffer("size", torch.ones(()))
        self.read_decoded = nn.Linear(CHUNK, width)
        self.read_noisy = nn.Linear(CHUNK, width)
        self.read_time = nn.Sequential(
            nn.Linear(1 + self.n_context, width), nn.GELU(), nn.Linear(width, width)
        )
        self.unknown = nn.Parameter(torch.zeros(self.n_tokens, width))
        self.places = nn.Parameter(0.02 * torch.randn(2 * self.n_tokens + 1, width))
        layer = nn.TransformerEncoderLayer(
            width, n_heads, 4 * width, dropout, "gelu", batch_first=True, norm_first=True
        )
        self.blocks = nn.TransformerEncoder(layer, depth, enable_nested_tensor=False)
        self.norm = nn.LayerNorm(width)
        self.write = nn.Linear(width, CHUNK)
        nn.init.zeros_(self.write.weight)
        nn.init.zeros_(self.write.bias)

    def calibrate(self, decoded: Tensor, wanted: Tensor) -> None:
        """Fit scale and regression of each dimension to training pairs, both (n, n_latents)."""
        gain, centre = regression(decoded, wanted)
        self.size.copy_(wanted.std().clamp_min(1e-6))
        self.centre.copy_(centre / self.size)
        self.gain.copy_(gain / self.size)

    def shrunk(self, decoded: Tensor) -> Tensor:
        """Apply the regression to the decoded vector, in units of the diffusion."""
        return decoded * self.gain + self.centre

    def forward(self, noisy: Tensor, time: Tensor, decoded: Tensor, context: Tensor,
                known: Tensor) -> Tensor:
        """Predict the clean vector.

        Parameters
        ----------
        noisy : Tensor, shape (n, n_latents)
        time : Tensor, shape (n,)
            From 0 (clean) to ``N_TIMES - 1``.
        decoded : Tensor, shape (n, n_latents)
        context : Tensor, shape (n, 1)
            Number of trials that the decoder was fitted on; see
            :class:`~bids_decoder.models.networks.Trunk`.
        known : Tensor of bool, shape (n,)
            False hides the decoded vector.

        Returns
        -------
        Tensor, shape (n, n_latents)
        """
        guess = self.shrunk(decoded)
        shown = self.read_decoded(self._tokens(guess))
        shown = torch.where(known[:, None, None], shown, self.unknown)
        when = self.read_time(torch.cat([time[:, None] / N_TIMES, context], dim=1))
        stream = torch.cat([shown, when[:, None], self.read_noisy(self._tokens(noisy))], dim=1)
        stream = self.norm(self.blocks(stream + self.places))
        change = self.write(stream[:, -self.n_tokens :]).flatten(1)[:, : self.n_latents]
        return torch.where(known[:, None], guess, self.centre) + change

    def _tokens(self, vectors: Tensor) -> Tensor:
        padded = nn.functional.pad(vectors, (0, self.n_tokens * CHUNK - self.n_latents))
        return padded.unflatten(1, (self.n_tokens, CHUNK))

    @torch.no_grad()
    def sample(
        self, decoded: Tensor, context: Tensor, generator: torch.Generator, n_steps: int = 20
    ) -> Tensor:
        """Sample a clean vector for each decoded one (DDIM, deterministic given the first noise).

        Parameters
        ----------
        decoded : Tensor, shape (n, n_latents)
        context : Tensor, shape (n, 1)
        generator : torch.Generator
            On the CPU.
        n_steps : int

        Returns
        -------
        Tensor, shape (n, n_latents)
            In the scale of the targets.
        """
        noisy = torch.randn(decoded.shape, generator=generator).to(decoded.device)
        known = torch.ones(len(decoded), dtype=torch.bool, device=decoded.device)
        times = torch.linspace(N_TIMES - 1, 0, n_steps).round().long().tolist()
        for step, time in enumerate(times):
            when = torch.full((len(decoded),), float(time), device=decoded.device)
            clean = self(noisy, when, decoded, context, known)
            if step + 1 == n_steps:
                break
            share, following = (signal_share(torch.tensor(t)) for t in (time, times[step + 1]))
            noise = (noisy - share.sqrt() * clean) / (1 - share).sqrt()
            noisy = following.sqrt() * clean + (1 - following).sqrt() * noise
        return clean * self.size


def regression(decoded: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Regress each dimension of the true vectors on the same one of the decoded vectors.

    Parameters
    ----------
    decoded, wanted : Tensor, shape (n, n_latents)

    Returns
    -------
    gain, centre : Tensor, shape (n_latents,)
        ``decoded * gain + centre`` is the estimate.
    """
    centred = decoded - decoded.mean(dim=0)
    spread = centred.square().mean(dim=0).clamp_min(1e-12)
    gain = (centred * wanted).mean(dim=0) / spread
    return gain, wanted.mean(dim=0) - decoded.mean(dim=0) * gain


def signal_share(time: Tensor) -> Tensor:
    """Return the share of signal in the variance at *time*, by the cosine schedule.

    References
    ----------
    Nichol and Dhariwal 2021, Improved denoising diffusion probabilistic models, arXiv 2102.09672.
    """
    share = torch.cos((time.float() / N_TIMES + 0.008) / 1.008 * math.pi / 2).square()
    return (share / math.cos(0.008 / 1.008 * math.pi / 2) ** 2).clamp(1e-4, 1 - 1e-4)
