"""DrLongformer service: long French clinical documents served from ONNX, and the module that trains the weights."""

__version__ = "0.1.0"
