"use strict";

/* Accuracy against a cost. The rows that fit the limits are joined by fronts; the others are faint. */

const LIMITED = { train_peak_bytes: "memory", trainable_params: "trainable" };

function pareto(section, charts, settings) {
  const [accuracy, cost] = axesOf(section, charts);
  const points = pointsOf(charts, accuracy, cost, settings);
  const fronts = charts.fronts[`${cost.key} ${accuracy.key}`].map((front) => frontOf(points, charts.rows[front[0]].prompts, accuracy, cost));
  const drawn = frame(settings.width, Math.min(460, Math.max(320, settings.width * 0.5)), `${accuracy.title} against ${cost.title}`,
    scalesOf(points, accuracy, cost, settings), marksOf(points, fronts, cost, settings));
  reachable(drawn, points, (point) => settings.open(point.place, accuracy.key, charts.figures[accuracy.key][point.place][2]));
  const absent = charts.rows.filter((_, place) => charts.figures[cost.key][place][0] === null).map((row) => row.name);
  const missing = absent.length ? [make("p", { class: "caption" }, `Not measured: ${absent.join(", ")}.`)] : [];
  return [drawn, ...missing];
}

function axesOf(section, charts) {
  return ["accuracy", "cost"].map((name) => {
    const select = section.querySelector(`select[name="${name}"]`);
    const axes = charts[name === "cost" ? "costs" : "accuracies"];
    if (axes.some((axis) => axis.key === setting(name))) select.value = setting(name);
    return axes.find((axis) => axis.key === select.value);
  });
}

function pointsOf(charts, accuracy, cost, { choice, fitting }) {
  return charts.rows.flatMap((row, place) => {
    const [[x], [y, spread]] = [charts.figures[cost.key][place], charts.figures[accuracy.key][place]];
    const state = { fits: fitting.includes(place), ranked: choice.rows[place].ranked };
    return x === null || y === null ? [] : [{ row, place, x, y, spread, ...state, title: details(charts, place, accuracy) }];
  });
}

/** The points that fit and that no other one beats in both, by cost. */
function frontOf(points, prompts, accuracy, cost) {
  const sign = (axis) => (axis.better === "higher" ? 1 : -1);
  const rivals = points.filter((point) => point.fits && point.ranked && point.row.prompts === prompts);
  const gains = (one, other) => [sign(cost) * (one.x - other.x), sign(accuracy) * (one.y - other.y)];
  const beats = (one, other) => gains(one, other).every((gain) => gain >= 0) && gains(one, other).some((gain) => gain > 0);
  return d3.sort(rivals.filter((point) => !rivals.some((rival) => beats(rival, point))), (point) => point.x);
}

function scalesOf(points, accuracy, cost, { width }) {
  const label = cost.better === "higher" ? `${cost.title} (${cost.unit}), more is better →` : `← ${cost.title} (${cost.unit})`;
  return {
    x: { ...scaleFor(points.map((point) => point.x), width), label, labelAnchor: "right", labelArrow: "none" },
    y: { label: `${accuracy.better === "higher" ? "↑" : "↓"} ${accuracy.title} (${accuracy.unit})`, labelArrow: "none", grid: true, nice: true, inset: 8 },
    marginLeft: 44, marginRight: 20, marginBottom: 40,
  };
}

function marksOf(points, fronts, cost, { followed, limits }) {
  const limit = limits[LIMITED[cost.key]];
  const [least, most] = d3.extent(points, (point) => point.x);
  const shade = (point) => (point.fits ? strength(point.row, followed) : 0.12);
  const paint = (point) => inkOf(point.row);
  return [
    ...(limit >= least && limit <= most ? [Plot.ruleX([limit], { stroke: "var(--accent)", strokeDasharray: "4 3" })] : []),
    ...fronts.map((front) => Plot.line(front, {
      x: "x", y: "y", curve: cost.better === "lower" ? "step-after" : "step-before", stroke: "var(--front)", strokeWidth: 1.5,
    })),
    Plot.ruleX(points.filter((point) => point.spread), {
      x: "x", y1: (point) => point.y - point.spread, y2: (point) => point.y + point.spread, stroke: paint, strokeOpacity: (point) => 0.55 * shade(point),
    }),
    Plot.dot(points, {
      x: "x", y: "y", r: 5, symbol: (point) => SYMBOLS[point.row.marker], stroke: paint, strokeWidth: 1.5, opacity: shade,
      fill: (point) => point.row.prompts === "none" ? colourOf(point.row) : paper(),
    }),
    Plot.text(named(points, fronts, followed), {
      x: "x", y: "y", text: (point) => point.row.name, dy: -12, fontSize: 11.5, fill: "currentColor", stroke: "var(--paper)", strokeWidth: 4,
    }),
    Plot.tip(points, Plot.pointer({ x: "x", y: "y", title: "title", fontSize: 12, lineHeight: 1.25, lineWidth: 40 })),
  ];
}

/** The points whose names are written: the followed one, or those on fronts; all if there are few. */
function named(points, fronts, followed) {
  if (followed) return points.filter((point) => point.row.name === followed);
  const fitting = points.filter((point) => point.fits);
  const onFront = new Set(fronts.flat());
  return fitting.filter((point) => onFront.has(point) || fitting.length <= 9);
}

function paper() {
  return getComputedStyle(document.body).backgroundColor;
}

/** What hovering tells: the accuracy and every cost, in the digits of the table. */
function details(charts, place, accuracy) {
  const [, , text, deviation] = charts.figures[accuracy.key][place];
  const lines = [charts.rows[place].name, `${accuracy.title} ${text}${deviation} ${accuracy.unit}`];
  for (const cost of charts.costs) lines.push(`${cost.title} ${charts.figures[cost.key][place][2]} ${cost.unit}`);
  return [...lines, charts.rows[place].status].join("\n");
}
