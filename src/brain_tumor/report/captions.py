"""What a report says beside its numbers: words for parameters, and captions of pictures and tables."""

SECTIONS: dict[str, tuple[str, tuple[str, ...]]] = {
    "split": ("What was tested on what", ()),
    "evaluate": (
        "Test images",
        (
            "Intervals draw whole groups: duplicates, and slices of one patient where patients are known, are correct "
            "or wrong together.",
            "Where a classifier that sees no brain separates tumours from healthy heads, the network's score may rest "
            "on shortcuts; a network that has found the tumour changes its prediction when the tumour is removed.",
        ),
    ),
    "train": ("Training", ()),
    "explain": (
        "What the network looks at",
        (
            "Grad-CAM colours the places that speak for a class; the line marks half of the map's maximum. "
            "A wrong prediction is shown with the maps of the predicted and of the true class. "
            "A map shows what moved the network, not where a tumour is.",
        ),
    ),
}
"""For each stage the title of its section and what stands first in it. The metrics are `metrics/STAGE.json`."""

HEADLINE = {
    "accuracy_with_duplicate": (
        "with a duplicate",
        "accuracy on test images with a duplicate in the folder of training images",
    ),
    "accuracy_without_duplicate": ("without a duplicate", "accuracy on test images without a duplicate there"),
}
"""Title and note of the metrics of `evaluate` that stand on top, after the accuracy."""

PROTOCOLS = {
    "published": "The folders of training and test images as they are. A test image with a duplicate among the "
    "training images makes the score too high: see the accuracy with and without a duplicate.",
    "leak_free": "The folder of test images, all of them, and that of training images without any duplicate of a test "
    "image.",
    "grouped": "One fifth of all images, cut so that duplicates stay together: new pictures from the same sources.",
    "patient": "One fifth of all images, cut so that all images of a patient stay together where the patient is "
    "known: new patients from the same sources.",
}

SOURCE_SHIFT = (
    "In this set, without the duplicates nearly all of one source is gone, so the score also tests the shift "
    "from one source of pictures to another."
)

WEIGHTS = {
    "imagenet": "weights pretrained on ImageNet",
    "imagenet_convolutions": "convolutions pretrained on ImageNet",
    "none": "random start weights",
}

SUBSETS = "scores_by_subset.csv"
"""Table of `plots/` whose row `all` counts the test images."""

FIRST = {
    "confusion_matrix.png": "Test images by true class (rows) and predicted class (columns), in counts and shares of "
    "the true class.",
    "gradcam/overview.png": "Grad-CAM of a fixed sample of test images, chosen by file and not by score.",
}
"""Pictures of `plots/` that stand on the first screen, with their captions."""

PICTURES = {
    "evaluate": {
        "scores_by_subset.png": "Accuracy on subsets of the test images, with 95 % intervals from a bootstrap over "
        "independent groups (duplicates, slices of one patient).",
        "ranking_curves.png": "Each class against all others: sensitivity over false alarms, and precision over "
        "sensitivity.",
        "reliability.png": "Accuracy at each confidence, before and after one temperature was fitted on the "
        "validation images. On the grey line the network is perfectly calibrated.",
        "risk_coverage.png": "Share of errors if only the surest predictions are given.",
        "surest_mistakes.png": "The wrong predictions with the highest probability, surest first, one of each group "
        "of duplicates.",
    },
    "train": {
        "training_curves.png": "Loss and accuracy of the training and the validation images, epoch by epoch.",
        "augmentation.png": "Training images beside the augmented images that were made of them. Validation and test "
        "images are never augmented.",
    },
    "split": {
        "leaks.png": "Test images beside their duplicates in the folder of training images.",
    },
    "explain": {
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
        "split_details.csv": "Duplicates and excluded images",
    },
    "evaluate": {
        "scores.csv": "Scores of all test images, with 95 % intervals",
        SUBSETS: "Subsets of the test images",
        "scores_by_class.csv": "Each class against all others",
        "confidence.csv": "How far the probabilities can be believed",
        "prediction_sets.csv": "Prediction sets: promised and measured coverage",
        "shortcuts.csv": "Tumour or none by shortcuts alone",
        "lesion_removed.csv": "Correctly predicted tumours when the lesion is removed",
        "volumes.csv": "Tumours of external volumes: found, extent, class, and slices rightly marked",
        "external.csv": "External collections: tumour told from no tumour within each",
    },
    "explain": {
        "localization*.csv": "Is the map at the tumour?",
        "map_scores.csv": "Scores of the maps",
    },
}
"""Tables of `plots/` with their titles, by the stage in whose section they stand; a star stands for any letters."""
