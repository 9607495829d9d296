// The live connection: digests of what changed come in, and what the page shows of it is asked for again.
import { fetchParts, place, LoggedOut } from "./fetching.js";
import { inUse } from "./morph.js";
import { listsConcerned, placeList } from "./lists.js";
import { setRelayTime } from "./times.js";

const FIRST_PAUSE = 500, LONGEST_PAUSE = 30000;
const dirty = new Set(); // words that changed and have not been asked for
const asked = new Map(); // region -> when it was last asked for
let asking = false, timer = 0, pause = FIRST_PAUSE, source = null;

export function followChanges(url) {
  if (!url) return;
  connect(url);
  document.addEventListener("visibilitychange", () => document.hidden || (source ? soon(0) : connect(url)));
  addEventListener("online", () => source || connect(url));
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && connect(url));
}

function say(state, text) {
  const link = document.querySelector("[data-link]");
  if (!link || (link.dataset.link === state && state !== "lost")) return;
  link.dataset.link = state;
  const place = link.querySelector("[data-link-text]");
  if (place.textContent !== text) place.textContent = text;
}

function connect(url) {
  clearTimeout(timer);
  source?.close();
  source = new EventSource(url);
  source.addEventListener("hello", (event) => {
    const { at, before } = JSON.parse(event.data);
    setRelayTime(at);
    // Whatever was missed: while the connection was lost, or since the page was made.
    if (document.querySelector('[data-link="lost"]') || before > Number(document.body.dataset.logEnd ?? before)) dirty.add("*");
    say("live", "live");
    pause = FIRST_PAUSE;
    soon(0);
  });
  source.addEventListener("changed", (event) => {
    for (const word of JSON.parse(event.data)) dirty.add(word);
    soon(0);
  });
  const lost = () => {
    source?.close();
    source = null;
    const wait = pause * (0.75 + Math.random() / 2);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
    say("lost", "Connection lost. Trying again.");
    timer = setTimeout(() => checkLogin().then(() => connect(url)), wait);
  };
  source.addEventListener("bye", lost);
  source.onerror = lost;
}

// A login that has ended looks like a lost connection: find out. Half-typed text is not thrown away for it.
async function checkLogin() {
  try {
    await fetchParts(location.href, ["none"]);
  } catch (error) {
    if (!(error instanceof LoggedOut)) return;
    if ([...document.querySelectorAll("main textarea, main input")].some(inUse)) say("lost", "Your login has ended. Log in again in another window.");
    else location.assign(`/login?next=${encodeURIComponent(location.pathname + location.search)}`);
  }
}

const concerns = (words, changed) => changed.has("*") || (words || "").split(" ").some((word) => word && changed.has(word));

function soon(wait) {
  if (!asking) setTimeout(refresh, wait);
}

// Ask again for the regions whose words have changed; those that keep a pace later.
async function refresh() {
  if (asking || document.hidden || !dirty.size) return;
  const now = performance.now();
  const regions = [];
  let later = 0;
  for (const region of document.querySelectorAll("[data-region][data-on]")) {
    if (!region.dataset.on || !concerns(region.dataset.on, dirty)) continue;
    const wait = (asked.get(region.dataset.region) ?? -1e9) + (Number(region.dataset.pace) || 1) * 1000 - now;
    if (wait > 50) later = later ? Math.min(later, wait) : wait;
    else regions.push(region.dataset.region);
  }
  let countsLater = 0;
  if (["message", "approval", "thread", "counts", "*"].some((word) => dirty.has(word))) {
    countsLater = Math.max(0, (asked.get("counts") ?? -1e9) + 5000 - now);
    if (!countsLater) regions.push("counts");
  }
  const lists = listsConcerned(dirty, concerns);
  const words = new Set(dirty);
  dirty.clear();
  if (countsLater) setTimeout(() => (dirty.add("counts"), soon(0)), countsLater);
  if (later) {
    for (const word of words) dirty.add(word); // kept for the regions whose time has not come
    setTimeout(refresh, later);
  }
  if (!regions.length && !lists.length) return;
  asking = true;
  for (const name of regions) asked.set(name, now);
  try {
    if (regions.length) place((await fetchParts(location.href, regions)).parsed);
    for (const list of lists) placeList(list, (await fetchParts(location.href, [list.region], list.headers)).parsed);
  } catch (error) {
    if (error instanceof LoggedOut) await checkLogin();
    else for (const word of words) dirty.add(word);
  } finally {
    asking = false;
    if (dirty.size && !later) setTimeout(refresh, 1000);
  }
}
