// Long lists: changed rows are asked for by key, new ones come by themselves (while the reader is at the top and not in the
// list), older ones when the end comes near, and pages of rows far from view leave the document until they are needed.
import { fetchParts, LoggedOut } from "./fetching.js";
import { flash, morph } from "./morph.js";
import { tellTimes } from "./times.js";

const NEAR = "1500px"; // how far beyond the window rows are kept
const away = new WeakMap(); // a tbody whose rows have left -> those rows

const lists = () => [...document.querySelectorAll("tbody[data-list], ol[data-list]")];
const bodiesOf = (list) => [list, ...list.parentNode.querySelectorAll(`[data-more-of="${list.dataset.list}"]`)];
const inView = (row) => {
  const box = row.getBoundingClientRect();
  return box.bottom > -200 && box.top < innerHeight + 200;
};

// What to ask for again: per list the rows in view that changed, and whether there may be new ones.
export function listsConcerned(changed, concerns) {
  const found = [];
  for (const list of lists()) {
    const keys = [];
    for (const body of bodiesOf(list)) {
      for (const row of body.children) {
        if (row.dataset.key && (changed.has(row.dataset.key) || changed.has("*")) && inView(row)) keys.push(row.dataset.key);
      }
    }
    const newest = concerns(list.dataset.on, changed) && list.dataset.order !== "none";
    if (!keys.length && !newest) continue;
    const headers = { "X-Keys": keys.slice(0, 200).join(" ") };
    if (newest) headers["X-After"] = list.dataset.newest || "0";
    found.push({ list, region: list.dataset.list, headers });
  }
  return found;
}

// Merge the rows of an answer into a list.
export function placeList({ list }, parsed) {
  const fresh = parsed.querySelector(`[data-list="${CSS.escape(list.dataset.list)}"]`);
  if (!fresh) return;
  tellTimes(fresh);
  const held = [];
  for (const row of [...fresh.children]) {
    const old = document.querySelector(`[data-list="${CSS.escape(list.dataset.list)}"] ~ * > [data-key="${CSS.escape(row.dataset.key)}"], [data-list="${CSS.escape(list.dataset.list)}"] > [data-key="${CSS.escape(row.dataset.key)}"]`);
    if (old) morph(old, row);
    else held.push(row);
  }
  if (fresh.dataset.newest > 0) list.dataset.newest = fresh.dataset.newest;
  if (held.length) arrive(list, held);
}

// New rows: at once where nobody is disturbed, else behind a button that says how many there are.
function arrive(list, rows) {
  const waiting = (list.waiting ??= []);
  if (list.dataset.order === "oldest") {
    list.append(...rows);
    rows.forEach(flash);
    return;
  }
  waiting.unshift(...rows);
  const disturbs = scrollY > 200 || list.contains(document.activeElement) || list.matches(":hover");
  if (!disturbs) return showWaiting(list);
  let button = list.closest("section").querySelector(".fresh");
  if (!button) {
    button = Object.assign(document.createElement("p"), { className: "fresh", innerHTML: '<button type="button" class="button primary"></button>' });
    button.firstChild.addEventListener("click", () => {
      showWaiting(list);
      scrollTo({ top: 0 });
    });
    list.closest("table").before(button);
  }
  button.firstChild.textContent = waiting.length === 1 ? "1 new message" : `${waiting.length} new messages`;
}

function showWaiting(list) {
  const rows = list.waiting ?? [];
  list.waiting = [];
  list.prepend(...rows);
  rows.forEach(flash);
  list.closest("section").querySelector(".fresh")?.remove();
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
  }
}

export function enhanceLists() {
  const ends = new IntersectionObserver((entries) => entries.forEach(({ target, isIntersecting }) => isIntersecting && more(target, ends)), { rootMargin: "1200px" });
  for (const link of document.querySelectorAll("a[data-more]")) ends.observe(link);
}

// Put the next page of rows at the end, as a body of its own.
async function more(link, ends) {
  if (link.dataset.loading) return;
  link.dataset.loading = "yes";
  const name = link.dataset.more;
  try {
    const { parsed } = await fetchParts(link.href, [name]);
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
    ends.unobserve(link);
    if (!next) return void link.closest(".more").remove();
    link.href = next.href;
    delete link.dataset.loading;
    ends.observe(link);
  } catch (error) {
    delete link.dataset.loading;
    if (error instanceof LoggedOut) location.reload();
  }
}
