"""Who goes next, the engine, and one document's story."""
