"""Embeddings of images: any model as one function, their files, and long work that resumes."""
