// What the page knows: the run, the names, what is shown; and the edits, each saved before it is shown.

import { say } from "/static/dom.js";
import { Tree } from "/static/tree.js";

export const state = {
  run: null, tree: null, names: null,
  k: 2, splits: new Set(), labels: new Map(),
  made: [], // splits, newest last, with the number of changes that could be undone then: U takes back what came last
};

const listeners = { names: [], view: [], results: [] };
export const on = (what, call) => listeners[what].push(call);
const tell = (what) => listeners[what].forEach((call) => call());

async function ask(path, options) {
  let answer;
  try {
    answer = await fetch(path, options);
  } catch {
    throw new Error("the server does not answer; is `datus2 explore` still running?");
  }
  if (answer.status === 204) return null;
  if (answer.ok) return answer.json();
  const text = await answer.text();
  let message = text;
  try { message = JSON.parse(text).error ?? text; } catch { /* plain text */ }
  throw Object.assign(new Error(message), { status: answer.status });
}

export function get(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== undefined && value !== "");
  return ask(given.length ? `${path}?${new URLSearchParams(given)}` : path);
}
export const post = (path, body = {}) =>
  ask(path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body) });

export async function load() {
  const run = await get("/api/run");
  state.run = run;
  state.tree = new Tree(run);
  state.names = run.names;
  state.ofRunCluster = new Int32Array(state.tree.leaves);
  state.tree.cut(run.k).forEach((node, number) => state.tree.leavesOf(node).forEach((leaf) => { state.ofRunCluster[leaf] = number; }));
  const kept = new URLSearchParams(location.hash.slice(1));
  const k = Number(kept.get("k"));
  state.k = k >= 2 && k <= state.tree.leaves ? Math.floor(k) : run.k;
  const splits = (kept.get("split") ?? "").split(",").filter(Boolean).map(Number);
  state.splits = new Set(splits.filter((node) => node >= state.tree.leaves && node < state.tree.nodes));
  look();
}

function look() {
  state.labels = state.tree.view(state.k, state.splits);
  const kept = new URLSearchParams({ k: state.k });
  if (state.splits.size) kept.set("split", [...state.splits].join(","));
  history.replaceState(null, "", `#${kept}`);
}

export function setK(k) {
  const clamped = Math.max(2, Math.min(state.tree.leaves, Math.round(k) || 2));
  if (clamped === state.k) return;
  state.k = clamped;
  look();
  tell("view");
}

export function split(node) {
  if (state.tree.isLeaf(node)) { say("This is a fine cluster; it cannot be split further."); return false; }
  state.splits.add(node);
  state.made.push([node, state.names.undo]);
  look();
  tell("view");
  return true;
}

export function unsplit(node) {
  state.splits.delete(node);
  look();
  tell("view");
}

/** Take over names that the server sent. */
function take(names) {
  state.names = names;
  tell("names");
}

/** Whether a result is of the names as they are now. */
export const isCurrent = (fingerprint) => fingerprint === state.names.fingerprint;

/** Take over what a command changed: scores, and what was taught. */
export function takeResults({ metrics, taught }) {
  Object.assign(state.run, { metrics, taught });
  tell("results");
}

/** Save an edit; edits wait for one another. Return whether it was saved. */
let waiting = Promise.resolve();
export function edit(change) {
  const saved = waiting.then(async () => {
    try {
      take(await post("/api/edit", { expected: state.names.number, edit: change }));
      return true;
    } catch (error) {
      say(error.message, "error");
      if (error.status === 409) take(await get("/api/names"));
      return false;
    }
  });
  waiting = saved.catch(() => false);
  return saved;
}

export async function undo() {
  await waiting;
  const last = state.made.at(-1);
  if (last && last[1] >= state.names.undo) {
    state.made.pop();
    unsplit(last[0]);
    say("Split undone");
    return;
  }
  if (!state.names.undo) { say("There is nothing to undo"); return; }
  if (await edit({ do: "undo" })) say("Undone");
}
export async function redo() {
  await waiting;
  if (!state.names.redo) { say("There is nothing to redo"); return; }
  if (await edit({ do: "redo" })) say("Redone");
}

/** Look for changes of other tabs, people and scripts. */
export function poll() {
  const look = async () => {
    if (document.hidden) return;
    try {
      await waiting;
      const known = `${state.names.number}.${state.names.fingerprint}`;
      const names = await get("/api/names", { known });
      if (names && `${names.number}.${names.fingerprint}` !== known) { take(names); say("The names were changed elsewhere"); }
    } catch { /* said when something is done */ }
  };
  setInterval(look, 4000);
  document.addEventListener("visibilitychange", look);
}
