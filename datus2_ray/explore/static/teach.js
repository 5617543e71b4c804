// Teach: fit a layer to the named segments, in a process of its own, and follow it.

import { $, h, say } from "/static/dom.js";
import { scores } from "/static/classes.js";
import { get, post, state } from "/static/state.js";

export function startTeach() {
  $("teach").addEventListener("click", async () => {
    try { await post("/api/teach"); } catch (error) { say(error.message, "error"); }
    follow();
  });
  follow();
}

let following = false;
async function follow() {
  if (following) return;
  following = true;
  try {
    for (;;) {
      const found = await get("/api/teach");
      const box = $("taught");
      box.hidden = found.state === "idle";
      $("teach").disabled = found.state === "running";
      const title = { running: "Teaching …", done: "Taught", failed: "Teaching failed", idle: "" }[found.state];
      box.replaceChildren(h("h2", {}, title), h("p", { class: found.state === "failed" ? "warn" : "soft" }, found.line));
      if (found.state !== "running") {
        state.run.metrics = found.metrics;
        scores(found.metrics);
        if (found.state === "done") say("Taught: masks and confidence are renewed");
        return;
      }
      await new Promise((done) => setTimeout(done, 700));
    }
  } catch (error) { say(error.message, "error"); } finally { following = false; }
}
