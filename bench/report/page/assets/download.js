"use strict";

/* Files of what is shown: tables as CSV, figures as SVG and PNG, papers of the methods as BibTeX. */

function save(content, type, name) {
  const link = make("a", { href: URL.createObjectURL(new Blob([content], { type })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}

/** The visible lines and columns of a table, with the origin of prompts; numbers are not rounded. */
function csvOf(table) {
  const heads = [...table.tHead.rows[0].cells];
  const lines = [...table.tBodies].filter((body) => !body.hidden)
    .flatMap((body) => [...body.rows]).filter((line) => !line.hidden && !line.classList.contains("origin"));
  const shown = (line) => [...line.cells].filter((cell) => !cell.hidden);
  const fields = (line) => shown(line).map((cell) => fieldOf(cell, Number(heads[cell.cellIndex].dataset.scale ?? 1)));
  const rows = [["Prompts", ...shown(table.tHead.rows[0]).map(textOf)], ...lines.map((line) => [line.parentElement.dataset.prompts, ...fields(line)])];
  return rows.map((line) => line.map(quoted).join(",")).join("\n") + "\n";
}

/** A number in the unit of its column, or a text. */
function fieldOf(cell, scale) {
  const number = cell.tagName === "TD" ? cell.dataset.value : undefined;
  return number === undefined ? textOf(cell) : String(Number((number * scale).toPrecision(12)));
}

function textOf(cell) {
  const copy = cell.cloneNode(true);
  for (const extra of copy.querySelectorAll(".spoken, .sign")) extra.remove();
  for (const extra of copy.querySelectorAll(".model, .unit")) if (extra.textContent) extra.textContent = `(${extra.textContent})`;
  const text = copy.textContent.replace(/\s+/g, " ").trim().replace(/^—$/, "");
  return /^[=+@\t\r-]/.test(text) ? `'${text}` : text; // no formula of a spreadsheet
}

function quoted(text) {
  return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

/** The papers of the methods whose rows fit. */
async function bibtexOf(view) {
  const overview = document.querySelector("main > .view");
  const papers = await load(overview, "references");
  const { comparisons } = await load(overview, "choices");
  const wanted = wishes();
  const rows = comparisons.filter(({ id }) => id === view.id || view === overview).flatMap((one) => one.rows);
  const methods = rows.filter((row) => fits(row, wanted)).map((row) => row.method);
  return [...new Set(methods.map((method) => papers[method]).filter(Boolean))].join("\n\n") + "\n";
}

/** A figure that needs no page: computed colours, and a background. */
function svgOf(svg) {
  const copy = svg.cloneNode(true);
  const root = getComputedStyle(document.documentElement);
  const colour = (name) => root.getPropertyValue(name).trim() || paper();
  for (const extra of copy.querySelectorAll("[data-mark=tip]")) extra.remove();
  for (const part of [copy, ...copy.querySelectorAll("*")]) {
    for (const { name, value } of part.attributes) {
      if (value.includes("var(")) part.setAttribute(name, value.replace(/var\((--[\w-]+)\)/g, (_, variable) => colour(variable)));
    }
  }
  const { width, height } = svg.viewBox.baseVal;
  const back = document.createElementNS(svg.namespaceURI, "rect");
  setAll(back, { width: "100%", height: "100%", fill: paper() });
  copy.prepend(back);
  setAll(copy, { width, height, style: `color: ${getComputedStyle(svg).color}; font: 12px sans-serif; overflow: visible` });
  return new XMLSerializer().serializeToString(copy);
}

function setAll(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}

/** The same as pixels, twice as many as on the page. */
async function pngOf(text, { width, height }) {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const canvas = make("canvas", { width: 2 * width, height: 2 * height });
  canvas.getContext("2d").drawImage(image, 0, 0, 2 * width, 2 * height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

const FILES = {
  csv: (view, button) => save(csvOf(tableOf(button)), "text/csv", `${view.id}.csv`),
  bibtex: async (view) => save(await bibtexOf(view), "text/plain", "methods.bib"),
  svg: (view, button) => figuresOf(button).forEach((svg, i) => save(svgOf(svg), "image/svg+xml", `${fileName(view, button, i)}.svg`)),
  png: (view, button) => figuresOf(button).forEach(async (svg, i) => {
    save(await pngOf(svgOf(svg), svg.viewBox.baseVal), "image/png", `${fileName(view, button, i)}.png`);
  }),
};

function tableOf(button) {
  return button.closest(".files").previousElementSibling.querySelector("table");
}

function figuresOf(button) {
  const drawn = [...button.closest(".chart").querySelectorAll(".plot svg[role=group]")];
  return drawn.filter((svg) => svg.viewBox.baseVal.width > 0);
}

function fileName(view, button, i) {
  return `${view.id}-${button.closest(".chart").dataset.draw}${i ? `-${i + 1}` : ""}`;
}

/** Buttons below every table that sorts and every figure. */
function offerFiles(view) {
  for (const scroll of view.querySelectorAll(".scroll:has(> table.figures)")) {
    if (!scroll.closest(".answer, .plot")) offer(scroll, scroll.querySelector(".filtered") ? ["csv", "bibtex"] : ["csv"]);
  }
  for (const plot of view.querySelectorAll(".chart .plot")) offer(plot, ["svg", "png"]);
}

function offer(place, kinds) {
  if (place.nextElementSibling?.classList.contains("files")) return;
  const titles = { csv: "CSV", bibtex: "BibTeX", svg: "SVG", png: "PNG" };
  const buttons = kinds.map((kind) => make("button", { type: "button", "data-file": kind }, titles[kind]));
  place.after(make("p", { class: "files" }, "Download what is shown: ", ...buttons));
}

document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-file]");
  if (button) FILES[button.dataset.file](button.closest(".view"), button);
});
