"""Programs that make a dataset of images in another format: one for each reader of `tfface.data.sources`."""
