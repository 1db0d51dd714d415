// Which examples are shown, and in which order.

const mean = (values) => (values.length ? values.reduce((a, b) => a + b, 0) / values.length : null);
const there = (values) => values.filter((v) => v !== null && v !== undefined);
const overRuns = (example, read) => mean(there(example.runs.filter(Boolean).map(read)));

const isRight = (run) => Number(run.right);
const loss = (example) => overRuns(example, (run) => run.loss) ?? 0;
const onGold = (example) => overRuns(example, (run) => run.mass);

/** Right answers from a wrong place, wrong answers from the right one. */
const surprise = (example) => overRuns(example, (run) => (run.mass === null ? null : Math.abs(isRight(run) - run.mass))) ?? -1;

/** How far apart the runs are: first in their answers, then in their mass on gold. */
function disagreement(example) {
  const runs = example.runs.filter(Boolean), masses = there(runs.map((run) => run.mass));
  const spread = masses.length ? Math.max(...masses) - Math.min(...masses) : 0;
  return (new Set(runs.map((run) => run.prediction)).size - 1) * 10 + spread;
}

const SORTS = {
  wrong: { says: "most wrong", by: (e) => -(1 - overRuns(e, isRight)) * 1e6 - loss(e) },
  surprise: { says: "most surprising", by: (e) => -surprise(e) },
  gold: { says: "least on gold", by: (e) => onGold(e) ?? 2 },
  differ: { says: "most different", by: (e) => -disagreement(e), several: true },
  long: { says: "longest", by: (e) => -e.keys.length },
  order: { says: "in order", by: (e) => e.place },
};

const FILTERS = {
  all: { says: "all examples", keeps: () => true },
  wrong: { says: "wrong answers", keeps: (e) => e.runs.some((run) => run && !run.right) },
  right: { says: "right answers", keeps: (e) => e.runs.every((run) => !run || run.right) },
  off: { says: "most weight off gold", keeps: (e) => (onGold(e) ?? 1) < 0.5 },
  lucky: { says: "right, but off gold", keeps: (e) => e.runs.some((run) => run && run.right && run.mass !== null && run.mass < 0.5) },
  differ: { says: "runs disagree", keeps: (e) => new Set(e.runs.filter(Boolean).map((run) => run.prediction)).size > 1, several: true },
};

function textOf(example) {
  const keys = example.keys.every((key) => [...key].length <= 1) ? example.keys.join("") : example.keys.join(" ");
  return example.form === "text" ? keys : Object.values(example.beside).join(" ");
}

function chosen(examples, { search, sort, filter }) {
  const needle = search.trim().toLowerCase();
  const holds = (example) => !needle || example.haystack.includes(needle);
  return examples
    .filter((example) => FILTERS[filter].keeps(example) && holds(example))
    .map((example) => [SORTS[sort].by(example), example])
    .sort((a, b) => a[0] - b[0] || a[1].place - b[1].place)
    .map(([, example]) => example);
}

/** Made once: what search looks in. */
function index(examples) {
  examples.forEach((example, place) => {
    example.place = place;
    const said = example.runs.filter(Boolean).map((run) => run.prediction);
    example.haystack = [example.id, textOf(example), example.gold, ...Object.values(example.beside), ...said, JSON.stringify(example.meta)].join("\n").toLowerCase();
  });
}
