// The page: views, keys, theme.

import { startClasses } from "/static/classes.js";
import { startClusters } from "/static/clusters.js";
import { startDetail } from "/static/detail.js";
import { $, h, say } from "/static/dom.js";
import { isEmpty, reload, startImages } from "/static/images.js";
import { startJobs } from "/static/jobs.js";
import { load, poll, redo, state, undo } from "/static/state.js";
import { nextUncertain, startViewer } from "/static/viewer.js";

const KEYS = [
  ["Arrow keys", "from cluster to cluster, image to image"], ["Enter", "name the cluster; leaves the field again"],
  ["1 … 9, 0", "give it class 1 to 9, or none; in an image, to the chosen segment"], ["Space", "look at the cluster, large"],
  ["M", "join it with another one"], ["S", "split it along the tree"], ["U, Ctrl+Z", "undo; with Shift, redo"],
  ["/", "find"], ["C, I", "clusters, images"], ["N", "next uncertain image"], ["[ and ]", "from segment to segment of an image"],
  ["+ − O", "zoom; colours on and off"], ["Esc", "close; leave a field without saving"],
];

const TABS = ["clusters", "images"];

function choose(tab) {
  for (const name of TABS) {
    $(name).hidden = name !== tab;
    $(`tab-${name}`).setAttribute("aria-selected", String(name === tab));
    $(`tab-${name}`).tabIndex = name === tab ? 0 : -1;
  }
  if (tab === "images" && isEmpty()) reload();
  document.dispatchEvent(new Event("tab"));
}

function onKey(event) {
  const typing = /^(INPUT|SELECT|TEXTAREA)$/.test(event.target.tagName) && !["range", "checkbox"].includes(event.target.type);
  const key = event.key.toLowerCase();
  if ((event.ctrlKey || event.metaKey) && key === "z" && !typing) {
    event.preventDefault();
    if (event.shiftKey) redo(); else undo();
    return;
  }
  if (event.ctrlKey || event.metaKey || event.altKey || typing) return;
  if (key === "u") { if (event.shiftKey) redo(); else undo(); event.preventDefault(); return; }
  if (document.querySelector("dialog[open]")) return;
  if (key === "/") { event.preventDefault(); $($("images").hidden ? "find" : "image-find").focus(); }
  else if (key === "?") openKeys();
  else if (key === "c") choose("clusters");
  else if (key === "i") choose("images");
  else if (key === "n") nextUncertain();
  else if (key.startsWith("arrow") && event.target === document.body) {
    document.querySelector("section:not([hidden]) :is(.card, .tile)")?.focus();
    event.preventDefault();
  }
}

function openKeys() {
  const dialog = $("keys");
  dialog.replaceChildren(h("h2", { id: "keys-title" }, "Keys"),
    h("dl", { class: "keys" }, KEYS.map(([key, text]) => h("div", {}, h("dt", {}, h("kbd", {}, key)), h("dd", {}, text)))),
    h("div", { class: "buttons" }, h("button", { onclick: () => dialog.close() }, "Close")));
  dialog.showModal();
}

function turnTheme() {
  const dark = document.documentElement.dataset.theme ? document.documentElement.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "light" : "dark";
  localStorage.setItem("theme", document.documentElement.dataset.theme);
}

async function start() {
  await load();
  $("title").textContent = state.run.title;
  document.title = `${state.run.title}: DatUS² explorer`;
  startClasses();
  startClusters();
  startDetail();
  startImages();
  startViewer();
  startJobs();
  for (const tab of TABS) {
    $(`tab-${tab}`).addEventListener("click", () => choose(tab));
    $(`tab-${tab}`).addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key)) return;
      const other = TABS[1 - TABS.indexOf(tab)];
      choose(other);
      $(`tab-${other}`).focus();
      event.preventDefault();
    });
  }
  $("undo").addEventListener("click", undo);
  $("redo").addEventListener("click", redo);
  $("theme").addEventListener("click", turnTheme);
  $("help").addEventListener("click", openKeys);
  document.addEventListener("keydown", onKey);
  choose("clusters");
  poll();
  document.body.dataset.ready = "true";
}

start().catch((error) => say(error.message, "error"));
