// SVG elements, and how wide text is.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

function canvas(width, height, label) {
  return svg("svg", {
    xmlns: SVG, width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": label,
  });
}

function label(text, x, y, fill, { anchor = "start", size = 12, font = FONT, weight = 400, ...more } = {}) {
  const attributes = { x, y, fill, "text-anchor": anchor, "font-size": size, "font-family": font, "font-weight": weight };
  return svg("text", { ...attributes, ...more }, text);
}

const ruler = document.createElement("canvas").getContext("2d");

function widthOf(text, size, font = FONT) {
  ruler.font = `${size}px ${font}`;
  return ruler.measureText(text).width;
}

/** HTML elements, for everything that is not a figure. */
function html(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (value !== false && value !== null) element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children);
  return element;
}

const tip = document.getElementById("tip");

/** Show the text of `say(event)` at the pointer, if there is any. */
function hover(element, say) {
  element.addEventListener("pointermove", (event) => {
    const text = say(event);
    tip.hidden = !text;
    if (!text) return;
    tip.textContent = text;
    const { width, height } = tip.getBoundingClientRect();
    tip.style.left = `${Math.min(event.clientX + 14, window.innerWidth - width - 8)}px`;
    tip.style.top = `${event.clientY + height + 24 > window.innerHeight ? event.clientY - height - 12 : event.clientY + 18}px`;
  });
  element.addEventListener("pointerleave", () => { tip.hidden = true; });
}

/** Where the pointer is, in the units of the figure. */
function pointIn(figure, event) {
  const box = figure.getBoundingClientRect();
  const view = figure.viewBox.baseVal;
  return [(event.clientX - box.left) * (view.width / box.width), (event.clientY - box.top) * (view.height / box.height)];
}
