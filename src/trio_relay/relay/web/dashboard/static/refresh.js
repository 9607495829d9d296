// Ask again for what the page shows and what has changed. What the relay does not answer for is shown as not up to date,
// and asked for again after longer and longer pauses, each part alone: one that is broken holds up no other.
import { fetchParts, place, LoggedOut, Unanswered } from "./fetching.js";
import { checkLogin, isLost, sayBehind } from "./link.js";
import { listsConcerned, placeList } from "./lists.js";

const FIRST_WAIT = 1000, LONGEST_WAIT = 30000;
const COUNTS = { words: "message approval thread", pace: 5000 };
const words = new Set(); // what changed and the lists have not been asked about
const due = new Map(); // region -> when it is to be asked for, at the earliest
const askedAt = new Map(); // region -> when it was last asked for
const debts = new Map(); // region or list that was not answered for -> { tries, due }
let asking = false, looking = false, timer = 0, wakesAt = Infinity;

const concerns = (on, heard) => heard.has("*") || (on || "").split(" ").some((word) => word && heard.has(word));
const listKey = ({ list }) => `list ${list.dataset.list}`;
const sections = () => [...document.querySelectorAll("[data-region]")];

// Words of a digest.
export function changed(heard) {
  const news = new Set(heard);
  for (const word of news) words.add(word);
  ask(sections().filter(({ dataset }) => dataset.on && concerns(dataset.on, news)));
  if (concerns(COUNTS.words, news)) want("counts", COUNTS.pace);
  wake();
}

// Ask for some regions again, whatever has happened.
export function ask(regions) {
  for (const { dataset } of regions) want(dataset.region, (Number(dataset.pace) || 1) * 1000);
  wake();
}

// Other rows of a list are in view than before, and may have changed while they were not.
export function rowsInViewChanged() {
  looking = true;
  wake();
}

// The relay is there (again), or somebody looks: whoever waits for another try waits no longer.
export function tryNow() {
  for (const debt of debts.values()) debt.due = 0;
  wake();
}

function want(name, pace) {
  if (!due.has(name)) due.set(name, (askedAt.get(name) ?? -pace) + pace);
}

// See to it that `refresh` runs when the next thing is due.
function wake() {
  if (asking) return; // it does so itself at its end
  const times = [...[...due].filter(([name]) => !debts.has(name)).map(([, at]) => at), ...[...debts.values()].map((debt) => debt.due)];
  const next = words.size || looking ? 0 : Math.min(...times);
  if (next >= wakesAt || next === Infinity) return;
  clearTimeout(timer);
  wakesAt = next;
  timer = setTimeout(refresh, Math.max(0, next - performance.now()));
}

async function refresh() {
  wakesAt = Infinity;
  if (asking || document.hidden || isLost()) return; // whoever ends that calls `tryNow`
  asking = true;
  try {
    await askForAll(performance.now());
  } catch (error) {
    if (!(error instanceof LoggedOut)) throw error;
    await checkLogin();
  } finally {
    asking = false;
    wake();
  }
}

async function askForAll(now) {
  const isDue = (at) => at <= now + 50;
  const again = new Set([...debts].filter(([, debt]) => isDue(debt.due)).map(([name]) => name));
  const fresh = [...due].filter(([name, at]) => isDue(at) && !debts.has(name)).map(([name]) => name);
  const heard = new Set(words);
  words.clear();
  looking = false;
  const lists = listsConcerned(heard, concerns, (list) => again.has(listKey({ list })));
  const groups = [fresh, ...[...again].filter((name) => !name.startsWith("list ")).map((name) => [name])];
  for (const names of groups.filter((each) => each.length)) {
    for (const name of names) {
      due.delete(name);
      askedAt.set(name, now);
    }
    await attempt(names, async () => place((await fetchParts(location.href, names)).parsed));
  }
  for (const each of lists) {
    const key = listKey(each);
    if (debts.has(key) && !again.has(key)) continue; // its keys are remembered
    await attempt([key], async () => placeList(each, (await fetchParts(location.href, [each.region], each.headers)).parsed));
    again.delete(key);
  }
  for (const key of again) if (key.startsWith("list ")) settle(key); // nothing of it is in view any more
}

// Do something for some parts of the page, and remember which were not answered for.
async function attempt(names, action) {
  try {
    await action();
    names.forEach(settle);
  } catch (error) {
    if (error instanceof LoggedOut) throw error;
    if (!(error instanceof Unanswered)) console.error(error);
    names.forEach(owe);
  }
}

function owe(name) {
  const tries = (debts.get(name)?.tries ?? 0) + 1;
  const wait = Math.min(FIRST_WAIT * 2 ** (tries - 1), LONGEST_WAIT) * (0.75 + Math.random() / 2);
  debts.set(name, { tries, due: performance.now() + wait });
  sectionOf(name)?.setAttribute("data-behind", "");
  sayBehind(true);
}

function settle(name) {
  if (!debts.delete(name)) return;
  const section = sectionOf(name);
  if (![...debts.keys()].some((other) => section && sectionOf(other) === section)) section?.removeAttribute("data-behind");
  sayBehind(debts.size > 0);
}

function sectionOf(name) {
  const list = name.startsWith("list ") && document.querySelector(`[data-list="${CSS.escape(name.slice(5))}"]`);
  return list ? list.closest("[data-region]") : sections().find((each) => each.dataset.region === name);
}
