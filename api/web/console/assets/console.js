// What the console does more where there is JavaScript. It works without it.
"use strict";

// The same page as it is now.
async function fetchPage() {
  const answer = await fetch(location.href, { credentials: "same-origin" });
  if (!answer.ok || answer.redirected) throw new Error("status " + answer.status);
  return new DOMParser().parseFromString(await answer.text(), "text/html");
}

// Puts in what changed, and keeps what is opened open and the focus where it is.
function replace(next, old) {
  if (next.innerHTML === old.innerHTML) return;
  const opened = [...old.querySelectorAll("details")].map(d => d.open);
  const all = [...old.querySelectorAll("a, summary, pre, .scroll")];
  const focused = all.indexOf(document.activeElement);
  const scrolled = [...old.querySelectorAll(".scroll, pre")].map(e => [e.scrollLeft, e.scrollTop]);
  old.replaceChildren(...next.childNodes);
  old.querySelectorAll("details").forEach((d, i) => { d.open = Boolean(opened[i]); });
  old.querySelectorAll(".scroll, pre").forEach((e, i) => {
    if (scrolled[i]) [e.scrollLeft, e.scrollTop] = scrolled[i];
  });
  if (focused >= 0) old.querySelectorAll("a, summary, pre, .scroll")[focused]?.focus({ preventScroll: true });
}

const seconds = Number(document.body.dataset.reload), live = document.querySelectorAll("[data-live]");
const note = document.getElementById("note");
let read = new Date(), stale = "";
if (seconds && live.length) {
  const look = async () => {
    if (!document.hidden && getSelection().isCollapsed) {
      try {
        const next = (await fetchPage()).querySelectorAll("[data-live]");
        if (next.length === live.length) next.forEach((part, i) => replace(part, live[i]));
        if (stale) note.textContent = stale = "";
        read = new Date();
      } catch {
        stale = "The shop does not answer; this is as it was at " + read.toISOString().slice(11, 19) + " UTC.";
        if (note.textContent !== stale) note.textContent = stale;
      }
    }
    setTimeout(look, seconds * 1000);
  };
  setTimeout(look, seconds * 1000);
}
const said = document.getElementById("errors") || document.getElementById("confirm");
if (said) said.focus();
