"""Text to token ids with exact character offsets; windows over long documents."""
