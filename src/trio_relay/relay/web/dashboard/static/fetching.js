// Ask for parts of a page, and put them in their places.
import { morph } from "./morph.js";
import { tellTimes } from "./times.js";

export class LoggedOut extends Error {}

// Fetch regions of the page at `url`; `headers` say more. Gives the parsed answer and whether it was a good one.
export async function fetchParts(url, regions, headers = {}, options = {}) {
  const answer = await fetch(url, { ...options, credentials: "same-origin", headers: { "X-Regions": regions.join(" "), ...headers } });
  if (new URL(answer.url).pathname === "/login") throw new LoggedOut();
  const parsed = new DOMParser().parseFromString(await answer.text(), "text/html");
  return { ok: answer.ok, url: answer.url, parsed };
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
