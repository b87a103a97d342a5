"use strict";
// Draws the facts in #data: reports of runs, a run that is followed, and plans of recipes.
// Whatever comes from a run becomes text nodes and attributes, never markup.

let facts = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const COLORS = [0, 1, 2, 3, 4, 5, 6, 7].map((n) => `var(--c${n})`);
const DASHES = ["", "6 3", "2 3", "8 3 2 3"];
const AXES = { tokens: "tokens", step: "steps", seconds: "time", share: "share of the plan" };
const SIGNS = {
  passed: ["✓", "good", "passed"], failed: ["✗", "bad", "failed"],
  running: ["●", "warn", "running"], stopped: ["■", "warn", "stopped"], planned: ["○", "soft", "planned"],
};
const view = { axis: null, range: null, log: true, cursor: null, hidden: new Set() };
let charts = [];

// ---- elements

function fill(node, attributes, children) {
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (key.startsWith("on")) node.addEventListener(key.slice(2), value);
    else node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return node;
}
const make = (tag, attributes, ...children) => fill(document.createElement(tag), attributes, children);
const draw = (tag, attributes, ...children) => fill(document.createElementNS(SVG, tag), attributes, children);

// ---- figures

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);
const whole = (value) => (isNumber(value) ? Math.round(value).toLocaleString("en-US") : "–");
const percent = (value) => (isNumber(value) ? `${figure(100 * value, 3)} %` : "–");

function figure(value, digits = 4) {
  if (!isNumber(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e9)) return value.toExponential(digits > 3 ? 2 : 1).replace("e+", "e");
  const places = size === 0 ? 0 : Math.max(0, digits - 1 - Math.floor(Math.log10(size)));
  return Number(value.toFixed(Math.min(places, 8))).toLocaleString("en-US", { maximumFractionDigits: 8 });
}
function short(value) {
  for (const [size, suffix] of [[1e12, "T"], [1e9, "B"], [1e6, "M"], [1e3, "k"]])
    if (Math.abs(value) >= size) return figure(value / size, 3) + suffix;
  return figure(value, 3);
}
function clock(seconds) {
  if (!isNumber(seconds)) return "–";
  const all = Math.round(seconds), two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(all / 3600), minutes = Math.floor(all / 60) % 60;
  return hours ? `${whole(hours)}:${two(minutes)}:${two(all % 60)}` : `${minutes}:${two(all % 60)}`;
}
function place(value, axis) {
  if (axis === "seconds") return clock(value);
  return axis === "share" ? percent(value) : short(value);
}
const bytes = (value) => (!isNumber(value) ? "–" : value >= 2 ** 20 ? `${figure(value / 2 ** 20, 3)} MiB` : `${figure(value / 1024, 3)} KiB`);
const count = (number, noun) => `${whole(number)} ${noun}${number === 1 ? "" : "s"}`;

// ---- scales

function linearTicks(low, high, most) {
  const rough = (high - low) / Math.max(1, most), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((n) => n * power).find((n) => n >= rough);
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high * (1 + 1e-9); n++) ticks.push(n * step);
  return ticks;
}
function timeTicks(low, high, most) {
  const steps = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400];
  const step = steps.find((n) => (high - low) / n <= most);
  return step ? linearMultiples(low, high, step) : linearTicks(low / 86400, high / 86400, most).map((n) => n * 86400);
}
function linearMultiples(low, high, step) {
  const ticks = [];
  for (let n = Math.ceil(low / step); n * step <= high; n++) ticks.push(n * step);
  return ticks;
}
function logTicks(low, high) {
  for (const digits of [[1, 2, 3, 5], [1, 2, 5], [1, 3], [1]]) {
    const ticks = [];
    for (let power = Math.floor(Math.log10(low)); 10 ** power <= high; power++)
      for (const digit of digits) if (digit * 10 ** power >= low && digit * 10 ** power <= high) ticks.push(digit * 10 ** power);
    if (ticks.length <= 6) return ticks.length > 1 ? ticks : linearTicks(low, high, 4);
  }
  return [low, high];
}
/** Index of the last value that is at most `value`, of ascending values; the nearer of it and the next. */
function nearest(values, value) {
  let low = 0, high = values.length - 1;
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (values[middle] <= value) low = middle; else high = middle - 1;
  }
  return low + 1 < values.length && values[low + 1] - value < value - values[low] ? low + 1 : low;
}
/** Running median over a window that stays centred and in its stage: it shrinks at both ends. */
function smoothed(values, steps, spans) {
  const half = Math.floor(values.length / 80);
  if (half < 1) return values;
  const ends = [...spans.map((span) => steps.findIndex((step) => step > span.to.step)).filter((at) => at > 0), values.length];
  let first = 0;
  return values.map((value, at) => {
    while (at >= ends[0]) first = ends.shift();
    const reach = Math.min(half, at - first, ends[0] - 1 - at);
    const near = values.slice(at - reach, at + reach + 1).filter(isNumber).sort((a, b) => a - b);
    return near.length ? near[near.length >> 1] : value;
  });
}

// ---- charts

class Chart {
  constructor(spec, lines, spans, alerts, id) {
    Object.assign(this, { spec, lines, spans, alerts, id });
    for (const line of lines) line.curve = spec.noisy && line.axis.step ? smoothed(line.y, line.axis.step, line.spans) : line.y;
    this.outputs = lines.map(() => make("output"));
    const items = lines.map((line, n) => make("li", { "data-run": line.run },
      make("span", { class: "swatch", style: `border-color:${line.color};border-top-style:${line.dash ? "dashed" : "solid"}` }),
      line.label, " ", this.outputs[n]));
    this.svg = draw("svg", { class: "chart", role: "img", tabindex: 0, id, "aria-label": this.summary() });
    this.node = make("figure", null, make("figcaption", null, make("b", null, spec.title), make("span", { class: "soft" }, spec.unit)),
      make("ul", { class: "legend" }, items), this.svg);
    this.listen();
  }

  summary() {
    const ends = this.lines.slice(0, 4).map((line) => {
      const known = line.curve.filter(isNumber);
      return `${line.label} from ${this.say(known[0])} to ${this.say(known[known.length - 1])}`;
    });
    return `${this.spec.title}, ${this.spec.unit}: ${ends.join("; ")}. Arrow keys read values, plus and minus zoom, escape shows all.`;
  }
  say(value) { return this.spec.percent ? percent(value) : figure(value); }

  listen() {
    const at = (event) => {
      const box = this.svg.getBoundingClientRect();
      const x = ((event.clientX - box.left) * this.width) / box.width;
      const share = Math.min(1, Math.max(0, (x - this.left) / (this.right - this.left)));
      return this.low + share * (this.high - this.low);
    };
    this.svg.addEventListener("pointermove", (event) => setCursor(at(event)));
    this.svg.addEventListener("pointerleave", () => setCursor(null));
    this.svg.addEventListener("pointerdown", (event) => {
      if (event.pointerType === "touch") { setCursor(at(event)); return; }
      this.from = at(event);
      this.svg.setPointerCapture(event.pointerId);
    });
    this.svg.addEventListener("pointerup", (event) => {
      const from = this.from, to = at(event);
      this.from = undefined;
      if (from !== undefined && Math.abs(to - from) > (this.high - this.low) / 60) zoom(Math.min(from, to), Math.max(from, to));
      else this.drawCursor();
    });
    this.svg.addEventListener("dblclick", () => zoom());
    this.svg.addEventListener("keydown", (event) => {
      const step = (this.high - this.low) / (event.shiftKey ? 10 : 100);
      const here = view.cursor ?? (this.low + this.high) / 2;
      const moves = {
        ArrowLeft: () => setCursor(Math.max(this.low, here - step)), ArrowRight: () => setCursor(Math.min(this.high, here + step)),
        "+": () => zoomBy(0.5), "=": () => zoomBy(0.5), "-": () => zoomBy(2), Escape: () => zoom(),
      };
      if (moves[event.key]) { event.preventDefault(); moves[event.key](); }
    });
  }

  visible() { return this.lines.filter((line) => !view.hidden.has(line.run) && line.axis[view.axis]); }

  draw() {
    const width = this.svg.clientWidth || 480, height = this.node.classList.contains("first") ? 290 : 200;
    Object.assign(this, { width, height, left: 50, right: width - 8, top: 16, bottom: height - 20 });
    [this.low, this.high] = view.range || fullRange();
    const lines = this.visible(), [low, high] = this.heights(lines);
    const isLog = this.isLog;
    const x = (value) => this.left + ((value - this.low) / (this.high - this.low || 1)) * (this.right - this.left);
    const turn = isLog ? Math.log : (value) => value;
    const y = (value) => this.bottom - ((turn(value) - turn(low)) / (turn(high) - turn(low) || 1)) * (this.bottom - this.top);
    Object.assign(this, { x, y });
    const clip = `clip-${this.id}`;
    const inside = draw("g", { "clip-path": `url(#${clip})` }, this.shades(), lines.map((line) => this.paths(line)), this.alertLines());
    this.cursor = draw("g");
    this.svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
    this.svg.replaceChildren(
      draw("clipPath", { id: clip }, draw("rect", { x: this.left, y: 0, width: Math.max(0, this.right - this.left), height: this.bottom + 1 })),
      this.axes(low, high), inside, draw("g", null, this.stageNames()), this.cursor);
    this.drawCursor();
  }

  /** Range of the values in sight, and whether their axis is logarithmic. */
  heights(lines) {
    const seen = [];
    for (const line of lines) {
      const xs = line.axis[view.axis];
      line.curve.forEach((value, n) => {
        if (xs[n] < this.low || xs[n] > this.high || !isNumber(value)) return;
        seen.push(value);
        if (line.fill) seen.push(line.low[n], line.high[n]);
      });
      if (this.spec.noisy && !line.fill) seen.push(...inner(line.y.filter((value, n) => isNumber(value) && xs[n] >= this.low && xs[n] <= this.high)));
    }
    if (!seen.length) return [0, 1];
    let low = Math.min(...seen), high = Math.max(...seen);
    this.isLog = this.spec.log && view.log && low > 0 && high / low > 3;
    if (this.isLog) return [low / 1.06, high * 1.06];
    if (low > 0 && low < high * 0.6) low = 0;
    const room = (high - low) * 0.06 || Math.abs(high) * 0.1 || 1;
    return [low === 0 ? 0 : low - room, high + room];
  }

  paths(line) {
    const xs = line.axis[view.axis].map(this.x), parts = [];
    const color = line.color;
    if (line.low) parts.push(draw("path", { class: line.fill ? "fill" : "range", fill: color, d: band(xs, line.low.map(this.clampY, this), line.high.map(this.clampY, this)) }));
    if (line.fill) return parts;
    if (this.spec.noisy && line.curve !== line.y) parts.push(draw("path", { class: "raw", stroke: color, d: path(xs, line.y.map(this.clampY, this)) }));
    parts.push(draw("path", { class: "curve", "data-name": line.name, "data-run": line.run, stroke: color, "stroke-dasharray": line.dash, d: path(xs, line.curve.map(this.clampY, this)) }));
    if (xs.length < 40 && line.axis.seconds) parts.push(xs.map((at, n) => isNumber(line.curve[n]) && draw("circle", { cx: at.toFixed(1), cy: this.y(line.curve[n]).toFixed(1), r: 2.2, fill: color })));
    return parts;
  }
  clampY(value) { return isNumber(value) && !(this.isLog && value <= 0) ? Math.max(-1e4, Math.min(1e4, this.y(value))) : null; }

  axes(low, high) {
    const ticks = this.isLog ? logTicks(low, high) : linearTicks(low, high, 4);
    const label = (value) => (this.spec.percent ? `${figure(100 * value, 3)}%` : Math.abs(value) >= 1e4 ? short(value) : figure(value, 3));
    const most = Math.max(2, Math.floor((this.right - this.left) / 90));
    const across = (view.axis === "seconds" ? timeTicks : linearTicks)(this.low, this.high, most);
    return draw("g", null,
      ticks.map((value) => [
        draw("line", { class: "grid", x1: this.left, x2: this.right, y1: this.y(value), y2: this.y(value) }),
        draw("text", { x: this.left - 6, y: this.y(value) + 4, "text-anchor": "end" }, label(value))]),
      draw("line", { class: "base", x1: this.left, x2: this.right, y1: this.bottom, y2: this.bottom }),
      across.map((value) => draw("text", { x: this.x(value), y: this.height - 5, "text-anchor": this.x(value) > this.right - 16 ? "end" : "middle" }, place(value, view.axis))));
  }

  shades() {
    const stages = stageSpans(this.spans);
    return [
      stages.map((stage, n) => n % 2 && draw("rect", { class: "stage-shade", x: this.x(stage.from), y: this.top - 14, width: Math.max(0, this.x(stage.to) - this.x(stage.from)), height: this.bottom - this.top + 14 })),
      this.spans.slice(1).map((span) => draw("line", { class: "phase", x1: this.x(span.from[view.axis]), x2: this.x(span.from[view.axis]), y1: this.top - 4, y2: this.bottom },
        draw("title", null, `${span.stage}, phase ${span.phase + 1}: ${whole(span.seq_len)} tokens a row`))),
    ];
  }
  stageNames() {
    let free = this.left;
    return stageSpans(this.spans).map((stage) => {
      const at = Math.max(this.left, this.x(stage.from)) + 4, room = Math.min(this.right, this.x(stage.to)) - at;
      if (room < 6.2 * stage.name.length || at < free) return null;
      free = at + 6.2 * stage.name.length;
      return draw("text", { x: at, y: 11 }, stage.name);
    });
  }
  alertLines() {
    return this.alerts.map((alert) => {
      const at = this.x(alert[view.axis]);
      return draw("g", { class: alert.kind || null }, draw("line", { class: "alert", x1: at, x2: at, y1: this.top, y2: this.bottom }),
        draw("path", { class: "mark", d: `M${at - 4.5},${this.bottom}L${at + 4.5},${this.bottom}L${at},${this.bottom - 8}Z` }, draw("title", null, `${alert.name}: ${alert.seen}`)));
    });
  }

  drawCursor() {
    if (!this.x) return;
    const parts = [];
    if (view.cursor !== null && view.cursor >= this.low && view.cursor <= this.high) {
      const at = this.x(view.cursor);
      parts.push(draw("line", { class: "cursor", x1: at, x2: at, y1: this.top, y2: this.bottom }));
      if (this.from !== undefined) {
        const from = this.x(this.from);
        parts.push(draw("rect", { class: "chosen", x: Math.min(from, at), y: this.top, width: Math.abs(at - from), height: this.bottom - this.top }));
      }
    }
    this.cursor.replaceChildren(...parts);
    this.lines.forEach((line, n) => { this.outputs[n].textContent = this.reading(line); });
  }
  reading(line) {
    const xs = line.axis[view.axis];
    if (!xs || !xs.length) return "";
    const at = view.cursor === null ? xs.length - 1 : nearest(xs, view.cursor);
    const value = line.fill ? line.high[at] - line.low[at] : line.y[at];
    const range = line.low && !line.fill && view.cursor !== null ? ` (${this.say(line.low[at])} to ${this.say(line.high[at])})` : "";
    return this.say(value) + range;
  }
}

/** The values between the percentiles 1 and 99, so that single outliers do not flatten a curve. */
function inner(values) {
  const sorted = [...values].sort((a, b) => a - b), cut = Math.floor(sorted.length / 100);
  return sorted.length ? [sorted[cut], sorted[sorted.length - 1 - cut]] : [];
}
function path(xs, ys) {
  let text = "", pen = false;
  xs.forEach((x, n) => {
    if (ys[n] === null) { pen = false; return; }
    text += `${pen ? "L" : "M"}${x.toFixed(1)},${ys[n].toFixed(1)}`;
    pen = true;
  });
  return text;
}
function band(xs, lows, highs) {
  const known = xs.map((_, n) => n).filter((n) => lows[n] !== null && highs[n] !== null);
  if (!known.length) return "";
  const there = known.map((n) => `${xs[n].toFixed(1)},${highs[n].toFixed(1)}`), back = known.reverse().map((n) => `${xs[n].toFixed(1)},${lows[n].toFixed(1)}`);
  return `M${there.join("L")}L${back.join("L")}Z`;
}
function stageSpans(spans) {
  const stages = [];
  for (const span of spans) {
    const last = stages[stages.length - 1];
    if (last && last.name === span.stage) last.to = span.to[view.axis];
    else stages.push({ name: span.stage, from: span.from[view.axis], to: span.to[view.axis] });
  }
  return stages;
}
function fullRange() {
  const ends = shownRuns().flatMap((run) => run.spans.map((span) => span.to[view.axis]));
  return [0, Math.max(...ends, 0) || 1];
}
const shownRuns = () => facts.runs.filter((_, n) => !view.hidden.has(n));
function redraw() { charts.forEach((chart) => chart.node.isConnected && chart.draw()); readout(); }
function zoom(low, high) { view.range = low === undefined ? null : [low, high]; view.cursor = null; redraw(); }
function zoomBy(factor) {
  const [least, most] = fullRange(), [low, high] = view.range || [least, most];
  const middle = view.cursor ?? (low + high) / 2, half = ((high - low) * factor) / 2;
  if (2 * half >= most - least) zoom();
  else { const from = Math.min(Math.max(least, middle - half), most - 2 * half); zoom(from, from + 2 * half); }
}
let asked = false;
function setCursor(value) {
  view.cursor = value;
  if (asked) return;
  asked = true;
  requestAnimationFrame(() => { asked = false; charts.forEach((chart) => chart.node.isConnected && chart.drawCursor()); readout(); });
}
/** Where the cursor is, on all axes. */
function readout() {
  const node = document.getElementById("readout"), run = shownRuns()[0];
  if (!node) return;
  if (view.cursor === null || !run) { node.textContent = view.range ? "Escape or the button shows all again" : "Point at a curve to read it; drag to zoom"; return; }
  const span = run.spans.find((one) => view.cursor <= one.to[view.axis]);
  const axis = run.curves.axes.reduce((best, one) => (one.step && one.step.length > best.length ? one.step : best), []);
  const whose = run.curves.axes.find((one) => one.step === axis);
  const parts = [];
  if (whose && whose[view.axis]) {
    const at = nearest(whose[view.axis], view.cursor);
    if (whose.step) parts.push(`step ${whole(whose.step[at])}`);
    if (whose.tokens) parts.push(`${short(whose.tokens[at])} tokens`);
    if (whose.seconds) parts.push(clock(whose.seconds[at]));
  } else parts.push(place(view.cursor, view.axis));
  if (span) parts.push(`${span.stage}, phase ${span.phase + 1} (${whole(span.seq_len)} tokens a row)`);
  node.textContent = parts.join(" · ");
}

function chartsOf(specs, group, id) {
  const several = facts.runs.length > 1;
  return specs.map((spec, number) => {
    const lines = [];
    facts.runs.forEach((run, r) => spec.series.forEach((one, s) => {
      const series = run.curves[group][one.name];
      if (!series) return;
      const label = !several ? one.label : spec.series.length > 1 ? `${run.name} · ${one.label}` : run.name;
      lines.push({ ...series, name: one.name, run: r, label, axis: run.curves.axes[series.axis], spans: run.spans,
        color: COLORS[(several ? r : s) % COLORS.length], dash: several ? DASHES[s % DASHES.length] : "" });
    }));
    if (!lines.length) return null;
    const chart = new Chart(spec, lines, several ? [] : facts.runs[0].spans, several ? [] : facts.runs[0].alerts || [], `${id}-${number}`);
    if (number === 0 && id === "chart") chart.node.classList.add("first");
    charts.push(chart);
    return chart.node;
  });
}

function tools() {
  const axes = Object.keys(AXES).filter((axis) => facts.runs.some((run) => run.curves.axes.some((one) => one[axis])));
  if (!axes.includes(view.axis)) view.axis = axes[0];
  const choose = (axis) => { view.axis = axis; zoom(); };
  const canLog = facts.charts.some((chart) => chart.log);
  return make("div", { class: "tools" },
    axes.length > 1 && make("fieldset", { class: "segments" }, make("legend", { class: "skip" }, "Horizontal axis"),
      axes.map((axis) => [
        make("input", { type: "radio", name: "axis", id: `axis-${axis}`, checked: axis === view.axis, onchange: () => choose(axis) }),
        make("label", { for: `axis-${axis}` }, AXES[axis])])),
    canLog && toggle("log scale", () => view.log, () => { view.log = !view.log; redraw(); }),
    make("button", { type: "button", title: "Zoom in", onclick: () => zoomBy(0.5) }, "+"),
    make("button", { type: "button", title: "Zoom out", onclick: () => zoomBy(2) }, "−"),
    make("button", { type: "button", onclick: () => zoom() }, "all"),
    facts.runs.length > 1 && facts.runs.map((run, n) => toggle([make("span", { class: "swatch", style: `border-color:${COLORS[n % 8]}` }), run.name],
      () => !view.hidden.has(n), () => { if (!view.hidden.delete(n)) view.hidden.add(n); redraw(); })),
    make("span", { class: "readout", id: "readout", "aria-live": "off" }));
}
function toggle(label, isOn, flip) {
  const button = make("button", { type: "button", "aria-pressed": String(isOn()), onclick: () => { flip(); button.setAttribute("aria-pressed", String(isOn())); } }, label);
  return button;
}

// ---- heat maps: layers down, time across

const RAMP = [[68, 1, 84], [59, 82, 139], [33, 145, 140], [94, 201, 98], [253, 231, 37]];
function ramp(share) {
  const at = Math.min(0.9999, Math.max(0, share)) * (RAMP.length - 1), n = Math.floor(at);
  return RAMP[n].map((value, channel) => Math.round(value + (RAMP[n + 1][channel] - value) * (at - n)));
}
function heatMap(map) {
  const columns = Math.max(...map.rows.map((row) => row.length));
  const known = map.rows.flat().filter(isNumber), low = Math.min(...known), high = Math.max(...known);
  const isLog = low > 0 && high / low > 30, turn = isLog ? Math.log : (value) => value;
  const canvas = make("canvas", { width: columns, height: map.rows.length, role: "img", "aria-label": `${map.title} by layer, from ${figure(low)} to ${figure(high)}` });
  const pen = canvas.getContext("2d");
  map.rows.forEach((row, layer) => row.forEach((value, column) => {
    if (!isNumber(value)) return;
    pen.fillStyle = `rgb(${ramp((turn(value) - turn(low)) / (turn(high) - turn(low) || 1)).join(",")})`;
    pen.fillRect(column, layer, 1, 1);
  }));
  const output = make("output"), axis = map.axis[0] || { step: [] };
  canvas.addEventListener("pointermove", (event) => {
    const box = canvas.getBoundingClientRect();
    const column = Math.floor(((event.clientX - box.left) / box.width) * columns), layer = Math.floor(((event.clientY - box.top) / box.height) * map.rows.length);
    if (map.rows[layer]) output.textContent = `layer ${map.layers[layer]}, step ${whole(axis.step[column])}: ${figure(map.rows[layer][column])}`;
  });
  const gradient = `linear-gradient(90deg,${RAMP.map((color) => `rgb(${color.join(",")})`).join(",")})`;
  return make("figure", null,
    make("figcaption", null, make("b", null, map.title), make("span", { class: "soft" }, figure(low)), make("span", { class: "ramp", style: `background:${gradient}` }),
      make("span", { class: "soft" }, figure(high) + (isLog ? ", log scale" : "")), output),
    make("div", { class: "heat" },
      make("div", { class: "layers" }, make("span", null, `layer ${map.layers[0]}`), make("span", null, String(map.layers[map.layers.length - 1]))), canvas,
      make("div", { class: "ends" }, make("span", null, `step ${whole(axis.step[0])}`), make("span", null, whole(axis.step[axis.step.length - 1])))));
}

// ---- sections

function table(header, rows, kinds) {
  const cell = (tag, value, n) => make(tag, { class: kinds[n] || null, scope: tag === "th" ? "col" : null }, value);
  return make("div", { class: "wide" }, make("table", null,
    make("thead", null, make("tr", null, header.map((value, n) => cell("th", value, n)))),
    make("tbody", null, rows.map((row) => make("tr", null, row.map((value, n) => cell("td", value, n)))))));
}
const sign = (status) => make("span", { class: `sign ${SIGNS[status][1]}`, role: "img", "aria-label": SIGNS[status][2] }, SIGNS[status][0]);
const pill = (status) => make("span", { class: `pill ${SIGNS[status][1]}` }, SIGNS[status][2]);
const known = (status) => (SIGNS[status] ? status : "running");

function stageCard(stage) {
  const status = known(stage.status), size = [];
  if (isNumber(stage.steps) && stage.steps) size.push(count(stage.steps, "step"));
  if (isNumber(stage.tokens) && stage.tokens) size.push(`${short(stage.tokens)} tokens`);
  if (stage.seconds) size.push(clock(stage.seconds));
  if (stage.budget) size.push(stage.budget);
  const rows = stage.findings.map((one) => [
    [status === "planned" ? null : sign(one.passed ? "passed" : one.is_target ? "planned" : "failed"), " ", one.label], one.measured || "", one.limit]);
  return make("section", { class: "stage" },
    make("h3", null, sign(status), " ", stage.name),
    make("p", { class: "soft" }, size.join(" · ") || "not begun"),
    rows.length ? table(["gate", status === "planned" ? "" : "measured", "has to be"], rows, ["text", "value", "value"]) : null,
    stage.actions.map((text) => make("p", { class: "warn" }, text)),
    stage.domains.length ? make("p", { class: "soft" }, "Bits per byte on held-out text: ", stage.domains.map((domain, n) => [
      n ? "; " : "", domain.name, " ", isNumber(domain.before) ? `${figure(domain.before)} → ` : "", make("strong", null, figure(domain.after))]), ".") : null);
}
function verdicts(run) { return run.stages.length ? run.stages.map(stageCard) : [make("p", null, run.sentence)]; }

function curves() {
  const plots = chartsOf(facts.charts, "series", "chart").filter(Boolean);
  if (!plots.length) return [make("p", { class: "soft" }, "Nothing has been recorded yet.")];
  const more = facts.other_charts.length > 0 && make("details", { id: "more", ontoggle: (event) => event.target.open && redraw() },
    make("summary", null, count(facts.other_charts.length, "more curve")), make("div", { class: "charts" }, chartsOf(facts.other_charts, "others", "other")));
  return [tools(), make("div", { class: "charts" }, plots), more];
}

function alerts(run) {
  if (!run.alerts.length) return null;
  return [table(["step", "what was seen", "likely cause", "what to try"],
    run.alerts.map((alert) => [whole(alert.step), [make("b", { class: alert.severity === "error" ? "bad" : "warn" }, alert.name.replaceAll("_", " ")), ": ", alert.seen], alert.cause, alert.advice]), ["number", "text", "text", "text"])];
}

function heatMaps(run) { return run.curves.heat_maps.length ? [make("div", { class: "charts" }, run.curves.heat_maps.map(heatMap))] : null; }

function samples(run) {
  if (!run.samples.length) return null;
  const quote = (prompt) => (one) => make("blockquote", null, make("div", { class: "where" }, `step ${whole(one.step)}`, make("br"), `${short(one.tokens)} tokens`), make("p", null, make("span", { class: "soft" }, prompt), one.text));
  return run.samples.map((some, n) => {
    const between = some.texts.slice(1, -1);
    return [make("h3", null, some.prompt ? `“${some.prompt}” …` : "No prompt"), quote(some.prompt)(some.texts[0]),
      between.length ? make("details", { id: `between-${n}` }, make("summary", null, `${whole(between.length)} in between`), between.map(quote(some.prompt))) : null,
      some.texts.length > 1 ? quote(some.prompt)(some.texts[some.texts.length - 1]) : null];
  });
}

function dataTable(run) {
  if (!run.data.length) return null;
  const rows = run.data.map((one) => [[make("b", null, one.name), make("div", { class: "soft" }, one.origin + (one.synthetic ? " (synthetic)" : ""))], one.licence || make("span", { class: "warn" }, "not known here"),
    whole(one.documents), isNumber(one.tokens) ? short(one.tokens) : "–", short(one.tokens_read), percent(one.share_of_training), figure(one.epochs, 3),
    isNumber(one.held_out_documents) ? whole(one.held_out_documents) : "–"]);
  const dropped = run.data.flatMap((one) => one.dropped.map((cause) => [one.name, whole(cause.documents), cause.reason ? `${cause.reason}` : cause.cause.replaceAll("_", " ")]));
  return [table(["source", "licence", "documents", "tokens", "trained on", "share", "epochs", "held out"], rows,
    ["text", "", "number", "number", "number", "number", "number", "number"]),
    make("p", { class: "soft" }, "Held-out documents are never trained on; they are what the gates are judged by."),
    make("h3", null, "Left out"),
    dropped.length ? table(["source", "documents", "why: the document"], dropped, ["", "number", "text"]) : make("p", { class: "soft" }, "No document was left out.")];
}

function tasks(run) {
  if (!run.tasks.length) return null;
  const rows = run.tasks.map((one) => [one.task, one.metric.replaceAll("_", " "),
    figure(one.value) + (isNumber(one.stderr) ? ` ± ${figure(one.stderr, 2)}` : ""), isNumber(one.chance) ? figure(one.chance, 3) : "–", whole(one.documents), whole(one.step), errorBar(one)]);
  return [table(["task", "metric", "value", "chance", "documents", "step", ""], rows, ["text", "", "number", "number", "number", "number", ""]),
    make("p", { class: "soft" }, "± is one standard error; the bar spans two on each side, the line is the level of chance.")];
}
function errorBar(one) {
  if (!(one.value >= 0 && one.value <= 1) || !isNumber(one.stderr)) return null;
  const x = (value) => 2 + 140 * Math.min(1, Math.max(0, value));
  return draw("svg", { width: 144, height: 14, role: "presentation" }, draw("line", { class: "grid", x1: 2, x2: 142, y1: 7, y2: 7 }),
    draw("line", { stroke: COLORS[0], "stroke-width": 3, x1: x(one.value - 2 * one.stderr), x2: x(one.value + 2 * one.stderr), y1: 7, y2: 7 }),
    draw("circle", { cx: x(one.value), cy: 7, r: 3.5, fill: COLORS[0] }), isNumber(one.chance) && draw("line", { stroke: "currentColor", x1: x(one.chance), x2: x(one.chance), y1: 1, y2: 13 }));
}

function list(pairs) {
  const rows = pairs.filter(([, value]) => value !== null && value !== undefined && value !== "" && value !== "–");
  return make("dl", { class: "figures" }, rows.map(([name, value, note]) => make("div", null, make("dt", null, name), make("dd", null, value, note ? make("small", null, ` ${note}`) : null))));
}

function cost(run) {
  const cost = run.cost, machine = run.environment, gpus = (machine.gpus || []).map((gpu) => gpu.name || String(gpu)).join(", ");
  return [list([
    ["training time", clock(cost.seconds), "h:m:s"], ["speed", isNumber(cost.tokens_per_second) ? short(cost.tokens_per_second) : null, "tokens/s"],
    ["device hours", figure(cost.device_hours, 3), count(cost.devices, "device")], ["model FLOPs", isNumber(cost.model_flops) ? cost.model_flops.toExponential(2) : null],
    ["peak memory", isNumber(cost.peak_memory_gib) ? figure(cost.peak_memory_gib, 3) : null, "GiB"]]),
    table(["machine", ""], [["processor", machine.processor], ["GPUs", gpus || "none"], ["cores, threads", machine.cores ? `${machine.cores}, ${machine.threads}` : null],
      ["precision", run.decisions.precision], ["system", machine.system], ["Python", machine.python], ["torch", machine.torch], ["yxanul", machine.yxanul]].filter(([, value]) => value), ["", "text"])];
}

function modelTable(run) {
  const model = run.model;
  if (!model.parameters) return null;
  const shape = Object.entries(model.shape).map(([key, value]) => [key.replaceAll("_", " "), whole(value)]);
  return [make("p", null, `${model.preset ? `Preset ${model.preset}: ` : ""}${whole(model.parameters)} parameters; ${model.tokenizer || "unknown"} tokenizer of ${whole(model.vocab_size)} tokens.`),
    make("div", { class: "charts" }, table(["part", "parameters"], Object.entries(model.parts).map(([name, value]) => [name, whole(value)]), ["", "number"]),
      table(["shape", ""], shape, ["", "number"]))];
}

function reproduce(run) {
  const save = () => {
    const link = make("a", { href: `data:application/yaml;charset=utf-8,${encodeURIComponent(run.recipe)}`, download: `${run.name}-again.yaml` });
    link.click();
  };
  return [make("pre", { class: "lines" }, run.reproduce.join("\n")),
    make("p", { class: "soft" }, run.reproduces_exactly ? "The same machine and versions give the same weights, bit for bit; others give nearly the same."
      : "Budgets in minutes are fixed to the tokens they came to; the learning rate then follows one plan instead of several estimates, so the result is close, not equal."),
    run.recipe && make("details", { id: `recipe-${run.name}` }, make("summary", null, "The recipe with every value resolved"), make("p", null, make("button", { type: "button", onclick: save }, "Save it as a file")), make("pre", null, run.recipe)),
    run.checksums.length ? [make("h3", null, "Checksums (SHA-256)"),
      table(["file", "size", "SHA-256"], run.checksums.map((one) => [[one.file, one.note ? make("b", null, ` ${one.note}`) : null], bytes(one.bytes), one.sha256]), ["key", "number", "digest"])] : null];
}

function differences() {
  if (!facts.differences || !facts.differences.length) return null;
  return [table(["recipe key", ...facts.runs.map((run) => run.name)], facts.differences.map((row) => [row.key, ...row.values.map((value) => value ?? "not set")]), ["key", ...facts.runs.map(() => "text")])];
}

function phases(run) {
  return run.phases && [table(["stage", "phase", "tokens a row", "rows", "from step", "steps", "tokens", "rate ×", "clip"],
    run.phases.map((one) => [one.stage, whole(one.phase + 1), whole(one.seq_len), whole(one.rows), whole(one.from_step), whole(one.steps), isNumber(one.tokens) ? short(one.tokens) : "–", figure(one.lr_scale), figure(one.clip)]),
    ["", "number", "number", "number", "number", "number", "number", "number", "number"])];
}

/** A section with a part for each run; nothing if it has nothing to say of any. */
function each(build) {
  return () => {
    const parts = facts.runs.map((run, n) => {
      const content = build(run);
      if (!content) return null;
      const head = facts.runs.length > 1 && make("h3", { class: "run-name" }, make("span", { class: "dot", style: `background:${COLORS[n % 8]}` }), run.name);
      return [head, content];
    });
    return parts.some(Boolean) ? parts : null;
  };
}
const SECTIONS = {
  runs: [["verdicts", "Verdicts", each(verdicts)], ["differences", "How the recipes differ", differences], ["curves", "Curves", curves], ["alerts", "Alerts", each(alerts)],
    ["layers", "Layers over time", each(heatMaps)], ["samples", "What it writes", each(samples)], ["tasks", "Tasks", each(tasks)], ["data", "What it was trained on", each(dataTable)],
    ["model", "Model", each(modelTable)], ["cost", "Cost and machine", each(cost)], ["reproduce", "How to reproduce it", each(reproduce)]],
  plan: [["curves", "Plan", curves], ["phases", "Phases", each(phases)], ["verdicts", "Gates", each(verdicts)], ["model", "Model", each(modelTable)], ["recipe", "Recipe", each((run) => run.recipe && [make("details", { id: "whole-recipe" }, make("summary", null, "Every value, resolved"), make("pre", null, run.recipe))])]],
};

function head() {
  const one = facts.runs.length === 1 && facts.runs[0];
  const theme = make("button", { type: "button", onclick: () => {
    const isDark = getComputedStyle(document.documentElement).colorScheme === "dark" || (!document.documentElement.dataset.theme && matchMedia("(prefers-color-scheme: dark)").matches);
    document.documentElement.dataset.theme = isDark ? "light" : "dark";
  } }, "light / dark");
  const kind = facts.kind === "plan" ? "plan of a recipe" : facts.live ? "live report" : "training report";
  document.title = `${one ? one.name : `${facts.runs.length} runs`} – ${kind}`;
  const parts = [make("div", { class: "over" }, make("span", null, `yxanul ${facts.yxanul} · ${kind} · ${facts.made.slice(0, 16).replace("T", " ")} UTC`), theme),
    make("h1", null, one ? one.name : facts.runs.map((run) => run.name).join(" · "))];
  if (one && one.description) parts.push(make("p", { class: "soft" }, one.description));
  for (const run of facts.runs) parts.push(make("p", { class: "verdict" }, pill(known(run.status)), make("span", null, one ? "" : make("b", null, `${run.name}: `), run.sentence)));
  if (one) parts.push(list(facts.kind === "plan" ? planFigures(one) : runFigures(one)));
  document.getElementById("top").replaceChildren(...parts);
}
function runFigures(run) {
  const stage = [...run.stages].reverse().find((one) => one.domains.some((domain) => isNumber(domain.after)));
  const scores = (stage ? stage.domains : []).filter((domain) => isNumber(domain.after)).slice(0, 4);
  return [["parameters", run.model.parameters ? short(run.model.parameters) : null], ["tokens trained on", run.cost.tokens ? short(run.cost.tokens) : null],
    ["steps", run.cost.steps ? whole(run.cost.steps) : null], ["training time", run.cost.seconds ? clock(run.cost.seconds) : null],
    ...scores.map((domain) => [`held-out ${domain.name}`, figure(domain.after, 3), "bits/byte"]), ["alerts", run.alerts.length ? whole(run.alerts.length) : null]];
}
function planFigures(run) {
  return [["parameters", run.model.parameters ? short(run.model.parameters) : null], ["stages", whole(run.stages.length)], ["phases", whole(run.phases.length)],
    ["tokens", isNumber(run.totals.tokens) ? short(run.totals.tokens) : "measured first"], ["steps", isNumber(run.totals.steps) ? whole(run.totals.steps) : null],
    ["rows", isNumber(run.totals.sequences) ? short(run.totals.sequences) : null]];
}

function show() {
  const open = new Set([...document.querySelectorAll("details[open]")].map((node) => node.id)), focused = document.activeElement && document.activeElement.id;
  charts = [];
  head();
  const sections = SECTIONS[facts.kind].map(([id, title, build]) => [id, title, build()]).filter(([, , content]) => content);
  document.getElementById("contents").replaceChildren(...sections.map(([id, title]) => make("a", { href: `#${id}` }, title)));
  document.getElementById("main").replaceChildren(...sections.map(([id, title, content]) => make("section", { id, "aria-labelledby": `${id}-title` }, make("h2", { id: `${id}-title` }, title), content)));
  document.getElementById("foot").textContent = `Made by yxanul ${facts.yxanul} from the run's own files. This file needs nothing but itself.`;
  for (const id of open) if (id && document.getElementById(id)) document.getElementById(id).open = true;
  if (focused && document.getElementById(focused)) document.getElementById(focused).focus({ preventScroll: true });
  redraw();
}

// ---- following a run

async function follow() {
  try {
    const answer = await fetch(`${facts.live.url}&after=${facts.live.after}`, { cache: "no-store" });
    if (answer.status === 200) { facts = await answer.json(); show(); }
  } catch { document.getElementById("foot").textContent = "The program that serves this page has ended; what you see is its last answer."; }
  setTimeout(follow, 2000);
}

show();
new ResizeObserver(() => redraw()).observe(document.getElementById("main"));
if (facts.live) setTimeout(follow, 2000);
