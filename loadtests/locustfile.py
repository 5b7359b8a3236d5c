"""Locust users: a physician's tool that asks now and then and waits, and an archive that sends document after document.

    python -m loadtests.service --help                        measurements; open loop
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000                          http://localhost:8089, to play with
    locust -f loadtests/locustfile.py --host http://127.0.0.1:8000 --headless -u 20 -r 5 -t 60s

Locust's users wait for their answers, so its latencies hide what a slow service keeps users from asking (coordinated
omission): good for looking around, not for figures.
"""

from __future__ import annotations

import random

import numpy as np
from locust import HttpUser, between, constant, task

from loadtests.documents import documents, lengths, ring

TOKENS_PER_WORD = 1.6
"""About what the embedded model's tokenizer needs; only the lengths' scale depends on it."""

_random = np.random.default_rng(0)
_counts = [max(1, round(length / TOKENS_PER_WORD)) for length in lengths(500, _random)]
TEXTS = list(documents(ring(_random), _counts, _random))
SHORT = [text for text in TEXTS if len(text) < 2000]


class Physician(HttpUser):
    """Reads one note, thinks, reads the next."""

    weight = 4
    wait_time = between(1, 5)

    @task(3)
    def entities(self) -> None:
        """Ask what a note mentions."""
        self.client.post("/ner", json={"inputs": random.choice(SHORT)})

    @task(2)
    def classes(self) -> None:
        """Ask what it is about."""
        self.client.post("/classify", json={"inputs": random.choice(SHORT), "top_k": 3})

    @task(1)
    def word(self) -> None:
        """Ask which word is missing."""
        words = random.choice(SHORT).split(" ")[:60]
        words[len(words) // 2] = "<mask>"
        self.client.post("/fill-mask", json={"inputs": " ".join(words)})


class Archive(HttpUser):
    """Sends documents of all lengths without pause, in the lane that yields."""

    weight = 1
    wait_time = constant(0)

    @task
    def embed(self) -> None:
        """Ask for a document's vector."""
        with self.client.post(
            "/embed", json={"inputs": random.choice(TEXTS), "priority": "bulk", "encoding": "base64"}, catch_response=True
        ) as response:
            if response.status_code == 429:  # what a bulk caller must expect, and wait after
                response.success()
