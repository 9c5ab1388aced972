"use strict";

const SYMBOLS = { o: "circle", s: "square", "^": "triangle", D: "diamond", v: "wye", P: "cross", X: "star" };
const DASHES = { "-": null, "--": "6 3", ":": "1.5 3", "-.": "6 3 1.5 3" };
const dark = matchMedia("(prefers-color-scheme: dark)");

/** The colour of a method for areas, and for lines, which need more contrast with the page. */
function colourOf(row) {
  return dark.matches ? d3.interpolateRgb(row.colour, "white")(0.42) : row.colour;
}

function inkOf(row) {
  return dark.matches ? colourOf(row) : row.ink;
}

/** How strongly a row is shown: all alike, or one followed and the rest faint. */
function strength(row, followed) {
  return followed === null || followed === row.name ? 1 : 0.12;
}

/** Options that all plots share. */
function frame(width, height, label, options, marks) {
  const drawn = Plot.plot({ className: "plot-marks", width, height, marginTop: 24, ...options, marks });
  const svg = drawn.tagName === "svg" ? drawn : [...drawn.querySelectorAll(":scope > svg")].at(-1);
  svg.setAttribute("role", "group");
  svg.setAttribute("aria-label", label);
  for (const group of svg.querySelectorAll("g[aria-label]")) { // a group without a role has no name
    group.dataset.mark = group.getAttribute("aria-label");
    group.removeAttribute("aria-label");
  }
  return drawn;
}

/** Logarithmic where figures span a factor of five or more, with room for zero. */
function scaleFor(values, width) {
  const positive = values.filter((value) => value > 0);
  const [low, high] = d3.extent(positive);
  if (!positive.length || high < 5 * low) return { nice: true, zero: false };
  const decades = d3.range(Math.floor(Math.log10(low)), Math.ceil(Math.log10(high)) + 1);
  const room = width / (60 * decades.length); // for labels in a decade
  const factors = room > 3 && high < 50 * low ? [1, 2, 5] : room > 2 ? [1, 3] : [1];
  const ticks = decades.flatMap((power) => factors.map((factor) => factor * 10 ** power));
  if (positive.length === values.length) {
    const domain = [low / 1.25, high * 1.25];
    const inside = ticks.filter((tick) => tick >= domain[0] && tick <= domain[1]);
    return { type: "log", domain, ticks: inside, tickFormat: plain };
  }
  const least = 10 ** Math.floor(Math.log10(low));
  const inside = [0, ...ticks.filter((tick) => tick >= least && tick <= high * 1.5)];
  return { type: "symlog", constant: least / 3, domain: [-least / 6, high * 1.5], ticks: inside, tickFormat: plain };
}

function plain(value) {
  return Number(value.toPrecision(6)).toString();
}

/** Points that the keyboard reaches: focus shows what hovering shows, Enter opens the records. */
function reachable(drawn, points, open) {
  const marks = drawn.querySelectorAll("g[data-mark='dot'] path, g[data-mark='dot'] circle");
  for (const mark of marks) {
    const point = points[mark.__data__];
    mark.setAttribute("tabindex", "0");
    mark.setAttribute("role", "button");
    mark.setAttribute("aria-label", point.title.replaceAll("\n", ", "));
    mark.addEventListener("focus", () => {
      if (!mark.matches(":focus-visible")) return;
      const box = mark.getBoundingClientRect();
      const [clientX, clientY] = [box.x + box.width / 2, box.y + box.height / 2];
      const told = { clientX, clientY, pointerType: "mouse", bubbles: true };
      mark.ownerSVGElement.dispatchEvent(new PointerEvent("pointermove", told));
    });
    mark.addEventListener("click", () => open(point));
    mark.addEventListener("keydown", (event) => {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        open(point);
      }
    });
  }
}

/** Move names away from each other: above their point, else below, to the right, or to the left. */
function spreadOut(drawn) {
  const frame = drawn.getBoundingClientRect();
  const taken = [];
  for (const name of drawn.querySelectorAll("g[data-mark='text'] text")) {
    const home = name.getBoundingClientRect();
    const [aside, down] = [home.width / 2 + 10, 24];
    const tried = [[0, 0], [0, down], [aside, down / 2], [-aside, down / 2], [aside, 0], [-aside, 0], [0, -14], [0, down + 14]];
    const costs = tried.map(([x, y]) => {
      const box = new DOMRect(home.x + x, home.y + y, home.width, home.height);
      const outside = Math.max(0, frame.left + 44 - box.left) + Math.max(0, box.right - frame.right);
      return d3.sum(taken, (other) => shared(box, other)) + outside * home.height;
    });
    const [x, y] = tried[d3.minIndex(costs)];
    name.setAttribute("transform", `${name.getAttribute("transform") ?? ""} translate(${x},${y})`);
    taken.push(new DOMRect(home.x + x, home.y + y, home.width, home.height));
  }
}

function shared(one, other) {
  const across = Math.min(one.right, other.right) - Math.max(one.left, other.left);
  const down = Math.min(one.bottom, other.bottom) - Math.max(one.top, other.top);
  return Math.max(0, across) * Math.max(0, down);
}

/** The key of all plots of a view; pressing a method follows it through them. */
function keyOf(rows, follow) {
  const unique = rows.filter((row, i) => rows.findIndex((other) => other.name === row.name) === i);
  const buttons = unique.map((row) => {
    const button = make("button", { type: "button", "data-name": row.name }, symbolOf(row), row.name);
    button.addEventListener("click", () => follow(button.getAttribute("aria-pressed") === "true" ? null : row.name));
    return button;
  });
  return make("div", { class: "key", role: "group", "aria-label": "Follow a method through the plots" }, ...buttons);
}

function symbolOf(row) {
  const svg = d3.create("svg").attr("width", 14).attr("height", 14).attr("viewBox", "-7 -7 14 14");
  const symbol = d3[`symbol${SYMBOLS[row.marker][0].toUpperCase()}${SYMBOLS[row.marker].slice(1)}`];
  svg.attr("aria-hidden", "true").append("path").attr("d", d3.symbol(symbol, 55)())
    .attr("fill", row.prompts === "none" ? colourOf(row) : "none")
    .attr("stroke", inkOf(row)).attr("stroke-width", 1.5);
  return svg.node();
}

function pressKey(key, name) {
  for (const button of key.children) button.setAttribute("aria-pressed", String(button.dataset.name === name));
}
