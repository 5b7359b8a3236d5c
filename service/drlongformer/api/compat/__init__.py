"""Drop-in surfaces: the same models and pipeline under the routes and words that other services' clients know.

Every surface translates a body into one of our own requests (`bodies.py`), asks the same pipeline through the same gate, keys,
limits and deadlines (`asking.py`), and writes the answer in the surface's form. Errors are told in its form too (`errors.py`).
"""
