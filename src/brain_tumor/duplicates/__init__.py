"""The search for near-duplicates among images; nothing here imports torch."""
