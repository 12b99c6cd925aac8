// Asks the sidecar every two seconds what it does, and shows it. All text goes in as text, never as markup.

import { Chart } from "./charts.js";
import { measured } from "./measured.js";
import { bytes, clock, element, figure, integer, pushing, replace, span, table } from "./words.js";

const INTERVAL_MS = 2000;
const MODELS = ["ema", "base", "stable"];
const NAMES = { ema: "trained (EMA)", base: "base model", stable: "last stable" };
const MOODS = {
  running: "good", initializing: "busy", paused: "busy", failed: "bad",
  stable: "good", unproven: "busy", unstable: "bad",
  info: "", warning: "busy", error: "bad",
};
const TABLE_ROWS = 30;

const at = (id) => document.getElementById(id);
const badge = (word, mood = MOODS[word]) => element("span", { class: `badge ${mood ?? ""}` }, word);

const history = { token: "", columns: [], rows: [] };
const before = { phase: "", newest: 0, events: -1, checkpoints: "", cpu: {} };
let test = "prequential";
let errorChart, lagChart;

async function ask(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(5000) });
  if (!answer.ok) throw new Error(`${path}: ${answer.status}`);
  return answer.json();
}

async function refresh() {
  const live = await ask("live");
  showNow(live);
  showProcesses(live);
  await refreshHistory();
  if (live.events !== before.events) {
    showEvents(await ask("events"));
    before.events = live.events;
  }
  if (String(live.checkpoints) !== before.checkpoints) {
    showCheckpoints(await ask("checkpoints"));
    before.checkpoints = String(live.checkpoints);
  }
}

function showNow(live) {
  if (live.phase !== before.phase) {
    at("phase").className = `badge ${MOODS[live.phase]}`;
    at("phase").textContent = live.phase;
    document.title = `${live.phase} · vmafx-sidecar`;
    announce(`Phase: ${live.phase}. ${live.doing}`);
    before.phase = live.phase;
  }
  at("doing").textContent = live.doing;
  at("problems").hidden = live.problems.length === 0;
  replace(at("problems"), live.problems.map((problem) => element("li", {}, problem)));
  at("orders").hidden = live.orders.length === 0;
  replace(at("orders"), live.orders.map((order) => element("li", {}, order)));
  replace(at("tiles"), tiles(live));
}

function tiles(live) {
  const rejected = Object.values(live.rejected).reduce((sum, count) => sum + count, 0);
  const ring = element("meter", { min: 0, max: live.capacity || 1, value: live.ring, "aria-label": "replay ring, filled" });
  const rmse = (model) => figure(live.figures[`${test}_${model}_rmse`]);
  const tile = (name, value, more, ...extra) =>
    element("div", {}, element("dt", {}, name), element("dd", {}, element("strong", {}, value), ...extra, element("span", {}, more)));
  return [
    tile("Samples accepted", integer(live.samples), `${integer(rejected)} refused, ${integer(live.resent)} resent`),
    tile("Nodes connected", integer(live.clients), rejected ? reasons(live.rejected) : "nothing refused"),
    tile("Replay ring", integer(live.ring), `of ${integer(live.capacity)} samples`, ring),
    tile("Waiting for training", integer(live.lag), `${integer(live.evicted_untrained)} lost untrained`),
    tile("Train step", integer(live.step), `loss ${figure(live.loss)}, prior ${figure(live.figures.prior)}, on ${live.device || "no device yet"}`),
    tile("Error, RMSE", rmse("ema"), `base model ${rmse("base")}, stable ${rmse("stable")}`),
    tile("Newest model", live.model_version || "none", live.checkpoint_at ? `published ${clock(live.checkpoint_at)}` : "no checkpoint yet"),
    tile("Drift", integer(live.drift_events), `times that the error rose; ${integer(live.target_changes)} changes of the target`),
    ...(live.archive
      ? [tile("Archived", integer(live.archive.archived), `${integer(live.archive.waiting)} waiting, ${integer(live.archive.missed)} missed`)]
      : []),
    ...(live.registry ? [tile("In the registry", live.registry.newest_version || "none", pushing(live.registry))] : []),
    ...(live.fleet ? [fleetTile(live.fleet)] : []),
  ];
}

function fleetTile(fleet) {
  const failing = fleet.failing ? `; failing since ${fleet.failing_since}: ${fleet.failing}` : "";
  return "senders" in fleet
    ? tile("Sidecars", integer(fleet.senders), `${integer(fleet.unread)} messages unread, ${integer(fleet.lost)} samples lost${failing}`)
    : tile("Shared", integer(fleet.sent), `${integer(fleet.left_out)} left out, ${integer(fleet.dropped)} dropped${failing}`);
}

function reasons(rejected) {
  return Object.entries(rejected).map(([reason, count]) => `${reason}: ${integer(count)}`).join(", ");
}

function showProcesses(live) {
  const rows = live.processes.map((each) => [
    each.role,
    badge(each.phase, each.well ? "good" : "bad"),
    integer(each.restarts),
    each.pid ? span(each.uptime) : "not running",
    each.heartbeat_age == null ? "never" : `${each.heartbeat_age.toFixed(1)} s ago`,
    share(each, live.now),
    each.memory == null ? "none" : bytes(each.memory),
    each.problem || "none",
  ]);
  const columns = ["process", "phase", "restarts", "up for", "last report", "processor", "memory", "problem"];
  replace(at("processes"), [table("The processes of this sidecar", columns, rows)]);
}

function share(process, now) {
  const last = before.cpu[process.role];
  before.cpu[process.role] = { now, pid: process.pid, used: process.cpu_seconds };
  if (!last || last.pid !== process.pid || process.cpu_seconds == null || now <= last.now) return "…";
  return `${((100 * (process.cpu_seconds - last.used)) / (now - last.now)).toFixed(1)} %`;
}

async function refreshHistory() {
  const news = await ask(`history?since=${encodeURIComponent(history.token)}`);
  history.token = news.token;
  history.columns = news.columns;
  if (news.whole) history.rows = [];
  if (news.rows.length === 0 && !news.whole) return;
  history.rows.push(...news.rows);
  showCharts();
}

function column(name) {
  const place = history.columns.indexOf(name);
  return history.rows.map((row) => row[place]);
}

function showCharts() {
  const times = column("at");
  const errors = MODELS.map((model) => column(`${test}_${model}_rmse`));
  errorChart.show([times, ...errors]);
  const last = MODELS.map((model, i) => `${NAMES[model]} ${figure(errors[i].at(-1))}`).join(", ");
  at("error-caption").textContent = times.length ? `Latest: ${last}.` : "Nothing has been measured yet.";
  showData("error-data", "The newest measurements, newest first", ["time", ...MODELS.map((model) => NAMES[model])], [times, ...errors], figure);
  const lag = column("lag"), samples = column("samples");
  lagChart.show([times, lag]);
  at("lag-caption").textContent = times.length
    ? `Latest: ${integer(lag.at(-1))} of ${integer(samples.at(-1))} samples are waiting; most at any time: ${integer(Math.max(...lag))}.`
    : "Nothing has been measured yet.";
  showData("lag-data", "The newest measurements, newest first", ["time", "waiting", "accepted"], [times, lag, samples], integer);
}

function showData(id, caption, columns, [times, ...values], format) {
  const rows = times.map((time, i) => [clock(time), ...values.map((value) => format(value[i]))]);
  replace(at(id), [table(caption, columns, rows.slice(-TABLE_ROWS).reverse())]);
}

function showCheckpoints(checkpoints) {
  const open = new Set([...document.querySelectorAll("#checkpoints details[open]")].map((each) => each.id));
  const rows = checkpoints.map((each) => [
    `model_v${String(each.version).padStart(6, "0")}`,
    clock(Date.parse(each.created) / 1000),
    badge(each.state),
    integer(each.samples),
    [each.reason, gate(each, open)],
  ]);
  const columns = ["checkpoint", "published", "gate", "samples", "why"];
  const caption = rows.length ? "Newest first; a node that takes the latest stable one skips all others" : "There is no checkpoint yet.";
  replace(at("checkpoints"), [element("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Checkpoints" }, table(caption, columns, rows))]);
  const newest = checkpoints[0];
  if (newest && before.newest && newest.version > before.newest) announce(`Checkpoint ${newest.version} is ${newest.state}.`);
  before.newest = newest?.version ?? 0;
}

function gate(checkpoint, open) {
  const id = `gate-${checkpoint.version}`;
  const sets = measured(checkpoint.metrics).map((each) => table(...each));
  if (sets.length === 0) return "";
  const details = element("details", { id }, element("summary", {}, "What the gate measured"), ...sets);
  details.open = open.has(id);
  return details;
}

function showEvents(events) {
  const rows = events.reverse().map(({ timestamp, level, role, event, ...rest }) => [
    clock(Date.parse(timestamp) / 1000),
    badge(level),
    role,
    event,
    Object.entries(rest).map(([name, value]) => `${name}=${value}`).join(" "),
  ]);
  const list = table("Log events of all processes, newest first", ["time", "level", "process", "event", "details"], rows);
  replace(at("events"), [element("div", { class: "tall", tabindex: 0, role: "region", "aria-label": "Recent events" }, list)]);
}

function announce(text) {
  at("announcement").textContent = text;
}

let answered = new Date();

async function turn() {
  try {
    if (!document.hidden) await refresh();
    answered = new Date();
    at("lost").hidden = true;
  } catch (error) {
    const text = `The sidecar does not answer; what is shown is of ${answered.toLocaleTimeString()}.`;
    if (at("lost").hidden) at("lost").textContent = text;
    at("lost").hidden = false;
    console.warn(error);
  }
  setTimeout(turn, INTERVAL_MS);
}

errorChart = new Chart(at("error-chart"), MODELS.map((model) => ({ label: NAMES[model], colour: model })));
lagChart = new Chart(at("lag-chart"), [{ label: "samples", colour: "ema" }]);
for (const input of document.querySelectorAll("input[name=test]")) {
  input.addEventListener("change", () => { test = input.value; showCharts(); });
}
turn();
