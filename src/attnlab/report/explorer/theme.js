// Colours and numbers. Every figure is drawn for a theme, so that an exported one is always light.

const FONT = "Inter, 'Helvetica Neue', 'Segoe UI', system-ui, 'DejaVu Sans', sans-serif";
const MONO = "ui-monospace, 'SF Mono', 'DejaVu Sans Mono', monospace";

const LIGHT = {
  paper: "#fdfdfc", ink: "#1b2430", soft: "#55616f", line: "#dfe3e7", faint: "#f2f4f6",
  heat: ["#f4f6f8", "#b9d3ee", "#5b97d3", "#12427d"],
  text: ["#fdfdfc", "#cfe1f4", "#86b6e6"], textLess: "#f0b48c", // behind ink, so never dark
  more: "#1f5fa8", less: "#c2571a", gold: "#b3401f",
  runs: ["#1f5fa8", "#b3401f", "#1c6b45", "#7a3d94", "#8a6100", "#0d6e78", "#a02c62", "#4d5763"],
};
const DARK = {
  paper: "#12161b", ink: "#e4e8ec", soft: "#a3adb8", line: "#2e3640", faint: "#1f262e",
  heat: ["#1b2129", "#244a73", "#4d8fd1", "#cfe6ff"],
  text: ["#12161b", "#1d3a5a", "#2b5f98"], textLess: "#8a4a1e",
  more: "#7fb2ea", less: "#f0a06b", gold: "#f0946f",
  runs: ["#7fb2ea", "#f0946f", "#6fc79a", "#c79be0", "#dcb75a", "#63c3cf", "#ee8fb8", "#b6c0ca"],
};

const darkMode = window.matchMedia("(prefers-color-scheme: dark)");
const theme = () => (darkMode.matches ? DARK : LIGHT);

const channels = (hex) => [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16));

/** The colour at `share` (0 to 1) of a row of colours. */
function ramp(colours, share) {
  const place = Math.min(Math.max(share, 0), 1) * (colours.length - 1);
  const low = Math.min(Math.floor(place), colours.length - 2);
  const from = channels(colours[low]), to = channels(colours[low + 1]);
  const mixed = from.map((c, i) => Math.round(c + (to[i] - c) * (place - low)));
  return `rgb(${mixed.join(",")})`;
}

/** The colour of a weight, or of a difference, whose greatest value is `peak`. */
function shade(value, peak, view, palette, colours) {
  const share = peak > 0 ? value / peak : 0;
  if (view !== "difference") return ramp(colours, Math.sqrt(Math.max(share, 0)));
  const ends = colours === palette.text ? [palette.textLess, colours[2]] : [palette.less, palette.more];
  return ramp([ends[0], colours[0], ends[1]], (Math.sign(share) * Math.sqrt(Math.abs(share)) + 1) / 2);
}

/** A figure with three telling digits. */
function number(value) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  if (size !== 0 && size < 0.0005) return value.toExponential(1);
  return value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 3);
}

/** A difference, or an end of its interval: zero without a sign. */
function signed(value, plus = "") {
  const text = Math.abs(value) >= 10 ? value.toFixed(1) : value.toFixed(3);
  if (Number(text) === 0) return "0.000";
  return value > 0 ? `${plus}${text}` : `−${text.slice(1)}`;
}

const percent = (value) => `${(100 * value).toFixed(1)} %`;
const INITIALS = { iou: "IoU", chrf: "chrF", kl: "KL", minmax: "min-max", map: "mAP", map50: "mAP 50", map75: "mAP 75" };
for (const name of ["aer", "auc", "auprc", "bleu", "cc", "f1", "mrr", "nss"]) INITIALS[name] = name.toUpperCase();

/** A figure's name as people write it: `iou_f1` is "IoU F1". */
const words = (name) => name.split("_").map((part) => INITIALS[part] ?? part).join(" ");
const letter = (i) => String.fromCharCode(65 + i);
