"use strict";

/** The order of the next press of a head: better values first, then the other way round. */
function nextOrder(head) {
  const first = head.dataset.better === "higher" ? "descending" : "ascending";
  const second = first === "descending" ? "ascending" : "descending";
  return head.getAttribute("aria-sort") === first ? second : first;
}

/** Sort the lines of every block by the column of a head; absent figures always stand last. */
function sortBy(head, order) {
  const table = head.closest("table");
  const column = head.cellIndex;
  for (const other of table.tHead.rows[0].cells) {
    if (other.hasAttribute("aria-sort")) other.setAttribute("aria-sort", "none");
  }
  head.setAttribute("aria-sort", order);
  for (const body of table.tBodies) {
    const lines = [...body.rows].filter((line) => !line.classList.contains("origin"));
    lines.sort((one, other) => compare(one.cells[column], other.cells[column], order));
    body.append(...lines);
  }
}

function pressHead(head) {
  const order = nextOrder(head);
  sortBy(head, order);
  if (head.dataset.column) remember({ sort: `${head.dataset.column} ${order}` });
}

function compare(one, other, order) {
  const [a, b] = [one.dataset.value, other.dataset.value];
  if (a === undefined || b === undefined) return (a === undefined) - (b === undefined);
  const numbers = one.tagName === "TD";
  const difference = numbers ? Number(a) - Number(b) : a.localeCompare(b, "en");
  return order === "ascending" ? difference : -difference;
}

/** One figure of a grid is in the order of focus; arrow keys move it (ARIA's grid pattern). */
function enterable(grid) {
  const first = grid.querySelector("tr:not([hidden]) td[data-at]:not([hidden])");
  if (first) first.tabIndex = 0;
}

const STEPS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

function move(cell, key) {
  const lines = [...cell.closest("table").querySelectorAll("tbody tr:not(.origin):not([hidden])")];
  const [down, right] = STEPS[key];
  let line = lines.indexOf(cell.parentElement);
  let column = cell.cellIndex;
  for (;;) {
    line += down;
    column += right;
    const next = lines[line]?.cells[column];
    if (!next) return;
    if (next.dataset.at !== undefined && !next.hidden) return focusOn(next);
  }
}

function focusOn(cell) {
  const grid = cell.closest("table");
  for (const other of grid.querySelectorAll("td[tabindex='0']")) other.tabIndex = -1;
  cell.tabIndex = 0;
  cell.focus();
}

document.addEventListener("click", (event) => {
  const head = event.target.closest("th[aria-sort]");
  if (head) return pressHead(head);
  const cell = event.target.closest("td[data-at]");
  if (!cell) return;
  focusOn(cell);
  showRecords(cell);
});

document.addEventListener("keydown", (event) => {
  const cell = event.target.closest?.("td[data-at]");
  if (!cell) return;
  if (event.key in STEPS) move(cell, event.key);
  else if (event.key === "Enter" || event.key === " ") showRecords(cell);
  else return;
  event.preventDefault();
});
