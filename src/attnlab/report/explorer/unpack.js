// Maps are deflated bytes on a square-root scale: see attnlab.report.rendering.

const unpacked = new WeakMap();

/** {shape, values} of a packed map; made once. */
function unpack(packed) {
  if (!unpacked.has(packed)) unpacked.set(packed, inflate(packed));
  return unpacked.get(packed);
}

async function inflate({ shape, bits, peak, data }) {
  const bytes = Uint8Array.from(atob(data), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  const raw = await new Response(stream).arrayBuffer();
  const numbers = bits === 8 ? new Uint8Array(raw) : new Uint16Array(raw);
  const greatest = 2 ** bits - 1;
  return { shape, values: Float64Array.from(numbers, (n) => peak * (n / greatest) ** 2) };
}

/** A map as rows; of several heads one, or their mean where `head` is "mean". */
function rowsOf({ shape, values }, head = 0) {
  const [queries, keys] = shape.slice(-2);
  const heads = shape.length === 3 ? shape[0] : 1;
  const chosen = head === "mean" ? [...Array(heads).keys()] : [head];
  const at = (q, k) => chosen.reduce((sum, h) => sum + values[(h * queries + q) * keys + k], 0) / chosen.length;
  return Array.from({ length: queries }, (_, q) => Float64Array.from({ length: keys }, (_, k) => at(q, k)));
}
