"use strict";

const views = [...document.querySelectorAll("main > .view")];
const contents = document.querySelector(".contents");
const wide = matchMedia("(min-width: 60rem)");

/** Show the view that the address names, as its settings say, and draw what it holds. */
function show() {
  const { id, settings } = readAddress();
  const view = targetOf(id)?.closest(".view") ?? views[0];
  for (const other of views) other.hidden = other !== view;
  document.title = `${view.querySelector("h2").textContent}: sam-adapt-bench`;
  for (const grid of view.querySelectorAll("table[role=grid]")) enterable(grid);
  offerFiles(view);
  renewLinks(settings);
  form.hidden = !view.querySelector(".answer");
  fillForm();
  sortAsAsked(view);
  return refresh().then(() => drawSides(view)).then(() => markContents(view));
}

function targetOf(id) {
  try {
    return document.getElementById(decodeURIComponent(id));
  } catch {
    return null; // a lone "%" encodes nothing
  }
}

function shownView() {
  return views.find((view) => !view.hidden);
}

/** Make verdict, tables and plots of the shown view follow the limits. */
async function refresh() {
  const view = shownView();
  const { comparisons, shown } = await load(views[0], "choices");
  const wanted = wishes();
  const fitting = new Map(comparisons.map(({ id, rows }) => [id, rows.flatMap((row, place) => (fits(row, wanted) ? [place] : []))]));
  const choice = comparisons.find(({ id }) => id === view.id);
  const answer = view.querySelector(".answer");
  if (answer) answer.replaceChildren(...(choice ? answerOne(choice, fitting.get(view.id)) : [answerAll(comparisons, shown, fitting)]));
  const [left, all] = filterRows(view, fitting);
  filterColumns(view);
  document.getElementById("fitting").textContent = all ? `${left} of ${all} methods fit.` : "";
  await drawView(view, { choice, fitting: fitting.get(view.id), limits: wanted.limits });
}

let drawing = 0; // the newest call; older ones stop

async function drawView(view, state) {
  const sections = [...view.querySelectorAll(".chart")];
  if (!sections.length) return;
  const mine = ++drawing;
  const data = (await load(view, "charts")) ?? (await load(view, "budgets")) ?? (await load(view, "ranks"));
  if (!view.querySelector(".key")) sections[0].before(keyOf(data.rows ?? data, follow));
  pressKey(view.querySelector(".key"), setting("follow"));
  for (const section of sections) {
    if (mine !== drawing) return;
    draw(view, section, data, state);
    await new Promise((done) => setTimeout(done)); // the page answers between two plots
  }
}

function follow(name) {
  remember({ follow: name });
  refresh();
}

function draw(view, section, data, state) {
  const place = section.querySelector(".plot");
  const name = (row) => data.rows[row].name;
  const open = (row, key, text) => openRecords(view.id, row, key, name(row), text);
  const unfolded = place.querySelector("details")?.open;
  const known = (data.rows ?? data).some((row) => row.name === setting("follow"));
  const settings = { ...state, width: place.clientWidth, followed: known ? setting("follow") : null, open };
  if (settings.width) place.replaceChildren(...DRAW[section.dataset.draw](section, data, settings));
  if (section.dataset.draw === "pareto") spreadOut(place);
  if (unfolded) place.querySelector("details").open = true;
}

function redraw() {
  for (const view of views) view.querySelector(".key")?.remove();
  refresh();
}

document.addEventListener("change", (event) => {
  if (!event.target.closest(".chart") || event.target.tagName !== "SELECT") return;
  remember({ [event.target.name]: event.target.value });
  refresh();
});

addEventListener("hashchange", (event) => {
  if (location.hash === "#main") return;
  const before = new URL(event.oldURL).hash.split("?")[0];
  show();
  if (before === location.hash.split("?")[0]) return;
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
for (const part of form.querySelectorAll("details")) part.open = wide.matches && part.dataset.wide === "open";
show();
