"use strict";

/** Ranks of every method on all datasets and their average, best on top; bars join equal methods. */
function ranks(section, { rows, datasets, cliques }, { width, followed }) {
  const names = rows.map((row) => row.name);
  const side = Math.min(width * 0.42, 7 * d3.max(names, (name) => name.length) + 12);
  const single = rows.flatMap((row) => row.ranks.map((rank, i) => ({ row, rank, title: `${row.name}\n${datasets[i]}: rank ${plain(rank)}` })));
  const nameOfRow = (item) => (item.row ?? item).name;
  const shade = (item) => strength(item.row ?? item, followed);
  const bars = cliques.map(([first, last], i) => ({ first: names[first], last: names[last], x: rows.length + 1 + (0.45 + 0.012 * rows.length) * i }));
  const averages = rows.map((row) => ({ ...row, title: `${row.name}\naverage rank ${row.average.toFixed(1)}` }));
  return [frame(width, 64 + 20 * rows.length, "Average ranks and ranks on every dataset", {
    marginLeft: side, marginRight: 30, marginTop: 34, y: { domain: names, label: null, tickSize: 0 },
    x: { label: "rank by Dice (1 is best) →", labelArrow: "none", axis: "top", grid: true, domain: [0.5, d3.max(bars, (bar) => bar.x + 0.3) ?? rows.length + 0.5], ticks: rankTicks(rows.length), tickFormat: plain },
  }, [
    Plot.axisY({ tickSize: 0, label: null, lineWidth: side / 12 - 1.2, textOverflow: "ellipsis" }),
    Plot.ruleY(rows, { y: "name", x1: (row) => d3.min(row.ranks), x2: (row) => d3.max(row.ranks), stroke: "var(--front)", strokeOpacity: shade }),
    Plot.dot(single, { x: "rank", y: nameOfRow, r: 3, fill: "var(--paper)", stroke: "var(--front)", opacity: shade }),
    Plot.ruleX(bars, { x: "x", y1: "first", y2: "last", stroke: "currentColor", strokeWidth: 3 }),
    Plot.dot(averages, { x: "average", y: "name", r: 5.5, symbol: (row) => SYMBOLS[row.marker], fill: colourOf, stroke: inkOf, opacity: shade }),
    Plot.tip([...single, ...averages], Plot.pointer({ x: (item) => item.rank ?? item.average, y: nameOfRow, title: "title", fontSize: 12, lineHeight: 1.25 })),
  ])];
}

function rankTicks(count) {
  return d3.range(1, count + 1).filter((rank) => count <= 12 || rank === 1 || rank % 5 === 0);
}
