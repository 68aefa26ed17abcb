"""Images, catalog, arrays, annotations: what every room reads; nothing here imports torch."""
