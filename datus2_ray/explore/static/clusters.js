// The view of clusters: a card each, largest first; the number of clusters as a slider over the tree.

import { Card } from "/static/card.js";
import { openDetail } from "/static/detail.js";
import { $, h, moveInGrid, perFrame, say, watcher } from "/static/dom.js";
import { openJoin } from "/static/join.js";
import { nameByKey, nameNode } from "/static/namebox.js";
import { classesOf, titleOf, UNNAMED } from "/static/naming.js";
import { on, setK, split, state } from "/static/state.js";

/** Cards that are shown unless more are asked for, and those that are drawn in one frame. */
const MOST = 240, PER_FRAME = 24;

const cards = new Map();
let drawing = 0, order = [], filter = "all", all = false;

const crops = watcher((element) => cards.get(Number(element.dataset.node))?.fill());
const actions = { open: openDetail, join: openJoin, split: (node) => splitCard(node) };

export function startClusters() {
  const { tree } = state, slider = $("k"), number = $("k-number");
  for (const field of [slider, number]) field.max = tree.leaves;
  slider.addEventListener("input", perFrame(() => { number.value = slider.value; setK(Number(slider.value)); }));
  number.addEventListener("change", () => { setK(Number(number.value)); number.value = slider.value = state.k; });
  $("filter").addEventListener("change", () => { filter = $("filter").value; arrange(); });
  $("find").addEventListener("input", perFrame(arrange));
  $("more-cards").addEventListener("click", () => { all = true; arrange(); });
  $("cards").addEventListener("keydown", onKey);
  on("view", arrange);
  on("names", () => { fillFilter(); for (const card of cards.values()) card.show(); count(); });
  fillFilter();
  arrange();
}

/** Show the clusters of one class, or all. */
export function filterClusters(value) {
  filter = filter === value ? "all" : value;
  $("filter").value = filter;
  arrange();
}
export const clusterFilter = () => filter;

function fillFilter() {
  const options = [["all", "all"], ["unnamed", "unnamed"], ["mixed", "mixed"], ...state.names.classes.map(({ name }) => [`class ${name}`, name])];
  if (!options.some(([value]) => value === filter)) filter = "all";
  $("filter").replaceChildren(...options.map(([value, text]) => h("option", { value }, text)));
  $("filter").value = filter;
}

function fits(node, text) {
  const found = classesOf(node);
  if (filter === "unnamed" && !found.some(([number]) => number === UNNAMED)) return false;
  if (filter === "mixed" && found.length < 2) return false;
  if (filter.startsWith("class ") && !found.some(([number]) => number !== UNNAMED && titleOf(number) === filter.slice(6))) return false;
  return !text || state.labels.get(node) === text || found.some(([number]) => number !== UNNAMED && titleOf(number).toLowerCase().includes(text));
}

/** Choose and order the cards anew. Naming does not call this: nothing jumps while one works. */
function arrange() {
  const { tree, labels, k } = state, grid = $("cards");
  $("k").value = $("k-number").value = k;
  $("k").setAttribute("aria-valuetext", `${k} clusters`);
  const text = $("find").value.trim().toLowerCase();
  const before = new Set(order);
  const nodes = [...labels.keys()].filter((node) => fits(node, text));
  // The halves of a split stand where the whole stood; all else by size.
  const size = (node) => { let at = node; while (state.splits.has(tree.parent[at])) at = tree.parent[at]; return tree.pixels[at]; };
  nodes.sort((a, b) => size(b) - size(a) || tree.pixels[b] - tree.pixels[a]);
  order = all ? nodes : nodes.slice(0, MOST);
  const shown = new Set(order), focused = document.activeElement?.closest?.(".card");
  const lost = focused && !shown.has(Number(focused.dataset.node)) ? Number(focused.dataset.node) : null;
  for (const [node, card] of cards) {
    if (shown.has(node)) continue;
    crops.unobserve(card.element);
    cards.delete(node);
  }
  // Those in the window at once, the others frame by frame: the slider stays fluent. What has the focus is among the first.
  const first = Math.max(PER_FRAME, focused ? order.indexOf(lost === null ? Number(focused.dataset.node) : heirIn(shown, lost)) + PER_FRAME : 0);
  const draw = (node) => {
    const fresh = !cards.has(node);
    if (fresh) cards.set(node, new Card(node, actions));
    const card = cards.get(node);
    if (fresh || !before.has(node)) crops.observe(card.element);
    if (!fresh) card.show();
    return card.element;
  };
  const mine = ++drawing;
  grid.replaceChildren(...order.slice(0, first).map(draw));
  const rest = (from) => {
    if (mine !== drawing || from >= order.length) return;
    grid.append(...order.slice(from, from + PER_FRAME).map(draw));
    requestAnimationFrame(() => rest(from + PER_FRAME));
  };
  requestAnimationFrame(() => rest(first));
  if (focused) (cards.get(lost === null ? Number(focused.dataset.node) : heirIn(shown, lost)) ?? cards.get(order[0]))?.element.focus({ preventScroll: true });
  $("more-cards").hidden = order.length === nodes.length;
  count();
}

/** The node that shows what a node showed: the whole that it is in, or the larger half of it. */
function heirIn(shown, node) {
  for (let at = node; at >= 0; at = state.tree.parent[at]) if (shown.has(at)) return at;
  return order.find((other) => { for (let at = other; at >= 0; at = state.tree.parent[at]) if (at === node) return true; return false; });
}

function count() {
  const all_ = state.labels.size;
  const named = [...state.labels.keys()].filter((node) => classesOf(node).every(([number]) => number !== UNNAMED)).length;
  $("shown").textContent = `${order.length === all_ ? "" : `${order.length} shown · `}${named} of ${all_} named`;
}

/** Focus the card of a node; return whether it could be: that it is shown. */
export function focusCluster(node) {
  const card = cards.get(node);
  if (!card || $("clusters").hidden) return false;
  card.element.focus({ preventScroll: true });
  card.element.scrollIntoView({ block: "nearest" });
  return true;
}

function splitCard(node) {
  const label = state.labels.get(node);
  if (!split(node)) return;
  say(`Cluster ${label} is split; U takes it back`);
  focusCluster(state.tree.children(node).sort((a, b) => state.tree.pixels[b] - state.tree.pixels[a])[0]);
}

function onKey(event) {
  const card = event.target.closest(".card");
  if (!card || event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const node = Number(card.dataset.node), key = event.key;
  if (moveInGrid(key, [...$("cards").children], card)) { event.preventDefault(); return; }
  const acts = {
    Enter: () => { if (event.target === card) { const field = cards.get(node).named.field; field.focus(); field.select(); } else return false; },
    " ": () => { if (event.target === card) openDetail(node); else return false; },
    m: () => openJoin(node), s: () => splitCard(node),
    0: () => nameNode(node, null), Delete: () => nameNode(node, null), Backspace: () => nameNode(node, null),
  };
  for (let i = 1; i <= 9; i++) acts[i] = () => nameByKey(node, i);
  const act = acts[key.length === 1 ? key.toLowerCase() : key];
  if (act && !event.shiftKey && act() !== false) event.preventDefault();
}
