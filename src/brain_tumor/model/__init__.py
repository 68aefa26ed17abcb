"""A torchvision backbone, its pretrained weights and a head."""
