"""The ways in which an image becomes tokens, one file each; `registry.LAYOUTS` has them all."""
