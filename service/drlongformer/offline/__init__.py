"""Files in, answers in a folder out: the same pipeline that serves, without HTTP."""
