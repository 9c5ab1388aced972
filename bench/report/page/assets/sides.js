"use strict";

/* Two methods side by side. Differences, intervals and p-values are those of `report --against`. */

const MARKS = { better: "↑ better", worse: "↓ worse", tied: "≈ tied", untestable: "? untestable" };

async function drawSides(view) {
  const section = view.querySelector(".sides");
  if (!section) return;
  const charts = await load(view, "charts");
  const pairs = await load(view, "pairs");
  section.hidden = false;
  const [one, other] = ["a", "b"].map((name) => section.querySelector(`select[name="${name}"]`));
  if (!one.options.length) fillSides(one, other, charts.rows);
  chooseSide(one, charts.rows, setting("a"), 0);
  chooseSide(other, charts.rows, setting("b"), 1);
  section.querySelector(".side-table").replaceChildren(sidesTable(charts, pairs, Number(one.value), Number(other.value)));
}

function fillSides(one, other, rows) {
  for (const select of [one, other]) {
    select.append(...rows.map((row, place) => make("option", { value: place }, row.name)));
  }
}

function chooseSide(select, rows, name, otherwise) {
  const place = rows.findIndex((row) => row.name === name);
  select.value = place >= 0 ? place : Math.min(otherwise, rows.length - 1);
}

function sidesTable(charts, pairs, a, b) {
  const heads = ["", charts.rows[a].name, charts.rows[b].name, "Difference", "95 % interval", "p (Holm)", "Result"];
  const head = make("thead", {}, make("tr", {}, ...heads.map((text, i) => make(i ? "th" : "td", i ? { scope: "col" } : {}, text))));
  const lines = Object.keys(charts.figures).map((key) => sidesLine(charts, pairs[key] ?? [], key, a, b));
  return make("table", { class: "side-by-side", "aria-label": "Two methods side by side" }, head, make("tbody", {}, ...lines));
}

function sidesLine(charts, pairs, key, a, b) {
  const [one, other] = [a, b].map((place) => charts.figures[key][place]);
  const tested = pairs.find(([from, to]) => from === a && to === b);
  const [difference, interval, p, result] = tested ? tested.slice(2) : [ratio(one[0], other[0]), "", "", ""];
  const { title, unit } = charts.columns[key];
  const name = make("th", { scope: "row" }, title, make("span", { class: "unit" }, unit));
  const spread = charts.accuracies.some((axis) => axis.key === key); // costs hardly vary
  const texts = [one, other].map(([, , text, deviation]) => text + (spread ? deviation : ""));
  const cells = [...texts, difference, interval, p].map((text) => make("td", {}, text));
  return make("tr", {}, name, ...cells, make("td", { class: "text" }, MARKS[result] ?? ""));
}

/** How many times one the other is, for what is not tested. */
function ratio(one, other) {
  return one > 0 && other !== null && one !== other ? `× ${plain(Number((other / one).toPrecision(3)))}` : "";
}

document.addEventListener("change", (event) => {
  const section = event.target.closest(".sides");
  if (!section) return;
  remember({ [event.target.name]: event.target.selectedOptions[0].textContent });
  drawSides(section.closest(".view"));
});
