"use strict";

/* The form of limits and filters: it shows what the address says, and writes into it. */

const form = document.getElementById("limits");
const sliders = [...form.querySelectorAll("input[type=range]")];
const FILTERS = ["family", "prompts", "backbone"];

/** Limits in the unit of the needs, allowed values of every filter, and words to find. */
function wishes() {
  const limits = {};
  for (const { name } of sliders) {
    const value = Number.parseFloat(setting(name));
    if (value >= 0) limits[name] = value;
  }
  const allowed = Object.fromEntries(FILTERS.map((name) => [name, listed(name)]));
  return { limits, allowed, words: setting("find").toLowerCase().split(/\s+/).filter(Boolean) };
}

function fits(row, { limits, allowed, words }) {
  const within = Object.entries(limits).every(([name, most]) => row.needs[name] !== null && row.needs[name] <= most);
  const chosen = FILTERS.every((name) => !allowed[name].length || allowed[name].includes(row[name]));
  const text = row.name.toLowerCase();
  return within && chosen && words.every((word) => text.includes(word));
}

function fillForm() {
  for (const slider of sliders) fillSlider(slider, Number.parseFloat(setting(slider.name)));
  for (const name of FILTERS) {
    for (const box of form.querySelectorAll(`input[name="${name}"]`)) box.checked = listed(name).includes(box.value);
  }
  const columns = listed("columns");
  for (const box of form.querySelectorAll("input[name=columns]")) box.checked = !columns.length || columns.includes(box.value);
  form.elements.find.value = setting("find");
}

/** Put a slider at the first of its steps that holds the value; past the last there is no limit. */
function fillSlider(slider, value) {
  const steps = slider.dataset.steps.split(" ").map(Number);
  const place = steps.findIndex((step) => step >= value);
  slider.value = value >= 0 && place >= 0 ? place : steps.length;
  describeSlider(slider, value >= 0 ? value : null);
}

/** Say in words where a slider stands. */
function describeSlider(slider, value) {
  const place = slider.dataset.steps.split(" ").map(Number).indexOf(value);
  const known = place >= 0 ? slider.dataset.texts.split("|")[place] : `${value} ${slider.dataset.unit}`;
  const text = value === null ? "any" : `at most ${known}`;
  slider.setAttribute("aria-valuetext", text);
  form.querySelector(`output[for="${slider.id}"]`).textContent = text;
}

function readForm() {
  const changes = { find: form.elements.find.value.trim() };
  const checked = (name) => [...form.querySelectorAll(`input[name="${name}"]:checked`)].map((box) => box.value);
  for (const name of FILTERS) changes[name] = checked(name).join(",");
  const columns = checked("columns");
  changes.columns = columns.length === form.querySelectorAll("input[name=columns]").length ? "" : columns.join(",");
  return changes;
}

function readSlider(slider) {
  const step = slider.dataset.steps.split(" ")[slider.value];
  describeSlider(slider, step === undefined ? null : Number(step));
  return { [slider.name]: step ?? "" };
}

form.addEventListener("submit", (event) => event.preventDefault());
form.addEventListener("input", (event) => {
  remember(event.target.type === "range" ? readSlider(event.target) : readForm());
  refresh();
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  const names = [...sliders.map(({ name }) => name), ...FILTERS, "find", "columns"];
  remember(Object.fromEntries(names.map((name) => [name, ""])));
  fillForm();
  refresh();
});
