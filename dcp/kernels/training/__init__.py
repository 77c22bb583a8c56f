"""Attention of training and its gradients: one chooser (`api`), implementations beside it."""
