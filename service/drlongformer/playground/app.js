/* The page, put together: language, theme, key, and which of its two views is shown. What is chosen lives here, in memory, and in
   attributes of `<html>`; the address says no more than the view. Nothing that was judged is lost without a question. */

import { by } from "./dom.js";
import { Play } from "./play.js";
import { told } from "./problems.js";
import { Service } from "./service.js";
import { Status } from "./status.js";
import { language, preferred, say, speak } from "./wording.js";

const VIEWS = ["play", "status"];

speak(preferred());
const service = new Service();
const play = new Play(service, (error) => ask("infer", error));
const status = new Status(service, by("status"), (error) => ask("metrics", error));
let current = VIEWS[0];
let wanted; // the scope that a key is asked for, and why
const tried = new Set(); // the scopes that a key was given for

function view() {
  const asked = location.hash.slice(1) || VIEWS[0]; // the way back to the address without a view leads to the first
  if (VIEWS.includes(asked)) current = asked;
  return current;
}

function show() {
  for (const each of VIEWS) {
    by(each).hidden = each !== view();
    if (each === view()) by(`to-${each}`).setAttribute("aria-current", "page");
    else by(`to-${each}`).removeAttribute("aria-current");
  }
  by("gate").hidden = true;
  if (view() === "status") status.start();
  else status.stop();
  if (view() === "play" && wanted?.scope === "infer") ask("infer", wanted.error);
}

/** Asks for a key, in place of what it would open. */
function ask(scope, error) {
  wanted = { scope, error };
  by("gate-told").textContent = say(scope === "infer" ? "key_needed" : "key_metrics");
  by("gate-problem").hidden = !tried.has(scope);
  by("gate-problem").textContent = tried.has(scope) ? told(error).sentence : "";
  by(scope === "infer" ? "play" : "status").hidden = true;
  by("gate").hidden = false;
  by("key").focus();
}

by("gate").addEventListener("submit", (event) => {
  event.preventDefault();
  service.unlock(wanted.scope, by("key").value.trim());
  by("key").value = "";
  by("lock").hidden = false;
  tried.add(wanted.scope);
  wanted = undefined;
  by("gate").hidden = true;
  by(view()).hidden = false;
  if (view() === "play") play.start();
  else status.start();
});

by("lock").addEventListener("click", () => {
  if (play.unsaved && !confirm(say("forget_verdicts"))) return;
  service.lock();
  play.forget();
  by("lock").hidden = true;
  tried.clear();
  status.stop();
  if (view() === "play") play.start();
  else status.start();
});

for (const tag of ["fr", "en"]) {
  by(`speak-${tag}`).addEventListener("click", () => {
    speak(tag);
    play.speak();
    status.speak();
    dress();
    if (!by("gate").hidden) ask(wanted.scope, wanted.error);
  });
}

by("theme").addEventListener("click", () => {
  document.documentElement.dataset.theme = dark() ? "light" : "dark";
  dress();
});

function dark() {
  const chosen = document.documentElement.dataset.theme;
  return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
}

function dress() {
  by("theme").textContent = say(dark() ? "light" : "dark");
  for (const tag of ["fr", "en"]) by(`speak-${tag}`).setAttribute("aria-pressed", String(language() === tag));
}

addEventListener("hashchange", show);
addEventListener("beforeunload", (event) => play.unsaved && event.preventDefault());
dress();
show();
play.start();
