"""Corpus, tokenizer, pretraining, fine-tuning and evaluation."""
