"""Download files: images, single files, archives, and datasets of the hub."""
