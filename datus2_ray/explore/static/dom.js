// Small tools for the page. Text from data only ever becomes text, never markup.

/** Return an element; `props` are properties, `class`, `data`, `aria…` and `on…` listeners. */
export function h(tag, props = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(props)) {
    if (value === undefined || value === null) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else if (name === "data") Object.assign(element.dataset, value);
    else if (name === "colour") element.style.setProperty("--colour", value);
    else if (name.startsWith("aria") || name === "role" || name === "for" || name === "list") element.setAttribute(name, value);
    else element[name] = value;
  }
  return fill(element, ...children);
}

/** Put children into an element in place of those that it has; what is null or false is left out. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat().filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

export const $ = (id) => document.getElementById(id);

/** Show a line for a few seconds; screen readers say it. */
let timer = 0;
export function say(text, kind = "") {
  const box = $("message");
  box.textContent = text;
  box.className = `message shown ${kind}`;
  clearTimeout(timer);
  timer = setTimeout(() => { box.className = "message"; }, kind === "error" ? 8000 : 3500);
}

export const percent = (share) => {
  const value = 100 * share;
  return value >= 99.95 ? "100 %" : value >= 10 ? `${value.toFixed(0)} %` : value >= 0.095 ? `${value.toFixed(1)} %` : value > 0 ? "< 0.1 %" : "0 %";
};

export const count = (number, noun) => `${number.toLocaleString("en")} ${noun}${number === 1 ? "" : "s"}`;

/** Call a function at most once per frame. */
export function perFrame(call) {
  let asked = false;
  return () => {
    if (asked) return;
    asked = true;
    requestAnimationFrame(() => { asked = false; call(); });
  };
}

/** Call `enter` once for every watched element that comes near the window. */
export function watcher(enter) {
  const observer = new IntersectionObserver((entries) => {
    for (const entry of entries) {
      if (!entry.isIntersecting) continue;
      observer.unobserve(entry.target);
      enter(entry.target);
    }
  }, { rootMargin: "300px" });
  return observer;
}

/** Move the focus within a grid of elements by an arrow key; return whether it was one. */
export function moveInGrid(key, elements, current) {
  const index = elements.indexOf(current);
  if (!["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"].includes(key) || !elements.length) return false;
  let target = elements[index] ?? elements[0];
  if (key === "Home") target = elements[0];
  else if (key === "End") target = elements[elements.length - 1];
  else if (index >= 0) {
    if (key === "ArrowLeft") target = elements[Math.max(0, index - 1)];
    else if (key === "ArrowRight") target = elements[Math.min(elements.length - 1, index + 1)];
    else {
      const step = key === "ArrowDown" ? 1 : -1;
      const own = elements[index].getBoundingClientRect();
      let at = index + step, top = null, best = null;
      for (; elements[at]; at += step) {
        const box = elements[at].getBoundingClientRect();
        if (Math.abs(box.top - own.top) < 2) continue;
        if (top === null) top = box.top;
        if (Math.abs(box.top - top) > 2) break;
        const away = Math.abs(box.left - own.left);
        if (best === null || away < best[0]) best = [away, elements[at]];
      }
      if (best) target = best[1];
    }
  }
  target.focus({ preventScroll: true });
  target.scrollIntoView({ block: "nearest", behavior: "instant" });
  return true;
}
