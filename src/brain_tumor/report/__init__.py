"""The command `brain-tumor report`: one HTML file that carries a whole study."""
