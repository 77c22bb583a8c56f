"""What the method page says beside its pictures: five chapters, and what the words mean."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["CHAPTERS", "MEANING", "Chapter"]


@dataclass(frozen=True)
class Chapter:
    """One picture's title, its sentences (markdown), its equation (LaTeX)."""

    picture: str
    title: str
    sentences: str
    equation: str


CHAPTERS = (
    Chapter(
        "keeps",
        "1. What attention keeps",
        "To read a token, every layer compares it with itself and with every token before it. For "
        "that, the layer keeps a key and a value of each token in its cache, so the cache grows by "
        "one row a token in every layer. Reading $T$ tokens takes $T(T+1)/2$ looks a layer, and no "
        "row is ever given back.",
        r"\mathrm{out}_t = \sum_{j \le t} \mathrm{softmax}_j"
        r"\!\left(\frac{q_t \cdot k_j}{\sqrt d}\right) v_j",
    ),
    Chapter(
        "gate",
        "2. A gate asks: is this still needed?",
        "Each layer gets two small projections of its own, which give every token a second, "
        "shorter query and key, and one number β. When token $t$ is read, its short query meets "
        "the short key of every earlier token $j$ still there: where the gate logit $z$ is 0 or "
        "less, the layer drops $j$. Here the vectors have two numbers; in dcp-mini they "
        "have 64, in the gates of SmolLM2 48, and one gate decides for all heads of the layer.",
        r"z_{t,j} = \frac{\langle q^{\mathrm{int}}_t,\, k^{\mathrm{int}}_j\rangle}{\sqrt r}"
        r" + \beta, \qquad \text{keep } j \iff z_{t,j} > 0",
    ),
    Chapter(
        "sigmoid",
        "3. From soft to hard",
        "A hard choice between 0 and 1 passes no gradient on, so the paper begins with a soft gate "
        "$p = \\sigma_\\alpha(z)$ and makes it harder as α rises from 1 to 8. A gate learns only "
        "while its logit lies in the live band $|z| < 1/(\\alpha-1)$; outside it the gate is "
        "exactly 0 or 1 and its gradient is 0. At the end the band is $\\pm 1/7$, and the "
        "hard gate that is used for reading and writing is close to the soft one that was trained. "
        "The bundled models took a shorter way: trained under the hard gates themselves, with "
        "each token judged by its smallest logit so far, $m$, with the slope of a softer step, "
        "$1 / (2 (1 + |m|)^2)$, put in where the gradient needs one.",
        r"\begin{gathered}p^{\alpha-1} - (1-p)^{\alpha-1} = (\alpha-1)\,z \\[1.2ex] "
        r"\frac{dp}{dz} = \frac{1}{p^{\alpha-2} + (1-p)^{\alpha-2}}"
        r"\quad\text{for } |z| < \tfrac{1}{\alpha-1}\end{gathered}",
    ),
    Chapter(
        "product",
        "4. A drop is for good",
        "A token is visible at step $t$ only as far as every gate since it was read has let it "
        "through: the gates multiply. With hard gates, one 0 makes the product 0 at every later "
        "step, whatever later gates say, so one number per token and layer describes all: the "
        "step of its first closed gate. A token never drops itself, and the query that drops a "
        "token does not see it.",
        r"\begin{gathered}I_{t,j} = \prod_{n=j+1}^{t} p_{n,j}, \quad I_{t,t} = 1 \\[1.2ex] "
        r"\mathrm{out} = \mathrm{softmax}\!\left(\frac{QK^\top}{\sqrt d} + \log I\right) V"
        r"\end{gathered}",
    ),
    Chapter(
        "cache",
        "5. The freed rows are used again",
        "Because a dropped token can never be looked at again, its row in the cache is free, and "
        "the next token overwrites it. When one query drops several tokens, rows from the end "
        "move into the other holes, so the rows in use stay side by side and attention reads "
        "nothing that is dead. The buffer grows and shrinks with what lives; the memory it gives "
        "up goes back to the system.",
        r"\text{live bytes} = \underbrace{2\,H_{kv}\,d\,b}_{\text{a key and a value}} \cdot "
        r"\bigl|\{\,j \le t < \mathrm{death}_j\,\}\bigr|",
    ),
)

MEANING = """
**“Dropped” means** that no later token *in that layer* can attend to the token: its key and value
are gone from that layer's memory, and nothing brings them back.

**It does not mean** that what the token said is lost. Tokens that were read before the drop may
carry it on; other layers may still hold the token; and that a word was dropped *when* another was
read does not say that the other word was the reason. *Forget* is a hook, not a claim.

**How the numbers on the other pages are made.** A token alive at the end of a text has not lived to
any age: lifetimes are Kaplan–Meier estimates and drop rates are stated at a horizon. *Live* bytes
are keys and values that can still be seen, *allocated* is the memory kept for them (gate keys and
tables included), *dense* is what keys and values of all tokens would take. What pruning costs is
measured against a dense model: for dcp-mini one that was fine-tuned equally long (its own weights
with the gates off are a diagnostic), for SmolLM2 the model as its makers left it, which also runs
where its gates are off or drop less than about a third: the low-rank changes trained beside them
apply where they drop more. On short texts at batch 1 pruning saves memory, not time.

**In these pictures** the text, the gate logits and the rows are those of dcp-mini's sample run.
Picture 2 is a toy in two dimensions. Picture 4 applies the soft gate at the α you choose to logits
that were trained under the hard one. Picture 5 feeds one token at a time; the engine reads a
prompt in chunks and frees rows after each chunk, so that during a prompt it holds more. *Allocated*
in picture 5 is counted before the system rounds it up to whole pages.

Read on: Anagnostidis et al., *Dynamic Context Pruning for Efficient and Interpretable
Autoregressive Transformers*, NeurIPS 2023, [arXiv 2305.15805](https://arxiv.org/abs/2305.15805). In
the code: `dcp/method.py` (these pictures), `dcp/kernels/training/alpha_sigmoid.py` (the gate in
training), `dcp/model/cache.py` (the rows). What was measured, and what did not work: `README.md`
and `docs/log.md`.
"""
