"""Invented French clinical documents of realistic lengths, the same for one seed; no sentence of a real document.

Lengths are log-normal in tokens (mu 6.3, sigma 1.0, clipped to 20..4096), or all the same. A text is a run of words from a
ring of generated sentences, so it can be of any length; what a word costs in tokens is measured with the tokenizer at hand.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence

import numpy as np

MU, SIGMA, SHORTEST, LONGEST = 6.3, 1.0, 20, 4096
RING_WORDS = 20_000
MASK_EVERY = 200
"""In fill-mask, one word in this many is masked, and at least one."""

SENTENCES = (
    "Patient de {n} ans adressé pour {s} évoluant depuis {d} jours.",
    "À l'examen, la tension artérielle est mesurée à {t} mmHg et l'auscultation cardiaque est régulière.",
    "Dans ses antécédents, on note une {m} traitée par {p} à la dose de {g} mg par jour.",
    "Le bilan biologique retrouve une hémoglobine à {h} g/dL, sans syndrome inflammatoire.",
    "Le scanner thoraco-abdominal ne met pas en évidence de lésion suspecte.",
    "Un traitement par {p} est débuté, avec une surveillance clinique et biologique hebdomadaire.",
    "L'évolution est favorable : {s} régresse en {d} jours et le patient est apyrétique.",
    "Aucune allergie médicamenteuse n'est connue, hormis une intolérance digestive à {p}.",
    "La radiographie montre une image compatible avec une {m} débutante.",
    "Le patient regagne son domicile après {d} jours d'hospitalisation, avec une ordonnance de {p}.",
    "Une consultation de contrôle est prévue dans {d} semaines auprès du médecin traitant.",
    "L'équipe propose de poursuivre {p} et de réévaluer la fonction rénale à {d} jours.",
)
FILLINGS = {
    "s": ("une dyspnée d'effort", "une douleur thoracique", "une fièvre à 39 °C", "une asthénie marquée", "des céphalées"),
    "m": ("pneumopathie", "hypertension artérielle", "insuffisance cardiaque", "bronchite chronique", "gonarthrose"),
    "p": ("paracétamol", "amoxicilline", "furosémide", "ramipril", "metformine", "l'atorvastatine"),
}
NUMBERS = {"n": (18, 95), "d": (2, 21), "t": (95, 180), "g": (5, 1000), "h": (7, 17)}


def clinical_words(random: np.random.Generator) -> Iterator[str]:
    """Words of invented clinical sentences, without end."""
    while True:
        sentence = SENTENCES[int(random.integers(len(SENTENCES)))]
        numbers = {name: int(random.integers(*bounds)) for name, bounds in NUMBERS.items()}
        words = {name: choices[int(random.integers(len(choices)))] for name, choices in FILLINGS.items()}
        yield from sentence.format(**numbers, **words).split(" ")


def ring(random: np.random.Generator) -> list[str]:
    """Enough words for documents to be cut from."""
    return list(itertools.islice(clinical_words(random), RING_WORDS))


def lengths(count: int, random: np.random.Generator) -> list[int]:
    """Lengths of `count` documents in tokens."""
    return [int(length) for length in random.lognormal(MU, SIGMA, count).clip(SHORTEST, LONGEST)]


def documents(words: Sequence[str], word_counts: Sequence[int], random: np.random.Generator) -> Iterator[str]:
    """Runs of the given numbers of words, each from a random place of `words`, which is read as a ring."""
    for count in word_counts:
        start = int(random.integers(len(words)))
        yield " ".join(words[(start + step) % len(words)] for step in range(count))


def with_masks(text: str, mask: str) -> str:
    """The text with a word in the middle of every run of `MASK_EVERY` words replaced by the mask."""
    words = text.split(" ")
    for start in range(0, len(words), MASK_EVERY):
        words[(start + min(start + MASK_EVERY, len(words))) // 2] = mask
    return " ".join(words)
