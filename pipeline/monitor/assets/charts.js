// Line charts over time, drawn by uPlot (MIT, see uPlot.LICENSE) in the page's own colours.

const DASHES = { base: [8, 5], stable: [2, 4] };
const DAY_S = 86400;
const GAP_S = 60;
const GAP_FACTOR = 6;

function times(_, ticks) {
  const long = ticks.length > 1 && ticks.at(-1) - ticks[0] > DAY_S;
  const form = long ? { month: "short", day: "numeric", hour: "2-digit", minute: "2-digit" } : { timeStyle: "medium" };
  return ticks.map((tick) => new Date(tick * 1000).toLocaleString("en-GB", form));
}

/**
 * Return the data with an empty point wherever nothing was measured for long, so that no line is drawn across.
 * Long is relative: the older the measurements, the fewer are kept.
 */
export function withGaps([times, ...values]) {
  const places = new Set();
  times.forEach((time, i) => {
    const usual = Math.max(times[i - 1] - times[i - 2] || 0, times[i + 1] - time || 0);
    if (i > 0 && time - times[i - 1] > Math.max(GAP_S, GAP_FACTOR * usual)) places.add(i);
  });
  const filled = (column, empty) => column.flatMap((value, i) => (places.has(i) ? [empty(i), value] : [value]));
  return [filled(times, (i) => (times[i - 1] + times[i]) / 2), ...values.map((column) => filled(column, () => null))];
}

export class Chart {
  /** series: [{label, colour, dash}]; `colour` names a CSS variable of the page. */
  constructor(place, series) {
    this.place = place;
    this.series = series;
    this.data = [[], ...series.map(() => [])];
    this.draw();
    new ResizeObserver(() => this.fit()).observe(place);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** data: [seconds, values of each series …]; null where there is no value. */
  show(data) {
    this.data = withGaps(data);
    this.plot.setData(this.data);
  }

  draw() {
    this.plot?.destroy();
    const css = getComputedStyle(document.documentElement);
    const colour = (name) => css.getPropertyValue(`--${name}`).trim();
    const axis = { stroke: colour("soft"), grid: { stroke: colour("line"), width: 1 }, ticks: { stroke: colour("line") } };
    const options = {
      ...this.size(),
      scales: { y: { range: (_, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [{ ...axis, space: 110, values: times }, { ...axis, size: 56, values: (_, ticks) => ticks.map((tick) => tick.toLocaleString("en")) }],
      legend: { live: true },
      cursor: { drag: { x: true, y: false } },
      series: [
        { label: "time", value: (_, at) => (at ? new Date(at * 1000).toLocaleTimeString("en-GB") : "") },
        ...this.series.map(({ label, colour: name }) => ({
          label,
          stroke: colour(name),
          width: 2,
          dash: DASHES[name],
          spanGaps: false,
          points: { show: false },
          value: (_, value) => (value == null ? "" : Number(value.toPrecision(4)).toLocaleString("en")),
        })),
      ],
    };
    this.plot = new uPlot(options, this.data, this.place);
    this.plot.root.querySelector("canvas")?.setAttribute("aria-hidden", "true");
  }

  size() {
    const low = this.place.classList.contains("low");
    return { width: Math.max(200, this.place.clientWidth), height: low ? 170 : 280 };
  }

  fit() {
    const { width, height } = this.size();
    if (width !== this.plot.width) this.plot.setSize({ width, height });
  }
}
