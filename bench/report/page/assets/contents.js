"use strict";

/* The table of contents goes with the reader: the parts of the shown view, and the one in sight. */

const links = [...document.querySelectorAll("nav a")];
const parts = make("ul", { class: "parts" });
let watcher = null;

/** Mark the link of a view, and list the parts of the view below it. */
function markContents(view) {
  const here = links.find((link) => link.dataset.view === view.id);
  for (const link of links) {
    if (link === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector(".here").textContent = here.textContent;
  const heads = [...view.querySelectorAll("h3")].filter((head) => head.getClientRects().length > 0);
  parts.replaceChildren(...heads.map((head) => partOf(head)));
  here.after(...(heads.length > 1 ? [parts] : []));
  if (heads.length < 2) parts.remove();
  watch(heads);
  keepInSight(here);
}

function partOf(head) {
  const button = make("button", { type: "button" }, head.textContent);
  button.addEventListener("click", () => {
    head.tabIndex = -1;
    head.focus({ preventScroll: true });
    head.scrollIntoView();
  });
  return make("li", {}, button);
}

/** Mark the last part whose heading is above the middle of the window. */
function watch(heads) {
  watcher?.disconnect();
  watcher = new IntersectionObserver(() => markPart(heads), { rootMargin: "0px 0px -60% 0px" });
  for (const head of heads) watcher.observe(head);
}

function markPart(heads) {
  const passed = heads.findLastIndex((head) => head.getBoundingClientRect().top < innerHeight * 0.4);
  [...parts.children].forEach(({ firstChild }, i) => {
    if (i === passed) firstChild.setAttribute("aria-current", "true");
    else firstChild.removeAttribute("aria-current");
  });
  if (passed >= 0) keepInSight(parts.children[passed]);
}

/** Scroll the contents, and nothing else, until an entry is in sight. */
function keepInSight(entry) {
  const nav = entry.closest("nav");
  if (!nav || nav.scrollHeight <= nav.clientHeight) return;
  const [box, frame] = [entry.getBoundingClientRect(), nav.getBoundingClientRect()];
  if (box.top < frame.top) nav.scrollTop += box.top - frame.top - 40;
  else if (box.bottom > frame.bottom) nav.scrollTop += box.bottom - frame.bottom + 40;
}
