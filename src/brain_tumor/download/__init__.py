"""From wherever a data set lies to data/raw, whole and checked."""
