// Sort the rows by the column whose name is pressed; the second press turns the order round.

const rows = document.getElementById("rows");

function key(row, column) {
  const cell = row.cells[column];
  if (!("value" in cell.dataset)) return cell.textContent.trim();
  return cell.dataset.value === "" ? null : Number(cell.dataset.value);
}

/** Numbers by size, words by letter; what is not known is always last. */
function compare(a, b, sign) {
  if (a === null || b === null) return (a === null) - (b === null);
  return sign * (typeof a === "number" ? a - b : a.localeCompare(b));
}

document.querySelectorAll("thead th[aria-sort]").forEach((header, column) => {
  header.querySelector("button").addEventListener("click", () => {
    const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
    document.querySelectorAll("thead th[aria-sort]").forEach((each) => each.setAttribute("aria-sort", "none"));
    header.setAttribute("aria-sort", sign === 1 ? "ascending" : "descending");
    const sorted = [...rows.rows].sort((a, b) => compare(key(a, column), key(b, column), sign));
    rows.append(...sorted);
  });
});

document.documentElement.dataset.ready = "yes";
