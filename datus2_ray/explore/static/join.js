// Join a cluster with another one, or with a class: both then belong to one class. The likeliest come first.

import { cropUrl, facts, fillCrops, samples } from "/static/card.js";
import { $, h, moveInGrid, say } from "/static/dom.js";
import { classOf, findClass, titleOf, UNNAMED } from "/static/naming.js";
import { edit, state } from "/static/state.js";
import { focusCluster } from "/static/clusters.js";

const CHOICES = 8;

/** Let a node and another one belong to the same class: that of either, or a new one. */
export async function joinNodes(node, other) {
  const { tree, labels } = state, [own, its] = [classOf(node), classOf(other)];
  const leaves = [...tree.leavesOf(node), ...tree.leavesOf(other)];
  let name = [its, own].map((found) => (found === undefined || found === UNNAMED ? null : titleOf(found))).find((found) => found !== null);
  if (name === undefined) {
    name = `cluster ${labels.get(other)}`;
    for (let i = 2; findClass(name) >= 0; i++) name = `cluster ${labels.get(other)}${"ab"[i % 2].repeat(i)}`;
  }
  if (!(await edit({ do: "clusters", clusters: leaves, name }))) return false;
  say(`Clusters ${labels.get(node)} and ${labels.get(other)} are one class: ${name}`);
  return true;
}

export function openJoin(node) {
  const { tree, labels } = state, dialog = $("join");
  const relatives = tree.relatives(node, labels, CHOICES);
  const own = h("span", { class: "crops row" });
  fillCrops(own, node, 4, 112);
  const choose = (other) => { dialog.close(); joinNodes(node, other); };
  const list = h("div", { class: "choices", role: "group", "aria-label": "Clusters to join it with, most alike first" },
    relatives.map((other) => {
      const pictures = h("span", { class: "crops row" }), found = classOf(other);
      samples(other, "nearest", 4).then((all) => pictures.replaceChildren(...all.map((one) => h("img", { src: cropUrl(one, 112), alt: "", width: 112, height: 112 }))));
      const name = found === undefined ? "mixed" : titleOf(found);
      return h("button", { class: "choice", onclick: () => choose(other) }, pictures, h("span", {}, h("b", {}, `${labels.get(other)} `), name, h("br"), h("span", { class: "soft" }, facts(other))));
    }));
  list.addEventListener("keydown", (event) => { if (moveInGrid(event.key, [...list.children], document.activeElement)) event.preventDefault(); });
  dialog.replaceChildren(
    h("h2", { id: "join-title" }, `Join cluster ${labels.get(node)} with`), own, list,
    h("p", { class: "soft" }, "Arrow keys and Enter choose. Both get one class; U takes it back."),
    h("div", { class: "buttons" }, h("button", { onclick: () => dialog.close() }, "Cancel")));
  dialog.onclose = () => focusCluster(node);
  dialog.showModal();
  list.firstElementChild?.focus();
}
