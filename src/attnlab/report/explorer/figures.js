// A figure on the page: drawn for the theme, and saved as SVG or PNG in the light one.

const drawings = new Map(); // name -> draw(palette)

function figure(name, draw, caption) {
  drawings.set(name, draw);
  const save = html("div", { class: "save" },
    html("button", { onclick: () => download(name, "svg"), "aria-label": `Save ${name} as SVG` }, "SVG"),
    html("button", { onclick: () => download(name, "png"), "aria-label": `Save ${name} as PNG` }, "PNG"));
  const frame = html("figure", { "data-figure": name }, draw(theme()), save);
  if (caption) frame.append(html("figcaption", {}, caption));
  return frame;
}

/** The source of a figure, as a file that stands alone. */
function svgText(name) {
  const picture = drawings.get(name)(LIGHT);
  const { width, height } = picture.viewBox.baseVal;
  picture.prepend(svg("rect", { width, height, fill: LIGHT.paper }));
  return new XMLSerializer().serializeToString(picture);
}

/** The figure as a PNG, `scale` pixels for each unit. */
async function pngUrl(name, scale = 3) {
  const picture = new Image();
  picture.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(svgText(name))}`;
  await picture.decode();
  const area = document.createElement("canvas");
  area.width = picture.naturalWidth * scale;
  area.height = picture.naturalHeight * scale;
  area.getContext("2d").drawImage(picture, 0, 0, area.width, area.height);
  return area.toDataURL("image/png");
}

async function download(name, kind) {
  const url = kind === "svg"
    ? URL.createObjectURL(new Blob([svgText(name)], { type: "image/svg+xml" }))
    : await pngUrl(name);
  html("a", { href: url, download: `${name.replace(/[^\w.-]+/g, "-")}.${kind}` }).click();
}
