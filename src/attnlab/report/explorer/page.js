// The page: its state, its sections, and what keys do.

const data = JSON.parse(document.getElementById("data").textContent);
const { runs, examples } = data;
const several = runs.length > 1;
const about = Object.assign({}, ...runs.map(({ figures }) => figures.about ?? {})); // explanations by figure
const byId = (id) => document.getElementById(id);

const fragment = new URLSearchParams(location.hash.slice(1));
const state = {
  search: fragment.get("search") ?? "",
  sort: fragment.get("sort") in SORTS ? fragment.get("sort") : several ? "differ" : "wrong",
  filter: fragment.get("filter") in FILTERS ? fragment.get("filter") : "all",
  id: fragment.get("example"),
  site: fragment.get("site") ?? OWN,
  head: fragment.get("head") === "mean" || !fragment.get("head") ? "mean" : Number(fragment.get("head")),
  view: VIEWS.includes(fragment.get("view")) ? fragment.get("view") : "model",
  marks: fragment.get("marks") !== "no",
};
let listed = [];

const BESIDE = 380, GAP = 32; // maps as wide as this stand side by side: see .side in the style

// --- examples -----------------------------------------------------------------------------------

function showList() {
  listed = chosen(examples, state);
  if (!listed.some((example) => example.id === state.id)) state.id = listed[0]?.id ?? null;
  byId("count").textContent = listed.length === examples.length ? `${examples.length} examples` : `${listed.length} of ${examples.length} examples`;
  byId("list").replaceChildren(...listed.map((example) => {
    const text = textOf(example), mass = onGold(example);
    const marks = example.gold ? example.runs.filter(Boolean).map((run) => html("span", { class: run.correct ? "right" : "wrong" }, run.correct ? "✓" : "✗")) : [];
    return html("li", {}, html("button", { "data-id": example.id, tabindex: -1, onclick: () => choose(example.id) },
      html("span", { class: "what" }, text || example.id),
      html("span", { class: "where" }, secondLine(example, text)),
      html("span", { class: "state" }, ...marks, html("br"), mass === null ? "" : percent(mass))));
  }));
  markCurrent();
}

/** Below the text of an example, or its name: the answer, where there is one. */
function secondLine(example, text) {
  const [run] = example.runs;
  if (!several && example.gold) return run.correct ? run.prediction : `${run.prediction || "(nothing)"}, gold ${example.gold}`;
  const known = loss(example);
  return text ? example.id : known ? `loss ${number(known)}` : "";
}

function markCurrent() {
  for (const button of byId("list").querySelectorAll("button")) {
    const current = button.dataset.id === state.id;
    button.setAttribute("aria-current", current);
    button.tabIndex = current ? 0 : -1;
    if (current) reveal(button);
  }
}

/** Scroll the list alone: `scrollIntoView` would scroll the page, too. */
function reveal(button) {
  const list = byId("list"), top = button.offsetTop, bottom = top + button.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

function choose(id) {
  state.id = id;
  markCurrent();
  return showExample();
}

function step(by) {
  const place = listed.findIndex((example) => example.id === state.id);
  const next = listed[Math.min(Math.max(place + by, 0), listed.length - 1)];
  if (!next) return;
  const focused = byId("list").contains(document.activeElement);
  choose(next.id);
  if (focused) byId("list").querySelector("[aria-current=true]").focus({ preventScroll: true });
}

function change(more) {
  Object.assign(state, more);
  return showExample();
}

function toolbar(example) {
  const sites = sitesOf(example), count = headsAt(example, state.site);
  const option = (value, text, current) => html("option", { value, selected: value === current }, text);
  const mapSite = runs[0].map_site;
  const layers = html("select", { id: "site", onchange: (event) => change({ site: event.target.value, head: "mean" }) },
    ...sites.map((site) => option(site, site === OWN ? `evaluated (${mapSite})` : site, state.site)));
  const heads = html("select", { id: "head", onchange: (event) => change({ head: event.target.value === "mean" ? "mean" : Number(event.target.value) }) },
    option("mean", "mean of all", String(state.head)), ...Array.from({ length: count }, (_, i) => option(String(i), `${i + 1} of ${count}`, String(state.head))));
  heads.disabled = !count;
  const noGold = !hasGold(example, state.site), now = noGold ? "model" : state.view;
  const views = html("div", { class: "segmented", role: "group", "aria-label": "What is shown" },
    ...VIEWS.map((view) => html("button", { "aria-pressed": String(now === view), "data-view": view, disabled: noGold && view !== "model", onclick: () => change({ view }) }, view)));
  const marks = html("input", { type: "checkbox", id: "marks", checked: state.marks, disabled: noGold, onchange: (event) => change({ marks: event.target.checked }) });
  return html("div", { class: "bar" }, html("div", { class: "controls" }, html("label", {}, "Layer", layers), html("label", {}, "Head", heads)),
    views, html("label", { class: "check" }, marks, "gold frames"));
}

/** Whether there are more maps than the one that is evaluated. */
function hasHeads(example) {
  return example.runs.some((run) => run && Object.values(run.heads).reduce((sum, { shape }) => sum + shape[0], 0) > 1);
}

let request = 0; // drawing waits for maps to be unpacked: only the latest request is shown

async function showExample() {
  const mine = ++request;
  const example = examples.find((each) => each.id === state.id);
  for (const name of [...drawings.keys()]) if (name.startsWith("map-") || name.startsWith("heads-")) drawings.delete(name);
  if (!example) { byId("example").replaceChildren(html("p", { class: "note" }, "No example matches.")); return; }
  if (!sitesOf(example).includes(state.site)) Object.assign(state, { site: OWN, head: "mean" });
  if (state.head !== "mean" && state.head >= headsAt(example, state.site)) state.head = "mean";
  const maps = await figuresOf(example, state);
  const grids = await Promise.all(example.runs.map((run) => (run && hasHeads(example) && Object.keys(run.heads).length ? headGrid(example, run, state) : null)));
  if (mine !== request) return;
  const focus = document.activeElement?.id, pressed = document.activeElement?.dataset?.view;
  const heads = grids.map((grid, i) => grid && headsPanel(example, grid, i)).filter(Boolean);
  byId("example").replaceChildren(
    html("h2", {}, example.id), factsList(example), toolbar(example),
    html("div", { class: several ? "side" : "" }, ...maps.map((map) => mapPanel(example, map))),
    html("section", { class: "heads", hidden: !hasHeads(example) }, html("h3", {}, "Every layer and head"), html("div", { class: several ? "side" : "" }, ...heads)));
  if (["site", "head", "marks"].includes(focus)) byId(focus)?.focus();
  if (pressed) byId("example").querySelector(`[data-view=${pressed}]`)?.focus();
  remember();
}

/** Each run's map of an example, on one scale. */
async function figuresOf(example, settings) {
  const all = byId("example").clientWidth || 900, beside = several && all >= 2 * BESIDE + GAP;
  const width = Math.max(Math.min(beside ? (all - GAP) / 2 : all, 1040) - 4, 300);
  const wanted = await Promise.all(example.runs.map((run) => (run ? mapDrawing(example, run, settings, width) : null)));
  const peak = Math.max(...wanted.filter(Boolean).flatMap((map) => valuesOf(map).map((row) => row.reduce((m, v) => Math.max(m, Math.abs(v)), 0))), 1e-6);
  return wanted.map((map, i) => ({ map: map && { ...map, peak }, name: `map-${example.id}${several ? `-${letter(i)}` : ""}`, i }));
}

function mapPanel(example, { map, name, i }) {
  const run = example.runs[i];
  const title = several ? [html("h3", {}, runMark(i), runs[i].name), ...(run ? [addRunFacts(html("dl", { class: "answers" }), example, run)] : [])] : [];
  const body = map ? figure(name, (palette) => drawMap(map, palette)) : html("p", { class: "note" }, "This run kept no such map of this example.");
  return html("div", { class: "panel" }, ...title, body);
}

function headsPanel(example, grid, i) {
  const frame = figure(`heads-${example.id}${several ? `-${letter(i)}` : ""}`, grid);
  const pick = (event) => {
    const head = event.target.closest("[data-head]");
    if (!head || (event.type === "keydown" && !["Enter", " "].includes(event.key))) return;
    event.preventDefault();
    change({ site: head.dataset.site, head: Number(head.dataset.head) });
  };
  frame.addEventListener("click", pick);
  frame.addEventListener("keydown", pick);
  return html("div", { class: "panel" }, ...(several ? [html("h3", {}, runMark(i), runs[i].name)] : []), frame);
}

/** The address names what is shown, so that a link to it can be sent. */
function remember() {
  const { id, ...rest } = state;
  const words = new URLSearchParams({ example: id });
  for (const [key, value] of Object.entries(rest)) if (value !== "" && value !== true && value !== OWN) words.set(key, value === false ? "no" : value);
  history.replaceState(null, "", `#${words}`);
}

// --- keys and controls ---------------------------------------------------------------------------

function cycle(values, current) {
  return values[(values.indexOf(current) + 1) % values.length];
}

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  v: () => change({ view: cycle(VIEWS, state.view) }),
  g: () => change({ marks: !state.marks }),
  l: () => change({ site: cycle(sitesOf(examples.find((e) => e.id === state.id)), state.site), head: "mean" }),
  h: () => change({ head: cycle(["mean", ...Array(headsAt(examples.find((e) => e.id === state.id), state.site)).keys()], state.head) }),
  "/": () => byId("search").focus(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], select");
  if (typing && event.key === "Escape") event.target.blur();
  const inList = byId("list").contains(event.target);
  const scrolls = event.key.startsWith("Arrow") && !inList;
  if (typing || scrolls || !(event.key in KEYS) || (!state.id && event.key !== "/")) return;
  event.preventDefault();
  KEYS[event.key]();
}

function fillSelect(id, options) {
  byId(id).replaceChildren(...Object.entries(options).filter(([, o]) => several || !o.several)
    .map(([value, { title }]) => html("option", { value, selected: value === state[id] }, title)));
  byId(id).addEventListener("change", (event) => { state[id] = event.target.value; state.id = null; showList(); showExample(); });
}

/** All figures as text, for `attnlab report --export`. */
async function exportAll(count) {
  const pictures = {};
  const save = async (name) => { pictures[name] = { svg: svgText(name), png: await pngUrl(name) }; };
  for (const example of listed.slice(0, count)) {
    await choose(example.id);
    for (const name of [...drawings.keys()]) if (name.startsWith("map-") || name.startsWith("heads-")) await save(name);
  }
  for (const name of drawings.keys()) if (!(name in pictures)) await save(name);
  document.body.append(html("pre", { id: "exported", hidden: true }, JSON.stringify(pictures)));
}

function showAll() {
  showRuns();
  showVerdict();
  showClasses();
  showCalibration();
  showComparison();
  showCurves();
  showProvenance();
  showList();
  return Promise.all([showExample(), showFilm()]);
}

async function start() {
  index(examples);
  fillSelect("sort", SORTS);
  fillSelect("filter", FILTERS);
  byId("search").value = state.search;
  byId("search").addEventListener("input", (event) => { state.search = event.target.value; showList(); showExample(); });
  byId("examples").hidden = !examples.length;
  document.addEventListener("keydown", onKey);
  darkMode.addEventListener("change", showAll);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(() => { showExample(); showFilm(); }, 150); });
  startFilm();
  await showAll();
  document.documentElement.dataset.ready = "yes";
  if (fragment.has("export")) await exportAll(Number(fragment.get("export")));
}

start();
