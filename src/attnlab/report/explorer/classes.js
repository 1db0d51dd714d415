// Figures of each class, and what its examples were taken for.

const MOST_CLASSES = 40; // of a matrix that is drawn

function showClasses() {
  const own = runs.filter((run) => run.classes);
  byId("classes").hidden = !own.length;
  if (!own.length) return;
  const columns = ["class", "examples", ...own.flatMap((run) => {
    const mark = several ? `${letter(runs.indexOf(run))} ` : "";
    return ["precision", "recall", "F1", "most often taken for"].map((name) => mark + name);
  })];
  const names = [...new Set(own.flatMap((run) => run.classes.names))];
  byId("classes-table").replaceChildren(
    html("thead", {}, html("tr", {}, ...columns.map((name, i) => html("th", { class: i && !name.endsWith("for") && "number" }, name)))),
    html("tbody", {}, ...names.map((name) => classRow(name, own))));
  const drawn = own.filter(({ classes }) => classes.confusion && classes.names.length > 1 && classes.names.length <= MOST_CLASSES);
  byId("confusion").replaceChildren(...drawn.map((run) => {
    const mark = several ? `confusion-${letter(runs.indexOf(run))}` : "confusion";
    return figure(mark, (palette) => confusionChart(run.classes, palette), several ? `run ${letter(runs.indexOf(run))}` : "");
  }));
}

function classRow(name, own) {
  const row = html("tr", {}, html("th", { scope: "row" }, name));
  own.forEach(({ classes }, i) => {
    const place = classes.names.indexOf(name);
    if (!i) row.append(html("td", { class: "number" }, place < 0 ? "–" : String(classes.gold[place])));
    for (const figure_ of ["precision", "recall", "f1"]) row.append(html("td", { class: "number" }, number(classes[figure_][place])));
    row.append(html("td", {}, place < 0 ? "–" : takenFor(classes, place)));
  });
  return row;
}

/** The wrong class that is most often predicted for a class. */
function takenFor({ names, confusion }, place) {
  if (!confusion) return "–";
  const wrong = confusion[place].map((times, i) => (i === place ? 0 : times)), most = Math.max(...wrong);
  return most ? `${names[wrong.indexOf(most)]} (${most})` : "–";
}

/** Gold down, predictions across; a row is shaded by shares of its class. */
function confusionChart({ names, confusion }, palette) {
  const side = 26, size = 11, short = (name) => (name.length > 22 ? `${name.slice(0, 21)}…` : name);
  const left = Math.max(...names.map((name) => widthOf(short(name), size))) + 12;
  const width = left + side * names.length + left * 0.72, height = left * 0.72 + 26 + side * names.length;
  const top = height - side * names.length;
  const picture = canvas(width, height, "confusion matrix: gold down, predictions across");
  picture.append(label("gold ↓  predicted →", 0, 12, palette.soft, { size }));
  confusion.forEach((row, i) => {
    const total = row.reduce((sum, times) => sum + times, 0), y = top + i * side;
    picture.append(label(short(names[i]), left - 8, y + side / 2 + 4, palette.ink, { anchor: "end", size }));
    const x = left + i * side + side / 2;
    picture.append(label(short(names[i]), x, top - 6, palette.ink, { size, transform: `rotate(-45 ${x} ${top - 6})` }));
    row.forEach((times, j) => {
      const share = total ? times / total : 0, at = left + j * side;
      picture.append(svg("rect", { x: at, y, width: side - 1, height: side - 1, fill: ramp(palette.heat, share) }));
      if (times) picture.append(label(String(times), at + side / 2, y + side / 2 + 4, share > 0.5 ? palette.paper : palette.ink, { anchor: "middle", size: 10 }));
    });
  });
  hover(picture, (event) => {
    const [x, y] = pointIn(picture, event), i = Math.floor((y - top) / side), j = Math.floor((x - left) / side);
    return confusion[i]?.[j] === undefined ? "" : `${confusion[i][j]} of class ${names[i]} predicted as ${names[j]}`;
  });
  return picture;
}
