// Merge fresh markup into what stands there: what has not changed is not touched, so focus, half-typed text, open
// <details>, selections and scroll positions stay. Children are matched by data-key or id, else by place.
const keyOf = (node) => (node.nodeType === 1 ? node.dataset.key || node.id || "" : "");

// Whether a person is using this field: it has the focus, or they have changed it.
export function inUse(element) {
  if (element === document.activeElement && element.matches("input, select, textarea")) return true;
  if (element.matches("input[type=checkbox], input[type=radio]")) return element.checked !== element.defaultChecked;
  if (element.matches("input, textarea")) return element.value !== element.defaultValue;
  return element.matches("select") && [...element.options].some((option) => option.selected !== option.defaultSelected);
}

const KEPT = new Set(["open", "data-once-key"]); // the reader's, not the server's

export function morph(old, fresh) {
  if (old.nodeType !== fresh.nodeType || old.nodeName !== fresh.nodeName) return void old.replaceWith(fresh);
  if (old.nodeType !== 1) return void (old.data !== fresh.data && (old.data = fresh.data));
  if (old.isEqualNode(fresh) || inUse(old)) return;
  if (old.matches("time[data-ago]") && old.dataset.ago === fresh.dataset.ago) return;
  for (const { name } of [...old.attributes]) if (!fresh.hasAttribute(name) && !KEPT.has(name)) old.removeAttribute(name);
  for (const { name, value } of fresh.attributes) {
    if (old.getAttribute(name) !== value && !KEPT.has(name)) old.setAttribute(name, value);
  }
  morphChildren(old, fresh);
}

export function morphChildren(old, fresh) {
  const keyed = new Map();
  for (const child of old.children) if (keyOf(child)) keyed.set(keyOf(child), child);
  let place = old.firstChild;
  for (const child of [...fresh.childNodes]) {
    const key = keyOf(child);
    let match = key ? keyed.get(key) : place;
    if (!key) {
      while (match && keyOf(match)) match = match.nextSibling;
      if (match && (match.nodeType !== child.nodeType || match.nodeName !== child.nodeName)) match = null;
    }
    if (!match) {
      old.insertBefore(child, place);
      if (key) flash(child);
      continue;
    }
    if (match === place) place = place.nextSibling;
    else if (!match.contains(document.activeElement)) old.insertBefore(match, place);
    keyed.delete(key);
    morph(match, child);
  }
  while (place) {
    const next = place.nextSibling;
    if (place.nodeType !== 1 || !place.contains(document.activeElement)) place.remove();
    place = next;
  }
}

// Show for a moment that something is new.
export function flash(element) {
  if (element.nodeType === 1) {
    element.classList.add("changed");
    setTimeout(() => element.classList.remove("changed"), 1700);
  }
}
