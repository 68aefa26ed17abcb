"""The built-in set: drawn heads with known tumours, patients and duplicates."""
