"""Files of every format that is read, from bytes to grey pictures."""
