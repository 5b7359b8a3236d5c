/* Refusals as sentences in the page's language: one for each kind of problem that the service tells of (api/problems.py). */

import { Refusal, Unreachable } from "./service.js";
import { language } from "./wording.js";

export const SENTENCES = {
  fr: {
    "malformed-body": "Le texte contient des caractères qui ne peuvent pas être lus.",
    "invalid-request": "La demande n’a pas la forme attendue.",
    "empty-text": "Il n’y a rien à lire : le texte est vide.",
    "mask-error": "Le texte ne contient pas de masque, ou un mot demandé n’est pas un seul token.",
    "unknown-label": "Ce modèle ne connaît pas ce type d’entité.",
    "unsupported-task": "Aucun modèle servi ne sait faire cette tâche.",
    "unknown-model": "Ce modèle n’est pas, ou n’est plus, servi.",
    "document-too-long": "Le document est plus long que ce que ce service accepte.",
    "answer-too-large": "La réponse serait trop grande ; envoyez un texte plus court.",
    "body-too-large": "La demande est trop grande pour ce service.",
    "malformed-head": "La demande n’est pas du HTTP que ce service accepte.",
    "foreign-host": "Ce service ne répond pas sous ce nom d’hôte ; ouvrez la page par localhost.",
    "headers-too-slow": "La demande est arrivée trop lentement.",
    "headers-too-large": "Les en-têtes de la demande sont trop grands.",
    "body-too-slow": "Le texte est arrivé trop lentement.",
    unauthorized: "Il faut une clé valide.",
    forbidden: "Cette clé ne donne pas accès à cela.",
    overloaded: "Le service a trop de travail en attente.",
    quota: "Le quota de cette clé est épuisé pour l’instant.",
    "not-ready": "Le service démarre ou s’arrête.",
    "engine-failed": "Le calcul a échoué dans le moteur.",
    "device-out-of-memory": "Le matériel de calcul n’a plus assez de mémoire.",
    "device-lost": "Le matériel de calcul ne répond plus.",
    cancelled: "La demande a été annulée.",
    "deadline-exceeded": "Le délai est dépassé avant la fin du calcul.",
    "internal-error": "Le service a rencontré une erreur inattendue.",
    unreachable: "Le service ne répond pas. Est-il arrêté, ou le réseau coupé ?",
    other: (status) => `Le service a refusé la demande (statut ${status}).`,
    retry: (seconds) => `Réessayez dans ${seconds} s.`,
  },
  en: {
    "malformed-body": "The text holds characters that cannot be read.",
    "invalid-request": "The request does not have the expected form.",
    "empty-text": "There is nothing to read: the text is empty.",
    "mask-error": "The text holds no mask, or a word that was asked for is not a single token.",
    "unknown-label": "This model does not know that type of entity.",
    "unsupported-task": "No model that is served has this task.",
    "unknown-model": "This model is not served, or no longer.",
    "document-too-long": "The document is longer than this service accepts.",
    "answer-too-large": "The answer would be too large; send a shorter text.",
    "body-too-large": "The request is too large for this service.",
    "malformed-head": "The request is no HTTP that this service accepts.",
    "foreign-host": "This service does not answer under this host name; open the page by localhost.",
    "headers-too-slow": "The request came too slowly.",
    "headers-too-large": "The headers of the request are too large.",
    "body-too-slow": "The text came too slowly.",
    unauthorized: "A valid key is needed.",
    forbidden: "This key does not allow that.",
    overloaded: "The service has too much work waiting.",
    quota: "The quota of this key is used up for now.",
    "not-ready": "The service is starting or stopping.",
    "engine-failed": "Computing failed in the engine.",
    "device-out-of-memory": "The device that computes has not enough memory left.",
    "device-lost": "The device that computes does not answer any more.",
    cancelled: "The request was cancelled.",
    "deadline-exceeded": "The time allowed passed before the answer was ready.",
    "internal-error": "The service met an unexpected error.",
    unreachable: "The service does not answer. Was it stopped, or is the network down?",
    other: (status) => `The service refused the request (status ${status}).`,
    retry: (seconds) => `Try again in ${seconds} s.`,
  },
};

/** What to tell of an error: `{sentence, detail}`; detail holds the service's own figures, in English. Throws other errors on. */
export function told(error) {
  const sentences = SENTENCES[language()];
  if (error instanceof Unreachable) return { sentence: sentences.unreachable, detail: "" };
  if (!(error instanceof Refusal)) throw error;
  const known = Object.hasOwn(sentences, error.slug) && typeof sentences[error.slug] === "string";
  const sentence = known ? sentences[error.slug] : sentences.other(error.status);
  const retry = error.retryAfter ? ` ${sentences.retry(error.retryAfter)}` : "";
  return { sentence: sentence + retry, detail: error.detail };
}
