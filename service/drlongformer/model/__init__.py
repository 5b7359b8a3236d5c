"""The packed Longformer in torch: definition, checkpoints, export."""
