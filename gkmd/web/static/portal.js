// What all pages do when there is JavaScript: look at the trouble first, and send a form once.
"use strict";

document.addEventListener("DOMContentLoaded", () => {
  const trouble = document.querySelector("[data-focus]");
  if (trouble) trouble.focus();
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
