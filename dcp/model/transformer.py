"""One decoder loop for GPT-2 and the Llama family, with two gate projections beside Q, K, V.

The loop does not know how attention is done: each layer hands its queries, keys, values and gate
projections to the ``attend`` it was given. Training, the masked reference forward and decoding with
a cache are three ``attend``s of this one loop. Architectures are switches of ``ModelConfig``.

Method: Anagnostidis et al., arXiv 2305.15805, section 3.1 (interaction projections).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from dcp.kernels.gates import Gates
from dcp.model.attend import Attend
from dcp.model.config import ModelConfig
from dcp.model.linear import Linear, product
from dcp.model.rotary import rotate, tables

__all__ = ["Transformer"]


class Transformer(nn.Module):
    """ids and positions in, logits out.

    ``interaction`` is the gate width r, 0 for a model without gates. Parameters are created
    uninitialised on the meta device by `dcp.model.weights`, or initialised by ``initialise``.
    """

    def __init__(self, config: ModelConfig, interaction: int = 0) -> None:
        super().__init__()
        self.config = config
        self.interaction = interaction
        self.embed = nn.Embedding(config.vocab, config.width)
        if config.positions == "learned":
            self.position = nn.Embedding(config.context, config.width)
        self.blocks = nn.ModuleList(
            _Block(config, layer, interaction) for layer in range(config.layers)
        )
        self.norm = _norm(config, config.width)
        self.unembed = Linear(config.width, config.vocab, bias=False)
        if config.tied:
            self.unembed.weight = self.embed.weight
        self._rope: tuple[Tensor, Tensor] | None = None

    def forward(
        self,
        ids: Tensor,
        positions: Tensor,
        attend: Attend,
        headless: bool = False,
        gated: bool = True,
    ) -> Tensor:
        """ids, positions [B, T] int64 -> logits [B, T, V], or what ``hidden`` gives."""
        hidden = self.hidden(ids, positions, attend, gated)
        return hidden if headless else self.head(hidden)

    def hidden(self, ids: Tensor, positions: Tensor, attend: Attend, gated: bool = True) -> Tensor:
        """The final normalised hidden state [B, T, D]; ``head`` turns wanted rows into logits.

        ``gated=False`` spares the gate projections: ``attend`` is given None.
        """
        (x,) = deque(self.states(ids, positions, attend, gated), maxlen=1)
        return self.norm(x)  # type: ignore[no-any-return]

    def states(
        self, ids: Tensor, positions: Tensor, attend: Attend, gated: bool = True
    ) -> Iterator[Tensor]:
        """What each layer hands on [B, T, D], one layer after another, before the final norm."""
        x = self.embed(ids)
        rotary = None
        if self.config.positions == "learned":
            x = x + self.position(positions)
        else:
            cos, sin = self.rope_tables(x.device)
            rotary = (cos[positions].unsqueeze(2), sin[positions].unsqueeze(2))
        for block in self.blocks:
            x = block(x, rotary, attend, gated)
            yield x

    def head(self, hidden: Tensor) -> Tensor:
        return self.unembed(hidden)  # type: ignore[no-any-return]

    def fuse(self) -> None:
        """For inference: make both gate projections, and Q, K, V where they are float32 too, one
        matrix product. The separate weights become views of the joint one, nothing is held twice.
        """
        for block in self.blocks:
            assert isinstance(block, _Block)
            block.fuse()

    def rope_tables(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos and sin [context, d/2] float32, made once per device."""
        if self._rope is None or self._rope[0].device != device:
            cos, sin = tables(self.config)
            self._rope = (cos.to(device), sin.to(device))
        return self._rope

    @torch.no_grad()
    def initialise(self, seed: int = 0) -> None:
        """GPT-2 initialisation: N(0, 0.02), residual outputs scaled by 1/sqrt(2 L); gates at 0."""
        generator = torch.Generator().manual_seed(seed)
        residual = 0.02 / math.sqrt(2 * self.config.layers)
        for name, p in self.named_parameters():
            if p.ndim < 2:
                p.fill_(1.0 if "norm" in name and name.endswith("weight") else 0.0)
            else:
                std = residual if name.endswith(("out.weight", "down.weight")) else 0.02
                p.normal_(0.0, std, generator=generator)
        self.initialise_gates(seed)

    @torch.no_grad()
    def initialise_gates(self, seed: int = 0, beta: float = 4.0) -> None:
        """Fresh gates: z starts near ``beta``, spread 1, whatever the scale of a layer's input."""
        generator = torch.Generator().manual_seed(seed + 1)
        for block in self.blocks:
            if self.interaction:
                assert isinstance(block, _Block)
                std = self.config.width**-0.5 * block.gate_scale()
                block.q_int.weight.normal_(0.0, std, generator=generator)
                block.k_int.weight.normal_(0.0, std, generator=generator)
                block.beta.fill_(beta)


class _Block(nn.Module):
    """norm -> Q, K, V, gates -> attend -> residual; norm -> MLP -> residual."""

    def __init__(self, config: ModelConfig, layer: int, interaction: int) -> None:
        super().__init__()
        c = config
        self.layer = layer
        self.heads, self.kv_heads, self.head_dim = c.heads, c.kv_heads, c.head_dim
        self.attn_norm = _norm(c, c.width)
        self.qkv = Linear(c.width, (c.heads + 2 * c.kv_heads) * c.head_dim, bias=c.qkv_bias)
        self.out = Linear(c.heads * c.head_dim, c.width, bias=c.out_bias)
        self.q_norm = _norm(c, c.head_dim) if c.qk_norm else None
        self.k_norm = _norm(c, c.head_dim) if c.qk_norm else None
        self.mlp_norm = _norm(c, c.width)
        self.mlp = _Mlp(c)
        self.interaction = interaction
        if interaction:
            self.q_int = Linear(c.width, interaction, bias=False)
            self.k_int = Linear(c.width, interaction, bias=False)
            self.beta = nn.Parameter(torch.zeros(1))
        self._joint: tuple[Tensor, Tensor | None] | None = None

    def forward(
        self, x: Tensor, rotary: tuple[Tensor, Tensor] | None, attend: Attend, gated: bool
    ) -> Tensor:
        batch, length, _ = x.shape
        h = self.attn_norm(x)
        mixed, gates = self.project(h, gated)
        mixed = mixed.reshape(batch, length, -1, self.head_dim)
        q, k, v = torch.split(mixed, [self.heads, self.kv_heads, self.kv_heads], dim=2)
        if self.q_norm is not None and self.k_norm is not None:
            q, k = self.q_norm(q), self.k_norm(k)
        if rotary is not None:
            q, k = rotate(q, *rotary), rotate(k, *rotary)
        mixed = attend(self.layer, q, k, v, gates)
        x = x + self.out(mixed.reshape(batch, length, -1))
        return x + self.mlp(self.mlp_norm(x))  # type: ignore[no-any-return]

    def project(self, h: Tensor, gated: bool) -> tuple[Tensor, Gates | None]:
        """h [B, T, D] -> Q, K, V side by side [B, T, (H + 2 H_kv) d], and the gates.

        The gates are float32 whatever the autocast: at alpha 8 their live band is +-1/7 wide.
        """
        if not (gated and self.interaction):
            return self.qkv(h), None
        r = self.interaction
        if self._joint is not None and not self.training:
            joint = product(h.float(), *self._joint)
            alone = joint.shape[-1] == 2 * r
            mixed = self.qkv(h) if alone else joint[..., : -2 * r]
            return mixed, Gates(joint[..., -2 * r : -r], joint[..., -r:], self.beta.float())
        with torch.autocast(h.device.type, enabled=False):
            wide = h.float()
            q_int = F.linear(wide, self.q_int.weight.float())
            k_int = F.linear(wide, self.k_int.weight.float())
        return self.qkv(h), Gates(q_int, k_int, self.beta.float())

    def _apply(self, *args: Any, **options: Any) -> Any:
        """Weights that move or change type leave their joint product behind."""
        self._joint = None
        return super()._apply(*args, **options)  # type: ignore[no-untyped-call]

    def gate_scale(self) -> float:
        """What the gate weights are to be multiplied by, as their input is the norm's output."""
        return float(self.attn_norm.weight.detach().square().mean().rsqrt())  # type: ignore[operator]

    def fuse(self) -> None:
        if self._joint is not None or not self.interaction:
            return
        linears: tuple[nn.Linear, ...] = (self.q_int, self.k_int)
        bias = None
        whole = isinstance(self.qkv, Linear) and self.qkv.low is None
        if whole and self.qkv.weight.dtype == torch.float32:
            linears = (self.qkv, *linears)
            if self.qkv.bias is not None:
                own = self.qkv.bias.data
                bias = torch.cat((own, own.new_zeros(2 * self.interaction)))
        joint = torch.cat([linear.weight.data for linear in linears])
        views = torch.split(joint, [len(linear.weight) for linear in linears])
        for linear, view in zip(linears, views, strict=True):
            linear.weight = nn.Parameter(view, requires_grad=False)
        self._joint = (joint, bias)


class _Mlp(nn.Module):
    def __init__(self, c: ModelConfig) -> None:
        super().__init__()
        self.activation, self.gated = c.activation, c.gated_mlp
        self.up = Linear(c.width, c.ffn * (2 if c.gated_mlp else 1), bias=c.mlp_bias)
        self.down = Linear(c.ffn, c.width, bias=c.mlp_bias)

    def forward(self, x: Tensor) -> Tensor:
        up = self.up(x)
        if self.gated:
            gate, up = up.chunk(2, dim=-1)
            return self.down(self._act(gate) * up)  # type: ignore[no-any-return]
        return self.down(self._act(up))  # type: ignore[no-any-return]

    def _act(self, x: Tensor) -> Tensor:
        if self.activation == "silu":
            return F.silu(x)
        return F.gelu(x, approximate="tanh" if self.activation == "gelu_new" else "none")


def _norm(config: ModelConfig, width: int) -> nn.Module:
    if config.norm == "layernorm":
        return nn.LayerNorm(width, eps=config.norm_eps)
    return nn.RMSNorm(width, eps=config.norm_eps)
