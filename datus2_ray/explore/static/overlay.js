// Colours over an image, computed here from its segments and the names: a new name is seen at once.

import { clusterColour, findClass, hexToRgb, UNNAMED } from "/static/naming.js";
import { state } from "/static/state.js";

const NO_SEGMENT = 65535, NO_LABEL = 65535;

export const look = { colouring: null, masks: "masks", patterns: false };

/** Whether taught masks are shown: their labels are classes, not clusters. */
const showsTaught = () => look.masks === "taught" && state.run.taught !== null;

/** The address of what `readMap` reads now. */
const mapUrl = (image) => `${state.run.pictures}/${showsTaught() ? `taught/${state.run.taught.version}` : "map"}/${image}`;

/** Whether a map is not the one that is to be shown any more. */
export const isStale = (map, image) => map.url !== mapUrl(image);

/** Read the label map of an image: segment, and refined cluster or taught class, of every pixel. */
export async function readMap(image) {
  const url = mapUrl(image), taught = showsTaught(), answer = await fetch(url);
  if (!answer.ok) throw new Error(await answer.text());
  const bitmap = await createImageBitmap(await answer.blob(), { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  // Segments in the upper half, labels in the lower one.
  const { width } = bitmap, height = bitmap.height / 2, canvas = new OffscreenCanvas(width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true, alpha: false });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, width, 2 * height).data;
  const both = new Uint16Array(2 * width * height);
  for (let i = 0, at = 0; i < both.length; i++, at += 4) both[i] = pixels[at] | (pixels[at + 1] << 8);
  const segments = both.subarray(0, width * height), labels = both.subarray(width * height);
  return { width, height, segments, labels, taught, url };
}

/** The class that most of the area of each cluster of the masks has. */
export function classOfRunClusters() {
  const pixels = Array.from({ length: state.run.k }, () => new Map());
  state.names.fine.forEach((found, leaf) => {
    const at = pixels[state.ofRunCluster[leaf]];
    at.set(found, (at.get(found) ?? 0) + state.tree.pixels[leaf]);
  });
  return pixels.map((found) => [...found].sort((a, b) => b[1] - a[1])[0]?.[0] ?? UNNAMED);
}

/** The class of every segment of an image. */
export const classesOfSegments = (image) => image.fine.map((leaf, segment) => image.own[segment] ?? state.names.fine[leaf]);

/** The node of the view that every fine cluster is in, by its place in the view. */
let places = null, placesOf = null;
function viewPlaces() {
  if (placesOf === state.labels) return places;
  places = new Int32Array(state.tree.leaves);
  [...state.labels.keys()].forEach((node, place) => state.tree.leavesOf(node).forEach((leaf) => { places[leaf] = place; }));
  placesOf = state.labels;
  return places;
}

const coloursOf = () => look.colouring ?? (state.names.classes.length ? "classes" : "clusters");

/** Paint an image's label map into a canvas, with the colours of classes or clusters. */
export function paint(canvas, map, image) {
  const { width, height, segments, labels } = map, byClass = coloursOf() === "classes";
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d"), out = context.createImageData(width, height), data = out.data;
  const classes = classesOfSegments(image), ofLabels = byClass ? classOfRunClusters() : null, place = viewPlaces();
  const colours = state.names.classes.map(({ colour, ignore }) => (ignore ? [40, 42, 46] : hexToRgb(colour)));
  const clusters = byClass ? null : image.fine.map((leaf) => clusterColour(place[leaf]));
  const refined = byClass && state.run.refined && look.masks === "masks";
  const taught = byClass && map.taught ? state.run.taught.classes.map(findClass) : null;
  for (let i = 0, at = 0; i < segments.length; i++, at += 4) {
    const segment = segments[i], label = labels[i];
    let found = UNNAMED, colour = null;
    if (byClass) {
      if (taught) found = taught[label] ?? UNNAMED;
      else if (refined && label !== NO_LABEL && (segment === NO_SEGMENT || state.ofRunCluster[image.fine[segment]] !== label)) found = ofLabels[label] ?? UNNAMED;
      else if (segment !== NO_SEGMENT) found = classes[segment];
      if (found !== UNNAMED) colour = colours[found];
    } else if (segment !== NO_SEGMENT) {
      colour = clusters[segment];
    }
    if (!colour) continue;
    [data[at], data[at + 1], data[at + 2]] = colour;
    data[at + 3] = look.patterns && byClass && isGap(found, i % width, Math.floor(i / width), width) ? 70 : 255;
  }
  context.putImageData(out, 0, 0);
}

/** Whether a pixel is a gap of a class's pattern: solid, stripes, dots, bars, and so on. */
function isGap(found, x, y, width) {
  const step = Math.max(1, Math.round(width / 160)), a = Math.floor(x / step), b = Math.floor(y / step);
  switch (found % 6) {
    case 1: return (a + b) % 6 < 2;
    case 2: return a % 5 < 2 && b % 5 < 2;
    case 3: return b % 5 < 2;
    case 4: return (a - b + 6000) % 6 < 2;
    case 5: return a % 5 < 2;
    default: return false;
  }
}

/** Draw the outline of a segment into a canvas of the label map's size. */
export function outline(canvas, map, segment) {
  const { width, height, segments } = map;
  const scale = Math.max(1, Math.ceil(900 / Math.max(width, height)));
  canvas.width = width * scale;
  canvas.height = height * scale;
  if (segment === null) return;
  const context = canvas.getContext("2d"), lines = new Path2D();
  const at = (x, y) => x >= 0 && y >= 0 && x < width && y < height && segments[y * width + x] === segment;
  for (let y = 0; y <= height; y++) {
    for (let x = 0; x <= width; x++) {
      if (at(x, y) !== at(x - 1, y)) { lines.moveTo(x * scale, y * scale); lines.lineTo(x * scale, (y + 1) * scale); }
      if (at(x, y) !== at(x, y - 1)) { lines.moveTo(x * scale, y * scale); lines.lineTo((x + 1) * scale, y * scale); }
    }
  }
  context.lineCap = "square";
  for (const [colour, thick] of [["#000", 7], ["#fff", 3.5]]) {
    context.strokeStyle = colour;
    context.lineWidth = thick * Math.max(1, (width * scale) / 1100);
    context.stroke(lines);
  }
}
