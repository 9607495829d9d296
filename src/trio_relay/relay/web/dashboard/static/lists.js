// Long lists: changed rows are asked for by key, new ones come by themselves (while the reader is at the top and not in the
// list), older ones when the end comes near, and pages of rows far from view leave the document until they are needed.
import { fetchParts, LoggedOut } from "./fetching.js";
import { flash, morph } from "./morph.js";
import { tellTimes } from "./times.js";

const NEAR = "1500px"; // how far beyond the window rows are kept
const away = new WeakMap(); // a tbody whose rows have left -> those rows

const lists = () => [...document.querySelectorAll("[data-list]")];
const bodiesOf = (list) => [list, ...list.parentNode.querySelectorAll(`[data-more-of="${list.dataset.list}"]`)];
const inView = (box) => box.bottom > -200 && box.top < innerHeight + 200;
const stale = new Set(); // keys that changed while their rows were out of view
let allStale = false, onScroll = 0, lookAgain = () => {};

const isStale = (row) => stale.has(row.dataset.key) || (allStale && !row.seenAgain);

// The keys of the rows in view that `wanted` says to ask for again.
function rowsInView(list, wanted) {
  return bodiesOf(list)
    .filter((body) => !away.has(body) && inView(body.getBoundingClientRect()))
    .flatMap((body) => [...body.children])
    .filter((row) => row.dataset.key && wanted(row) && inView(row.getBoundingClientRect()))
    .map((row) => row.dataset.key)
    .slice(0, 200);
}

// What to ask for again: per list the rows in view that changed, and whether there may be new ones. `isOwed`: a list the
// relay has not answered for, so there may be.
export function listsConcerned(changed, concerns, isOwed) {
  if (changed.has("*") || stale.size > 5000) {
    allStale = true;
    stale.clear();
    for (const row of document.querySelectorAll("[data-key]")) row.seenAgain = false;
  }
  for (const word of changed) if (word.includes(":")) stale.add(word);
  return lists().flatMap((list) => {
    const keys = rowsInView(list, isStale);
    const newest = (concerns(list.dataset.on, changed) || isOwed(list)) && list.dataset.order !== "none";
    if (!keys.length && !newest) return [];
    const headers = { "X-Keys": keys.join(" ") };
    if (newest) headers["X-After"] = list.dataset.newest || "0";
    return [{ list, region: list.dataset.list, headers }];
  });
}

// Merge the rows of an answer into a list.
export function placeList({ list, headers }, parsed) {
  const fresh = parsed.querySelector(`[data-list="${CSS.escape(list.dataset.list)}"]`);
  if (!fresh) return;
  tellTimes(fresh);
  for (const key of headers["X-Keys"].split(" ")) stale.delete(key);
  if (fresh.dataset.gap) return startAgain(list, parsed);
  const shown = new Map(bodiesOf(list).flatMap((body) => away.get(body) ?? [...body.children]).map((row) => [row.dataset.key, row]));
  // What was asked for and is not there any more, or matches the filter no more.
  const answered = new Set([...fresh.children].map((row) => row.dataset.key));
  for (const key of headers["X-Keys"].split(" ")) if (key && !answered.has(key)) shown.get(key)?.remove();
  const arrived = [];
  for (const row of [...fresh.children]) {
    const old = shown.get(row.dataset.key);
    if (old) morph(old, row);
    else arrived.push(row);
    (old ?? row).seenAgain = true;
  }
  if (Number(fresh.dataset.newest) > Number(list.dataset.newest || 0)) list.dataset.newest = fresh.dataset.newest;
  if (arrived.length) arrive(list, arrived);
}

const disturbs = (list) => scrollY > 200 || list.contains(document.activeElement) || list.matches(":hover");

// So much is new that rows between would be missing: the list begins anew, when that disturbs nobody.
function startAgain(list, parsed) {
  const section = list.closest("[data-region]");
  if (disturbs(list)) return offer(list, "Many new messages", () => location.reload());
  bodiesOf(list).slice(1).forEach((body) => body.remove());
  list.waiting = [];
  morph(section, parsed.querySelector(`[data-region="${CSS.escape(section.dataset.region)}"]`));
  observeEnds();
}

// New rows: at once where nobody is disturbed, else behind a button that says how many there are.
function arrive(list, rows) {
  if (list.dataset.order === "oldest") {
    list.append(...rows);
    return rows.forEach(flash);
  }
  list.waiting = [...rows, ...(list.waiting ?? [])];
  if (!disturbs(list)) return showWaiting(list);
  const count = list.waiting.length;
  offer(list, `${count} new ${list.dataset.noun ?? "message"}${count === 1 ? "" : "s"}`, () => {
    showWaiting(list);
    scrollTo({ top: 0 });
  });
}

function offer(list, text, act) {
  const section = list.closest("[data-region]");
  let place = section.querySelector(".fresh");
  if (!place) {
    place = document.createElement("p");
    place.className = "fresh";
    const button = document.createElement("button");
    button.className = "button primary";
    place.append(button);
    section.prepend(place);
  }
  place.firstChild.textContent = text;
  place.firstChild.onclick = act;
}

function showWaiting(list) {
  const rows = list.waiting ?? [];
  list.waiting = [];
  list.closest("table").hidden = false; // it was empty, perhaps
  list.closest("[data-region]").querySelector(".empty")?.remove();
  list.prepend(...rows);
  rows.forEach(flash);
  list.closest("[data-region]").querySelector(".fresh")?.remove();
  // What was first below goes on in the pages after it; a list nobody scrolls does not grow for ever.
  if (scrollY <= 200) while (list.children.length > 300) list.lastElementChild.remove();
}

const leaving = new IntersectionObserver(
  (entries) => {
    for (const { target, isIntersecting } of entries) isIntersecting ? bringBack(target) : sendAway(target);
  },
  { rootMargin: NEAR },
);

function sendAway(body) {
  if (away.has(body) || body.contains(document.activeElement) || !body.children.length) return;
  const height = body.getBoundingClientRect().height;
  const rows = [...body.children];
  const spacer = document.createElement("tr");
  spacer.setAttribute("aria-hidden", "true");
  spacer.append(document.createElement("td"));
  spacer.style.height = `${height}px`;
  away.set(body, rows);
  body.replaceChildren(spacer);
}

function bringBack(body) {
  const rows = away.get(body);
  if (rows) {
    away.delete(body);
    body.replaceChildren(...rows);
    tellTimes(body);
    catchUp();
  }
}

// Rows that changed out of view are asked for when they come into view.
function catchUp() {
  onScroll ||= setTimeout(() => {
    onScroll = 0;
    lookAgain();
  }, 200);
}

const ends = new IntersectionObserver(
  (entries) => entries.forEach(({ target, isIntersecting }) => isIntersecting && more(target)),
  { rootMargin: "1200px" },
);

// `onView` is called when other rows than before may be in view.
export function enhanceLists(onView) {
  lookAgain = onView;
  observeEnds();
  if (lists().length) addEventListener("scroll", catchUp, { passive: true });
}

function observeEnds() {
  for (const link of document.querySelectorAll("a[data-more]")) ends.observe(link);
}

// Put the next page of rows at the end, as a body of its own. The link works by itself, too.
async function more(link) {
  if (link.dataset.loading) return;
  link.dataset.loading = "yes";
  const name = link.dataset.more;
  ends.unobserve(link);
  try {
    const { parsed } = await fetchParts(link.href, [name]);
    link.removeAttribute("data-tries");
    const fresh = parsed.querySelector(`[data-list="${CSS.escape(name)}"]`);
    const table = document.querySelector(`[data-list="${CSS.escape(name)}"]`).parentNode;
    if (fresh) {
      const body = document.createElement(fresh.localName);
      body.dataset.moreOf = name;
      body.append(...fresh.children);
      tellTimes(body);
      table.append(body);
      leaving.observe(body);
    }
    const next = parsed.querySelector("a[data-more]");
    if (!next) return void link.closest(".more").remove();
    link.href = next.href;
    ends.observe(link);
  } catch (error) {
    if (error instanceof LoggedOut) return location.reload();
    link.dataset.tries = Number(link.dataset.tries ?? 0) + 1;
    setTimeout(() => ends.observe(link), Math.min(1000 * 2 ** (link.dataset.tries - 1), 30000));
  } finally {
    delete link.dataset.loading;
  }
}
