"use strict";
// What every page does: news as it comes, its age, the colours, and orders without leaving the page.
// Everything works without this file, too: forms are forms, and the first state is in the page.
const $ = id => document.getElementById(id);
const ago = s => s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : s < 129600 ? `${Math.round(s / 3600)} h` : `${Math.round(s / 86400)} d`;
const STALE_SECONDS = 10;
const news = { frame: null, number: 0, at: performance.now(), silent: 0, clock: null };

function take(event, text) {
  const told = JSON.parse(text);
  news.at = performance.now();
  if (event === "pulse") { news.silent = told.heard; return tick(); }
  for (const [name, html] of Object.entries(told.panels)) {
    for (const box of document.querySelectorAll(`[data-panel="${name}"]`)) {
      if (box.dataset.shown !== html) { box.dataset.shown = html; box.innerHTML = html; } // made by the server's templates, which escape
    }
  }
  news.frame = told.frame; news.number = told.number; news.clock = performance.now();
  document.dispatchEvent(new CustomEvent("frame", { detail: told.frame }));
  tick();
}
function tick() {
  const live = $("live"); if (!live) return;
  const age = (performance.now() - news.at) / 1e3, silent = Math.max(age, news.silent + age), stale = silent > STALE_SECONDS;
  live.className = `chip ${stale ? "bad" : "good"}`;
  live.querySelector("b").textContent = stale ? "✕ NO NEWS" : "● live";
  live.querySelector("span").textContent = stale ? `for ${ago(silent)}` : `heard ${ago(silent)} ago`;
  $("stale").hidden = !stale; $("stale").querySelector("b").textContent = ago(silent);
  document.body.classList.toggle("stale", stale);
  if (news.frame && !stale) $("utc").textContent = new Date((news.frame.night.now + (performance.now() - news.clock) / 1e3) * 1e3).toISOString().slice(11, 19);
}
let again = performance.now(), asking = false; // lists that follow the frames: the page is asked for again, every three seconds at most
document.addEventListener("frame", () => setTimeout(follow, Math.max(0, again + 3000 - performance.now())));
async function follow() {
  const parts = [...document.querySelectorAll("[data-again]")];
  if (asking || !parts.length || document.hidden || performance.now() - again < 3000 || parts.some(part => part.contains(document.activeElement))) return;
  asking = true;
  try {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }), fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    if (answer.ok) for (const part of parts) { const now = fresh.getElementById(part.id); if (now && now.innerHTML !== part.innerHTML) part.innerHTML = now.innerHTML; }
  } catch { /* the live chip tells */ } finally { again = performance.now(); asking = false; }
}
function listen(tell) { // one stream a browser: the page that has it passes everything on to the others
  const source = new EventSource(document.body.dataset.live);
  for (const event of ["frame", "pulse"]) source.addEventListener(event, e => { take(event, e.data); tell(event, e.data); });
  source.onerror = () => { if (source.readyState === EventSource.CLOSED) setTimeout(() => listen(tell), 3000); };
}
if (document.body.dataset.live) {
  if (navigator.locks && window.BroadcastChannel) {
    const channel = new BroadcastChannel("pyros-live");
    channel.onmessage = e => take(...e.data);
    navigator.locks.request("pyros-live", () => new Promise(() => listen((event, data) => channel.postMessage([event, data]))));
  } else listen(() => {});
  tick(); setInterval(tick, 1000);
}

{ const button = $("theme"), root = document.documentElement, order = ["", "dark", "night", "light"];
  if (button) { button.hidden = false; button.onclick = () => {
    const next = order[(order.indexOf(root.dataset.theme || "") + 1) % order.length];
    if (next) root.dataset.theme = next; else delete root.dataset.theme;
    localStorage.setItem("pyros-theme", next); document.dispatchEvent(new CustomEvent("theme"));
  }; } }

function say(text, bad) { const told = $("ordered"); told.textContent = text; told.className = bad ? "bad message" : "good message"; clearTimeout(say.timer); say.timer = setTimeout(() => { told.textContent = ""; told.className = ""; }, 15000); }
for (const form of document.querySelectorAll(".stops form")) form.addEventListener("submit", async event => {
  event.preventDefault();
  const button = form.querySelector("button"), word = button.textContent;
  button.disabled = true; button.textContent = "…";
  try { // that it has stopped is for the observatory to say, not for the button
    const answer = await fetch(form.action, { method: "POST", headers: { Accept: "application/json" }, body: new URLSearchParams(new FormData(form)) });
    const told = await answer.json();
    if (told.error) say(`Not taken: ${told.error}`, true);
    else { const missing = Object.keys(told.missing); say(missing.length || told.problem ? `${told.problem || ""} ${missing.length} of ${told.agents} agents did not answer: ${missing.join(", ")}` : `Taken by all ${told.agents} agents`, missing.length > 0); }
    form.closest("details")?.removeAttribute("open");
  } catch { form.submit(); } // the plain form, whose answer is a page
  finally { button.disabled = false; button.textContent = word; }
});
