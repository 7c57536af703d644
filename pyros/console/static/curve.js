"use strict";
// The light curve of the newest event in which something was found, on the page Tonight.
let curvePlot = null, curveOf = "", curvePoints = [];
const BANDS = { r: "--f-r", i: "--f-i" };
function curve() {
  const box = $("curve"); curvePlot?.destroy(); curvePlot = null; box.replaceChildren();
  if (curvePoints.length < 2) return;
  const bands = [...new Set(curvePoints.map(p => p.filter))], xs = curvePoints.map(p => p.after), log = xs[0] > 0 && xs.at(-1) / xs[0] > 3;
  const colour = b => css(BANDS[b] || "--now");
  curvePlot = new uPlot({ width: box.closest("section").clientWidth - 26, height: 220, legend: { show: false }, scales: { x: { time: false, distr: log ? 3 : 1 }, y: { dir: -1, range: (u, a, b) => [a - .15, b + .15] } },
    axes: [axis({ label: "s after the burst", labelSize: 16, labelFont: "11px system-ui", size: 24, space: 40 }), axis({ label: "magnitude", labelSize: 16, labelFont: "11px system-ui", size: 40 })],
    series: [{}, ...bands.map(b => ({ label: b, stroke: colour(b), paths: () => null, points: { show: true, size: 7, fill: colour(b) } }))],
    hooks: { draw: [u => {
      const c = u.ctx; c.save(); c.lineWidth = devicePixelRatio;
      for (const p of curvePoints) if (p.magnitude_error) { const X = u.valToPos(p.after, "x", true); c.strokeStyle = colour(p.filter); c.beginPath(); c.moveTo(X, u.valToPos(p.magnitude - p.magnitude_error, "y", true)); c.lineTo(X, u.valToPos(p.magnitude + p.magnitude_error, "y", true)); c.stroke(); }
      c.font = `${12 * devicePixelRatio}px system-ui`; bands.forEach((b, i) => { c.fillStyle = colour(b); c.fillText(`● ${b}`, u.bbox.left + u.bbox.width - (bands.length - i) * 30 * devicePixelRatio, u.bbox.top + 14 * devicePixelRatio); }); c.restore();
    }] } }, [xs, ...bands.map(b => curvePoints.map(p => p.filter === b ? p.magnitude : null))], box);
}
async function lookAtCurve() {
  const event = frame.events.find(e => e.found.length), stamp = event ? event.name + Math.max(...event.found.map(f => f.time)) : "";
  if (!extra.event || !event || stamp === curveOf || document.hidden) return;
  curveOf = stamp;
  await look(`${extra.event}?key=${encodeURIComponent(event.name)}`, seen => {
    const begun = seen.event_time ?? event.came;
    curvePoints = seen.curve.map(p => ({ ...p, after: p.time - begun })).sort((a, b) => a.after - b.after);
    $("lcsub").textContent = `${clip(short(event.name), 20)}, ${curvePoints.length} points`;
    curve();
  });
}
document.addEventListener("frame", lookAtCurve);
document.addEventListener("theme", curve);
addEventListener("resize", () => setTimeout(curve, 200));
lookAtCurve();
