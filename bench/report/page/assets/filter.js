"use strict";

/* Tables follow the limits: rows that do not fit and columns that are not chosen are hidden. */

/** Where the numbers of a row come from: section and position in its comparison. */
function placesOf(line) {
  if (line.dataset.rows) return line.dataset.rows.split(",");
  return [...new Set([...line.querySelectorAll("td[data-at]")].map((cell) => cell.dataset.at))];
}

/** Hide what does not fit; rows that name no method stay. Returns the numbers of shown and all rows. */
function filterRows(view, fitting) {
  const known = (at) => {
    const [id, place] = at.split(" ");
    return fitting.get(id)?.includes(Number(place));
  };
  for (const body of view.querySelectorAll("table.figures tbody")) {
    const lines = [...body.rows].filter((line) => !line.classList.contains("origin"));
    for (const line of lines) {
      const places = placesOf(line);
      line.hidden = places.length > 0 && !places.some(known);
    }
    body.hidden = lines.length > 0 && lines.every((line) => line.hidden);
  }
  const lines = [...(view.querySelector("table.filtered")?.querySelectorAll("tbody tr:not(.origin)") ?? [])];
  return [lines.filter((line) => !line.hidden).length, lines.length];
}

/** Show the chosen columns of the tables whose heads have names. */
function filterColumns(view) {
  const chosen = listed("columns");
  for (const table of view.querySelectorAll("table")) {
    const heads = [...(table.tHead?.rows[0].cells ?? [])];
    for (const head of heads.filter((one) => one.dataset.column)) {
      const away = chosen.length > 0 && !chosen.includes(head.dataset.column);
      if (away === head.hidden) continue;
      head.hidden = away;
      for (const line of table.querySelectorAll("tbody tr:not(.origin)")) line.cells[head.cellIndex].hidden = away;
    }
  }
}

/** Sort the main table as the address says. */
function sortAsAsked(view) {
  const [name, order] = setting("sort").split(" ");
  const head = [...view.querySelectorAll("th[data-column]")].find((one) => one.dataset.column === name);
  if (head && head.getAttribute("aria-sort") !== order) sortBy(head, order);
}
