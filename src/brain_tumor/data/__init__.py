"""From files to arrays: sources, catalog, copies, protocols, augmentation."""
