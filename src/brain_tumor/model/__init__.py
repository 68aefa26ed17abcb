"""The network: backbone, pretrained weights, classifier, cache of frozen layers, calibration."""
