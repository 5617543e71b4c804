// Commands on the run, each a process of its own: start one, follow it, take over what it changed.

import { $, h, fill, say } from "/static/dom.js";
import { get, post, state, takeResults } from "/static/state.js";

const TITLES = {
  teach: { running: "Teaching …", done: "Taught", failed: "Teaching failed" },
};

export function startJobs() {
  $("teach").addEventListener("click", () => begin("teach"));
  follow();
}

async function begin(name) {
  if (name === "teach" && !state.names.classes.length) { say("Name some clusters first; a layer is taught their names"); return; }
  try { await post(`/api/job/${name}`); } catch (error) { say(error.message, "error"); }
  follow();
}

let following = false;
async function follow() {
  if (following) return;
  following = true;
  try {
    for (let started = false; ; started = true) {
      const found = await get("/api/job"), running = found.state === "running";
      $("job").hidden = found.state === "idle";
      $("teach").disabled = running;
      fill($("job"), h("h2", {}, TITLES[found.do]?.[found.state] ?? ""), h("p", { class: found.state === "failed" ? "warn" : "soft" }, found.line));
      if (!running) {
        takeResults(found);
        if (started) say(TITLES[found.do][found.state], found.state === "failed" ? "error" : "");
        return;
      }
      await new Promise((done) => setTimeout(done, 700));
    }
  } catch (error) { say(error.message, "error"); } finally { following = false; }
}
