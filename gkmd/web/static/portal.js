// What all pages do when there is JavaScript: look at the trouble first, and send a form once.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const trouble = document.querySelector("[data-focus]");
  if (trouble) trouble.focus();

  // Who comes back to a form by the browser's button, and sends it again as it was, makes nothing anew.
  const form = document.querySelector("form[data-remembered]");
  if (!form) return;
  if (history.state && history.state.once) form.elements.once.value = history.state.once;
  form.addEventListener("submit", () => history.replaceState({ once: form.elements.once.value }, ""));
  form.addEventListener("input", () => { form.elements.once.value = crypto.randomUUID(); });
});

document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.method !== "post") return;
  if (form.dataset.sent) {
    event.preventDefault();
    return;
  }
  // Answers that are files leave the page where it is.
  if (form.action.endsWith("/file")) return;
  form.dataset.sent = "yes";
  window.setTimeout(() => delete form.dataset.sent, 10000);
});

window.addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
});
