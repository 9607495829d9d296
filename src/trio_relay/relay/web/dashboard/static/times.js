// "3 min ago" stays true, and clock times are the reader's own.
const UNITS = [[86400, "d"], [3600, "h"], [60, "min"]];
let skew = 0; // the relay's clock minus ours, ms

export function setRelayTime(ms) {
  skew = ms - Date.now();
}

// The relay's clock, Unix ms.
export const relayNow = () => Date.now() + skew;

function ago(ms) {
  const seconds = Math.max(0, Math.floor((relayNow() - ms) / 1000));
  for (const [size, unit] of UNITS) if (seconds >= size) return `${Math.floor(seconds / size)} ${unit} ago`;
  return seconds >= 5 ? `${seconds} s ago` : "just now";
}

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", fractionalSecondDigits: 3, hourCycle: "h23" });
const full = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "long" });

// Bring the times below `root` up to date.
export function tellTimes(root = document) {
  for (const time of root.querySelectorAll("time[data-ago]")) {
    const text = ago(Number(time.dataset.ago));
    if (time.textContent !== text) time.textContent = text;
  }
  for (const time of root.querySelectorAll("time[data-clock]")) {
    const at = Number(time.dataset.clock);
    const text = clock.format(at);
    if (time.textContent !== text) time.textContent = text;
    time.title = full.format(at);
  }
}

export function keepTimes() {
  tellTimes();
  setInterval(() => document.hidden || tellTimes(), 10000);
  document.addEventListener("visibilitychange", () => document.hidden || tellTimes());
}
