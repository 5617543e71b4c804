// One image, large: click a segment, see its cluster, give this one segment another class.

import { crop } from "/static/card.js";
import { focusCluster } from "/static/clusters.js";
import { openDetail } from "/static/detail.js";
import { $, fill, h, percent, say } from "/static/dom.js";
import { fetchPage, focusTile, grid, refresh } from "/static/images.js";
import { classesOfSegments, isStale, outline, paint, readMap } from "/static/overlay.js";
import { titleOf, UNNAMED } from "/static/naming.js";
import { edit, get, on, state } from "/static/state.js";

const NEAR = 0.1;
let now = null;

export function startViewer() {
  const dialog = $("viewer");
  dialog.addEventListener("close", () => { const image = now?.image.image; now = null; if (image !== undefined) focusTile(image); });
  dialog.addEventListener("keydown", onKey);
  document.addEventListener("repaint", () => now?.paint());
  on("names", () => now?.renew());
  on("results", () => now?.renew());
}

/** Open an image, with a segment chosen. */
export async function openViewer(number, segment = null) {
  let image, map;
  try {
    [image, map] = await Promise.all([get(`/api/image/${number}`), readMap(number)]);
  } catch (error) { say(error.message, "error"); return; }
  const photo = h("img", { alt: `Image ${image.id}`, src: `${state.run.pictures}/photo/${number}/1600`, draggable: false });
  const overlay = h("canvas", { class: "overlay", "aria-hidden": "true" }), lines = h("canvas", { class: "lines", "aria-hidden": "true" });
  const sheet = h("div", { class: "sheet" }, photo, overlay, lines), stage = h("div", { class: "stage" }, sheet);
  sheet.style.aspectRatio = `${image.width} / ${image.height}`;
  sheet.style.setProperty("--ratio", image.width / image.height);
  const side = h("div", { class: "side" });
  const button = (text, title, act) => h("button", { title, onclick: act }, text);
  const dialog = $("viewer"), wasOpen = dialog.open;
  dialog.replaceChildren(
    h("div", { class: "dialog-head" }, h("h2", { id: "viewer-title" }, h("bdi", {}, image.id)),
      button("‹ Previous", "Previous image (←)", () => step(-1)), button("Next ›", "Next image (→)", () => step(1)), button("Next uncertain", "Next uncertain image (N)", nextUncertain),
      button("−", "Smaller (−)", () => zoom(1 / 1.4)), button("+", "Larger (+)", () => zoom(1.4)), button("Overlay", "Show or hide the colours (O)", toggle),
      h("button", { class: "close", "aria-label": "Close", onclick: () => dialog.close() }, "Close")),
    h("div", { class: "columns" }, stage, side));
  now = {
    image, map, overlay, lines, sheet, stage, side, chosen: segment, scale: 1,
    paint: async () => {
      if (isStale(now.map, number)) now.map = await readMap(number);
      paint(overlay, now.map, image);
    },
    renew: async () => {
      const held = now;
      const fresh = await get(`/api/image/${number}`).catch(() => null);
      if (!fresh || now !== held) return;
      Object.assign(image, { own: fresh.own, doubt: fresh.doubt });
      refresh(image);
      now.paint();
      showSide();
    },
  };
  now.paint();
  outline(lines, map, segment);
  showSide();
  sheet.addEventListener("click", (event) => choose(segmentAt(event)));
  drag(stage);
  stage.addEventListener("wheel", (event) => { event.preventDefault(); zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, event); }, { passive: false });
  if (!wasOpen) dialog.showModal();
  dialog.querySelector(".dialog-head button").focus();
}

function segmentAt(event) {
  const box = now.sheet.getBoundingClientRect(), { map } = now;
  const x = Math.floor(((event.clientX - box.left) / box.width) * map.width), y = Math.floor(((event.clientY - box.top) / box.height) * map.height);
  const found = map.segments[Math.min(map.height - 1, Math.max(0, y)) * map.width + Math.min(map.width - 1, Math.max(0, x))];
  return found === 65535 ? null : found;
}

function choose(segment) {
  now.chosen = segment;
  outline(now.lines, now.map, segment);
  showSide();
}

const nodeOf = (leaf) => { let node = leaf; while (node >= 0 && !state.labels.has(node)) node = state.tree.parent[node]; return node; };

async function assign(name) {
  if (now.chosen === null) { say("Click a segment first, or choose one with [ and ]"); return; }
  const { image, chosen } = now;
  if (await edit({ do: "segments", image: image.image, segments: [chosen], name })) say(name === null ? "The segment has the class of its cluster" : `This one segment: ${name}`);
}

function showSide() {
  const { image, chosen, side } = now, classes = classesOfSegments(image), { names } = state;
  const focused = document.activeElement?.dataset?.assign;
  const swatch = (number) => h("span", { class: number === UNNAMED ? "swatch hollow" : "swatch", colour: number === UNNAMED ? undefined : names.classes[number].colour });
  if (chosen === null) {
    const shares = new Map();
    classes.forEach((number, segment) => shares.set(number, (shares.get(number) ?? 0) + image.share[segment]));
    side.replaceChildren(h("h3", {}, "In this image"),
      h("ul", { class: "plain" }, [...shares].sort((a, b) => b[1] - a[1]).map(([number, share]) => h("li", {}, swatch(number), h("bdi", {}, titleOf(number)), h("span", { class: "soft share" }, percent(share))))),
      h("p", { class: "soft" }, "Click a segment to see its cluster, or to give it a class of its own. [ and ] go from one to the next."));
    return;
  }
  const node = nodeOf(image.fine[chosen]), other = image.second[chosen] < 0 ? -1 : nodeOf(image.second[chosen]), own = image.own[chosen] !== undefined;
  const field = h("input", { type: "text", list: "names", maxLength: 80, placeholder: "Another class", "aria-label": "Class of this one segment", onkeydown: (event) => { event.stopPropagation(); if (event.key === "Enter" && field.value.trim()) assign(field.value.trim()); } });
  fill(side,
    h("h3", {}, `Segment ${chosen}`, h("span", { class: "soft" }, ` ${percent(image.share[chosen])} of the image`)),
    crop({ image: image.image, segment: chosen, id: image.id }, 320),
    h("p", {}, swatch(classes[chosen]), h("b", {}, h("bdi", {}, titleOf(classes[chosen]))), own ? " (this one segment)" : ` (cluster ${state.labels.get(node)})`),
    other >= 0 && other !== node && image.margin[chosen] < NEAR ? h("p", { class: "warn" }, `Uncertain: nearly as near to cluster ${state.labels.get(other)}.`) : null,
    image.doubt ? h("p", { class: image.doubt[chosen] > 0.5 ? "warn" : "soft" }, `The taught layer is ${percent(1 - image.doubt[chosen])} sure here.`) : null,
    h("button", { onclick: () => { $("viewer").close(); $("tab-clusters").click(); openDetail(node); focusCluster(node); } }, `Cluster ${state.labels.get(node)}`),
    h("h3", {}, "This one segment is"),
    h("div", { class: "assign" }, names.classes.map((found, number) => h("button", { class: "small", "aria-pressed": String(own && image.own[chosen] === number), data: { assign: number }, onclick: () => assign(found.name) }, h("kbd", {}, number < 9 ? number + 1 : ""), swatch(number), h("bdi", {}, found.name))), field),
    own ? h("button", { class: "small", onclick: () => assign(null) }, "As its cluster (0)") : null);
  if (focused !== undefined) side.querySelector(`[data-assign="${focused}"]`)?.focus();
}

async function step(by) {
  const at = grid.images.findIndex((one) => one.image === now.image.image);
  if (at < 0) { openViewer(Math.min(state.run.images - 1, Math.max(0, now.image.image + by))); return; }
  if (at + by >= grid.images.length && grid.images.length < grid.total) await fetchPage(false);
  const next = grid.images[at + by];
  if (next) openViewer(next.image); else say(by > 0 ? "This is the last image" : "This is the first image");
}

/** Go to the image after this one in the order of uncertainty, or to the most uncertain one. */
export async function nextUncertain() {
  const found = await get("/api/images", { order: "uncertain", limit: 120 }).catch(() => null);
  if (!found?.images.length) { say("No image is uncertain"); return; }
  const at = found.images.findIndex((one) => one.image === now?.image.image);
  const next = found.images[(at + 1) % found.images.length];
  await openViewer(next.image);
  if (!now) return;
  const { doubt, margin, second, share } = now.image;
  const unsure = share.map((part, segment) => [doubt ? part * doubt[segment] : margin[segment] < NEAR && second[segment] >= 0 ? part : 0, segment]).sort((a, b) => b[0] - a[0])[0];
  if (unsure?.[0] > 0) choose(unsure[1]);
}

function zoom(factor, event) {
  const { stage, sheet } = now, before = sheet.getBoundingClientRect();
  const x = event ? event.clientX : stage.getBoundingClientRect().left + stage.clientWidth / 2, y = event ? event.clientY : stage.getBoundingClientRect().top + stage.clientHeight / 2;
  const along = [(x - before.left) / before.width, (y - before.top) / before.height];
  now.scale = Math.min(12, Math.max(1, now.scale * factor));
  sheet.style.setProperty("--zoom", now.scale);
  const after = sheet.getBoundingClientRect();
  stage.scrollLeft += after.left + along[0] * after.width - x;
  stage.scrollTop += after.top + along[1] * after.height - y;
}

function drag(stage) {
  let from = null, moved = false;
  stage.addEventListener("pointerdown", (event) => { if (event.pointerType === "mouse") from = [event.clientX, event.clientY, stage.scrollLeft, stage.scrollTop]; moved = false; });
  stage.addEventListener("pointermove", (event) => {
    if (!from) return;
    const [dx, dy] = [event.clientX - from[0], event.clientY - from[1]];
    moved ||= Math.abs(dx) + Math.abs(dy) > 4;
    stage.scrollLeft = from[2] - dx;
    stage.scrollTop = from[3] - dy;
  });
  addEventListener("pointerup", () => { from = null; });
  stage.addEventListener("click", (event) => { if (moved) event.stopPropagation(); }, true);
}

const toggle = () => { now.overlay.hidden = !now.overlay.hidden; };

function onKey(event) {
  if (!now || event.target.tagName === "INPUT" || event.ctrlKey || event.metaKey || event.altKey) return;
  const { key } = event, order = now.image.share.map((share, segment) => [share, segment]).sort((a, b) => b[0] - a[0]).map(([, segment]) => segment);
  const beside = (by) => choose(order.length ? order[(order.indexOf(now.chosen) + by + order.length) % order.length] : null);
  if (/^[1-9]$/.test(key)) { const found = state.names.classes[key - 1]; if (found) assign(found.name); else say(`There is no class ${key} yet`); }
  else if (key === "0") assign(null);
  else if (key === "ArrowLeft") step(-1);
  else if (key === "ArrowRight") step(1);
  else if (key === "n") nextUncertain();
  else if (key === "+" || key === "=") zoom(1.4);
  else if (key === "-") zoom(1 / 1.4);
  else if (key === "o") toggle();
  else if (key === "]") beside(1);
  else if (key === "[") beside(-1);
  else return;
  event.preventDefault();
}
