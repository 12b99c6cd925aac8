// What the gate measured of a checkpoint, as tables: caption, columns, rows.

import { figure, integer } from "./words.js";

const FIGURES = { rmse: "RMSE", plcc: "PLCC", srocc: "SROCC", srocc_under_99: "SROCC under 99" };

/** For each gate set a table of the models, and one for each kind of owner that its rows name. */
export const measured = (metrics) =>
  Object.entries(metrics).flatMap(([name, set]) => [models(name, set), ...Object.entries(set.by ?? {}).map((kind) => owners(name, ...kind))]);

function models(name, set) {
  const rows = ["candidate", "base", "stable"]
    .filter((who) => set[who])
    .map((who) => [who, ...Object.keys(FIGURES).map((key) => figure(set[who][key]))]);
  const caption = `${name}: ${integer(set.samples)} samples of ${integer(set.groups)} groups`;
  return [caption, ["model", ...Object.values(FIGURES)], rows];
}

function owners(name, kind, parts) {
  const rows = Object.entries(parts).map(([who, part]) => [who, integer(part.samples), figure(part.candidate), figure(part.base)]);
  return [`${name}: RMSE by ${kind}`, [kind, "samples", "candidate", "base"], rows];
}
