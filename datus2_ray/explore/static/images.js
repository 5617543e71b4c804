// The view of images: a grid with overlays at the names as they are.

import { $, count, h, moveInGrid, perFrame, say, watcher } from "/static/dom.js";
import { get, isCurrent, on, state } from "/static/state.js";
import { findClass, UNNAMED } from "/static/naming.js";
import { isStale, look, paint, readMap } from "/static/overlay.js";
import { openViewer } from "/static/viewer.js";

const PAGE = 24;

/** What the grid shows: images in their order, and how many there are. */
export const grid = { images: [], total: 0 };
let filter = {}, asked = 0;
const tiles = new Map();

const nearby = watcher((element) => tiles.get(element)?.fill());

export function startImages() {
  $("image-filter").addEventListener("change", () => { filter = JSON.parse($("image-filter").value); reload(); });
  $("image-order").addEventListener("change", reload);
  let waiting = 0;
  $("image-find").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(reload, 200); });
  $("more-images").addEventListener("click", more);
  $("tiles").addEventListener("keydown", (event) => { if (moveInGrid(event.key, [...$("tiles").children], document.activeElement)) event.preventDefault(); });
  $("opacity").addEventListener("input", () => document.documentElement.style.setProperty("--overlay", $("opacity").value / 100));
  const repaint = perFrame(() => { for (const tile of tiles.values()) tile.paint(); document.dispatchEvent(new Event("repaint")); });
  $("colouring").addEventListener("change", () => { look.colouring = $("colouring").value; borders(); repaint(); });
  $("masks").addEventListener("change", () => { look.masks = $("masks").value; repaint(); });
  $("patterns").addEventListener("change", () => { look.patterns = $("patterns").checked; localStorage.setItem("patterns", look.patterns); repaint(); });
  look.patterns = $("patterns").checked = localStorage.getItem("patterns") === "true";
  const borders = () => {
    const choices = [...(state.run.refined ? [["masks", "refined"]] : []), ["segments", "of segments"], ...(state.run.taught ? [["taught", `as taught${isCurrent(state.run.taught.names) ? "" : ", before edits"}`]] : [])];
    $("masks").replaceChildren(...choices.map(([value, text]) => h("option", { value }, text)));
    if (!choices.some(([value]) => value === look.masks)) look.masks = choices[0][0];
    $("masks").value = look.masks;
    $("masks-choice").hidden = choices.length < 2 || $("colouring").value !== "classes";
  };
  document.documentElement.style.setProperty("--overlay", 0.55);
  on("names", () => { fillFilter(); borders(); repaint(); });
  on("view", repaint);
  on("results", () => { borders(); repaint(); });
  new IntersectionObserver((entries) => { if (entries.some((entry) => entry.isIntersecting)) more(); }, { rootMargin: "600px" }).observe($("more-images"));
  fillFilter();
  borders();
}

function fillFilter() {
  // A class that was removed, or has another name now, is not what is shown any more.
  if (filter.name !== undefined && findClass(filter.name) < 0) { filter = {}; if (!$("images").hidden) reload(); }
  const chosen = JSON.stringify(filter);
  const options = [[{}, "all images"], [{ class: UNNAMED }, "with something unnamed"], ...state.names.classes.map(({ name }) => [{ name }, `with ${name}`])];
  if (filter.node !== undefined) options.push([filter, `of cluster ${state.labels.get(filter.node) ?? "…"}`]);
  $("image-filter").replaceChildren(...options.map(([value, text]) => h("option", { value: JSON.stringify(value) }, text)));
  $("image-filter").value = options.some(([value]) => JSON.stringify(value) === chosen) ? chosen : "{}";
  if (look.colouring === null) $("colouring").value = state.names.classes.length ? "classes" : "clusters";
}

/** Show the images that have a cluster. */
export function showImagesOf(node) {
  filter = { node };
  fillFilter();
  $("tab-images").click();
  reload();
}

/** Show the images that have a class, by its name, or something unnamed (null); again: all. */
export function filterImages(name) {
  filter = isImageFilter(name) ? {} : name === null ? { class: UNNAMED } : { name };
  fillFilter();
  reload();
}
export const isImageFilter = (name) => (name === null ? filter.class === UNNAMED : filter.name === name);

export const isEmpty = () => !grid.images.length;

export async function reload() {
  tiles.clear();
  grid.images = [];
  await fetchPage(true);
}
const more = () => { if (!$("images").hidden && grid.images.length < grid.total && !$("more-images").disabled) fetchPage(false); };

/** Fetch images after those that are shown; return whether there were any. */
export async function fetchPage(anew) {
  const ticket = ++asked;
  $("more-images").disabled = true;
  try {
    const { name, ...rest } = filter, wanted = name === undefined ? rest : { class: findClass(name) };
    const found = await get("/api/images", { ...wanted, order: $("image-order").value, text: $("image-find").value.trim(), offset: grid.images.length, limit: PAGE });
    if (ticket !== asked) return false;
    if (anew) $("tiles").replaceChildren();
    grid.images.push(...found.images);
    grid.total = found.total;
    $("tiles").append(...found.images.map((image) => tile(image)));
    $("image-count").textContent = count(found.total, "image");
    if (!found.total) $("tiles").replaceChildren(h("p", { class: "soft" }, "No image is like that."));
    return found.images.length > 0;
  } catch (error) {
    say(error.message, "error");
    return false;
  } finally {
    if (ticket === asked) {
      $("more-images").disabled = false;
      $("more-images").hidden = grid.images.length >= grid.total;
    }
  }
}

function tile(image) {
  const canvas = h("canvas", { class: "overlay", width: 1, height: 1, "aria-hidden": "true" });
  const photo = h("img", { alt: "", decoding: "async" });
  const frame = h("span", { class: "frame" }, photo, canvas);
  frame.style.aspectRatio = `${image.width} / ${image.height}`;
  const element = h("button", { class: "tile", "aria-label": `Open image ${image.id}`, onclick: () => openViewer(image.image) }, frame, h("bdi", { class: "soft" }, image.id));
  let map = null;
  tiles.set(element, {
    paint: async () => {
      if (!map) return;
      try { if (isStale(map, image.image)) map = await readMap(image.image); paint(canvas, map, image); } catch (error) { say(error.message, "error"); }
    },
    fill: async () => {
      photo.src = `${state.run.pictures}/photo/${image.image}/640`;
      try { map = await readMap(image.image); paint(canvas, map, image); } catch (error) { say(error.message, "error"); }
    },
    image,
  });
  nearby.observe(element);
  return element;
}

/** Take over the segments' own classes of an image that was edited. */
export function refresh(changed) {
  for (const one of tiles.values()) if (one.image.image === changed.image) { one.image.own = changed.own; one.paint(); }
}
export const focusTile = (image) => { for (const [element, one] of tiles) if (one.image.image === image) element.focus(); };
