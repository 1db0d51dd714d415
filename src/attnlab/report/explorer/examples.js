// Which examples are listed, and in which order.

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const there = (values) => values.filter((v) => v !== null && v !== undefined);
const overRuns = (example, read) => mean(there(example.runs.filter(Boolean).map(read)));

const isCorrect = (run) => Number(run.correct);
const loss = (example) => overRuns(example, (run) => run.loss) ?? 0;
const onGold = (example) => overRuns(example, (run) => run.mass);

/** High for correct answers with their weight off gold, and wrong ones with it on gold. */
const surprise = (example) => overRuns(example, (run) => (run.mass === null ? null : Math.abs(isCorrect(run) - run.mass))) ?? -1;

/** How far apart the runs are: first in their answers, then in their mass on gold. */
function disagreement(example) {
  const runs = example.runs.filter(Boolean), masses = there(runs.map((run) => run.mass));
  const spread = masses.length ? Math.max(...masses) - Math.min(...masses) : 0;
  return (new Set(runs.map((run) => run.prediction)).size - 1) * 10 + spread;
}

const SORTS = {
  wrong: { title: "most wrong", by: (e) => -(1 - overRuns(e, isCorrect)) * 1e6 - loss(e) },
  surprise: { title: "most surprising", by: (e) => -surprise(e) },
  gold: { title: "least on gold", by: (e) => onGold(e) ?? 2 },
  differ: { title: "most different", by: (e) => -disagreement(e), several: true },
  long: { title: "longest", by: (e) => -e.keys.length },
  order: { title: "in order", by: (e) => e.index },
};

const FILTERS = {
  all: { title: "all examples", keeps: () => true },
  wrong: { title: "wrong answers", keeps: (e) => e.runs.some((run) => run && !run.correct) },
  right: { title: "right answers", keeps: (e) => e.runs.every((run) => !run || run.correct) },
  off: { title: "most weight off gold", keeps: (e) => (onGold(e) ?? 1) < 0.5 },
  lucky: { title: "right, but off gold", keeps: (e) => e.runs.some((run) => run && run.correct && run.mass !== null && run.mass < 0.5) },
  differ: { title: "runs disagree", keeps: (e) => new Set(e.runs.filter(Boolean).map((run) => run.prediction)).size > 1, several: true },
};

function textOf(example) {
  const keys = example.keys.every((key) => [...key].length <= 1) ? example.keys.join("") : example.keys.join(" ");
  return example.form === "text" ? keys : Object.values(example.context).join(" ");
}

function chosen(examples, { search, sort, filter }) {
  const needle = search.trim().toLowerCase();
  const holds = (example) => !needle || example.searched.includes(needle);
  return examples
    .filter((example) => FILTERS[filter].keeps(example) && holds(example))
    .map((example) => [SORTS[sort].by(example), example])
    .sort((a, b) => a[0] - b[0] || a[1].index - b[1].index)
    .map(([, example]) => example);
}

/** Adds what the search looks in. */
function index(examples) {
  examples.forEach((example, place) => {
    example.index = place;
    const predictions = example.runs.filter(Boolean).map((run) => run.prediction);
    example.searched = [example.id, textOf(example), example.gold, ...Object.values(example.context), ...predictions, JSON.stringify(example.meta)].join("\n").toLowerCase();
  });
}
