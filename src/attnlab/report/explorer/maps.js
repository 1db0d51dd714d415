// One map of one example: as marked text, as a matrix, over a picture, or under a spectrogram.
//
// A drawing is described by { model, gold, view, marks, peak, queries, keys, content, width }: model
// and gold are rows of weights, `peak` is where the colour is full, queries and keys are labels.

const VIEWS = ["model", "gold", "difference"];
const DENSE = 96; // more units than this are not named one by one
const LABEL = 13; // size of labels
const CONFIDENT = 0.5; // confidence from which a box is shown

function drawMap(drawing, palette) {
  const draw = drawing.content.form === "picture" ? overPicture
    : drawing.content.form === "sound" ? underSound
    : drawing.model.length === 1 ? markedText : matrix;
  return draw({ ...drawing, values: valuesOf(drawing) }, palette);
}

/** What is shown: weights, gold, or the one less the other where there is gold. */
function valuesOf({ model, gold, view }) {
  if (view === "gold") return gold;
  if (view === "model") return model;
  return model.map((row, q) => row.map((w, k) => (gold[q].some(Boolean) ? w - gold[q][k] : 0)));
}

/** The keys that gold marks in a row: all of a hard one, the upper half of a soft one. */
function markedBy(row) {
  const most = Math.max(...row, 0);
  return (k) => most > 0 && row[k] >= most / 2;
}

const shown = (unit) => (unit === " " ? "␣" : unit === "\n" ? "⏎" : unit);

/** The tooltip of a cell. */
function describe({ model, gold, queries, keys }, q, k) {
  const head = model.length > 1 ? `${shown(queries[q])} ← ` : "";
  const place = `${head}${shown(keys[k] ?? "")} (${k + 1})`;
  const marked = gold && gold[q].some(Boolean) ? `   gold ${number(gold[q][k])}` : "";
  return `${place}\nweight ${number(model[q][k])}${marked}`;
}

// --- marked text --------------------------------------------------------------------------------

function markedText(drawing, palette) {
  const { values, keys, gold, marks, view, peak, width } = drawing;
  const size = 15, high = 30, joint = keys.every((key) => [...key].length <= 1);
  const font = joint ? MONO : FONT, gap = joint ? 1 : 3;
  const places = [];
  let x = 4, line = 0;
  keys.forEach((key) => {
    const wide = widthOf(shown(key), size, font) + 6;
    if (x + wide > width && x > 4) { x = 4; line += 1; }
    places.push({ x, y: line * high + 6, wide });
    x += wide + gap;
  });
  const bottom = (line + 1) * high + 12;
  const picture = canvas(width, bottom + 26, "the text, each unit as dark as its weight");
  const marked = gold ? markedBy(gold[0]) : () => false;
  places.forEach(({ x: left, y, wide }, k) => {
    const fill = shade(values[0][k], peak, view, palette, palette.text);
    picture.append(svg("rect", { class: "unit", x: left, y, width: wide, height: 22, rx: 3, fill }));
    if (marks && marked(k)) picture.append(svg("rect", { x: left + 1, y: y + 22.5, width: wide - 2, height: 2.5, fill: palette.gold }));
    picture.append(label(shown(keys[k]), left + 3, y + 16, palette.ink, { size, font }));
  });
  legend(picture, drawing, palette, 4, bottom, palette.text);
  hover(picture, (event) => {
    const [px, py] = pointIn(picture, event);
    const k = places.findIndex((p) => px >= p.x && px <= p.x + p.wide && py >= p.y - 4 && py <= p.y + 26);
    return k < 0 ? "" : describe(drawing, 0, k);
  });
  return picture;
}

// --- matrix -------------------------------------------------------------------------------------

function matrix(drawing, palette) {
  const { values, keys, queries, width } = drawing;
  const named = keys.length <= DENSE && queries.length <= DENSE;
  const longest = (units) => Math.max(...units.map((unit) => widthOf(shown(unit), LABEL, MONO)), 8);
  const left = (named ? longest(queries) : 26) + 12;
  const upright = longest(keys) <= 18;
  const top = named ? (upright ? 22 : Math.min(longest(keys), 130) + 12) : 18;
  const roomy = queries.length > 16 ? 21 : 30; // cells grow where there is room, and stay square
  const cell = named ? Math.min(Math.max(Math.floor((width - left) / keys.length), 21), roomy) : Math.max((width - left) / keys.length, 2);
  const high = named ? cell : Math.min(Math.max(cell, 520 / queries.length), 21);
  const columns = Math.max(Math.floor((width - left) / cell), 1);
  const tiles = Math.ceil(keys.length / columns), tall = top + high * queries.length + 14;
  const wide = left + cell * Math.min(columns, keys.length) + 4;
  const picture = canvas(Math.max(wide, 300), tiles * tall + 26, "queries down, keys across, each cell as dark as its weight");
  const place = { left, top, cell, high, columns, tall, named, upright };
  for (let tile = 0; tile < tiles; tile += 1) {
    const keysHere = keys.slice(tile * columns, (tile + 1) * columns);
    const corner = [left, tile * tall + top];
    nameUnits(picture, place, keysHere, queries, tile, palette);
    fillCells(picture, drawing, corner, [tile * columns, keysHere.length], place, palette);
    if (drawing.marks && drawing.gold) frameGold(picture, drawing, corner, [tile * columns, keysHere.length], place, palette);
  }
  legend(picture, drawing, palette, left, tiles * tall, palette.heat);
  hover(picture, (event) => {
    const [px, py] = pointIn(picture, event);
    const tile = Math.floor(py / tall), column = Math.floor((px - left) / cell);
    const q = Math.floor((py - tile * tall - top) / high), k = tile * columns + column;
    const inside = column >= 0 && column < columns && k < keys.length && q >= 0 && q < values.length;
    return inside ? describe(drawing, q, k) : "";
  });
  return picture;
}

function nameUnits(picture, { left, top, cell, high, tall, named, upright, columns }, keys, queries, tile, palette) {
  const y = tile * tall;
  const step = named ? 1 : Math.ceil(40 / cell), down = named ? 1 : Math.ceil(30 / high);
  keys.forEach((key, k) => {
    if (k % step) return;
    const text = named ? shown(key) : `${tile * columns + k + 1}`;
    const x = left + (k + 0.5) * cell;
    const turn = named && !upright ? { transform: `rotate(-90 ${x} ${y + top - 6})` } : {};
    const anchor = turn.transform ? "start" : "middle";
    picture.append(label(text, x, y + top - 6 + (turn.transform ? 4 : 0), palette.ink, { anchor, size: named ? LABEL : 11, font: MONO, ...turn }));
  });
  queries.forEach((query, q) => {
    if (q % down) return;
    const text = named ? shown(query) : `${q + 1}`;
    picture.append(label(text, left - 8, y + top + (q + 0.5) * high + 4.5, palette.ink, { anchor: "end", size: named ? LABEL : 11, font: MONO }));
  });
}

function fillCells(picture, { values, view, peak }, [x, y], [first, count], { cell, high, named }, palette) {
  const colour = (q, k) => shade(values[q][first + k], peak, view, palette, palette.heat);
  if (!named) {
    picture.append(svg("image", {
      href: painted(count, values.length, (q, k) => colour(q, k)), x, y, width: count * cell,
      height: values.length * high, preserveAspectRatio: "none", style: "image-rendering:pixelated",
    }));
    return;
  }
  for (let q = 0; q < values.length; q += 1) {
    for (let k = 0; k < count; k += 1) {
      picture.append(svg("rect", { x: x + k * cell, y: y + q * high, width: cell - 1, height: high - 1, rx: 1.5, fill: colour(q, k) }));
    }
  }
}

/** A picture of one pixel a cell, as an address. */
function painted(columns, rows, colour) {
  const area = document.createElement("canvas");
  area.width = columns; area.height = rows;
  const pen = area.getContext("2d");
  for (let q = 0; q < rows; q += 1) {
    for (let k = 0; k < columns; k += 1) {
      pen.fillStyle = colour(q, k);
      pen.fillRect(k, q, 1, 1);
    }
  }
  return area.toDataURL();
}

/** Lines around what gold marks, row by row. */
function frameGold(picture, { gold }, [x, y], [first, count], { cell, high, named }, palette) {
  gold.forEach((row, q) => {
    const marked = markedBy(row);
    for (let k = 0; k < count; k += 1) {
      if (!marked(first + k)) continue;
      let end = k;
      while (end + 1 < count && marked(first + end + 1)) end += 1;
      const gap = named ? 1 : 0;
      picture.append(svg("rect", {
        x: x + k * cell - 0.25, y: y + q * high - 0.25, width: (end - k + 1) * cell - gap + 0.5, height: high - gap + 0.5,
        rx: named ? 2 : 0, fill: "none", stroke: palette.gold, "stroke-width": named ? 1.6 : 1,
      }));
      k = end;
    }
  });
}

// --- pictures -----------------------------------------------------------------------------------

function overPicture(drawing, palette) {
  const { values, gold, marks, view, peak, queries, content, width } = drawing;
  const [down, across] = content.grid;
  const plain = [["picture", null], ...(content.gold_regions ? [["gold", content.gold_regions]] : []), ...(content.predicted_regions ? [["answer", content.predicted_regions]] : [])];
  const panels = plain.length + values.length;
  const wide = Math.min(panels > 2 ? 240 : 340, width), high = (wide * content.height) / content.width;
  const columns = Math.max(Math.min(Math.floor((width + 20) / (wide + 20)), panels), 1);
  const head = plain.length > 1 || (queries.some((query) => query) && values.length > 1) ? 22 : 2, tall = high + head + 14;
  const bottom = Math.ceil(panels / columns) * tall;
  const corner = (panel) => [(panel % columns) * (wide + 20), Math.floor(panel / columns) * tall + head];
  const look = ([x, y]) => svg("image", { href: content.image, x, y, width: wide, height: high, preserveAspectRatio: "none", style: "image-rendering:pixelated" });
  const picture = canvas(Math.max(columns * (wide + 20) - 20, 300), bottom + 26, "the picture, blue where the weight lies");
  const cell = [(wide * Math.ceil(content.width / across)) / content.width, (high * Math.ceil(content.height / down)) / content.height];
  plain.forEach(([name, regions], panel) => {
    const [x, y] = corner(panel);
    if (head > 2) picture.append(label(name, x, y - 6, palette.soft, { size: LABEL }));
    picture.append(look([x, y]));
    if (regions) picture.append(marked(regions, [x, y], [wide, high], [wide / content.width, high / content.height]));
  });
  values.forEach((row, q) => {
    const [x, y] = corner(plain.length + q);
    if (head > 2) picture.append(label(shown(queries[q] ?? ""), x, y - 6, palette.ink, { size: LABEL }));
    picture.append(look([x, y]));
    row.forEach((value, k) => {
      const share = peak > 0 ? Math.abs(value) / peak : 0;
      if (share < 0.004) return;
      const left = (k % across) * cell[0], up = Math.floor(k / across) * cell[1];
      picture.append(svg("rect", {
        x: x + left, y: y + up, width: Math.min(cell[0], wide - left), height: Math.min(cell[1], high - up),
        fill: value < 0 ? "#f08a3c" : "#3d9bff", "fill-opacity": (0.82 * Math.sqrt(Math.min(share, 1))).toFixed(3),
      }));
    });
    if (marks && gold) picture.append(outline(markedBy(gold[q]), down, across, [x, y], cell));
  });
  legend(picture, drawing, palette, 0, bottom, view === "difference" ? palette.heat : ["#000000", "#3d9bff"]);
  hover(picture, (event) => {
    const [px, py] = pointIn(picture, event);
    const panel = Math.floor(py / tall) * columns + Math.floor(px / (wide + 20)), q = panel - plain.length;
    const [x, y] = corner(panel), k = cellAt(px - x, py - y, cell, down, across);
    return q >= 0 && q < values.length && k !== null ? describe({ ...drawing, keys: content.cells }, q, k) : "";
  });
  return picture;
}

/** What an answer marks in a picture: a mask, or boxes with class and confidence. */
function marked({ boxes, mask }, [x, y], [wide, high], [across, down]) {
  const group = svg("g", { class: "regions" });
  if (mask) group.append(svg("image", { href: mask, x, y, width: wide, height: high, opacity: 0.6, preserveAspectRatio: "none", style: "image-rendering:pixelated" }));
  for (const [left, top, right, bottom, kind, sure = 1] of boxes.filter((box) => box.length < 6 || box[5] >= CONFIDENT)) {
    const fill = boxes[0].length < 6 ? "#ff7a4d" : "#3d9bff", name = boxes[0].length < 6 ? kind : `${kind} ${sure.toFixed(2)}`;
    group.append(svg("rect", { x: x + left * across, y: y + top * down, width: (right - left) * across, height: (bottom - top) * down, fill: "none", stroke: fill, "stroke-width": 2 }));
    group.append(label(name, x + left * across, y + Math.max(top * down - 4, 11), fill, { size: 12, weight: 700 }));
  }
  return group;
}

function cellAt(x, y, [wide, high], down, across) {
  const column = Math.floor(x / wide), row = Math.floor(y / high);
  return column >= 0 && column < across && row >= 0 && row < down ? row * across + column : null;
}

/** The border between marked cells and others, as one line. */
function outline(marked, down, across, [x, y], [wide, high]) {
  const inside = (r, c) => r >= 0 && r < down && c >= 0 && c < across && marked(r * across + c);
  const path = [];
  for (let r = 0; r <= down; r += 1) {
    for (let c = 0; c <= across; c += 1) {
      if (inside(r, c) !== inside(r - 1, c)) path.push(`M${x + c * wide},${y + r * high}h${wide}`);
      if (inside(r, c) !== inside(r, c - 1)) path.push(`M${x + c * wide},${y + r * high}v${high}`);
    }
  }
  return svg("path", { d: path.join(""), fill: "none", stroke: "#ff7a4d", "stroke-width": 2, "stroke-linecap": "square" });
}

// --- sound --------------------------------------------------------------------------------------

function underSound(drawing, palette) {
  const { values, keys, queries, content, width } = drawing;
  const left = Math.max(...queries.map((query) => widthOf(shown(query), LABEL, MONO)), 8) + 14;
  const wide = width - left - 8, spectrum = 120, high = Math.max(14, Math.min(24, 400 / values.length));
  const top = spectrum + 10, bottom = top + high * values.length;
  const picture = canvas(width, bottom + 56, "the spectrogram above, the weight of each frame below");
  const across = { href: content.image, x: left, y: 0, width: wide, height: spectrum, preserveAspectRatio: "none" };
  picture.append(svg("image", across));
  const cell = wide / keys.length, place = { cell, high, named: false };
  fillCells(picture, drawing, [left, top], [0, keys.length], place, palette);
  if (drawing.marks && drawing.gold) frameGold(picture, drawing, [left, top], [0, keys.length], place, palette);
  queries.forEach((query, q) => picture.append(label(shown(query), left - 8, top + (q + 0.5) * high + 4.5, palette.ink, { anchor: "end", size: LABEL, font: MONO })));
  const step = niceStep(content.seconds / 6);
  for (let second = 0; second <= content.seconds + 1e-9; second += step) {
    const x = left + (wide * second) / content.seconds;
    picture.append(svg("line", { x1: x, x2: x, y1: bottom + 3, y2: bottom + 7, stroke: palette.soft }));
    picture.append(label(`${+second.toFixed(3)} s`, x, bottom + 20, palette.soft, { anchor: "middle", size: 11 }));
  }
  legend(picture, drawing, palette, left, bottom + 30, palette.heat);
  hover(picture, (event) => {
    const [px, py] = pointIn(picture, event);
    const q = Math.floor((py - top) / high), k = Math.floor((px - left) / cell);
    if (k < 0 || k >= keys.length) return "";
    return q >= 0 && q < values.length ? describe(drawing, q, k) : py < spectrum ? keys[k] : "";
  });
  return picture;
}

// --- what colours mean --------------------------------------------------------------------------

function legend(picture, { view, marks, gold, peak }, palette, x, y, colours) {
  const text = (words, at) => picture.append(label(words, at, y + 15, palette.soft, { size: 11 }));
  const [low, high] = view === "difference" ? ["gold has more", "model has more"] : ["0", number(peak)];
  const start = x + widthOf(low, 11) + 6, wide = 84;
  text(low, x);
  for (let i = 0; i < 28; i += 1) {
    const share = view === "difference" ? (i / 13.5 - 1) * peak : (i / 27) * peak;
    picture.append(svg("rect", { x: start + (i * wide) / 28, y: y + 6, width: wide / 28 + 0.3, height: 10, fill: shade(share, peak, view, palette, colours) }));
  }
  text(high, start + wide + 6);
  if (!marks || !gold) return;
  const next = start + wide + widthOf(high, 11) + 26;
  picture.append(svg("rect", { x: next, y: y + 6, width: 10, height: 10, rx: 2, fill: "none", stroke: palette.gold, "stroke-width": 1.6 }));
  text("gold", next + 16);
}
