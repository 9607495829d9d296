// What a page does beyond being read. Everything here adds to pages that work without it.
import { followChanges } from "./live.js";
import { enhanceForms } from "./forms.js";
import { enhanceLists } from "./lists.js";
import { rowsInViewChanged } from "./refresh.js";
import { keepTimes } from "./times.js";
import { enhanceViews } from "./views.js";

keepTimes();
enhanceForms();
enhanceLists(rowsInViewChanged);
enhanceViews();
followChanges(document.body.dataset.live);

// Where the navigation is a strip that scrolls, show where we are in it.
const strip = document.querySelector(".nav");
const here = strip?.querySelector("[aria-current]");
if (here && strip.scrollWidth > strip.clientWidth) strip.scrollLeft = here.offsetLeft - strip.clientWidth / 3;
