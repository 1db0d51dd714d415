// Maps over training: one example at each recorded step, as a strip of small maps and a large one.

const film = { entries: [], entry: 0, frame: 0 };

function startFilm() {
  film.entries = runs.flatMap(({ film: { steps, examples } }, i) => examples.map((example) => ({ steps, example, run: i })));
  byId("film").hidden = !film.entries.length;
  if (!film.entries.length) return;
  const name = ({ example, run }) => `${several ? `${letter(run)}: ` : ""}${textOf(example).slice(0, 60) || example.id}`;
  byId("film-example").replaceChildren(...film.entries.map((entry, i) => html("option", { value: i }, name(entry))));
  byId("film-example").addEventListener("change", (event) => { film.entry = Number(event.target.value); showFilm(); });
  byId("film-strip").addEventListener("keydown", (event) => {
    const by = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    showFrame(film.frame + by, true);
  });
  film.frame = Infinity; // the last one
}

/** The steps of an entry at which its map was recorded. */
function framesOf({ steps, example }) {
  return steps.map((step, i) => ({ step, packed: example.maps[i] })).filter(({ packed }) => packed);
}

async function showFilm() {
  const entry = film.entries[film.entry];
  if (!entry) return;
  const frames = framesOf(entry);
  const maps = await Promise.all(frames.map(({ packed }) => unpack(packed)));
  const peak = Math.max(...maps.map(({ values }) => values.reduce((most, v) => Math.max(most, v), 0)), 1e-6);
  byId("film-strip").replaceChildren(...maps.map((map, i) => frameButton(map, frames[i].step, i, peak, entry.example.grid)));
  await showFrame(film.frame);
}

/** A button with a small picture of a map; over a picture, of the mean of its rows. */
function frameButton(map, step, i, peak, grid) {
  const over = grid && map.shape[1] === grid[0] * grid[1], palette = theme();
  const { shape, values } = over ? { shape: grid, values: rowsOf({ ...map, shape: [map.shape[0], 1, map.shape[1]] }, "mean")[0] } : map;
  const rows = rowsOf({ shape, values }), [width, height] = thumbSize(shape);
  const src = painted(shape[1], shape[0], (q, k) => shade(rows[q][k], peak, "model", palette, palette.heat));
  return html("button", { type: "button", "aria-pressed": "false", onclick: () => showFrame(i) },
    html("img", { src, width, height, alt: "" }), html("span", {}, `step ${step}`));
}

/** Show one frame large; its button takes the focus where the keyboard asks for it. */
async function showFrame(wanted, focus = false) {
  const entry = film.entries[film.entry], frames = framesOf(entry), buttons = [...byId("film-strip").children];
  film.frame = Math.min(Math.max(wanted, 0), frames.length - 1);
  buttons.forEach((button, i) => {
    button.setAttribute("aria-pressed", String(i === film.frame));
    button.tabIndex = i === film.frame ? 0 : -1;
  });
  const current = buttons[film.frame], strip = byId("film-strip");
  strip.scrollLeft = Math.max(current.offsetLeft + current.offsetWidth / 2 - strip.clientWidth / 2, 0);
  if (focus) current.focus({ preventScroll: true });
  const { example } = entry, { step, packed } = frames[film.frame];
  const [map, gold] = await Promise.all([unpack(packed), unpack(example.gold_map)]);
  const rows = rowsOf(map), annotated = gold.values.some(Boolean);
  const drawing = {
    model: rows, gold: annotated ? rowsOf(gold) : null, view: "model", marks: annotated, queries: example.queries, keys: example.keys,
    content: await contentOf(example, {}), width: Math.max(Math.min(byId("film-map").clientWidth || 900, 1040) - 4, 300),
    peak: Math.max(...rows.map((row) => Math.max(...row)), 1e-6),
  };
  byId("film-map").replaceChildren(figure("film", (palette) => drawMap(drawing, palette), `step ${step}`));
}
