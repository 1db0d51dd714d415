// How sure the answers are: reliability, and risk over the share of answers that are given.

/** Lines over shares from 0 to 1: { name, points, colour, dots, dashed } each. */
function shareChart(title, [across, up], lines, most, palette) {
  const width = 260, height = 210, left = 40, right = 8, top = 24, bottom = 36;
  const picture = canvas(width, height, title);
  const x = (v) => left + (width - left - right) * v;
  const y = (v) => height - bottom - ((height - top - bottom) * v) / most;
  picture.append(label(title, 0, 12, palette.ink, { size: 12.5, weight: 500 }));
  const ticks = axisTicks(0, most).filter((tick) => tick <= most + 1e-9);
  ticks.forEach((tick) => {
    picture.append(svg("line", { x1: left, x2: width - right, y1: y(tick), y2: y(tick), stroke: palette.line }));
    picture.append(label(tickText(tick, ticks), left - 6, y(tick) + 3.5, palette.soft, { anchor: "end", size: 10.5 }));
  });
  [0, 0.5, 1].forEach((tick) => picture.append(label(String(tick), x(tick), height - bottom + 13, palette.soft, { anchor: "middle", size: 10.5 })));
  picture.append(label(`${across}  ·  ${up}`, left, height - 6, palette.soft, { size: 10.5 }));
  lines.forEach(({ points, colour, dots, dashed }) => {
    const path = points.map(([a, b], i) => `${i ? "L" : "M"}${x(a).toFixed(1)},${y(b).toFixed(1)}`).join("");
    picture.append(svg("path", { d: path, fill: "none", stroke: colour, "stroke-width": 1.6, ...(dashed ? { "stroke-dasharray": "3 3" } : {}) }));
    if (dots) points.forEach(([a, b]) => picture.append(svg("circle", { cx: x(a), cy: y(b), r: 2.4, fill: colour })));
  });
  hover(picture, (event) => {
    const share = (pointIn(picture, event)[0] - left) / (width - left - right);
    return lines.filter(({ name }) => name).map(({ name, points }) => {
      const [a, b] = points.reduce((best, p) => (Math.abs(p[0] - share) < Math.abs(best[0] - share) ? p : best));
      return `${name}  ${number(b)}  at ${number(a)}`;
    }).join("\n");
  });
  return picture;
}

/** Both charts of the runs whose task has probabilities. */
function showCalibration() {
  const known = runs.map((run, i) => ({ ...run.calibration, i })).filter(({ bins }) => bins);
  byId("calibration").hidden = !known.length;
  if (!known.length) return;
  const who = (i, what) => (several ? `${letter(i)} ${what}` : what);
  const reliability = figure("reliability", (palette) => shareChart("Reliability", ["confidence", "right answers"], [
    { points: [[0, 0], [1, 1]], colour: palette.soft },
    ...known.flatMap(({ bins, i }) => Object.entries(bins).map(([name, rows]) => ({
      name: who(i, name), points: rows, colour: palette.runs[i % palette.runs.length], dots: true, dashed: name !== "as it is",
    }))),
  ], 1, palette), "The diagonal is where an answer is right as often as it is sure; dashed: divided by the temperature.");
  const most = Math.max(0.05, ...known.flatMap(({ risk }) => risk.map((point) => point[1])));
  const risk = figure("risk", (palette) => shareChart("Risk", ["answers given", "errors"],
    known.map(({ risk: points, i }) => ({ name: who(i, "errors"), points, colour: palette.runs[i % palette.runs.length] })), most, palette),
    "The share of errors where only the surest answers are given.");
  byId("calibration-charts").replaceChildren(reliability, risk);
}
