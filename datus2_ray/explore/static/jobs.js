// Commands on the run, each a process of its own: start one, follow it, take over what it changed.

import { $, h, fill, say } from "/static/dom.js";
import { UNNAMED } from "/static/naming.js";
import { get, isCurrent, post, state, takeResults } from "/static/state.js";

const TITLES = {
  teach: { running: "Teaching …", done: "Taught", failed: "Teaching failed" },
  export: { running: "Exporting …", done: "Exported", failed: "The export failed" },
};
const title = (found) => TITLES[found.do.split("-")[0]]?.[found.state] ?? "";

/** Formats as people know them; `datus2 export --help` has more to choose. */
const FORMATS = {
  png: "PNG with a palette", coco: "COCO", "coco-panoptic": "COCO panoptic", cvat: "CVAT, Segmentation mask 1.1",
  "label-studio": "Label Studio, brush", yolo: "YOLO, polygons", hf: "Hugging Face, Parquet", geojson: "GeoJSON, of GeoTIFF",
};

export function startJobs() {
  $("teach").addEventListener("click", () => begin("teach"));
  $("export").addEventListener("click", chooseFormat);
  follow();
}

async function begin(name) {
  if (name === "teach" && !state.names.classes.length) { say("Name some clusters first; a layer is taught their names"); return; }
  try { await post(`/api/job/${name}`); } catch (error) { say(error.message, "error"); }
  follow();
}

function chooseFormat() {
  const dialog = $("export-dialog"), choice = h("select", { id: "format" }, Object.entries(FORMATS).map(([value, text]) => h("option", { value }, text)));
  choice.value = localStorage.getItem("format") ?? "png";
  fill(dialog, h("form", { method: "dialog", onsubmit: () => { localStorage.setItem("format", choice.value); begin(`export-${choice.value}`); } },
    h("h2", { id: "export-title" }, "Export the masks"),
    h("label", { class: "row", for: "format" }, h("span", {}, "Format"), choice),
    h("p", { class: "soft" }, whichMasks()),
    h("div", { class: "buttons" }, h("button", { type: "submit", class: "main" }, "Export"), h("button", { type: "button", onclick: () => dialog.close() }, "Cancel"))));
  dialog.showModal();
  choice.focus();
}

/** What an export writes, as the command decides it. */
function whichMasks() {
  const { names, run } = state;
  if (!names.fine.some((found) => found !== UNNAMED) && !names.classes.some((found) => found.segments)) return "Nothing is named: the masks are of clusters.";
  if (!run.taught) return "Masks of classes, as clusters and segments are named now.";
  return isCurrent(run.taught.names) ? "Masks of classes, as taught." : "Masks of classes, as clusters and segments are named now. What was taught is of the names before the last edits: to export it, teach again first.";
}

let following = false;
async function follow() {
  if (following) return;
  following = true;
  try {
    for (let started = false; ; started = true) {
      const found = await get("/api/job"), running = found.state === "running";
      $("job").hidden = found.state === "idle";
      $("teach").disabled = $("export").disabled = running;
      fill($("job"), h("h2", {}, title(found)), h("p", { class: found.state === "failed" ? "warn" : "soft" }, found.line));
      if (!running) {
        takeResults(found);
        if (started) say(title(found), found.state === "failed" ? "error" : "");
        return;
      }
      await new Promise((done) => setTimeout(done, 700));
    }
  } catch (error) { say(error.message, "error"); } finally { following = false; }
}
