// The field that names clusters: completes from classes and from the names of the ground truth's classes.

import { h, $, say } from "/static/dom.js";
import { classOf, classesOf, findClass, isPlaceholder, titleOf, UNNAMED } from "/static/naming.js";
import { edit, state } from "/static/state.js";

/** Write the names that fields complete from. */
export function fillNames() {
  const names = new Map(state.names.classes.map(({ name }) => [name.toLowerCase(), name]));
  for (const name of state.run.suggested) if (!names.has(name.toLowerCase())) names.set(name.toLowerCase(), name);
  $("names").replaceChildren(...[...names.values()].map((name) => h("option", { value: name })));
}

/** Complete a text to the only name that begins with it, when it ends there. */
function completed(text) {
  if (!text || findClass(text) >= 0) return text;
  const fits = [...$("names").options].map((option) => option.value).filter((name) => name.toLowerCase().startsWith(text.toLowerCase()));
  return fits.length === 1 && text.length >= 2 ? fits[0] : text;
}

/** Return a field for the name of a node; `done` is called when a name was given or not. */
export function nameBox(node, done) {
  const field = h("input", { type: "text", class: "name", list: "names", maxLength: 80, autocomplete: "off", spellcheck: false, placeholder: "Name it" });
  let shown = "";
  const show = () => {
    const found = classesOf(node);
    shown = found.length === 1 && found[0][0] !== UNNAMED ? titleOf(found[0][0]) : "";
    if (document.activeElement !== field) field.value = shown;
    field.placeholder = found.length > 1 ? `mixed: ${found.map(([number]) => titleOf(number)).join(", ")}` : "Name it";
    field.setAttribute("aria-label", `Name of cluster ${state.labels.get(node) ?? ""}`);
  };
  let refused = null;
  // A name that was refused, because somebody else was faster, is given again by Enter only, not by leaving the field.
  const save = async () => {
    const text = completed(field.value.trim());
    field.value = text;
    if (text === shown) return true;
    const saved = await nameNode(node, text || null);
    refused = saved ? null : text;
    return saved;
  };
  field.addEventListener("keydown", async (event) => {
    if (event.key === "Enter") {
      event.preventDefault();
      event.stopPropagation();
      // Whoever went on to another cluster meanwhile stays there.
      if (await save() && document.activeElement === field) done(true);
    } else if (event.key === "Escape") {
      event.stopPropagation();
      field.value = shown;
      done(false);
    }
  });
  // Leaving the field saves, as leaving a cell of a table does.
  field.addEventListener("change", () => { if (field.value.trim() !== refused) save(); });
  show();
  return { field, show };
}

/** Let a node belong to a class by its name, or to none. */
export async function nameNode(node, name) {
  const now = classOf(node), label = state.labels.get(node) ?? "";
  if (name !== null && now !== undefined && now !== UNNAMED && isPlaceholder(titleOf(now))) {
    // A name for what was joined before it had one.
    const before = titleOf(now);
    const change = findClass(name) >= 0 ? { do: "join", name: before, into: name } : { do: "change", name: before, rename: name };
    const saved = await edit(change);
    if (saved) say(`${before}: ${name}`);
    return saved;
  }
  const saved = await edit({ do: "clusters", clusters: state.tree.leavesOf(node), name });
  if (saved) say(name === null ? `Cluster ${label} has no name now` : `Cluster ${label}: ${name}`);
  return saved;
}

/** Name a node by the number of a class that a key stands for, from 1. */
export async function nameByKey(node, key) {
  const found = state.names.classes[key - 1];
  if (!found) { say(`There is no class ${key} yet; Enter gives a new name`); return; }
  await nameNode(node, found.name);
}
