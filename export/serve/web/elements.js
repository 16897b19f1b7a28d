// Makes elements of the page; texts are always texts, never markup.

export function element(name, properties = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (key in made) made[key] = value;
    else made.setAttribute(key, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

export function percent(value) {
  if (value > 0.9995 && value < 1) return "> 99.9 %";
  if (value > 0 && value < 0.0005) return "< 0.1 %";
  return `${(100 * value).toFixed(1)} %`;
}

export function short(value) {
  return Number.isInteger(value) ? String(value) : String(Number(value.toPrecision(4)));
}

// Colours of classes, red, green and blue from 0 to 255: neighbours in the order differ in hue and in lightness.
export function colours(count) {
  const canvas = document.createElement("canvas");
  canvas.width = count;
  canvas.height = 1;
  const context = canvas.getContext("2d", { willReadFrequently: true });
  for (let number = 0; number < count; number += 1) {
    context.fillStyle = `hsl(${(number * 137.508 + 205) % 360} ${[52, 40, 62][number % 3]}% ${[62, 73, 54, 67][number % 4]}%)`;
    context.fillRect(number, 0, 1, 1);
  }
  const { data } = context.getImageData(0, 0, count, 1);
  return Array.from({ length: count }, (_, number) => [data[4 * number], data[4 * number + 1], data[4 * number + 2]]);
}
