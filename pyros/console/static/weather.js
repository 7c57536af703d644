"use strict";
// Curves of the weather, each within the reading that it belongs to; and what other curves share. Words are the server's.
const hm = t => Math.abs(t) < 8.64e12 ? new Date(t * 1e3).toISOString().slice(11, 16) : "?";
const css = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const axis = (extra = {}) => ({ stroke: css("--dim"), grid: { stroke: css("--grid"), width: .5 }, ticks: { show: false }, font: "11px system-ui", ...extra });
const extra = document.querySelector("main").dataset;
async function look(url, take) { try { const answer = await fetch(url, { headers: { Accept: "application/json" } }); if (answer.ok) take(await answer.json()); } catch { /* the live chip tells */ } }

const trends = new Map(); // by station and what is measured, its plot
const heard = new Map(); // by station, what /weather.json has said; of one telescope the station is ""
const stationOf = box => box.closest("[data-station]")?.dataset.station ?? "";
function trendOf(box) {
  const told = heard.get(stationOf(box)); if (!told) return null;
  const name = box.dataset.trend, xs = told.trend.map(row => row.time), ys = told.trend.map(row => row[name] ?? null), known = ys.filter(y => y !== null);
  if (known.length < 2) return null;
  const limit = told.quantities.find(q => q.name === name)?.limit ?? null, lo = Math.min(...known), top = Math.max(...known), hi = limit !== null && limit - top < 3 * (top - lo || 1) ? Math.max(top, limit) : top, pad = (hi - lo) * .1 || 1;
  return new uPlot({ width: box.clientWidth, height: Number(extra.height || 66), legend: { show: false }, scales: { x: { time: true }, y: { range: [lo - pad, hi + pad] } }, cursor: { y: false, points: { size: 5 }, sync: { key: "weather" } },
    axes: [axis({ values: (u, vals) => vals.map(hm), size: 18, space: 70 }), axis({ size: 36, space: 14 })], series: [{}, { stroke: css("--now"), width: 1.4, fill: css("--now") + "22" }],
    hooks: { draw: [u => { if (limit === null || limit > hi + pad) return; const y = u.valToPos(limit, "y", true), c = u.ctx; c.save(); c.strokeStyle = css("--bad"); c.setLineDash([5, 4]); c.lineWidth = 1.2 * devicePixelRatio; c.beginPath(); c.moveTo(u.bbox.left, y); c.lineTo(u.bbox.left + u.bbox.width, y); c.stroke(); c.restore(); }] } }, [xs, ys]);
}
function weather(anew) { // readings come anew with each change: their curves are put into them again
  if (anew) { trends.forEach(plot => plot.destroy()); trends.clear(); }
  if (!heard.size) return;
  const boxes = [...document.querySelectorAll("[data-trend]")];
  if (anew) for (const box of boxes) box.textContent = " "; // a plot takes its box's width, so all boxes must stand first
  for (const box of boxes) {
    const name = `${stationOf(box)} ${box.dataset.trend}`;
    if (!trends.has(name)) { const plot = trendOf(box); if (plot) trends.set(name, plot); }
    const root = trends.get(name)?.root;
    if (root && root.parentNode !== box) box.replaceChildren(root); else if (!root) box.replaceChildren();
  }
}
const lookAtWeather = () => {
  if (!extra.weather || document.hidden) return;
  const stations = [...document.querySelectorAll("[data-station]")].map(e => e.dataset.station);
  for (const unit of stations.length ? stations : [""]) look(unit ? `${extra.weather}?unit=${encodeURIComponent(unit)}` : extra.weather, d => { heard.set(unit, d); weather(true); });
};
document.addEventListener("frame", () => weather(false));
document.addEventListener("theme", () => weather(true));
let resized; addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => weather(true), 150); });
lookAtWeather(); setInterval(lookAtWeather, 60000);
