// What the page says of how it stands to its relay: live, lost, or behind (something it shows was not answered for).
import { fetchParts, LoggedOut } from "./fetching.js";
import { inUse } from "./morph.js";

let state = "connecting", text = "not live", behind = false;

export const isLost = () => state === "lost";

export function sayLink(newState, newText) {
  [state, text] = [newState, newText];
  show();
}

export function sayBehind(isBehind) {
  behind = isBehind;
  show();
}

function show() {
  const link = document.querySelector("[data-link]");
  if (!link) return;
  const [kind, words] = behind && state === "live" ? ["behind", "Not up to date. Trying again."] : [state, text];
  if (link.dataset.link !== kind) link.dataset.link = kind;
  const place = link.querySelector("[data-link-text]");
  if (place.textContent !== words) place.textContent = words; // a status: read out when it changes
}

// A login that has ended looks like a lost connection: find out. Half-typed text is not thrown away for it.
export async function checkLogin() {
  try {
    await fetchParts(location.href, ["none"]);
  } catch (error) {
    if (!(error instanceof LoggedOut)) return;
    if ([...document.querySelectorAll("main textarea, main input")].some(inUse)) sayLink("lost", "Your login has ended. Log in again in another window.");
    else location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
}
