// A card: one cluster with its typical segments, its name, and how much it is.

import { count, h, percent } from "/static/dom.js";
import { nameBox } from "/static/namebox.js";
import { classesOf, titleOf, UNNAMED } from "/static/naming.js";
import { get, state } from "/static/state.js";

const CROPS = 6;

/** Samples of nodes, kept while the page is open: they do not depend on names or K. */
const kept = new Map();
export function samples(node, kind, number) {
  const key = `${node} ${kind} ${number}`;
  if (!kept.has(key)) {
    const found = get(`/api/samples/${node}/${kind}`, { count: number });
    found.catch(() => kept.delete(key));
    kept.set(key, found);
  }
  return kept.get(key);
}

export const cropUrl = (found, side) => `${state.run.pictures}/crop/${found.image}/${found.segment}/${side}`;

/** Return the picture of a segment. */
export function crop(found, side) {
  return h("img", {
    src: cropUrl(found, side), width: side, height: side, loading: "lazy", decoding: "async",
    alt: `Segment ${found.segment} of ${found.id}`, title: found.id,
  });
}

/** Fill an element with the typical segments of a node. */
export async function fillCrops(element, node, number = CROPS, side = 224) {
  try {
    const found = await samples(node, "nearest", number);
    element.replaceChildren(...found.map((segment) => crop(segment, side)));
  } catch (error) {
    element.replaceChildren(h("p", { class: "soft" }, error.message));
  }
}

/** Return the coloured bar of a node's classes, widest first; what is unnamed is a gap. */
export function band() {
  const element = h("span", { class: "band", "aria-hidden": "true" });
  const show = (node) => {
    const found = classesOf(node), all = found.reduce((sum, [, pixels]) => sum + pixels, 0) || 1;
    element.replaceChildren(...found.map(([number, pixels]) => {
      const part = h("span", { class: number === UNNAMED ? "unnamed" : "" });
      part.style.flexGrow = pixels / all;
      if (number !== UNNAMED) part.style.setProperty("--colour", state.names.classes[number].colour);
      return part;
    }));
  };
  return { element, show };
}

/** The line about a node: share of pixels, segments, images. */
export function facts(node) {
  const { run, tree } = state;
  return `${percent(tree.pixels[node] / run.pixels)} of pixels · ${count(tree.segments[node], "segment")} · ${count(run.nodeImages[node], "image")}`;
}

export class Card {
  constructor(node, actions) {
    this.node = node;
    this.crops = h("span", { class: "crops" }, Array.from({ length: CROPS }, () => h("span", { class: "empty" })));
    this.band = band();
    this.label = h("span", { class: "label" });
    this.named = nameBox(node, () => this.element.focus());
    this.mark = h("span", { class: "mark" });
    this.open = h("button", { class: "open", tabIndex: -1, onclick: () => actions.open(node) }, this.crops);
    const button = (text, key, act) => h("button", { class: "small", tabIndex: -1, title: `${text} (${key})`, onclick: act }, text);
    this.element = h("article", { class: "card", tabIndex: 0, data: { node }, role: "group", "aria-keyshortcuts": "Enter Space M S 0 1 2 3 4 5 6 7 8 9" },
      this.band.element,
      this.open,
      h("div", { class: "card-head" }, this.label, this.named.field),
      h("div", { class: "card-foot" },
        h("span", { class: "soft facts" }, facts(node)),
        h("span", { class: "acts" }, button("Join", "M", () => actions.join(node)), button("Split", "S", () => actions.split(node)))));
    this.show();
  }

  fill() { return fillCrops(this.crops, this.node); }

  show() {
    const label = state.labels.get(this.node) ?? "";
    this.label.textContent = label;
    const found = classesOf(this.node);
    const name = found.length > 1 ? "mixed" : titleOf(found[0][0]);
    this.element.setAttribute("aria-label", `Cluster ${label}, ${name}, ${facts(this.node)}`);
    this.element.classList.toggle("done", found[0][0] !== UNNAMED && found.length === 1);
    this.element.classList.toggle("ignored", found.length === 1 && found[0][0] !== UNNAMED && state.names.classes[found[0][0]].ignore);
    this.open.setAttribute("aria-label", `Look at cluster ${label}`);
    this.named.show();
    this.band.show(this.node);
  }
}
