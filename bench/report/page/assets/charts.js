"use strict";

/** Loss and validation Dice by step. */
function curves(section, charts, { width, followed, fitting }) {
  const kinds = [["loss", "training loss", ""], ["dice", "validation Dice (%)", " %"]];
  const each = width < 700 ? width : (width - 24) / 2;
  return kinds.flatMap(([key, label, unit]) => {
    const points = charts.curves.filter((point) => point[key] !== null && fitting.includes(point.row)).map((point) => ({
      ...point, who: charts.rows[point.row],
      title: `${charts.rows[point.row].name}\nstep ${point.step}\n${label.replace(" (%)", "")} ${point[key].toFixed(key === "loss" ? 3 : 1)}${unit}`,
    }));
    if (!points.length) return [];
    return [frame(each, 300, `${label} by step`, {
      x: { label: "step →", labelArrow: "none", nice: true }, y: { label: `↑ ${label}`, labelArrow: "none", grid: true, nice: true }, marginLeft: 44, marginBottom: 42,
    }, [
      ...Object.entries(DASHES).map(([line, dash]) => Plot.line(points.filter((point) => point.who.line === line), {
        x: "step", y: key, z: "row", stroke: (point) => inkOf(point.who), strokeWidth: 1.6, strokeDasharray: dash,
        strokeOpacity: (point) => strength(point.who, followed),
      })),
      Plot.tip(points, Plot.pointer({ x: "step", y: key, title: "title", fontSize: 12, lineHeight: 1.25 })),
    ])];
  });
}

/** The parts of the peak memory of every method, largest peak first. */
function memory(section, charts, { width, followed, fitting }) {
  const parts = charts.memory.filter((part) => fitting.includes(part.row)).map((part) => ({ ...part, who: charts.rows[part.row], name: charts.rows[part.row].name }));
  if (!parts.length) return [nothing()];
  const totals = d3.rollups(parts, (group) => d3.sum(group, (part) => part.mib), (part) => part.name).map(([name, mib]) => ({ name, mib }));
  const names = d3.sort(totals, (total) => -total.mib).map((total) => total.name);
  const order = [...new Set(parts.map((part) => part.part))];
  const shades = dark.matches ? ["#d0d4d9", "#b09fe0", "#7566b8", "#5a6470"] : ["#4d4d4d", "#6a5aa0", "#b2abd2", "#c9ccd1"];
  const side = Math.min(width * 0.42, 7 * d3.max(names, (name) => name.length) + 12);
  return [frame(width, 52 + 21 * names.length, "Peak memory of a training step by part", {
    color: { domain: order, range: shades, legend: true }, marginLeft: side, marginRight: 44,
    x: { label: "MiB →", labelArrow: "none", axis: "top", grid: true }, y: { domain: names, label: null, tickSize: 0 }, marginTop: 34,
  }, [
    Plot.axisY({ tickSize: 0, label: null, lineWidth: side / 12 - 1.2, textOverflow: "ellipsis" }),
    Plot.barX(parts, { x: "mib", y: "name", fill: "part", order, insetTop: 2, insetBottom: 2, fillOpacity: (part) => strength(part.who, followed) }),
    Plot.text(totals, { x: "mib", y: "name", text: (total) => d3.format(",.0f")(total.mib), textAnchor: "start", dx: 4 }),
    Plot.tip(parts, Plot.pointerY(Plot.stackX({ x: "mib", y: "name", z: "part", order, fontSize: 12, lineHeight: 1.25, title: (part) => `${part.name}\n${part.part} ${part.mib.toFixed(1)} MiB` }))),
  ])];
}

/** Objects by size, truth and prediction: a chart for each class, a panel for each method. */
function sizes(section, charts, { width, followed, fitting }) {
  return d3.groups(charts.sizes.filter(({ row }) => fitting.includes(row)), (one) => one.class).map(([kind, group], _, all) => {
    const bins = group.flatMap(({ row, edges, truth, prediction }) => truth.map((there, i) => ({
      who: charts.rows[row], name: charts.rows[row].name, from: edges[i], to: edges[i + 1], middle: Math.sqrt(edges[i] * edges[i + 1]), there, predicted: prediction[i],
      title: `${charts.rows[row].name}\n${edges[i].toFixed(1)} to ${edges[i + 1].toFixed(1)} px\ntruth ${there.toFixed(2)}\nprediction ${prediction[i].toFixed(2)}`,
    })));
    const steps = group.flatMap(({ row, edges, prediction }) => [
      { x: edges[0], y: 0 }, ...prediction.map((y, i) => ({ x: edges[i], y })), { x: edges.at(-1), y: 0 },
    ].map((point) => ({ ...point, who: charts.rows[row], name: charts.rows[row].name })));
    const title = all.length > 1 ? `Sizes of objects: ${kind}` : "Sizes of objects";
    return frame(width, 80 + 88 * group.length, title, {
      x: { ...scaleFor(bins.flatMap((bin) => [bin.from, bin.to]), width), label: `equivalent diameter${all.length > 1 ? ` of ${kind}` : ""} (px) →`, labelArrow: "none" },
      y: { label: "↑ objects in an image", labelArrow: "none", grid: true, nice: true, ticks: 3 }, fy: { axis: null, domain: group.map(({ row }) => charts.rows[row].name), padding: 0.12 },
      marginLeft: 44, marginTop: 30, marginBottom: 40,
    }, [
      Plot.rectY(bins, { x1: "from", x2: "to", y: "there", fy: "name", fill: "currentColor", fillOpacity: 0.22 }),
      Plot.line(steps, { x: "x", y: "y", fy: "name", z: "name", curve: "step-after", stroke: (step) => inkOf(step.who), strokeWidth: 1.6, strokeOpacity: (step) => strength(step.who, followed) }),
      Plot.text(group, { fy: ({ row }) => charts.rows[row].name, text: ({ row }) => charts.rows[row].name, frameAnchor: "top-right", dy: 2 }),
      Plot.tip(bins, Plot.pointerX({ x: "middle", y: "predicted", fy: "name", title: "title", fontSize: 12, lineHeight: 1.25 })),
    ]);
  });
}

/** Every method on every test image, and the images as a table. */
function images(section, charts, { width, fitting }) {
  const { names, groups, scores } = charts.images;
  const cells = names.flatMap((name, i) => scores[i].flatMap((score, place) => score === null || !fitting.includes(place) ? [] : [{
    i, score, who: charts.rows[place].name, title: `${charts.rows[place].name}\n${name}${groups[i] === name ? "" : `, ${groups[i]}`}\nDice ${score.toFixed(1)} %`,
  }]));
  if (!cells.length) return [nothing()];
  const rows = [...new Set(cells.map((cell) => cell.who))];
  const side = Math.min(width * 0.42, 7 * d3.max(rows, (name) => name.length) + 12);
  const drawn = frame(Math.min(width, side + 20 + 48 * names.length), 60 + 17 * rows.length, "Dice of every method on every test image", {
    marginLeft: side, marginTop: 12, color: { scheme: "YlGnBu", legend: true, label: "Dice (%)" },
    x: { axis: null, domain: d3.range(names.length), padding: 0 }, y: { domain: rows, label: null, tickSize: 0 },
  }, [
    Plot.axisY({ tickSize: 0, label: null, lineWidth: side / 12 - 1.2, textOverflow: "ellipsis" }),
    Plot.cell(cells, { x: "i", y: "who", fill: "score", inset: 0.5 }),
    Plot.text(["← hardest"], { frameAnchor: "bottom-left", dy: 16 }), Plot.text(["easiest →"], { frameAnchor: "bottom-right", dy: 16 }),
    Plot.tip(cells, Plot.pointer({ x: "i", y: "who", title: "title", fontSize: 12, lineHeight: 1.25 })),
  ]);
  return [drawn, imagesTable(charts, fitting)];
}

function imagesTable({ rows, images: { names, groups, scores } }, fitting) {
  const lines = names.flatMap((name, i) => {
    const known = fitting.map((place) => [scores[i][place], rows[place].name]).filter(([score]) => score !== null);
    if (!known.length) return [];
    const [worst, best] = [d3.least(known, ([score]) => score), d3.greatest(known, ([score]) => score)];
    const number = (value) => make("td", { "data-value": value }, value.toFixed(1));
    return make("tr", {}, make("th", { scope: "row", "data-value": name }, make("span", { class: "label" }, name)),
      make("td", { class: "text" }, groups[i]), number(d3.mean(known, ([score]) => score)), number(d3.deviation(known, ([score]) => score) ?? 0),
      make("td", { class: "text" }, `${best[1]} ${best[0].toFixed(1)}`), make("td", { class: "text" }, `${worst[1]} ${worst[0].toFixed(1)}`));
  });
  const head = (title, better) => better
    ? make("th", { scope: "col", "aria-sort": "none", "data-better": better, class: title === "Image" ? "" : "number" }, make("button", { type: "button" }, title))
    : make("th", { scope: "col" }, title);
  const heads = [head("Image", "lower"), head("Specimen"), head("Mean (%)", "higher"), head("Disagreement (SD)", "higher"), head("Best"), head("Worst")];
  const table = make("table", { class: "figures", "aria-label": "Test images" }, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...lines));
  const scroll = make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Test images" }, table);
  return make("details", { class: "notes" }, make("summary", {}, "The same by image: mean, disagreement, best and worst method"), scroll);
}

function nothing() {
  return make("p", { class: "caption" }, "No method fits these limits.");
}

/** Dice by the number of labelled training images. */
function budgets(section, points, { width, followed }) {
  const told = points.map((point) => ({ ...point, title: `${point.name}\n${point.images} images\nDice ${point.figure.toFixed(1)} %` }));
  return [frame(width, 400, "Dice by labelled training images", {
    x: { type: "log", base: 2, label: "labelled training images →", labelArrow: "none", labelOffset: 38, ticks: [...new Set(points.map((point) => point.images))], tickFormat: plain },
    y: { label: "↑ Dice (%)", labelArrow: "none", grid: true, nice: true }, marginLeft: 44, marginBottom: 46,
  }, [
    Plot.ruleX(told.filter((point) => point.spread), { x: "images", y1: (p) => p.figure - p.spread, y2: (p) => p.figure + p.spread, stroke: inkOf, strokeOpacity: (p) => 0.5 * strength(p, followed) }),
    Plot.line(told, { x: "images", y: "figure", z: "name", stroke: inkOf, strokeOpacity: (p) => strength(p, followed) }),
    Plot.dot(told, { x: "images", y: "figure", symbol: (p) => SYMBOLS[p.marker], fill: colourOf, stroke: inkOf, r: 4.5, opacity: (p) => strength(p, followed) }),
    Plot.tip(told, Plot.pointer({ x: "images", y: "figure", title: "title", fontSize: 12, lineHeight: 1.25 })),
  ])];
}

const DRAW = { pareto, curves, memory, sizes, images, budgets, ranks };
