// What belongs to what: classes of nodes of the tree, shares of classes, colours.

import { state } from "/static/state.js";

export const UNNAMED = -1;

/** Classes of a node by their pixels, largest first: [[class, pixels], …]. */
let known = new Map(), knownOf = null;
export function classesOf(node) {
  if (knownOf !== state.names) { known = new Map(); knownOf = state.names; }
  if (!known.has(node)) known.set(node, countClasses(node));
  return known.get(node);
}

function countClasses(node) {
  const pixels = new Map();
  for (const leaf of state.tree.leavesOf(node)) {
    const found = state.names.fine[leaf];
    pixels.set(found, (pixels.get(found) ?? 0) + state.tree.pixels[leaf] + 1e-9);
  }
  return [...pixels].sort((a, b) => b[1] - a[1]);
}

/** The one class of a node; undefined where it has parts of several. */
export function classOf(node) {
  const found = classesOf(node);
  return found.length === 1 ? found[0][0] : undefined;
}

/** Pixels of every class, and of what is unnamed under -1. */
export function pixelsOfClasses() {
  const pixels = new Map(state.names.classes.map((_, number) => [number, 0]));
  pixels.set(UNNAMED, 0);
  state.names.fine.forEach((found, leaf) => pixels.set(found, pixels.get(found) + state.tree.pixels[leaf]));
  return pixels;
}

export const titleOf = (number) => number === UNNAMED ? "unnamed" : state.names.classes[number].name;

/** The number of a class of that name, whatever its case; -1 if there is none. */
export const findClass = (name) => state.names.classes.findIndex((found) => found.name.toLowerCase() === name.toLowerCase());

/** A placeholder, which joining gives to clusters that have no name yet. */
export const isPlaceholder = (name) => /^cluster \d+[ab]*$/.test(name);

/** A colour per number, neighbours far apart, all of like lightness. */
export function clusterColour(number) {
  const hue = (number * 137.508) % 360, light = 0.45 + 0.2 * ((number % 3) / 2);
  return hslToRgb(hue, 0.5, light);
}

export function hexToRgb(hex) {
  const value = parseInt(hex.slice(1), 16);
  return [value >> 16, (value >> 8) & 255, value & 255];
}

function hslToRgb(hue, saturation, light) {
  const chroma = saturation * Math.min(light, 1 - light);
  const channel = (n) => {
    const at = (n + hue / 30) % 12;
    return Math.round(255 * (light - chroma * Math.max(-1, Math.min(at - 3, 9 - at, 1))));
  };
  return [channel(0), channel(8), channel(4)];
}
