"""Embeddings of images: any model as a function, files of embeddings, and long work that resumes."""
