// The classes: their colours, shares and keys; editing one; the pair that looks alike; progress; scores.

import { fillCrops } from "/static/card.js";
import { clusterFilter, filterClusters, focusCluster } from "/static/clusters.js";
import { openDetail } from "/static/detail.js";
import { $, fill, h, percent, say } from "/static/dom.js";
import { filterImages, isImageFilter } from "/static/images.js";
import { joinNodes } from "/static/join.js";
import { fillNames } from "/static/namebox.js";
import { classOf, findClass, pixelsOfClasses, UNNAMED } from "/static/naming.js";
import { edit, isCurrent, on, state } from "/static/state.js";

/** Pairs that a person said are different. */
const different = new Set(JSON.parse(sessionStorage.getItem("different") ?? "[]"));

export function startClasses() {
  $("add-class").addEventListener("click", () => editClass(null));
  on("names", show);
  document.addEventListener("tab", show);
  on("view", () => { suggest(); next(); });
  on("results", () => { scores(state.run.metrics); next(); });
  show();
}

function show() {
  fillNames();
  const { names, run } = state, pixels = pixelsOfClasses(), focused = document.activeElement?.id;
  $("classes").replaceChildren(...names.classes.map((found, number) => {
    const share = pixels.get(number) / run.pixels;
    return h("li", { class: found.ignore ? "ignored" : "" },
      h("kbd", { "aria-hidden": "true" }, number < 9 ? String(number + 1) : ""),
      h("span", { class: "swatch", colour: found.colour }),
      h("button", { class: "class", id: `class-${number}`, title: "Show its clusters, or its images", "aria-pressed": String(isShown(found.name)), onclick: () => choose(found.name) },
        h("bdi", {}, found.name), found.ignore ? h("small", {}, " ignored") : null),
      h("span", { class: "soft share" }, percent(share), found.segments ? h("small", { title: "single segments" }, ` +${found.segments}`) : null),
      h("button", { class: "small edit", id: `edit-${number}`, "aria-label": `Edit class ${found.name}`, onclick: () => editClass(number) }, "Edit"));
  }), h("li", { class: "rest" }, h("kbd", { "aria-hidden": "true" }, "0"), h("span", { class: "swatch hollow" }),
    h("button", { class: "class", id: "class-rest", "aria-pressed": String(isShown(null)), onclick: () => choose(null) }, "unnamed"),
    h("span", { class: "soft share" }, percent(pixels.get(UNNAMED) / run.pixels))));
  if (focused?.startsWith("class-") || focused?.startsWith("edit-")) $(focused)?.focus();
  progress(pixels);
  suggest();
  next();
  scores(run.metrics);
  $("undo").disabled = !names.undo && !state.made.length;
  $("redo").disabled = !names.redo;
}

/** Whether only what has a class, or none (null), is shown in the view that is seen; and to show that, or all again. */
const inClusters = (name) => (name === null ? "unnamed" : `class ${name}`);
const isShown = (name) => ($("images").hidden ? clusterFilter() === inClusters(name) : isImageFilter(name));
function choose(name) {
  if ($("images").hidden) filterClusters(inClusters(name)); else filterImages(name);
  show();
}

function progress(pixels) {
  const { run, tree, names } = state;
  const all = tree.pixels[tree.nodes - 1] || 1, share = 1 - pixels.get(UNNAMED) / all;
  const fine = names.fine.filter((found) => found !== UNNAMED).length;
  $("progress-bar").style.width = `${100 * share}%`;
  $("progress-text").textContent = `${percent(share * all / run.pixels)} of pixels named`;
  $("progress").title = `${fine} of ${tree.leaves} fine clusters named`;
}

/** Offer the most alike pair of clusters that are not of one class yet. */
function suggest() {
  const { tree, labels } = state, box = $("alike");
  const pair = tree.pairs(labels).find(([a, b]) => !different.has(`${a} ${b}`) && !(classOf(a) === classOf(b) && classOf(a) !== UNNAMED && classOf(a) !== undefined));
  $("undo").disabled = !state.names.undo && !state.made.length;
  if (!pair) { box.hidden = true; box.dataset.pair = ""; return; }
  if (box.dataset.pair === pair.join() && !box.hidden) return;
  const rows = pair.map((node) => { const crops = h("span", { class: "crops row" }); fillCrops(crops, node, 4, 112); return h("div", {}, h("b", {}, labels.get(node)), crops); });
  box.dataset.pair = pair.join();
  box.hidden = false;
  box.replaceChildren(h("h2", {}, "These two look alike"), ...rows, h("div", { class: "buttons" },
    h("button", { class: "small", onclick: () => joinNodes(...pair) }, "Join"),
    h("button", { class: "small", onclick: () => {
      different.add(pair.join(" "));
      sessionStorage.setItem("different", JSON.stringify([...different]));
      suggest();
    } }, "Keep apart")));
}

/** Offer the clusters that a name would help most: most pixels without one, or that the layer is in doubt about. */
function next() {
  const { tree, labels, run, names } = state, box = $("next"), { taught } = run;
  const gain = (node) => tree.leavesOf(node).reduce((sum, leaf) => sum + (taught ? taught.doubt[leaf] : 0) + (names.fine[leaf] === UNNAMED ? tree.pixels[leaf] : 0), 0);
  const best = [...labels.keys()].map((node) => [gain(node), node]).filter(([pixels, node]) => pixels > 0 && !(taught === null && classOf(node) !== UNNAMED)).sort((a, b) => b[0] - a[0]).slice(0, 3).map(([, node]) => node);
  box.hidden = !best.length || !names.classes.length;
  if (box.dataset.nodes === best.join()) return;
  box.dataset.nodes = best.join();
  fill(box, h("h2", {}, "Name next"), best.map((node) => {
    const crops = h("span", { class: "crops row" });
    fillCrops(crops, node, 4, 112);
    return h("button", { class: "next", "aria-label": `Go to cluster ${labels.get(node)}`, onclick: () => { if (!focusCluster(node)) openDetail(node); } }, h("b", {}, labels.get(node)), crops);
  }));
}

/** The scores; those of names that were edited since are paler, and say so. */
function scores(metrics) {
  const box = $("scores"), titles = { initial: "initial", refined: "refined", named: "as named", taught: "as taught" };
  const rows = Object.entries(metrics?.sets ?? {}).filter(([name]) => titles[name]), before = metrics?.names && !isCurrent(metrics.names);
  box.hidden = !rows.length;
  box.replaceChildren(h("h2", {}, "Scores"), h("table", {},
    h("thead", {}, h("tr", {}, h("th"), h("th", { scope: "col" }, "mIoU"), h("th", { scope: "col" }, "accuracy"))),
    h("tbody", {}, rows.map(([name, found]) => h("tr", { class: before && ["named", "taught"].includes(name) ? "soft" : "" },
      h("th", { scope: "row" }, titles[name]), h("td", {}, percent(found.miou)), h("td", {}, percent(found.pixel_accuracy)))))),
    h("p", { class: "soft" }, `Masks against the ground truth. Clusters count as their most frequent class, names as the class of that name${before ? "; the last two are of the names before the last edits" : ""}. Teach renews the last two.`));
}

/** Edit a class, or add one. */
function editClass(number) {
  const dialog = $("edit-class"), old = number === null ? null : state.names.classes[number];
  const name = h("input", { type: "text", id: "class-name", maxLength: 80, value: old?.name ?? "", autocomplete: "off" });
  const colour = h("input", { type: "color", id: "class-colour", value: old?.colour ?? "#000000" });
  const ignore = h("input", { type: "checkbox", id: "class-ignore", checked: old?.ignore ?? false });
  const into = h("select", { id: "class-into" }, h("option", { value: "" }, "no other class"), state.names.classes.filter((found) => found !== old).map((found) => h("option", { value: found.name }, found.name)));
  const save = async () => {
    const text = name.value.trim();
    if (!text) { name.focus(); return; }
    if (!old) {
      if (findClass(text) >= 0) { say(`There is a class ${text} already`, "error"); return; }
      if (!(await edit({ do: "add", name: text }))) return;
    } else if (into.value) {
      if (!(await edit({ do: "join", name: old.name, into: into.value }))) return;
    } else {
      const change = { do: "change", name: old.name };
      if (text !== old.name) change.rename = text;
      if (colour.value !== old.colour) change.colour = colour.value;
      if (ignore.checked !== old.ignore) change.ignore = ignore.checked;
      if (Object.keys(change).length > 2 && !(await edit(change))) return;
    }
    dialog.close();
  };
  const row = (text, field) => h("label", { class: "row", for: field.id }, h("span", {}, text), field);
  dialog.replaceChildren(h("form", { method: "dialog", onsubmit: (event) => { event.preventDefault(); save(); } },
    h("h2", { id: "edit-class-title" }, old ? `Class ${old.name}` : "New class"),
    row("Name", name),
    old ? row("Colour", colour) : null,
    old ? row("Ignore: leave it out of masks", ignore) : null,
    old && state.names.classes.length > 1 ? row("Join with", into) : null,
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Save"),
      old ? h("button", { type: "button", class: "danger", onclick: async () => { if (await edit({ do: "remove", name: old.name })) dialog.close(); } }, "Remove") : null,
      h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  dialog.showModal();
  name.select();
}
