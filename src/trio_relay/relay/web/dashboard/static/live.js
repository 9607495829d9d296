// The live connection: digests of what changed come in, and what the page shows of it is asked for again.
import { checkLogin, isLost, sayLink } from "./link.js";
import { changed, tryNow } from "./refresh.js";
import { setRelayTime } from "./times.js";

const FIRST_PAUSE = 500, LONGEST_PAUSE = 30000;
let timer = 0, pause = FIRST_PAUSE, source = null;

export function followChanges(url) {
  if (!url) return;
  connect(url);
  document.addEventListener("visibilitychange", () => document.hidden || (source ? tryNow() : connect(url)));
  addEventListener("online", () => source || connect(url));
  addEventListener("pagehide", () => source?.close());
  addEventListener("pageshow", (event) => event.persisted && connect(url));
}

function connect(url) {
  clearTimeout(timer);
  source?.close();
  source = new EventSource(url);
  source.addEventListener("hello", (event) => {
    const { at, before } = JSON.parse(event.data);
    setRelayTime(at);
    // Whatever was missed: while the connection was lost, or since the page was made.
    if (isLost() || before > Number(document.body.dataset.logEnd ?? before)) changed(["*"]);
    sayLink("live", "live");
    pause = FIRST_PAUSE;
    tryNow();
  });
  source.addEventListener("changed", (event) => changed(JSON.parse(event.data)));
  const lost = () => {
    source?.close();
    source = null;
    const wait = pause * (0.75 + Math.random() / 2);
    pause = Math.min(pause * 2, LONGEST_PAUSE);
    sayLink("lost", "Connection lost. Trying again.");
    timer = setTimeout(() => checkLogin().then(() => connect(url)), wait);
  };
  source.addEventListener("bye", lost);
  source.onerror = lost;
}
