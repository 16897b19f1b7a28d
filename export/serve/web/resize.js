// Brings pictures to the form of the training images, by the arithmetic of the Pillow library.

// White paper under transparent pixels; one value from 0 to 255 a channel.
export function flatten(picture, channels, invert) {
  const { width, height, data } = picture;
  const planes = Array.from({ length: channels }, () => new Float32Array(width * height));
  for (let pixel = 0; pixel < width * height; pixel += 1) {
    const alpha = data[4 * pixel + 3];
    const [red, green, blue] = [0, 1, 2].map((channel) => Math.round((data[4 * pixel + channel] * alpha + 255 * (255 - alpha)) / 255));
    const values = channels === 1 ? [(red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16] : [red, green, blue];
    values.forEach((value, channel) => { planes[channel][pixel] = invert ? 255 - value : value; });
  }
  return planes;
}

// Resizes planes of a picture; returns the numbers of one row of the model: height, width, channels.
export function toRow(planes, width, height, image) {
  const to = { width: image.width ?? width, height: image.height ?? height };
  const fitted = planes.map((plane) => fit(plane, width, height, to, image.resize));
  const [low, high] = image.range;
  const row = new Float32Array(to.width * to.height * planes.length);
  for (let pixel = 0; pixel < to.width * to.height; pixel += 1) {
    fitted.forEach((plane, channel) => {
      row[pixel * planes.length + channel] = low + (plane[pixel] / 255) * (high - low);
    });
  }
  return row;
}

function fit(plane, width, height, to, how) {
  if (width === to.width && height === to.height) return plane;
  if (how === "crop") {
    const scale = Math.min(width / to.width, height / to.height);
    const box = { left: (width - to.width * scale) / 2, top: (height - to.height * scale) / 2, width: to.width * scale, height: to.height * scale };
    return resize(plane, width, height, to.width, to.height, box);
  }
  if (how !== "pad") return resize(plane, width, height, to.width, to.height);
  const scale = Math.min(to.width / width, to.height / height);
  const inner = { width: Math.max(Math.round(width * scale), 1), height: Math.max(Math.round(height * scale), 1) };
  const small = resize(plane, width, height, inner.width, inner.height);
  const filled = new Float32Array(to.width * to.height);
  const [left, top] = [Math.floor((to.width - inner.width) / 2), Math.floor((to.height - inner.height) / 2)];
  for (let y = 0; y < inner.height; y += 1) filled.set(small.subarray(y * inner.width, (y + 1) * inner.width), (y + top) * to.width + left);
  return filled;
}

function resize(plane, width, height, newWidth, newHeight, box = { left: 0, top: 0, width, height }) {
  const across = new Float32Array(newWidth * height);
  weights(width, newWidth, box.left, box.width).forEach(({ first, shares }, x) => {
    for (let y = 0; y < height; y += 1) {
      let sum = 0;
      for (let index = 0; index < shares.length; index += 1) sum += shares[index] * plane[y * width + first + index];
      across[y * newWidth + x] = Math.min(Math.max(Math.round(sum), 0), 255);
    }
  });
  const down = new Float32Array(newWidth * newHeight);
  weights(height, newHeight, box.top, box.height).forEach(({ first, shares }, y) => {
    for (let x = 0; x < newWidth; x += 1) {
      let sum = 0;
      for (let index = 0; index < shares.length; index += 1) sum += shares[index] * across[(first + index) * newWidth + x];
      down[y * newWidth + x] = Math.min(Math.max(Math.round(sum), 0), 255);
    }
  });
  return down;
}

// The part that each old pixel has in each new one: a triangle as wide as the picture shrinks, so that all are averaged.
function weights(size, newSize, start, length) {
  const scale = length / newSize;
  const reach = Math.max(scale, 1);
  return Array.from({ length: newSize }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(Math.floor(centre - reach + 0.5), 0);
    const last = Math.min(Math.floor(centre + reach + 0.5), size);
    const shares = Array.from({ length: last - first }, (__, index) => Math.max(1 - Math.abs((index + first - centre + 0.5) / reach), 0));
    const total = shares.reduce((sum, share) => sum + share, 0);
    return { first, shares: shares.map((share) => share / total) };
  });
}
