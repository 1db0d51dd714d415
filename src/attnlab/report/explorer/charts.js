// Closing figures beside their controls, and curves of training.

const CONTROLS = ["uniform", "random", "permuted", "position", "oracle"];
const SHAPES = { // by the character that stands for it in the legend: a path around a point
  "│": (x, y) => `M${x},${y - 6}v12`,
  "×": (x, y) => `M${x - 3.5},${y - 3.5}l7,7m0,-7l-7,7`,
  "◇": (x, y) => `M${x},${y - 5}l5,5l-5,5l-5,-5z`,
  "□": (x, y) => `M${x - 4},${y - 4}h8v8h-8z`,
  "△": (x, y) => `M${x - 4.5},${y + 4}l4.5,-8.5l4.5,8.5z`,
};

const FIRST = 6; // of so many figures at most; all of them on demand

/** The chart of a group's first figures, and below it one of all where there are more. */
function dotCharts(group, lines) {
  const name = `figures-${group}`;
  if (lines.length <= FIRST) return [figure(name, (palette) => dotChart(lines, palette))];
  const some = lines.slice(0, FIRST - 1), all = figure(`${name}-all`, (palette) => dotChart(lines, palette));
  const first = figure(name, (palette) => dotChart(some, palette));
  const more = html("details", {}, html("summary", {}, `all ${lines.length} figures`), all);
  more.addEventListener("toggle", () => { first.hidden = more.open; });
  return [first, more];
}

/** A step of 1, 2 or 5 times a power of ten, not below `rough`. */
function niceStep(rough) {
  const power = 10 ** Math.floor(Math.log10(rough || 1));
  return power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
}

/** Figures of one group, a line each: value, interval and controls of every run. */
function dotChart(lines, palette) {
  const width = 430, left = 154, right = 64, high = 30, axis = width - left - right;
  const picture = canvas(width, lines.length * high + 26, "figures with intervals and controls");
  const shown = [...new Set(lines.flatMap((line) => line.controls.map((control) => control.name)))];
  lines.forEach(({ name, values, controls }, i) => {
    const y = i * high + 16;
    const known = [...values.flatMap((v) => [v.value, v.high]), ...controls.map((c) => c.value)].filter((v) => v !== null && v !== undefined);
    const most = Math.max(...known, 0) <= 1 ? 1 : Math.max(...known), least = Math.min(...known, 0) < -1 ? Math.min(...known) : Math.min(...known, 0) < 0 ? -1 : 0;
    const at = (v) => left + (axis * (v - least)) / (most - least || 1);
    picture.append(label(words(name), 0, y + 4, palette.ink, { size: 12.5 }));
    picture.append(svg("line", { x1: left, x2: left + axis, y1: y, y2: y, stroke: palette.line }));
    controls.forEach(({ name: who, value }) => {
      if (value === null || value === undefined) return;
      const d = SHAPES[markOf(who, shown)](at(value), y);
      picture.append(svg("path", { d, fill: "none", stroke: palette.soft, "stroke-width": 1.3, "data-control": who }));
    });
    values.forEach(({ value, low, high: top }, run) => {
      if (value === null || value === undefined) return;
      const fill = palette.runs[run % palette.runs.length], off = values.length > 1 ? (run - (values.length - 1) / 2) * Math.min(5, 18 / values.length) : 0;
      if (low !== undefined) picture.append(svg("path", { d: `M${at(low)},${y + off - 5.5}v11m0,-5.5H${at(top)}m0,-5.5v11`, fill: "none", stroke: fill, "stroke-width": 1.7, class: "whisker" }));
      picture.append(svg("circle", { cx: at(value), cy: y + off, r: 3.9, fill, stroke: palette.paper, "stroke-width": 1 }));
    });
    if (values.length === 1) picture.append(label(number(values[0].value), width - 2, y + 4, palette.ink, { anchor: "end", size: 12.5, weight: 500 }));
  });
  const y = lines.length * high + 14;
  const meanings = shown.map((who) => `${markOf(who, shown)} ${words(who)}`).join("    ");
  if (shown.length) picture.append(label(meanings, 0, y + 4, palette.soft, { size: 11 }));
  hover(picture, (event) => {
    const line = lines[Math.floor((pointIn(picture, event)[1] - 1) / high)];
    return line ? describeFigure(line) : "";
  });
  return picture;
}

/** The mark of a control: a shape of its own among those that are shown. */
function markOf(name, shown) {
  const shapes = Object.keys(SHAPES), place = CONTROLS.indexOf(name);
  return shapes[(place < 0 ? shown.indexOf(name) : place) % shapes.length];
}

function describeFigure({ name, values, controls }) {
  const runs = values.map(({ value, low, high }, run) => {
    const who = values.length > 1 ? `${letter(run)}  ` : "";
    return `${who}${number(value)}${low === undefined ? "" : `  (${number(low)} to ${number(high)})`}`;
  });
  const known = controls.map((control) => `${control.name} ${number(control.value)}`);
  return [words(name), ...runs, ...known, meaningOf({ name, controls })].filter(Boolean).join("\n");
}

/** Lines over steps: { points, colour, faint } each. */
function curveChart(name, lines, palette) {
  const width = 260, height = 150, left = 40, right = 8, top = 24, bottom = 22;
  const picture = canvas(width, height, `${name} over training steps`);
  const points = lines.flatMap((line) => line.points);
  const steps = points.map((p) => p[0]), values = points.map((p) => p[1]);
  const first = Math.min(...steps), last = Math.max(...steps, first + 1);
  const ticks = axisTicks(Math.min(...values), Math.max(...values));
  const low = ticks[0], high = ticks[ticks.length - 1];
  const x = (s) => left + ((width - left - right) * (s - first)) / (last - first);
  const y = (v) => height - bottom - ((height - top - bottom) * (v - low)) / (high - low || 1);
  picture.append(label(words(name), 0, 12, palette.ink, { size: 12.5, weight: 500 }));
  ticks.forEach((tick) => {
    picture.append(svg("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: palette.line }));
    picture.append(label(tickText(tick, ticks), left - 6, y(tick) + 3.5, palette.soft, { anchor: "end", size: 10.5 }));
  });
  picture.append(label(`${last} steps`, width - right, height - 6, palette.soft, { anchor: "end", size: 10.5 }));
  lines.forEach(({ points: own, colour, faint }) => {
    const path = own.map(([s, v], i) => `${i ? "L" : "M"}${x(s).toFixed(1)},${y(v).toFixed(1)}`).join("");
    picture.append(svg("path", { d: path, fill: "none", stroke: colour(palette), "stroke-width": faint ? 1.2 : 1.8, "stroke-opacity": faint ? 0.6 : 1, "stroke-linejoin": "round" }));
    if (!faint && own.length < 60) own.forEach(([s, v]) => picture.append(svg("circle", { cx: x(s), cy: y(v), r: 2.1, fill: colour(palette) })));
  });
  hover(picture, (event) => {
    const step = first + ((pointIn(picture, event)[0] - left) / (width - left - right)) * (last - first);
    return lines.map(({ points: own, name: line }) => {
      const [s, v] = own.reduce((best, p) => (Math.abs(p[0] - step) < Math.abs(best[0] - step) ? p : best));
      return `${line}  ${number(v)}  at step ${s}`;
    }).join("\n");
  });
  return picture;
}

/** As many digits as tell a tick from the next one. */
function tickText(tick, ticks) {
  const step = ticks.length > 1 ? ticks[1] - ticks[0] : 1;
  return String(+tick.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))));
}

function axisTicks(low, high) {
  const step = niceStep((high - low || Math.abs(high) || 1) / 3);
  const first = Math.floor(low / step + 1e-9), last = Math.ceil(high / step - 1e-9);
  return Array.from({ length: Math.max(last - first, 1) + 1 }, (_, i) => (first + i) * step);
}
