"""How fast a bundle is on this machine: `ceiling.py` says what could be, `measure.py` what is, `told.py` puts it in words."""
