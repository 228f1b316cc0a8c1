"""Large protocols: templates, MegaFace, all pairs."""
