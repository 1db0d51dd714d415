// The page: its state, its sections, and what keys do.

const data = JSON.parse(document.getElementById("data").textContent);
const { runs, examples } = data;
const several = runs.length > 1;
const part = (id) => document.getElementById(id);

const asked = new URLSearchParams(location.hash.slice(1));
const state = {
  search: asked.get("search") ?? "",
  sort: asked.get("sort") in SORTS ? asked.get("sort") : several ? "differ" : "wrong",
  filter: asked.get("filter") in FILTERS ? asked.get("filter") : "all",
  id: asked.get("example"),
  site: asked.get("site") ?? OWN,
  head: asked.get("head") === "mean" || !asked.get("head") ? "mean" : Number(asked.get("head")),
  view: VIEWS.includes(asked.get("view")) ? asked.get("view") : "model",
  marks: asked.get("marks") !== "no",
};
let found = [];

const BESIDE = 380, GAP = 32; // maps as wide as this stand side by side: see .side in the style

// --- what does not change -----------------------------------------------------------------------

function runMark(i) {
  return html("span", { class: "mark", style: `background:${theme().runs[i % theme().runs.length]}` }, letter(i));
}

function showRuns() {
  if (!several) {
    const { folder, figures: { cost = {} } } = runs[0];
    const facts = [folder];
    if (cost.parameters) facts.push(`${cost.parameters.toLocaleString("en")} parameters`);
    if (cost.train_seconds) facts.push(`${cost.train_seconds.toFixed(1)} s of training`);
    part("about").textContent = facts.join("  ·  ");
    return;
  }
  part("about").textContent = `${runs.length} runs; differences are from run A`;
  const settings = Object.entries(data.settings).filter(([key]) => !key.endsWith(".kind") || !(key.replace(/kind$/, "name") in data.settings)).slice(0, 7);
  part("runs").hidden = false;
  part("runs").replaceChildren(
    html("thead", {}, html("tr", {}, ...["run", ...settings.map(([key]) => key), "parameters", "seconds"].map((text) => html("th", {}, text)))),
    html("tbody", {}, ...runs.map((run, i) => html("tr", { title: run.folder },
      html("td", {}, runMark(i), run.name),
      ...settings.map(([, values]) => html("td", {}, values[i] === null ? "–" : String(values[i]))),
      html("td", {}, run.figures.cost?.parameters?.toLocaleString("en") ?? "–"),
      html("td", {}, run.figures.cost?.train_seconds?.toFixed(1) ?? "–")))));
}

const QUESTIONS = {
  answer: "Is the answer good?", attention: "Is the attention right?", trust: "Does the attention decide?",
};

const SAYS = {
  answer: "Every figure of the test data, with its 95 % interval and what is reached without looking.",
  attention: "The map against gold, with its 95 % interval and what maps reach that know nothing, or all.",
  trust: "The share of answers that change when another map takes the place of the model's own.",
};

function linesOf(group) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.figures[group] ?? {})))];
  return names.filter((name) => runs.some(({ figures }) => telling(name, figures[group]?.[name]))).map((name) => ({
    name: group === "trust" ? `${name} map` : name,
    values: runs.map(({ figures }) => {
      const [low, high] = figures.intervals[group === "trust" ? `trust/${name}` : name] ?? [];
      return { value: figures[group]?.[name] ?? null, ...(low === undefined || low === null ? {} : { low, high }) };
    }),
    controls: Object.entries(controlsOf(group)).map(([who, known]) => ({ name: who, value: known[name] })),
  }));
}

/** The figures of what knows nothing, or little, or all: of maps, or of answers. */
function controlsOf(group) {
  const { controls, answer_controls: answers } = runs[0].figures;
  if (group === "answer") return answers ?? {};
  if (group !== "attention") return {};
  return Object.fromEntries(CONTROLS.filter((who) => who in controls).map((who) => [who, controls[who]]));
}

/** Whether a figure says something: how often another one has no value does where it happens. */
const telling = (name, value) => !name.endsWith("_undefined") || Boolean(value);

/** The telling figure of a group: the loss says little on its own. */
function headline(group) {
  const lines = linesOf(group);
  return lines.find((line) => line.name !== "loss" && line.values[0].value !== null) ?? lines[0];
}

/** How a headline is written. */
const unitOf = (group, line) => (group === "trust" || ["exact_match", "accuracy"].includes(line.name) ? percent : number);

function sentence(group, line) {
  const { value } = line.values[0];
  if (group === "answer") {
    const known = line.controls.filter((control) => control.value !== null && control.value !== undefined);
    const unit = unitOf(group, line), beside = known.map((control) => `; ${words(control.name)} has ${unit(control.value)}`).join("");
    return `${words(line.name)} on the test data${beside}. Below, every figure with its 95 % interval.`;
  }
  if (group === "trust") return `of the answers change when a ${line.name} takes the place of the model's own. The fewer, the less the attention decides.`;
  const known = (who) => line.controls.find((control) => control.name === who)?.value;
  const uniform = known("uniform"), prior = known("position");
  const controls = [[uniform, "a uniform map"], [prior, "a guess by position alone"]].filter(([v]) => v !== null && v !== undefined);
  return `${words(line.name)}${controls.length && value !== null ? `; ${controls.map(([v, who]) => `${who} has ${number(v)}`).join(", ")}` : ""}.`;
}

function showVerdict() {
  const groups = Object.keys(QUESTIONS).filter((group) => linesOf(group).length);
  part("verdict").replaceChildren(html("div", { class: "verdict" }, ...groups.map((group) => {
    const lines = linesOf(group), first = headline(group), box = html("div", {}, html("h3", {}, QUESTIONS[group]));
    if (!several) {
      const { value, low, high } = first.values[0];
      const unit = unitOf(group, first);
      const between = low === undefined ? "" : `${unit(low)} – ${unit(high)}`;
      box.append(html("p", { class: "headline" }, value === null ? "–" : unit(value), html("small", {}, between)), html("p", { class: "says" }, sentence(group, first)));
    }
    if (several) box.append(html("p", { class: "says" }, SAYS[group]));
    box.append(...dotCharts(group, lines));
    return box;
  })));
}

function showComparison() {
  if (!data.differences.length) return;
  part("comparison").hidden = false;
  const said = data.differences.filter((d) => runs.some(({ figures }) => telling(d.figure, figures[d.group]?.[d.figure])));
  const names = [...new Set(said.map((d) => `${d.group}/${d.figure}`))];
  const header = ["figure", "run A", ...runs.slice(1).flatMap((_, i) => [`run ${letter(i + 1)}`, "difference", "95 % interval", "p"])];
  part("comparison-table").replaceChildren(
    html("thead", {}, html("tr", {}, ...header.map((text, i) => html("th", { class: i && "number" }, text)))),
    html("tbody", {}, ...names.map((name) => {
      const [group, key] = name.split("/");
      const cell = (text, strong) => html("td", { class: "number" }, strong ? html("b", {}, text) : text);
      const row = html("tr", {}, html("td", {}, group === "trust" ? `changed by ${key} map` : words(key)), cell(number(runs[0].figures[group][key])));
      runs.slice(1).forEach((run, i) => {
        const d = data.differences.find((each) => each.run === i + 1 && each.group === group && each.figure === key);
        if (!d) { row.append(...Array.from({ length: 4 }, () => cell("–"))); return; }
        const sure = d.p !== null && d.p < 0.05;
        row.append(cell(number(run.figures[group][key])), cell(signed(d.difference, "+"), sure),
          cell(d.low === null ? "–" : `${signed(d.low)} to ${signed(d.high)}`), cell(d.p === null ? "–" : d.p < 0.002 ? "< 0.002" : d.p.toFixed(3), sure));
      });
      return row;
    })));
}

function showCurves() {
  const keys = [...new Set(runs.flatMap((run) => Object.keys(run.curves)))];
  const names = [...new Set(keys.map((key) => key.slice(key.indexOf("/") + 1)))];
  const charts = names.map((name) => {
    const lines = runs.flatMap(({ curves }, i) => ["train", "val"].filter((split) => curves[`${split}/${name}`]?.length).map((split) => ({
      points: curves[`${split}/${name}`], faint: split === "train",
      said: several ? `${letter(i)} ${split}` : split, colour: (palette) => palette.runs[i % palette.runs.length],
    })));
    return lines.length ? figure(`curve-${name.replace(/\//g, "-")}`, (palette) => curveChart(name.replace("attention/", "attention: "), lines, palette)) : null;
  });
  part("curves").replaceChildren(...charts.filter(Boolean));
  part("training").hidden = !charts.some(Boolean);
}

// --- examples -----------------------------------------------------------------------------------

function showList() {
  found = chosen(examples, state);
  if (!found.some((example) => example.id === state.id)) state.id = found[0]?.id ?? null;
  part("count").textContent = found.length === examples.length ? `${examples.length} examples` : `${found.length} of ${examples.length} examples`;
  part("list").replaceChildren(...found.map((example) => {
    const text = textOf(example), mass = onGold(example);
    const marks = example.gold ? example.runs.filter(Boolean).map((run) => html("span", { class: run.right ? "right" : "wrong" }, run.right ? "✓" : "✗")) : [];
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
  if (!several && example.gold) return run.right ? run.prediction : `${run.prediction || "(nothing)"}, gold ${example.gold}`;
  const known = loss(example);
  return text ? example.id : known ? `loss ${number(known)}` : "";
}

function markCurrent() {
  for (const button of part("list").querySelectorAll("button")) {
    const current = button.dataset.id === state.id;
    button.setAttribute("aria-current", current);
    button.tabIndex = current ? 0 : -1;
    if (current) reveal(button);
  }
}

/** Scroll the list alone: `scrollIntoView` would scroll the page, too. */
function reveal(button) {
  const list = part("list"), top = button.offsetTop, bottom = top + button.offsetHeight;
  if (top < list.scrollTop) list.scrollTop = top;
  else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
}

function choose(id) {
  state.id = id;
  markCurrent();
  return showExample();
}

function step(by) {
  const place = found.findIndex((example) => example.id === state.id);
  const next = found[Math.min(Math.max(place + by, 0), found.length - 1)];
  if (!next) return;
  const focused = part("list").contains(document.activeElement);
  choose(next.id);
  if (focused) part("list").querySelector("[aria-current=true]").focus({ preventScroll: true });
}

function change(more) {
  Object.assign(state, more);
  return showExample();
}

function toolbar(example) {
  const sites = sitesOf(example), count = headsAt(example, state.site);
  const option = (value, text, current) => html("option", { value, selected: value === current }, text);
  const drawnAt = runs.map((run) => run.drawn)[0];
  const layers = html("select", { id: "site", onchange: (event) => change({ site: event.target.value, head: "mean" }) },
    ...sites.map((site) => option(site, site === OWN ? `judged (${drawnAt})` : site, state.site)));
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

/** Whether there is more to see than the map that is judged. */
function overview(example) {
  return example.runs.some((run) => run && Object.values(run.heads).reduce((sum, { shape }) => sum + shape[0], 0) > 1);
}

let turn = 0; // drawing waits for maps to be unpacked: only the last one asked for is shown

async function showExample() {
  const mine = ++turn;
  const example = examples.find((each) => each.id === state.id);
  for (const name of [...drawn.keys()]) if (name.startsWith("map-") || name.startsWith("heads-")) drawn.delete(name);
  if (!example) { part("example").replaceChildren(html("p", { class: "note" }, "No example is like this.")); return; }
  if (!sitesOf(example).includes(state.site)) Object.assign(state, { site: OWN, head: "mean" });
  if (state.head !== "mean" && state.head >= headsAt(example, state.site)) state.head = "mean";
  const maps = await figuresOf(example, state);
  const grids = await Promise.all(example.runs.map((run) => (run && overview(example) && Object.keys(run.heads).length ? headGrid(example, run, state) : null)));
  if (mine !== turn) return;
  const focus = document.activeElement?.id, pressed = document.activeElement?.dataset?.view;
  const heads = grids.map((grid, i) => grid && headsPanel(example, grid, i)).filter(Boolean);
  part("example").replaceChildren(
    html("h2", {}, example.id), factsList(example), toolbar(example),
    html("div", { class: several ? "side" : "" }, ...maps.map((map) => mapPanel(example, map))),
    html("section", { class: "heads", hidden: !overview(example) }, html("h3", {}, "Every layer and head"), html("div", { class: several ? "side" : "" }, ...heads)));
  if (["site", "head", "marks"].includes(focus)) part(focus)?.focus();
  if (pressed) part("example").querySelector(`[data-view=${pressed}]`)?.focus();
  remember();
}

/** Each run's map of an example, on one scale. */
async function figuresOf(example, settings) {
  const all = part("example").clientWidth || 900, beside = several && all >= 2 * BESIDE + GAP;
  const width = Math.max(Math.min(beside ? (all - GAP) / 2 : all, 1040) - 4, 300);
  const wanted = await Promise.all(example.runs.map((run) => (run ? mapAsked(example, run, settings, width) : null)));
  const peak = Math.max(...wanted.filter(Boolean).flatMap((map) => valuesOf(map).map((row) => row.reduce((m, v) => Math.max(m, Math.abs(v)), 0))), 1e-6);
  return wanted.map((map, i) => ({ map: map && { ...map, peak }, name: `map-${example.id}${several ? `-${letter(i)}` : ""}`, i }));
}

function mapPanel(example, { map, name, i }) {
  const run = example.runs[i];
  const title = several ? [html("h3", {}, runMark(i), runs[i].name), ...(run ? [sayRun(html("dl", { class: "answers" }), example, run)] : [])] : [];
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

/** The address names what is seen, so that it can be sent to somebody. */
function remember() {
  const { id, ...rest } = state;
  const words = new URLSearchParams({ example: id });
  for (const [key, value] of Object.entries(rest)) if (value !== "" && value !== true && value !== OWN) words.set(key, value === false ? "no" : value);
  history.replaceState(null, "", `#${words}`);
}

// --- what the reader does -----------------------------------------------------------------------

function cycle(values, current) {
  return values[(values.indexOf(current) + 1) % values.length];
}

const KEYS = {
  j: () => step(1), ArrowDown: () => step(1), k: () => step(-1), ArrowUp: () => step(-1),
  v: () => change({ view: cycle(VIEWS, state.view) }),
  g: () => change({ marks: !state.marks }),
  l: () => change({ site: cycle(sitesOf(examples.find((e) => e.id === state.id)), state.site), head: "mean" }),
  h: () => change({ head: cycle(["mean", ...Array(headsAt(examples.find((e) => e.id === state.id), state.site)).keys()], state.head) }),
  "/": () => part("search").focus(),
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.matches("input[type=search], select");
  if (typing && event.key === "Escape") event.target.blur();
  const inList = part("list").contains(event.target);
  const scrolls = event.key.startsWith("Arrow") && !inList;
  if (typing || scrolls || !(event.key in KEYS) || (!state.id && event.key !== "/")) return;
  event.preventDefault();
  KEYS[event.key]();
}

function fillSelect(id, options) {
  part(id).replaceChildren(...Object.entries(options).filter(([, o]) => several || !o.several)
    .map(([value, { says }]) => html("option", { value, selected: value === state[id] }, says)));
  part(id).addEventListener("change", (event) => { state[id] = event.target.value; state.id = null; showList(); showExample(); });
}

/** All figures as text, for `attnlab report --export`. */
async function exportAll(count) {
  const pictures = {};
  const save = async (name) => { pictures[name] = { svg: svgText(name), png: await pngUrl(name) }; };
  for (const example of found.slice(0, count)) {
    await choose(example.id);
    for (const name of [...drawn.keys()]) if (name.startsWith("map-") || name.startsWith("heads-")) await save(name);
  }
  for (const name of drawn.keys()) if (!(name in pictures)) await save(name);
  document.body.append(html("pre", { id: "exported", hidden: true }, JSON.stringify(pictures)));
}

function showAll() {
  showRuns();
  showVerdict();
  showComparison();
  showCurves();
  showList();
  return showExample();
}

async function start() {
  index(examples);
  fillSelect("sort", SORTS);
  fillSelect("filter", FILTERS);
  part("search").value = state.search;
  part("search").addEventListener("input", (event) => { state.search = event.target.value; showList(); showExample(); });
  part("examples").hidden = !examples.length;
  document.addEventListener("keydown", onKey);
  darkMode.addEventListener("change", showAll);
  let waiting = 0;
  window.addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(showExample, 150); });
  await showAll();
  document.documentElement.dataset.ready = "yes";
  if (asked.has("export")) await exportAll(Number(asked.get("export")));
}

start();
