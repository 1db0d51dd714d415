// Marks on the keys of one map after the other. Each change is sent to the command that serves the
// page, which writes the file; until it has answered, the change is kept in the browser as well.

const data = JSON.parse(document.getElementById("data").textContent);
const byId = (id) => document.getElementById(id);
const kept = (number) => `attnlab ${data.file} ${data.lines[number].id}`;

const asked = Number(location.hash.slice(1)) - 1;
let at = asked in data.lines ? asked : firstOpen();
let row = 0;
let cursor = [0, 0]; // a unit of a text, or column and row of a picture or a sound
let anchor = null; // the first corner of a shape, or the first unit of a drag
let since = Date.now();
const before = data.lines.map(() => []); // what undo brings back, by example

const line = () => data.lines[at];
const example = () => data.examples[at];
const clone = (value) => JSON.parse(JSON.stringify(value));

function firstOpen() {
  const open = data.lines.findIndex((each, number) => !labelled(number));
  return open < 0 ? 0 : open;
}

/** An example is done when its map is marked, and its answer chosen where it had none. */
function labelled(number) {
  const { answer, map } = data.lines[number];
  return map !== null && (answer !== null || !data.choices.length);
}

// --- changes ------------------------------------------------------------------------------------

function change(answer, map) {
  const now = line();
  before[at].push({ answer: now.answer, map: clone(now.map) });
  put(answer, map);
}

function put(answer, map) {
  const seconds = Math.round((Date.now() - since) / 100) / 10;
  since = Date.now();
  Object.assign(line(), { answer, map, seconds: Math.round(10 * ((line().seconds ?? 0) + seconds)) / 10 });
  localStorage.setItem(kept(at), JSON.stringify(part(line())));
  save(at);
  draw();
}

const part = ({ answer, map, seconds }) => ({ answer, map, seconds });

let sending = Promise.resolve(); // one after the other: the last state is the one that stays

function save(number) {
  sending = sending.then(() => send(number));
}

async function send(number) {
  const told = byId("saved"), sent = JSON.stringify(part(data.lines[number]));
  try {
    const answer = await fetch(`lines/${number}`, {
      method: "POST", body: sent,
      headers: { "Content-Type": "application/json", "X-Attnlab-Token": data.token },
    });
    if (!answer.ok) throw new Error(await answer.text());
    if (localStorage.getItem(kept(number)) === sent) localStorage.removeItem(kept(number));
    told.className = "";
    told.textContent = "· saved";
  } catch (error) {
    told.className = "failed";
    told.textContent = `· not saved: ${error.message}; it is kept in this browser, reload to try again`;
  }
}

/** Changes that were not saved before the page was left. */
function restore() {
  data.lines.forEach((each, number) => {
    const text = localStorage.getItem(kept(number));
    if (text === null) return;
    Object.assign(each, JSON.parse(text));
    save(number);
  });
}

function undo() {
  anchor = null;
  const last = before[at].pop();
  if (last) put(last.answer, last.map);
}

const marksHere = () => line().map?.[row] ?? [];

/** The map with other marks in the row that is shown. */
function withMarks(marks) {
  const rows = line().map ?? example().rows.map(() => null);
  return rows.map((old, number) => (number === row ? marks : old));
}

function mark(marks) {
  if (example().rows.length) change(line().answer, withMarks(marks));
}

function go(step) {
  at = Math.min(Math.max(at + step, 0), data.lines.length - 1);
  [row, cursor, anchor, since] = [0, [0, 0], null, Date.now()];
  history.replaceState(null, "", `#${at + 1}`);
  draw();
}

// --- a text: units are marked -------------------------------------------------------------------

function marked(unit) {
  return marksHere().some((each) => (each.span ? each.span[0] <= unit && unit < each.span[1] : each === unit));
}

/** All units from one to another get the state that the first one is to have. */
function markUnits(from, to, on) {
  const [low, high] = [Math.min(from, to), Math.max(from, to)];
  const units = example().keys.map((key, unit) => unit);
  mark(units.filter((unit) => (unit >= low && unit <= high ? on : marked(unit))));
}

function drawText(board) {
  const joint = example().keys.every((key) => [...key].length <= 1);
  example().keys.forEach((key, unit) => {
    const span = document.createElement("span");
    span.className = `unit ${marked(unit) ? "marked" : ""} ${unit === cursor[0] ? "cursor" : ""}`;
    span.textContent = key === " " ? "␣" : key;
    span.dataset.unit = unit;
    board.append(span, joint ? "" : " ");
  });
}

// --- a picture: boxes; a sound: spans of time ---------------------------------------------------

const sizeOf = ({ kind, size, frames }) => (kind === "picture" ? [size[1], size[0]] : [frames, 1]);

function shapeOf(from, to) {
  const [wide, high] = sizeOf(example());
  const ends = (axis, most) => {
    const low = Math.max(Math.min(from[axis], to[axis]), 0);
    return [low, Math.min(Math.max(from[axis], to[axis]) + 1, most)];
  };
  const [left, right] = ends(0, wide), [top, bottom] = ends(1, high);
  return example().kind === "picture" ? { box: [left, top, right, bottom] } : { span: [left, right] };
}

/** The rectangle of a mark: x, y, width and height in keys. */
function rectangle(shape) {
  const [wide] = sizeOf(example());
  if (shape.box) return [shape.box[0], shape.box[1], shape.box[2] - shape.box[0], shape.box[3] - shape.box[1]];
  if (shape.span) return [shape.span[0], 0, shape.span[1] - shape.span[0], 1];
  return [shape % wide, Math.floor(shape / wide), 1, 1];
}

function drawArea(board) {
  const [wide, high] = sizeOf(example()), shownWide = 620;
  const shownHigh = example().kind === "picture" ? (shownWide * high) / wide : 180;
  const picture = svg("svg", { width: shownWide, height: shownHigh, viewBox: `0 0 ${wide} ${high}`, preserveAspectRatio: "none" });
  const href = example().picture ?? spectrogram(example().spectrum);
  picture.append(svg("image", { href, width: wide, height: high, preserveAspectRatio: "none" }));
  const shapes = anchor ? [...marksHere(), shapeOf(anchor, cursor)] : marksHere();
  for (const shape of shapes) {
    const [x, y, width, height] = rectangle(shape);
    picture.append(svg("rect", { class: "shape", x, y, width, height }));
  }
  const [x, y] = [cursor[0] + 0.5, cursor[1] + 0.5];
  const level = high > 1 ? `M0 ${y}H${wide}` : "";
  picture.append(svg("path", { class: "cross", fill: "none", d: `M${x} 0V${high}${level}` }));
  board.append(picture);
  if (example().sound) {
    const player = document.createElement("audio");
    Object.assign(player, { controls: true, src: example().sound });
    board.append(player);
  }
}

/** Bands x frames as a picture. */
function spectrogram(bands) {
  const canvasElement = document.createElement("canvas");
  Object.assign(canvasElement, { width: bands[0].length, height: bands.length });
  const context = canvasElement.getContext("2d");
  bands.forEach((band, y) => band.forEach((energy, x) => {
    context.fillStyle = ramp(theme().heat, energy);
    context.fillRect(x, y, 1, 1);
  }));
  return canvasElement.toDataURL();
}

// --- the page -----------------------------------------------------------------------------------

function draw() {
  const done = data.lines.filter((each, number) => labelled(number)).length;
  byId("progress").textContent = `${done} of ${data.lines.length} labelled`;
  Object.assign(byId("bar"), { max: data.lines.length, value: done });
  byId("place").textContent = `Example ${at + 1}, ${line().id}.`;
  const unwritten = example().rows.length ? "" : " Its map has a row for each word of the answer: write `answer` into the file first.";
  byId("worth").textContent = unwritten + (line().predicted ? `The model answers: ${line().predicted}` : "");
  byId("context").replaceChildren(...Object.entries(example().context).map(([name, text]) => {
    const paragraph = document.createElement("p");
    paragraph.textContent = `${name}: ${text}`;
    return paragraph;
  }));
  buttons("answers", data.choices, data.choices.indexOf(line().answer), (choice) => change(data.choices[choice], line().map), true);
  const rows = example().rows.length > 1 ? example().rows : [];
  buttons("rows", rows, row, (number) => { row = number; draw(); }, false);
  const board = byId("board");
  board.replaceChildren();
  if (example().kind === "text") drawText(board);
  else drawArea(board);
  byId("undo").disabled = !before[at].length;
  byId("command").textContent = done === data.lines.length ? `All are labelled. ${data.next}` : "";
}

function buttons(id, names, chosen, choose, numbered) {
  byId(id).replaceChildren(...names.map((name, number) => {
    const button = document.createElement("button");
    button.setAttribute("role", "radio");
    button.setAttribute("aria-checked", number === chosen);
    button.classList.toggle("marked", !numbered && Boolean(line().map?.[number]?.length));
    if (numbered && number < 9) {
      const key = document.createElement("kbd");
      key.textContent = number + 1;
      button.append(key);
    }
    button.append(name);
    button.addEventListener("click", () => choose(number));
    return button;
  }));
}

/** Where the pointer is: a unit, or column and row. */
function pointed(event) {
  if (example().kind === "text") {
    const unit = document.elementFromPoint(event.clientX, event.clientY)?.dataset?.unit;
    return unit === undefined ? null : [Number(unit), 0];
  }
  const box = byId("board").querySelector("svg").getBoundingClientRect();
  const shares = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
  if (shares.some((share) => share < 0 || share > 1)) return null;
  return sizeOf(example()).map((most, axis) => Math.min(Math.floor(shares[axis] * most), most - 1));
}

byId("board").addEventListener("pointerdown", (event) => {
  const place = pointed(event);
  if (place === null || event.target.tagName === "AUDIO") return;
  [anchor, cursor] = [place, place];
  draw();
});
window.addEventListener("pointermove", (event) => {
  const place = anchor && event.buttons ? pointed(event) : null;
  if (place === null || String(place) === String(cursor)) return;
  cursor = place;
  draw();
});
window.addEventListener("pointerup", () => anchor && finish());

/** The drag, or the second corner, makes a mark. */
function finish() {
  const from = anchor;
  anchor = null;
  if (example().kind === "text") markUnits(from[0], cursor[0], !marked(from[0]));
  else mark([...marksHere(), shapeOf(from, cursor)]);
}

function move(across, down, marking) {
  const [wide, high] = example().kind === "text" ? [example().keys.length, 1] : sizeOf(example());
  const step = example().kind === "text" ? 1 : Math.max(Math.round(wide / 40), 1);
  const from = cursor[0];
  cursor = [cursor[0] + across * step, cursor[1] + down * step];
  cursor = cursor.map((place, axis) => Math.min(Math.max(place, 0), [wide, high][axis] - 1));
  if (marking && example().kind === "text") markUnits(from, cursor[0], true);
  else draw();
}

function space() {
  if (example().kind === "text") markUnits(cursor[0], cursor[0], !marked(cursor[0]));
  else if (anchor) finish();
  else { anchor = cursor; draw(); }
}

function turn(step) {
  row = Math.min(Math.max(row + step, 0), example().rows.length - 1);
  draw();
}

const nothing = () => mark([]);
const clear = () => { anchor = null; change(line().answer, null); };
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const KEYS = {
  " ": space, Enter: () => go(1), j: () => go(1), k: () => go(-1), n: nothing, u: undo, z: undo,
  "[": () => turn(-1), "]": () => turn(1), Escape: () => { anchor = null; draw(); },
};

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const pressed = ["Enter", " "].includes(event.key) && event.target.tagName === "BUTTON";
  if (pressed) return; // of the button that has the focus
  if (event.key in ARROWS) move(...ARROWS[event.key], event.shiftKey);
  else if (event.key in KEYS) KEYS[event.key]();
  else if (event.key >= "1" && event.key <= "9" && data.choices[event.key - 1]) change(data.choices[event.key - 1], line().map);
  else return;
  event.preventDefault();
});

for (const [id, act] of Object.entries({ previous: () => go(-1), next: () => go(1), undo, nothing, clear })) {
  byId(id).addEventListener("click", act);
}
darkMode.addEventListener("change", draw);
restore();
draw();
document.documentElement.dataset.ready = "yes";
