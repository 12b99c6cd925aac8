// Elements, tables, and numbers as people read them.

export function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children.flat());
  return made;
}

export function replace(place, children) {
  place.replaceChildren(...children);
}

/** A table whose roles are said outright, because narrow screens lay it out as cards; the first cell heads its row. */
export function table(caption, columns, rows) {
  const head = columns.map((column) => element("th", { scope: "col", role: "columnheader" }, column));
  const body = rows.map(([first, ...rest]) =>
    element(
      "tr", { role: "row" },
      element("th", { scope: "row", role: "rowheader" }, first),
      ...rest.map((cell, i) => element("td", { role: "cell", "data-label": columns[i + 1] }, cell)),
    ));
  return element(
    "table", { class: "data", role: "table" },
    element("caption", {}, caption),
    element("thead", { role: "rowgroup" }, element("tr", { role: "row" }, ...head)),
    element("tbody", { role: "rowgroup" }, ...body),
  );
}

export const integer = (value) => (value == null ? "none" : Math.round(value).toLocaleString("en"));

export const figure = (value) => (value == null ? "none" : String(Number(value.toPrecision(4))));

export const bytes = (value) => `${(value / 2 ** 20).toFixed(0)} MiB`;

export function clock(seconds) {
  const then = new Date(seconds * 1000);
  const time = then.toLocaleTimeString("en-GB");
  return then.toDateString() === new Date().toDateString() ? time : `${then.toLocaleDateString("en-CA")} ${time}`;
}

export function span(seconds) {
  if (seconds < 120) return `${seconds.toFixed(0)} s`;
  if (seconds < 7200) return `${(seconds / 60).toFixed(0)} min`;
  return seconds < 172800 ? `${(seconds / 3600).toFixed(1)} h` : `${(seconds / 86400).toFixed(1)} d`;
}

/** How the pushing to a registry goes, of what /live says of it. */
export function pushing(registry) {
  const when = (time) => clock(Date.parse(time) / 1000);
  const last = registry.pushed_at ? `last push ${when(registry.pushed_at)}` : "nothing pushed yet";
  const waiting = registry.waiting_since ? `, a version waits since ${when(registry.waiting_since)}` : "";
  return registry.failing ? `${registry.failing} since ${when(registry.failing_since)}${waiting}; ${last}` : last;
}
