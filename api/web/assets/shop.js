// What the pages do more where there is JavaScript. They work without it.
"use strict";

// Times in the visitor's own clock, as they are written where the visitor is.
function localTimes(root) {
  const page = document.documentElement.lang;
  const here = navigator.languages.find(l => l.slice(0, 2) === page.slice(0, 2)) || page;
  const form = new Intl.DateTimeFormat(here, { dateStyle: "medium", timeStyle: "short" });
  for (const t of root.querySelectorAll("time")) t.textContent = form.format(new Date(t.dateTime));
}

// The same page as it is now.
async function fetchPage(address) {
  const answer = await fetch(address, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error("status " + answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Puts the content of another page's element into ours with the same id. The
// focus stays on what is the same (by its id, or its kind and words), or else goes
// to the element.
function replace(page, id) {
  const next = page.getElementById(id), old = document.getElementById(id);
  if (!next || !old) return;
  localTimes(next);
  if (next.innerHTML === old.innerHTML) return;
  const was = old.contains(document.activeElement) ? document.activeElement : null;
  old.replaceChildren(...next.childNodes);
  if (!was) return;
  const again = was.id ? document.getElementById(was.id) :
    [...old.querySelectorAll(was.tagName)].find(e => e.textContent === was.textContent);
  if (!again) old.tabIndex = -1;
  (again || old).focus();
}

// Puts in what changed of an order. The sentence about its state comes last and
// alone, so that a screen reader says it once.
async function refreshOrder(section) {
  const page = await fetchPage(location.pathname), next = page.getElementById("order");
  if (!next) return;
  for (const name of ["data-state", "data-moving"]) {
    if (next.hasAttribute(name)) section.setAttribute(name, next.getAttribute(name));
    else section.removeAttribute(name);
  }
  const parts = ["stages", "actions", "after", "lines", "now"];
  // Nobody's half-filled form is taken away.
  if (!document.querySelector("#back details[open]")) parts.unshift("back");
  for (const id of parts) replace(page, id);
}

// Follows an order by the shop's events, until nothing of it changes any more.
function followOrder(section) {
  // What comes a moment after an event: points, a shipment, a refund.
  const later = pauses => {
    if (!pauses.length) return;
    setTimeout(async () => {
      await refreshOrder(section).catch(() => {});
      if (section.hasAttribute("data-moving") || pauses.length > 2) later(pauses.slice(1));
    }, pauses[0]);
  };
  if (section.hasAttribute("data-moving")) later([1000, 1000, 2000, 4000, 8000, 16000, 30000]);
  if (!section.dataset.events) return;
  const events = new EventSource(section.dataset.events);
  for (const state of ["pending", "placed", "paid", "refused", "closing", "cancelled"]) {
    events.addEventListener(state, async () => {
      const over = ["paid", "refused", "cancelled"].includes(state);
      if (over) events.close();
      if (state !== section.dataset.state) await refreshOrder(section).catch(() => {});
      if (over) later([700, 1500, 3000, 6000]);
    });
  }
}

// Shows price and stock of what is chosen of a product.
function followChoice(form) {
  form.addEventListener("change", async event => {
    if (event.target.type !== "radio") return;
    const chosen = new URLSearchParams();
    for (const [name, value] of new FormData(form)) {
      if (name.startsWith("o.") || name === "sku") chosen.set(name, value);
    }
    const address = location.pathname + "?" + chosen;
    try {
      replace(await fetchPage(address), "chosen");
      history.replaceState(null, "", address);
    } catch { /* the button still works */ }
  });
}

localTimes(document);
const wrong = document.getElementById("errors");
if (wrong) wrong.focus();
for (const form of document.querySelectorAll("form[data-choose]")) followChoice(form);
const order = document.getElementById("order");
if (order) followOrder(order);
