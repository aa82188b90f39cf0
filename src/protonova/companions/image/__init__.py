"""Image v2: images and their data. Owns image.sqlite and the directory images/."""
