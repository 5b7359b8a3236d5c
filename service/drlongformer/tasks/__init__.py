"""Model outputs to answers: pure functions, one module a task."""
