"""Runs a model with llama.cpp and streams its tokens."""
