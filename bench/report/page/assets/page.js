"use strict";

const views = [...document.querySelectorAll("main > .view")];
const links = [...document.querySelectorAll("nav a")];
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 60rem)");
const followed = new Map(); // view to the name of the method that is followed in it

/** Show the view that an address within the page names, and draw what it holds. */
function show() {
  const view = targetOf(location.hash)?.closest(".view") ?? views[0];
  for (const other of views) other.hidden = other !== view;
  const here = links.find((link) => link.getAttribute("href") === `#${view.id}`); // as written, not encoded
  for (const link of links) {
    if (link === here) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  document.querySelector(".here").textContent = here.textContent;
  document.title = `${view.querySelector("h2").textContent}: sam-adapt-bench`;
  for (const grid of view.querySelectorAll("table[role=grid]")) enterable(grid);
  return drawView(view);
}

function targetOf(hash) {
  try {
    return document.getElementById(decodeURIComponent(hash.slice(1)));
  } catch {
    return null; // a lone "%" encodes nothing
  }
}

async function drawView(view) {
  const sections = [...view.querySelectorAll(".chart")];
  if (!sections.length) return;
  const data = (await load(view, "charts")) ?? (await load(view, "budgets"));
  if (!view.querySelector(".key")) {
    const key = keyOf(data.rows ?? data, (name) => {
      followed.set(view, name);
      drawView(view);
    });
    sections[0].before(key);
  }
  for (const section of sections) {
    draw(view, section, data);
    await new Promise((done) => setTimeout(done)); // the page answers between two plots
  }
}

function draw(view, section, data) {
  const place = section.querySelector(".plot");
  const name = (row) => data.rows[row].name;
  const open = (row, key, text) => openRecords(view.id, row, key, name(row), text);
  const unfolded = place.querySelector("details")?.open;
  const settings = { width: place.clientWidth, followed: followed.get(view) ?? null, open };
  if (settings.width) place.replaceChildren(...DRAW[section.dataset.draw](section, data, settings));
  if (section.dataset.draw === "pareto") spreadOut(place);
  if (unfolded) place.querySelector("details").open = true;
}

function redraw() {
  for (const view of views) {
    view.querySelector(".key")?.remove();
    if (!view.hidden) drawView(view);
  }
}

document.addEventListener("change", async (event) => {
  const section = event.target.closest(".chart");
  if (!section || event.target.tagName !== "SELECT") return;
  const view = section.closest(".view");
  draw(view, section, await load(view, "charts"));
});

addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  show();
  if (!wide.matches) contents.open = false;
  scrollTo(0, 0);
});
dark.addEventListener("change", redraw);
wide.addEventListener("change", () => { contents.open = wide.matches; });

let width = innerWidth;
addEventListener("resize", () => {
  if (innerWidth === width) return; // as when a phone hides its address bar
  width = innerWidth;
  clearTimeout(redraw.waiting);
  redraw.waiting = setTimeout(redraw, 150);
});

contents.open = wide.matches;
show();
