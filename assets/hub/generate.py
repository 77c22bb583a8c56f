"""A ``generate()`` that forgets: Dynamic Context Pruning, arXiv 2305.15805.

    model.generate(**inputs, custom_generate=REPOSITORY, trust_remote_code=True, sparsity=0.8)

Keys and values that a layer drops leave the cache for good. Needs the package ``dcp``.
"""

import dcp.hf

# Whose gates decide where nobody names a checkpoint and the model's own folder has none.
CHECKPOINT = ""


def generate(
    model,
    *,
    checkpoint=None,
    sparsity=None,
    gate_shift=None,
    policy="gates",
    budget=None,
    **options,
):
    """``model.generate(**options)`` while the model is pruned; afterwards it is as it was.

    checkpoint  a name, folder or repository with gates; by default this one's
    sparsity    the dropped share to aim at, by the calibration of the gates; or ``gate_shift``
    policy      another rule in place of the gates, as "tova", with a ``budget`` of entries a layer

    To go on from a cache over turns, prune the model once instead: ``dcp.hf.prune``.
    """
    if policy == "gates" and checkpoint is None:
        own = str(model.config._name_or_path or "")
        checkpoint = own if dcp.hf.has_gates(own) else CHECKPOINT or own
    settings = {"gate_shift": gate_shift, "policy": policy, "budget": budget}
    with dcp.hf.pruned(model, checkpoint, sparsity=sparsity, **settings):
        return model.generate(**options)
