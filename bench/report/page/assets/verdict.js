"use strict";

/* What the rows that fit the limits say. Tests, intervals and needs were computed from the records
   when the page was made; here they are only looked up. */

const ORIGINS = {
  none: "No prompts",
  automatic: "Automatic prompts",
  oracle: "Oracle prompts, made from the ground truth, which users do not have",
};
const NEEDS = { memory: "least memory", trainable: "fewest trainable parameters", time: "shortest training" };

/** The best of some rows of one origin, and which others are equal to it or worse; null without rows. */
function judge(choice, places) {
  const fit = places.filter((place) => choice.rows[place].ranked);
  const best = d3.greatest(fit, (place) => choice.rows[place].dice);
  if (best === undefined) return null;
  const known = choice.results[best] ?? {};
  const rest = fit.filter((place) => place !== best);
  const having = (...results) => rest.filter((place) => results.includes(known[place]?.[0]));
  const equal = having("tied", "better"); // better over specimens, below over all pixels
  const others = { worse: having("worse"), untested: having("untestable"), unpaired: rest.filter((place) => !known[place]) };
  return { fit, best, equal, ...others, within: d3.max(equal, (place) => known[place][1]) };
}

/** Those of the best and its equals that need least of something. */
function thriftiest(choice, { best, equal }, need) {
  return d3.least([best, ...equal], (place) => choice.rows[place].needs[need] ?? Infinity);
}

function nameOf(choice, place) {
  return make("span", { class: "label" }, choice.rows[place].name);
}

/** The verdict on one comparison and origin of prompts, as sentences. */
function sentences(choice, judged) {
  const { fit, best, equal, worse, untested, unpaired, within } = judged;
  const row = choice.rows[best];
  const text = make("p", { class: "verdict" }, nameOf(choice, best), fit.length === 1 ? ` is the only method that fits: Dice ${row.text}.` : ` has the highest Dice of ${fit.length} methods: ${row.text}. `);
  if (fit.length === 1) return text;
  if (untested.length) {
    const ahead = row.dice - d3.max(untested, (place) => choice.rows[place].dice);
    text.append(`It is ${ahead.toFixed(1)} points ahead, but there are too few test specimens to test differences: the order can be chance.`);
    return text;
  }
  if (unpaired.length) text.append(`${count(unpaired.length, "method")} far below the first ones ${unpaired.length === 1 ? "was" : "were"} not tested. `);
  if (worse.length && !equal.length) text.append(unpaired.length ? "The others are significantly worse." : "All others are significantly worse.");
  else if (equal.length) {
    text.append(...names(choice, equal), `${equal.length === 1 ? " is" : " are"} not distinguishable from it`);
    text.append(within === undefined ? ". " : `, within ${within.toFixed(1)} points. `);
    text.append(worse.length ? `${count(worse.length, "other")} ${worse.length === 1 ? "is" : "are"} worse. ` : "", "Of the best: ", ...savings(choice, judged), ".");
  }
  return text;
}

/** Who needs least of everything that is limited, among the best. */
function savings(choice, judged) {
  return Object.entries(NEEDS).flatMap(([need, title], i) => {
    const place = thriftiest(choice, judged, need);
    return [`${i ? "; " : ""}${title} `, nameOf(choice, place), ` (${choice.rows[place].texts[need]})`];
  });
}

function names(choice, places, most = 4) {
  const shown = places.length > most ? places.slice(0, most - 1) : places;
  const parts = shown.flatMap((place, i) => [i ? (i === places.length - 1 ? " and " : ", ") : "", nameOf(choice, place)]);
  return shown.length < places.length ? [...parts, ` and ${count(places.length - shown.length, "other")}`] : parts;
}

function count(number, what) {
  return `${number} ${what}${number === 1 ? "" : "s"}`;
}

/** The verdict above the table of one comparison. */
function answerOne(choice, fitting) {
  const parts = Object.entries(ORIGINS).flatMap(([prompts, title]) => {
    const present = choice.rows.some((row) => row.prompts === prompts);
    const judged = judge(choice, fitting.filter((place) => choice.rows[place].prompts === prompts));
    if (!judged) return [];
    const alone = choice.rows.every((row) => row.prompts === "none");
    return present ? [...(alone ? [] : [make("p", { class: "origin-name" }, title)]), sentences(choice, judged)] : [];
  });
  return parts.length ? parts : [make("p", { class: "verdict" }, "No ranked method fits these limits.")];
}

/** The verdict on every collection of images, as a table. */
function answerAll(choices, shown, fitting) {
  const heads = ["Images", "Fit", "Highest Dice", "Not distinguishable from it", ...Object.values(NEEDS).map((title) => `Of the best, ${title}`)];
  const bodies = Object.entries(ORIGINS).flatMap(([prompts, title]) => {
    const judged = choices.filter(({ id }) => shown.includes(id)).map((choice) => {
      const places = fitting.get(choice.id).filter((place) => choice.rows[place].prompts === prompts);
      return { choice, verdict: judge(choice, places) };
    }).filter(({ verdict }) => verdict);
    const lines = d3.sort(judged, ({ verdict }) => rankOfVerdict(verdict)).map(({ choice, verdict }) => answerLine(choice, verdict));
    const origin = make("tr", { class: "origin" }, make("th", { colspan: heads.length, scope: "rowgroup" }, make("span", {}, title)));
    return lines.length ? [make("tbody", {}, origin, ...lines)] : [];
  });
  if (!bodies.length) return make("p", { class: "verdict" }, "No ranked method fits these limits.");
  const head = make("thead", {}, make("tr", {}, ...heads.map((title) => make("th", { scope: "col" }, title))));
  const table = make("table", { class: "figures answers", "aria-label": "Answer for every collection of images" }, head, ...bodies);
  return make("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": "Answer for every collection of images" }, table);
}

/** Tested collections come first, those with a single method last. */
function rankOfVerdict({ fit, untested }) {
  return fit.length === 1 ? 2 : Number(untested.length > 0);
}

function answerLine(choice, judged) {
  const { fit, best, equal, untested } = judged;
  const cell = (...parts) => make("td", { class: "text" }, ...parts);
  const name = make("th", { scope: "row" }, linkTo(choice.id, choice.title));
  const top = cell(nameOf(choice, best), make("span", { class: "model" }, choice.rows[best].text));
  const line = [name, make("td", {}, String(fit.length)), top];
  const why = fit.length === 1 ? "the only one that fits" : "too few test specimens to test differences: the order can be chance";
  if (untested.length || fit.length === 1) return make("tr", {}, ...line, make("td", { class: "text none", colspan: 4 }, why));
  const rest = equal.length ? names(choice, equal, 3) : [judged.unpaired.length ? "none of those tested" : "none: all others are worse"];
  const least = Object.keys(NEEDS).map((need) => {
    const place = thriftiest(choice, judged, need);
    return cell(nameOf(choice, place), make("span", { class: "model" }, choice.rows[place].texts[need]));
  });
  return make("tr", {}, ...line, cell(...rest), ...least);
}
