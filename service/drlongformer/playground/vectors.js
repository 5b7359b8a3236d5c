/* Vectors as the service sends them with `encoding: base64`, and how alike they are. */

/** Little-endian float32 numbers of a base64 string. */
export function decoded(base64) {
  const bytes = Uint8Array.from(atob(base64), (sign) => sign.charCodeAt(0));
  const view = new DataView(bytes.buffer);
  return Float32Array.from({ length: bytes.length / 4 }, (_, place) => view.getFloat32(4 * place, true));
}

/** The cosine of every vector with every other: `[n][n]`, 1 on the diagonal. */
export function cosines(vectors) {
  const unit = vectors.map((vector) => {
    const length = Math.hypot(...vector) || 1;
    return vector.map((number) => number / length);
  });
  return unit.map((one) => unit.map((other) => one.reduce((total, number, place) => total + number * other[place], 0)));
}

/** The pairs of a matrix of likeness, most alike first: `[{first, second, score}]`. */
export function pairs(matrix) {
  const found = matrix.flatMap((row, first) =>
    row.slice(first + 1).map((score, place) => ({ first, second: first + 1 + place, score })),
  );
  return found.sort((one, other) => other.score - one.score);
}
