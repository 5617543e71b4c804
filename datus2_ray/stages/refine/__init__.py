"""Train DeepLabV3 on masks."""
