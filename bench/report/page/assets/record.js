"use strict";

/** Show the records behind a figure of a table. */
async function showRecords(cell) {
  const [section, row] = cell.dataset.at.split(" ");
  const line = cell.parentElement.querySelector("th .label").textContent;
  const figure = cell.cloneNode(true);
  for (const extra of figure.querySelectorAll(".spoken, .sign")) extra.remove();
  await openRecords(section, Number(row), cell.dataset.key, line, figure.textContent.trim());
}

async function openRecords(section, row, key, name, text) {
  const found = await load(document.getElementById(section), "records");
  const runs = found.runs[row];
  const column = found.columns[key] ?? ofClass(key);
  const ended = runs.filter((run) => run.told.status === "ok").length;
  const unit = text === "—" ? "" : ` ${column.unit}`;
  const close = make("button", { type: "button", class: "close" }, "Close");
  close.addEventListener("click", () => dialog.close());
  const sheet = dialog.querySelector(".sheet");
  sheet.replaceChildren(
    close,
    make("p", { class: "standing" }, found.title),
    make("h2", { id: "record--title" }, `${column.title} of `, make("span", { class: "label" }, name)),
    make("p", { class: "large" }, text, make("span", { class: "unit" }, unit)),
    make("p", {}, `${column.title} is ${column.made}; ${ended} of ${runs.length} ended well. ` +
      `Below each run unrounded, as “${key}” stands in its record.`),
    ...runs.map((run) => describe(run, key, found.places[run.place], runs.length === 1)),
  );
  dialog.showModal();
  dialog.scrollTop = 0;
}

const dialog = document.getElementById("record");
dialog.addEventListener("click", (event) => {
  if (event.target === dialog) dialog.close(); // beside the sheet
});

function ofClass(key) {
  return { title: `Dice of ${key.replace("dice/", "")}`, unit: "%", made: "the mean over its runs" };
}

/** One run: what was asked, what was measured, and where it ran. */
function describe(run, key, place, open) {
  const value = run.metrics[key] ?? run.cost[key];
  const { seed, fold, folds } = run.asked;
  const who = folds > 1 ? `seed ${seed}, fold ${fold + 1}` : `seed ${seed}`;
  const what = run.told.status === "ok" ? String(value ?? "—") : run.told.status;
  const details = make("details", { class: "run" },
    make("summary", {}, make("span", {}, who), " ", make("span", { class: "value" }, what)));
  if (open) details.open = true;
  const path = `records/${run.id}.json`;
  details.append(
    make("p", { class: "path" }, "Record ", make("a", { href: path.split("/").map(encodeURIComponent).join("/") }, path)),
    facts("Asked", run.asked),
    facts("Measured", { ...run.told, ...run.metrics, ...run.cost }, key),
    facts("Where it ran", place),
  );
  return details;
}

function facts(title, values, chosen) {
  const list = make("dl");
  for (const [name, value] of flat(values)) {
    const mark = name === chosen ? { class: "chosen" } : {};
    list.append(make("div", mark, make("dt", {}, name), make("dd", {}, value)));
  }
  return make("section", {}, make("h3", {}, title), list);
}

/** Nested facts under one name each, as in “recipe.lr”. */
function* flat(values, prefix = "") {
  for (const [name, value] of Object.entries(values)) {
    const nested = value !== null && typeof value === "object";
    if (nested && !Array.isArray(value)) yield* flat(value, `${prefix}${name}.`);
    else yield [prefix + name, nested ? value.join(", ") || "—" : String(value ?? "—")];
  }
}
