// What some views do beside the frame: time that runs out, regions that change with time alone, copying, the map.
import { ask } from "./refresh.js";
import { relayNow } from "./times.js";

const SPANS = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]];
const minute = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });

function left(until) {
  const seconds = Math.ceil((until - relayNow()) / 1000);
  if (seconds <= 0) return "over";
  for (const [size, unit, smaller, smallUnit] of SPANS) {
    const rest = Math.floor((seconds % size) / smaller);
    if (seconds >= size) return `${Math.floor(seconds / size)} ${unit}${rest ? ` ${rest} ${smallUnit}` : ""}`;
  }
  return `${seconds} s`;
}

function tell() {
  if (document.hidden) return;
  const say = (time, text) => time.textContent !== text && (time.textContent = text);
  for (const time of document.querySelectorAll("time[data-until]")) say(time, left(Number(time.dataset.until)));
  for (const time of document.querySelectorAll("time[data-minute]")) say(time, minute.format(Number(time.dataset.minute)));
}

// Regions that change although nothing happens.
function askAgain() {
  const regions = [...document.querySelectorAll("[data-every]")];
  if (!regions.length) return;
  setInterval(() => document.hidden || ask(regions), Math.min(...regions.map((each) => Number(each.dataset.every))) * 1000);
}

// Buttons that copy what stands in a field; without a clipboard (http on another machine) the field is selected.
function enableCopying() {
  for (const button of document.querySelectorAll("button[data-copy]")) button.hidden = false;
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("button[data-copy]");
    if (!button) return;
    const field = document.getElementById(button.dataset.copy);
    field.select();
    const copied = await (navigator.clipboard?.writeText(field.value).then(() => true, () => false) ?? document.execCommand("copy"));
    button.textContent = copied ? "Copied" : "Selected";
    document.querySelector("[data-announce]").textContent = copied ? "Copied." : "Selected: copy it with the keyboard.";
  });
}

// On the map, whoever is pointed at or has the focus stands out with all it says and hears.
function lightUp(event) {
  const map = document.querySelector("svg.circle");
  if (!map) return;
  const agent = event.target.closest?.("svg.circle [data-agent]")?.dataset.agent;
  if (map.dataset.lit === agent) return;
  map.classList.toggle("has-lit", Boolean(agent));
  if (agent) map.dataset.lit = agent;
  else delete map.dataset.lit;
  for (const path of map.querySelectorAll("path")) {
    path.classList.toggle("lit", Boolean(agent) && (path.dataset.from === agent || path.dataset.to === agent));
  }
}

export function enhanceViews() {
  tell();
  setInterval(tell, 1000);
  askAgain();
  enableCopying();
  for (const kind of ["pointerover", "focusin"]) document.addEventListener(kind, lightUp);
}
