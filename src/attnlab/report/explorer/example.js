// One example: its answers, the map of each run, and every head at a glance.

const THUMB = 92;
const OWN = "own"; // the map that is evaluated

/** The sites of all runs in order, the evaluated map first. */
function sitesOf(example) {
  const names = example.runs.filter(Boolean).flatMap((run) => Object.keys(run.heads));
  return [OWN, ...new Set(names)];
}

/** Whether gold says anything about a site: not about self-attention. */
function hasGold(example, site) {
  const annotated = example.runs.some((run) => run && run.mass !== null);
  return annotated && !site.split(".").includes("self");
}

function headsAt(example, site) {
  const counts = example.runs.filter(Boolean).map((run) => run.heads[site]?.shape[0] ?? 0);
  return site === OWN ? 0 : Math.max(...counts);
}

/** Names of the rows and columns of a site's map; what is over is the begin or end mark. */
function unitsAt(example, run, site, [queries, keys]) {
  const own = run.keys ?? example.keys;
  const role = site.split(".").find((part) => ["self", "cross", "pooling"].includes(part));
  const generated = site.startsWith("decoder") && role === "self";
  const fill = (units, count) => Array.from({ length: count }, (_, i) => units[i] ?? "∎");
  const shifted = ["▷", ...example.queries];
  if (generated) return { queries: fill(example.queries, queries), keys: fill(shifted, keys) };
  return { queries: fill(role === "self" ? own : example.queries, queries), keys: fill(own, keys) };
}

/** The arguments of `drawMap` for one run at the chosen site and head. */
async function mapDrawing(example, run, state, width) {
  const { site, head, view, marks } = state;
  const content = await contentOf(example, run);
  const gold = rowsOf(await unpack(run.gold));
  if (site === OWN) {
    const model = rowsOf(await unpack(run.map)), known = hasGold(example, site);
    return { model, gold: known ? gold : null, view: known ? view : "model", marks: marks && known, queries: example.queries, keys: run.keys ?? example.keys, content, width };
  }
  const packed = run.heads[site];
  if (!packed) return null;
  const { shape, values } = await unpack(packed);
  const model = rowsOf({ shape, values }, head === "mean" ? "mean" : Math.min(head, shape[0] - 1));
  const units = unitsAt(example, run, site, shape.slice(-2));
  const picture = content.form === "picture" && shape[2] === content.grid[0] * content.grid[1] && shape[1] === example.queries.length;
  const sound = content.form === "sound" && shape[2] === (run.keys ?? example.keys).length && !site.includes("self");
  const over = content.form === "text" || picture || sound ? content : { form: "text" };
  const wider = hasGold(example, site) ? model.map((row, q) => Float64Array.from(row, (_, k) => gold[q]?.[k] ?? 0)) : null;
  return { model, gold: wider, view: wider ? view : "model", marks: marks && wider, ...units, content: over, width };
}

const spectrograms = new WeakMap();

/** The picture or spectrogram that keys are parts of, as an address. */
async function contentOf(example, run) {
  const { form } = example;
  if (form === "text") return { form };
  const keys = run.keys ?? example.keys;
  if (form === "picture") {
    const [height, width] = example.size, cells = keys.map((key) => `row ${key.replace(",", ", column ")}`);
    return { form, image: example.picture, width, height, grid: run.grid ?? example.grid, cells, gold_regions: example.gold_regions, predicted_regions: run.predicted_regions };
  }
  const { shape: [height, width], values } = await unpack(example.spectrum);
  const colours = ["#fbfbfa", "#8c96a3", "#141b24"];
  if (!spectrograms.has(example)) spectrograms.set(example, painted(width, height, (r, c) => ramp(colours, values[r * width + c])));
  return { form, image: spectrograms.get(example), width, height, cells: keys, seconds: secondsOf(example, width) };
}

function secondsOf(example, frames) {
  const { sample_rate: rate, hop } = example.meta;
  return rate && hop ? (frames * hop) / rate : frames;
}

function addFact(list, what, ...value) {
  list.append(html("div", {}, html("dt", {}, what), html("dd", {}, ...value)));
}

/** The context, the gold answer and the facts of an example. */
function factsList(example) {
  const list = html("dl", { class: "answers" });
  for (const [what, text] of Object.entries(example.context)) addFact(list, what, html("span", { class: "text" }, text));
  if (example.gold) addFact(list, "gold", html("span", { class: "text" }, example.gold));
  if (!several) addRunFacts(list, example, example.runs[0]);
  for (const [what, fact] of factsOf(example)) addFact(list, what, String(fact));
  return list;
}

/** The answer, weight on gold and loss of one run. */
function addRunFacts(list, example, run) {
  const verdict = run.correct ? html("span", { class: "right" }, " ✓") : html("span", { class: "wrong" }, " ✗");
  if (example.gold) addFact(list, "answer", html("span", { class: "text" }, ...compared(run.prediction, example)), verdict);
  if (run.teacher_forced) addFact(list, "rows of the map", "gold (teacher-forced)");
  if (run.mass !== null) addFact(list, "weight on gold", percent(run.mass));
  if (run.loss !== null) addFact(list, "loss", number(run.loss));
  return list;
}

/** The short facts that the data hold of an example. */
function factsOf({ meta, form }) {
  const plain = Object.entries(meta).filter(([, fact]) => ["string", "number"].includes(typeof fact));
  return form === "sound" ? [] : plain.slice(0, 4);
}

/** A prediction, underlined where it leaves gold, if both are written unit by unit. */
function compared(prediction, { gold, queries }) {
  const units = [...prediction], right = [...gold];
  if (units.length !== right.length || right.length !== queries.length || prediction === gold) return [prediction || "(nothing)"];
  return units.map((unit, i) => (unit === right[i] ? unit : html("span", { class: "differs" }, unit)));
}

/** Every head of every layer of one run, small. */
async function headGrid(example, run, state) {
  const sites = Object.keys(run.heads);
  const most = Math.max(...sites.map((site) => run.heads[site].shape[0]));
  const grid = run.grid ?? example.grid;
  const rows = await Promise.all(sites.map(async (site) => inGrid({ site, ...(await unpack(run.heads[site])) }, grid)));
  return (palette) => {
    const gap = 16, left = 150, sizes = rows.map(({ shape }) => thumbSize(shape));
    const tops = sizes.reduce((sums, [, high]) => [...sums, sums[sums.length - 1] + high + 30], [2]);
    const picture = canvas(left + most * (THUMB + gap), tops[rows.length], "every head of every layer");
    rows.forEach(({ site, shape, values }, i) => {
      picture.append(label(site, 0, tops[i] + sizes[i][1] / 2 + 4, palette.ink, { size: 12 }));
      for (let head = 0; head < shape[0]; head += 1) {
        const place = [left + head * (THUMB + gap), tops[i], ...sizes[i]];
        picture.append(thumb(site, head, rowsOf({ shape, values }, head), place, state, palette));
      }
    });
    return picture;
  };
}

/** One query's weights on the cells of a picture, row by row as the picture has them. */
function inGrid(map, grid) {
  const [heads, queries, keys] = map.shape;
  return grid && queries === 1 && keys === grid[0] * grid[1] ? { ...map, shape: [heads, ...grid] } : map;
}

/** Width and height of a small map of this shape. */
function thumbSize(shape) {
  const [queries, keys] = shape.slice(-2), longer = Math.max(queries, keys);
  return [keys, queries].map((units) => Math.max((THUMB * units) / longer, 14));
}

function thumb(site, head, rows, [x, y, wide, high], state, palette) {
  const peak = Math.max(...rows.map((row) => Math.max(...row)));
  const current = state.site === site && state.head === head;
  const href = painted(rows[0].length, rows.length, (q, k) => shade(rows[q][k], peak, "model", palette, palette.heat));
  const name = `${site}, head ${head + 1}`;
  return svg("g", { role: "button", tabindex: 0, "aria-label": name, "data-site": site, "data-head": head },
    svg("rect", { x: x - 1, y: y - 1, width: wide + 2, height: high + 2, fill: "none", stroke: current ? palette.gold : palette.line, "stroke-width": current ? 2.4 : 1 }),
    svg("image", { href, x, y, width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering:pixelated" }),
    label(`${head + 1}`, x, y + high + 13, palette.soft, { size: 10.5 }));
}
