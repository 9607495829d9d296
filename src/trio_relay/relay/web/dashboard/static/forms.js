// Forms: inline ones stay on the page, a second click sends nothing again, what cannot be undone asks first.
import { sendParts, place, LoggedOut } from "./fetching.js";

const shownRegions = () => ["said", "counts", ...[...document.querySelectorAll("[data-region]")].map((each) => each.dataset.region)];

export function enhanceForms() {
  document.addEventListener("submit", (event) => {
    const form = event.target;
    const question = event.submitter?.dataset.confirm ?? form.dataset.confirm;
    if (question && !confirm(question)) return event.preventDefault();
    if (form.dataset.sending) return event.preventDefault();
    if (form.matches("[data-once], [data-inline]")) {
      form.dataset.sending = "yes";
      setTimeout(() => delete form.dataset.sending, 10000);
    }
    if (form.matches("[data-inline]")) {
      event.preventDefault();
      sendInline(form, event.submitter);
    }
  });
  addEventListener("pageshow", () => {
    for (const form of document.querySelectorAll("form[data-sending]")) delete form.dataset.sending;
  });
  // "/" goes to the search.
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.target.closest("input, textarea, select, [contenteditable]")) return;
    const field = document.querySelector('[data-key="/"]');
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target.matches("[data-send-with-enter]")) event.target.form.requestSubmit();
    const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
  document.addEventListener("click", (event) => {
    const menu = document.querySelector("details.menu[open]");
    if (menu && !menu.contains(event.target)) menu.open = false;
  });
}

// No answer came, and nobody knows what has become of the form.
function complain() {
  const text = document.createElement("p");
  text.className = "said fault";
  text.textContent = "The relay did not answer. It may have done this or not: look before you try again.";
  document.querySelector('[data-region="said"]').replaceChildren(text);
}

async function sendInline(form, button) {
  const body = new URLSearchParams(new FormData(form, button));
  try {
    const answer = await sendParts(form.getAttribute("action") || location.href, shownRegions(), body);
    if (!answer.ok && !answer.parsed.querySelector('[data-region="said"]')) return complain(); // not our relay's words
    const there = new URL(answer.url);
    if (answer.ok && there.pathname !== location.pathname) return void location.assign(there.pathname + there.search);
    if (answer.ok) for (const field of form.querySelectorAll("input, textarea")) field.defaultValue = field.value;
    // What has the focus is never taken away; but the button that was pressed has done its work.
    if (answer.ok && form.contains(document.activeElement)) document.activeElement.blur();
    place(answer.parsed);
    if (document.activeElement === document.body) (button?.isConnected ? button : document.querySelector("main")).focus();
  } catch (error) {
    if (error instanceof LoggedOut) location.reload();
    else complain();
  } finally {
    delete form.dataset.sending;
  }
}
