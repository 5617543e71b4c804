// One cluster, large: nearest, random and borderline segments, its halves, and what is like it.

import { band, crop, facts, fillCrops, samples } from "/static/card.js";
import { focusCluster } from "/static/clusters.js";
import { $, h, moveInGrid, say } from "/static/dom.js";
import { showImagesOf } from "/static/images.js";
import { joinNodes, openJoin } from "/static/join.js";
import { nameBox, nameByKey, nameNode } from "/static/namebox.js";
import { classOf, titleOf } from "/static/naming.js";
import { on, split, state } from "/static/state.js";
import { openViewer } from "/static/viewer.js";

const KINDS = [
  ["nearest", "Nearest", "the most typical of each of its fine clusters"],
  ["random", "Random", "drawn with equal chances: what it really is"],
  ["borderline", "Borderline", "nearly as near to another cluster"],
];
const COUNT = 36;

let shown = null;

export function startDetail() {
  on("names", () => shown?.show());
  $("detail").addEventListener("close", () => { const { node } = shown ?? {}; shown = null; if (node !== undefined) focusCluster(node); });
}

export function openDetail(node) {
  const { tree, labels, run } = state, dialog = $("detail"), label = labels.get(node) ?? `of node ${node}`;
  const bar = band(), name = nameBox(node, () => pictures.querySelector("button")?.focus());
  const pictures = h("div", { class: "gallery", role: "group", "aria-label": "Segments" });
  const why = h("span", { class: "soft" });
  const tabs = KINDS.map(([kind, title, text]) => h("button", { role: "tab", onclick: () => choose(kind, text), data: { kind } }, title));
  const choose = async (kind, text) => {
    tabs.forEach((tab) => tab.setAttribute("aria-selected", String(tab.dataset.kind === kind)));
    why.textContent = text;
    const found = await samples(node, kind, COUNT).catch((error) => { say(error.message, "error"); return []; });
    pictures.replaceChildren(...found.map((one) => h("button", { class: "picture", "aria-label": `Segment ${one.segment} of ${one.id}: open the image`, onclick: () => openViewer(one.image, one.segment) }, crop(one, 224))));
    if (!found.length) pictures.replaceChildren(h("p", { class: "soft" }, kind === "borderline" ? "No segment is near to another cluster." : "It has no segments."));
  };
  pictures.addEventListener("keydown", (event) => { if (moveInGrid(event.key, [...pictures.children], document.activeElement)) { event.preventDefault(); event.stopPropagation(); } });
  const side = h("div", { class: "side" });
  const small = (other, text, act, title) => {
    const crops = h("span", { class: "crops row" });
    fillCrops(crops, other, 4, 112);
    const found = classOf(other);
    return h("div", { class: "relative" }, crops, h("div", {}, h("span", {}, h("b", {}, labels.get(other) ?? ""), " ", found === undefined ? "mixed" : titleOf(found)), h("button", { class: "small", title, onclick: act }, text)));
  };
  const showSide = () => side.replaceChildren(
    h("h3", {}, "Most alike"),
    ...tree.relatives(node, labels, 4).map((other) => small(other, "Join", () => joinNodes(node, other), `Join with ${labels.get(other)}`)),
    ...(tree.isLeaf(node) ? [h("p", { class: "soft" }, "This is a fine cluster; it cannot be split further.")] : [
      h("h3", {}, "Its two halves"),
      ...tree.children(node).map((child) => { const crops = h("span", { class: "crops row" }); fillCrops(crops, child, 4, 112); return h("div", { class: "relative" }, crops, h("span", { class: "soft" }, facts(child))); }),
      h("button", { onclick: () => { dialog.close(); split(node); focusCluster(tree.children(node)[0]); }, title: "Split (S)" }, "Split it")]),
    h("h3", {}, "Images"),
    h("button", { onclick: () => { dialog.close(); showImagesOf(node); } }, `Show its ${run.nodeImages[node].toLocaleString("en")} images`));
  dialog.replaceChildren(
    h("div", { class: "dialog-head" }, h("h2", { id: "detail-title" }, `Cluster ${label}`), name.field, h("span", { class: "soft" }, facts(node)), h("button", { class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "Close")),
    bar.element,
    h("div", { class: "columns" },
      h("div", { class: "wide" }, h("div", { class: "tabs", role: "tablist", "aria-label": "Which segments" }, tabs, why), pictures), side));
  dialog.onkeydown = (event) => {
    if (event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
    if (/^[1-9]$/.test(event.key)) nameByKey(node, Number(event.key));
    else if (event.key === "0") nameNode(node, null);
    else if (event.key === "s" && !tree.isLeaf(node)) { dialog.close(); split(node); focusCluster(tree.children(node)[0]); }
    else if (event.key === "m") { dialog.close(); openJoin(node); }
    else return;
    event.preventDefault();
  };
  shown = { node, show: () => { name.show(); bar.show(node); showSide(); } };
  shown.show();
  choose(KINDS[0][0], KINDS[0][2]);
  if (!dialog.open) dialog.showModal();
  tabs[0].focus();
}
