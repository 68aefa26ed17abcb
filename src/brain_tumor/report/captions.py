"""What a report says beside its numbers: words for parameters, and captions of pictures and tables."""

PROTOCOLS = {
    "published": "The published training and test images as they are. A test image that has a copy among the training "
    "images makes the score too high: see the accuracy with and without a copy.",
    "leak_free": "The published test images, all of them, and the published training images without any copy of a "
    "test image.",
    "grouped": "One fifth of all images, cut so that copies of one picture stay together: pictures that are new, from "
    "the same sources.",
    "patient": "One fifth of all images, cut so that all images of a patient stay together where the patient is "
    "known: patients who are new, from the same sources.",
}

SOURCE_SHIFT = (
    "In this set, taking the copies out takes nearly all of one source with it, so the score also tests the shift "
    "from one source of pictures to another."
)

WEIGHTS = {
    "imagenet": "weights pretrained on ImageNet",
    "imagenet_convolutions": "convolutions pretrained on ImageNet",
    "none": "random start weights",
}

PARTS = "scores_by_subset.csv"
"""Table of `plots/` whose row `all` counts the test images."""

PICTURES = {
    "evaluate": {
        "scores_by_subset.png": "Accuracy on parts of the test images, with 95 % intervals from a bootstrap over "
        "independent groups (copies of one picture, slices of one patient).",
        "confusion_matrix.png": "Test images by true class (rows) and predicted class (columns), in counts and shares "
        "of the true class.",
        "ranking_curves.png": "Each class against all others: sensitivity over false alarms, and precision over "
        "sensitivity.",
        "reliability.png": "How often the network is right when it is so sure, before and after one temperature was "
        "fitted on the validation images. On the grey line it is as sure as it is right.",
        "risk_coverage.png": "Share of errors if only the surest predictions are given.",
        "surest_mistakes.png": "The wrong predictions with the highest probability, surest first, one of each group "
        "of copies.",
    },
    "train": {
        "training_curves.png": "Loss and accuracy of the training and the validation images, epoch by epoch.",
        "augmentation.png": "Training images beside the changed copies that were made of them. Validation and test "
        "images are never changed.",
    },
    "split": {
        "leaks.png": "Test images beside their copies among the published training images.",
    },
    "explain": {
        "gradcam/overview.png": "Grad-CAM of a fixed sample of test images, chosen by file and not by score.",
        "explain/localization.png": "Maps against the outlines of the tumours, beside a blob in the middle of the "
        "picture and the map of another image: a map that says something about its own image beats both.",
        "explain/randomization.png": "How similar maps stay while the network's weights are made random, layer by "
        "layer from the logits down. Maps that depend on what was learned fall to the dotted lines or below.",
        "explain/deletion_insertion.png": "Probability of the predicted class while the hottest pixels of a map are "
        "blurred, and while they are brought back, beside pixels in random order.",
    },
}
"""Known pictures of `plots/` with their captions, by the stage in whose section they stand; others go to the end."""

TABLES = {
    "split": {
        "split_counts.csv": "Images by split and class",
        "split_details.csv": "Copies, and images that are left out",
    },
    "evaluate": {
        "scores.csv": "Scores of all test images, with 95 % intervals",
        PARTS: "Parts of the test set",
        "scores_by_class.csv": "Each class against all others",
        "confidence.csv": "How far the probabilities can be believed",
        "prediction_sets.csv": "Prediction sets: promised and measured coverage",
        "shortcuts.csv": "Tumour or not, told by the kind of picture alone",
        "lesion_removed.csv": "Rightly found tumours, filled with their surroundings, or the other half mirrored over theirs",
        "external.csv": "Held-back pictures of further data sets: tumours called a tumour, healthy heads healthy",
    },
    "explain": {
        "localization*.csv": "Is the map at the tumour?",
        "map_scores.csv": "Scores of the maps",
    },
}
"""Tables of `plots/` with their titles, by the stage in whose section they stand; a star stands for any letters."""
