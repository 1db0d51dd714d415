// What stands above and below the examples: the runs, their figures, their differences, curves.

function runMark(i) {
  return html("span", { class: "mark", style: `background:${theme().runs[i % theme().runs.length]}` }, letter(i));
}

function showRuns() {
  if (!several) {
    const { folder, figures: { cost = {} } } = runs[0];
    const facts = [folder];
    if (cost.parameters) facts.push(`${cost.parameters.toLocaleString("en")} parameters`);
    if (cost.train_seconds) facts.push(`${cost.train_seconds.toFixed(1)} s of training`);
    byId("about").textContent = facts.join("  ·  ");
    return;
  }
  byId("about").textContent = `${runs.length} runs; differences are from run A`;
  const settings = Object.entries(data.settings).filter(([key]) => !key.endsWith(".kind") || !(key.replace(/kind$/, "name") in data.settings)).slice(0, 7);
  byId("runs").hidden = false;
  byId("runs").replaceChildren(
    html("thead", {}, html("tr", {}, ...["run", ...settings.map(([key]) => key), "parameters", "seconds"].map((text) => html("th", {}, text)))),
    html("tbody", {}, ...runs.map((run, i) => html("tr", { title: run.folder },
      html("td", {}, runMark(i), run.name),
      ...settings.map(([, values]) => html("td", {}, values[i] === null ? "–" : String(values[i]))),
      html("td", {}, run.figures.cost?.parameters?.toLocaleString("en") ?? "–"),
      html("td", {}, run.figures.cost?.train_seconds?.toFixed(1) ?? "–")))));
}

const QUESTIONS = {
  answer: "Is the answer good?", attention: "Is the attention right?", trust: "Does the attention decide?",
  calibration: "Is it as sure as it is right?",
};

const SENTENCES = {
  answer: "Every figure of the test data, with its 95 % interval and its controls.",
  attention: "The map against gold, with its 95 % interval, and what uniform and other control maps reach.",
  trust: "The share of answers that change when another map takes the place of the model's own.",
  calibration: "Probabilities against how often answers are right, as they are and divided by a temperature fitted on validation.",
};

function linesOf(group) {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.figures[group] ?? {})))];
  return names.filter((name) => runs.some(({ figures }) => isInformative(name, figures[group]?.[name]))).map((name) => ({
    name: group === "trust" ? `${name} map` : name,
    values: runs.map(({ figures }) => {
      const [low, high] = figures.intervals[group === "trust" ? `trust/${name}` : name] ?? [];
      return { value: figures[group]?.[name] ?? null, ...(low === undefined || low === null ? {} : { low, high }) };
    }),
    controls: Object.entries(controlsOf(group)).map(([who, known]) => ({ name: who, value: known[name] })),
  }));
}

/** The figures of the controls of maps or answers. */
function controlsOf(group) {
  const { controls, answer_controls: answers } = runs[0].figures;
  if (group === "answer") return answers ?? {};
  if (group !== "attention") return {};
  return Object.fromEntries(CONTROLS.filter((who) => who in controls).map((who) => [who, controls[who]]));
}

/** Whether a figure is shown: counts of undefined values are, where there are any. */
const isInformative = (name, value) => !name.endsWith("_undefined") || Boolean(value);

/** The first figure of a group, other than the loss. */
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
  if (group === "calibration") return `between how sure answers are and how often they are right, in the mean (ECE): as it is, and divided by a temperature fitted on validation.`;
  if (group === "trust") return `of the answers change when a ${line.name} takes the place of the model's own. The fewer, the less the attention decides.`;
  const known = (who) => line.controls.find((control) => control.name === who)?.value;
  const uniform = known("uniform"), prior = known("position");
  const controls = [[uniform, "a uniform map"], [prior, "a guess by position alone"]].filter(([v]) => v !== null && v !== undefined);
  return `${words(line.name)}${controls.length && value !== null ? `; ${controls.map(([v, who]) => `${who} has ${number(v)}`).join(", ")}` : ""}.`;
}

function showVerdict() {
  const groups = Object.keys(QUESTIONS).filter((group) => linesOf(group).length);
  byId("verdict").replaceChildren(html("div", { class: "verdict" }, ...groups.map((group) => {
    const lines = linesOf(group), first = headline(group), box = html("div", {}, html("h3", {}, QUESTIONS[group]));
    if (!several) {
      const { value, low, high } = first.values[0];
      const unit = unitOf(group, first);
      const between = low === undefined ? "" : `${unit(low)} – ${unit(high)}`;
      box.append(html("p", { class: "headline" }, value === null ? "–" : unit(value), html("small", {}, between)), html("p", { class: "sentence" }, sentence(group, first)));
    }
    if (several) box.append(html("p", { class: "sentence" }, SENTENCES[group]));
    box.append(...dotCharts(group, lines), ...meaningsOf(lines));
    return box;
  })));
}

/** One line for a figure: what it is, which way is better, what control maps score here. */
function meaningOf({ name, controls }) {
  const { help, higher_is_better: up, uniform, perfect } = about[name] ?? {};
  if (!help) return "";
  const here = (who) => controls.find((control) => control.name === who)?.value;
  const score = (who, title, general) => {
    const value = here(who);
    return value === null || value === undefined ? (general ? `${title}: ${general}` : "") : `${title}: ${number(value)} here`;
  };
  const better = up === true ? "higher is better" : up === false ? "lower is better" : "";
  return [help, better, score("uniform", "uniform map", uniform), score("oracle", "perfect map", perfect)].filter(Boolean).join("; ");
}

/** The same of all figures, as a list that unfolds. */
function meaningsOf(lines) {
  const explained = lines.filter(meaningOf);
  if (!explained.length) return [];
  const list = html("dl", { class: "meanings" }, ...explained.flatMap((line) => [html("dt", {}, words(line.name)), html("dd", {}, meaningOf(line))]));
  return [html("details", {}, html("summary", {}, "what these figures are"), list)];
}

function showComparison() {
  if (!data.differences.length) return;
  byId("comparison").hidden = false;
  const shown = data.differences.filter((d) => runs.some(({ figures }) => isInformative(d.figure, figures[d.group]?.[d.figure])));
  const names = [...new Set(shown.map((d) => `${d.group}/${d.figure}`))];
  const header = ["figure", "run A", ...runs.slice(1).flatMap((_, i) => [`run ${letter(i + 1)}`, "difference", "95 % interval", "p"])];
  byId("comparison-table").replaceChildren(
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
      name: several ? `${letter(i)} ${split}` : split, colour: (palette) => palette.runs[i % palette.runs.length],
    })));
    return lines.length ? figure(`curve-${name.replace(/\//g, "-")}`, (palette) => curveChart(name.replace("attention/", "attention: "), lines, palette)) : null;
  });
  byId("curves").replaceChildren(...charts.filter(Boolean));
  byId("training").hidden = !charts.some(Boolean);
}

/** How each run was made. */
function showProvenance() {
  const names = [...new Set(runs.flatMap((run) => Object.keys(run.provenance)))];
  byId("provenance").hidden = !names.length;
  const head = several ? [html("thead", {}, html("tr", {}, html("th", {}, ""), ...runs.map((_, i) => html("th", {}, runMark(i)))))] : [];
  byId("provenance-table").replaceChildren(...head, html("tbody", {}, ...names.map((name) =>
    html("tr", {}, html("th", { scope: "row" }, name), ...runs.map((run) => html("td", {}, run.provenance[name] ?? "–"))))));
}
