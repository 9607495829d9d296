// Ask for parts of a page, and put them in their places.
import { morph } from "./morph.js";
import { tellTimes } from "./times.js";

const PATIENCE = 30000; // ms

export class LoggedOut extends Error {}
export class Unanswered extends Error {} // no answer, or one that means: later

// Fetch regions of the page at `url`; `headers` say more. Gives the parsed page, whatever it says.
export async function fetchParts(url, regions, headers = {}) {
  const answer = await request(url, regions, { headers, signal: AbortSignal.timeout(PATIENCE) });
  if (answer.status >= 500 || answer.status === 429 || answer.status === 408) throw new Unanswered(`${answer.status}`);
  return answer;
}

// Send a form, and fetch regions of the page it leads to.
export const sendParts = (url, regions, body) => request(url, regions, { method: "POST", body });

async function request(url, regions, { headers, ...options }) {
  let answer, text;
  try {
    answer = await fetch(url, { ...options, credentials: "same-origin", headers: { ...headers, "X-Regions": regions.join(" ") } });
    text = await answer.text();
  } catch (error) {
    throw new Unanswered(error.message);
  }
  if (new URL(answer.url).pathname === "/login") throw new LoggedOut();
  const parsed = new DOMParser().parseFromString(text, "text/html");
  return { ok: answer.ok, status: answer.status, url: answer.url, parsed };
}

// Merge every region of a parsed answer that the page has as well.
export function place(parsed) {
  for (const fresh of parsed.querySelectorAll("[data-region]")) {
    const old = document.querySelector(`[data-region="${CSS.escape(fresh.dataset.region)}"]`);
    if (old) {
      tellTimes(fresh);
      morph(old, fresh);
    }
  }
  for (const fresh of parsed.querySelectorAll("[data-count]")) {
    for (const old of document.querySelectorAll(`.nav [data-count="${CSS.escape(fresh.dataset.count)}"]`)) {
      if (old.firstChild.data !== fresh.textContent) old.firstChild.data = fresh.textContent;
      old.hidden = fresh.textContent === "0";
    }
  }
}
