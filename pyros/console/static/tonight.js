"use strict";
// The pictures of the page Tonight: sky and timeline as SVG. The words on the page are the server's.
const NS = "http://www.w3.org/2000/svg";
const S = (tag, attrs = {}, text) => { // el.style is CSSOM, which a strict policy allows; a style attribute it does not
  const e = document.createElementNS(NS, tag);
  for (const k in attrs) if (k === "style") e.style.cssText = attrs[k]; else e.setAttribute(k, attrs[k]);
  if (text !== undefined) e.textContent = text;
  return e;
};
const short = name => name.split("#").pop().split("/").pop() || name;
let frame = JSON.parse($("frame").textContent);

// The timeline.
const FATES = { observed: "var(--done)", observing: "var(--now)", failed: "var(--bad)", expired: "var(--done)", withdrawn: "var(--done)", interrupted: "var(--warn)" };
function clip(name, most) { // what tells names apart is often at their end
  const tail = Math.floor(most / 3); return name.length > most ? `${name.slice(0, most - tail - 1)}…${name.slice(-tail)}` : name;
}
function legend(id, entries) { // [colour, word]; without a colour a word alone
  $(id).replaceChildren(...entries.map(([colour, word]) => { const li = document.createElement("li"); if (colour) { const i = document.createElement("i"); i.style.color = colour; li.append(i); } li.append(word); return li; }));
}
function spansOf(line, now) { // what is drawn of a line of the plan: [begin, end, colour, word]
  if (line.began) return [[line.began, line.ended || (line.fate === "observing" ? now : line.began), FATES[line.fate] || "var(--done)", line.fate || "begun"]];
  return line.start ? [[line.start, line.end || line.start, "var(--plan)", "planned"]] : [];
}
function rowsOf(plan, now) { // of one telescope a row for each request
  const rows = new Map();
  for (const line of plan.lines) {
    const key = line.request || line.observation, row = rows.get(key) || { name: short(line.target), spans: [] };
    row.spans.push(...spansOf(line, now).map(span => [...span, row.name])); rows.set(key, row);
  }
  for (const row of rows.values()) row.first = row.spans.length ? Math.min(...row.spans.map(s => s[0])) : Infinity;
  return [...rows.values()].filter(row => row.spans.length).sort((a, b) => a.first - b.first).slice(-7);
}
function laneOf(each) { // of several telescopes a lane for each
  const spans = each.plan.lines.flatMap(line => spansOf(line, each.night.now).map(span => [...span, short(line.target)]));
  return { name: each.unit, spans: spans.sort((a, b) => (a[3] !== "planned") - (b[3] !== "planned")), plan: each.plan };
}
function timeline() {
  const v = $("night"), several = frame.telescopes.length > 0, all = (several ? frame.telescopes.map(each => each.plan) : [frame.plan]).filter(plan => plan.times); v.replaceChildren();
  if (!all.length) return;
  const shown = several ? frame.telescopes.filter(each => each.plan.times).map(laneOf) : rowsOf(frame.plan, frame.night.now);
  const W = v.clientWidth || 600, narrow = W < 460, step = several ? 34 : 24, bar = several ? 20 : 17, top = 18, height = Math.max(60, shown.length * step + (several ? 0 : 10)), left = shown.length ? (narrow ? 96 : 118) : 4;
  const t0 = Math.min(...all.map(plan => plan.times.sunset)) - 1200, t1 = Math.max(...all.map(plan => plan.times.sunrise)) + 1200, X = t => left + (Math.min(t1, Math.max(t0, t)) - t0) / (t1 - t0) * (W - left - 6), H = top + height + 30;
  v.setAttribute("viewBox", `0 0 ${W} ${H}`); v.style.height = `${H}px`;
  let moons = false;
  const background = (plan, y, height) => { // light, weather and Moon: of several telescopes those of each, behind its lane
    const times = plan.times, band = (a, b, style, title) => { const r = S("rect", { x: X(a), y, width: Math.max(1, X(b) - X(a)), height, style }); if (title) r.append(S("title", {}, title)); v.append(r); };
    const dusk = times.dusk ?? times.sunset, dawn = times.dawn ?? times.sunrise;
    band(t0, times.sunset, "fill:var(--day)"); band(times.sunset, dusk, "fill:var(--twi)"); band(dusk, dawn, times.dusk === null ? "fill:var(--twi)" : "fill:var(--nite)"); band(dawn, times.sunrise, "fill:var(--twi)"); band(times.sunrise, t1, "fill:var(--day)");
    for (const span of plan.unsafe) { band(span.begin, span.end, "fill:var(--bad);opacity:.22", `unsafe: ${span.reason}`); if (X(span.end) - X(span.begin) > 40) v.append(S("text", { x: (X(span.begin) + X(span.end)) / 2, y: y + height - 3, "text-anchor": "middle", style: "fill:var(--bad)" }, "unsafe")); }
    const moon = times.moonrise !== null && times.moonset !== null && times.moonrise < times.moonset ? [[times.moonrise, times.moonset]] : [...(times.moonset !== null ? [[t0, times.moonset]] : []), ...(times.moonrise !== null ? [[times.moonrise, t1]] : [])];
    moons ||= moon.length > 0;
    for (const [a, b] of moon) if (b > t0 && a < t1) { const r = S("rect", { x: X(a), y: y + height - 3, width: Math.max(1, X(b) - X(a)), height: 3, style: "fill:var(--moon,#d8b13c)" }); r.append(S("title", {}, "the Moon is up")); v.append(r); }
  };
  if (several) shown.forEach((lane, i) => background(lane.plan, top + i * step, step - 2)); else background(frame.plan, top, height);
  const every = narrow ? 4 : 2;
  for (let t = Math.ceil(t0 / 3600) * 3600; t < t1; t += 3600) if (Math.round(t / 3600) % every === 0) v.append(S("path", { d: `M${X(t)} ${top}V${top + height}`, style: "stroke:var(--grid);stroke-width:.6" }), S("text", { x: X(t), y: top + height + 13, "text-anchor": "middle" }, hm(t)));
  shown.forEach((row, i) => {
    const y = top + (several ? 5 : 6) + i * step;
    const label = S("text", { x: 0, y: y + 13, style: "fill:var(--text);font-weight:600" }, clip(row.name, narrow ? 13 : 16)); label.append(S("title", {}, row.name)); v.append(label);
    if (several) label.dataset.lane = row.name;
    for (const [a, b, fill, word, name] of row.spans) { const r = S("rect", { x: X(a), y, width: Math.max(5, X(b) - X(a)), height: bar, rx: 4, style: `fill:${fill}` }); r.append(S("title", {}, `${name}: ${word}, ${hm(a)} to ${hm(b)}`)); v.append(r); }
  });
  for (const event of frame.events) if (event.came > t0 && event.came < t1) { const g = S("path", { d: `M${X(event.came) - 5} 6h10l-5 9z`, style: "fill:var(--warn)" }); g.append(S("title", {}, `${hm(event.came)} alert ${short(event.name)}`)); v.append(g); }
  if (!shown.some(row => row.spans.length)) v.append(S("text", { x: (W + left) / 2, y: top + height / 2 + 4, "text-anchor": "middle" }, "nothing is planned yet"));
  legend("nightlegend", [...[...new Set(shown.flatMap(row => row.spans.map(([, , fill, word]) => `${fill} ${word}`)))].map(each => each.split(" ")), ...(moons ? [["var(--moon,#d8b13c)", "Moon up"]] : []), ...(frame.events.some(e => e.came > t0 && e.came < t1) ? [["", "▾ alert"]] : [])]);
  const now = frame.night.now;
  if (now > t0 && now < t1) v.append(S("path", { d: `M${X(now)} 12V${top + height + 3}`, style: "stroke:var(--bad);stroke-width:1.6" }), S("text", { x: X(now), y: top + height + 27, "text-anchor": "middle", style: "fill:var(--bad);font-weight:700" }, "now"));
}

// The sky, as one lies under it: north up, east left; r = 100 at the horizon.
const pol = (alt, az) => { const r = (90 - alt) / .9, a = az * Math.PI / 180; return [-r * Math.sin(a), -r * Math.cos(a)]; };
const poly = points => points.map((p, i) => (i ? "L" : "M") + p.map(v => v.toFixed(1)).join(" ")).join("");
const KINDS = { observing: "var(--now)", planned: "var(--warn)", requested: "var(--warn)", observed: "var(--done)", rejected: "var(--bad)", failed: "var(--bad)" };
let around = null; // what /sky.json has said
function sky(v = $("sky"), night = frame.night, above = around) {
  v.replaceChildren();
  v.append(S("circle", { r: 100, style: "fill:var(--sky);stroke:var(--grid)" }));
  for (const alt of [30, 60]) v.append(S("circle", { r: (90 - alt) / .9, style: "fill:none;stroke:var(--grid);stroke-width:.4" }));
  for (const az of [0, 45, 90, 135]) v.append(S("path", { d: poly([pol(0, az), pol(0, az + 180)]), style: "stroke:var(--grid);stroke-width:.3" }));
  if (above) surroundings(v, night, above);
  for (const [t, az] of [["N", 0], ["E", 90], ["S", 180], ["W", 270]]) { const [x, y] = pol(-5.2, az); v.append(S("text", { x, y: y + 2.2, "text-anchor": "middle", style: "font-size:8.5px;font-weight:600" }, t)); }
  for (const alt of [30, 60]) { const [x, y] = pol(alt, 205); v.append(S("text", { x, y, style: "font-size:6px" }, `${alt}°`)); }
  const scope = night.telescope;
  if (scope && scope.altitude > -2) {
    const [x, y] = pol(scope.altitude, scope.azimuth), g = S("g", { style: "stroke:var(--text);stroke-width:1.1;fill:none" });
    g.append(S("circle", { cx: x, cy: y, r: 5 }), S("path", { d: `M${x - 9} ${y}h5M${x + 4} ${y}h5M${x} ${y - 9}v5M${x} ${y + 4}v5` }), S("title", {}, `Telescope: ${scope.state}, altitude ${scope.altitude.toFixed(1)}°, azimuth ${scope.azimuth.toFixed(1)}°`)); v.append(g);
  }
  const dome = night.dome;
  if (dome && dome.azimuth !== null && dome.state === "open") { const pts = []; for (let i = -9; i <= 9; i++) pts.push(pol(-1.3, dome.azimuth + i)); v.append(S("path", { d: poly(pts), style: "stroke:var(--now);stroke-width:3;fill:none" })); }
}
function surroundings(v, night, around) {
  for (const [alt, az, m] of around.stars) { const [x, y] = pol(alt, az); v.append(S("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r: Math.max(.35, 1.7 - .38 * m).toFixed(2), style: "fill:var(--star);opacity:.8" })); }
  if (around.horizon.length) {
    const sorted = [...around.horizon].sort((a, b) => a[1] - b[1]), rim = []; for (let i = 0; i <= 72; i++) rim.push(pol(0, i * 5));
    const edge = []; sorted.forEach((p, i) => { // straight in azimuth: no chord through the zenith
      const q = sorted[(i + 1) % sorted.length], span = (q[1] - p[1] + 360) % 360 || 360, n = Math.max(1, Math.ceil(span / 5));
      for (let k = 0; k < n; k++) edge.push(pol(p[0] + (q[0] - p[0]) * k / n, p[1] + span * k / n));
    });
    v.append(S("path", { d: poly(edge) + "Z" + poly(rim) + "Z", "fill-rule": "evenodd", style: "fill:var(--ground)" }));
  }
  if (around.limit > 0) v.append(S("circle", { r: (90 - around.limit) / .9, style: "fill:none;stroke:var(--bad);stroke-width:.5;stroke-dasharray:2 2;opacity:.7" }));
  if (around.path.length > 1) v.append(S("path", { d: poly(around.path.map(p => pol(...p))), style: "fill:none;stroke:var(--now);stroke-width:.8;stroke-dasharray:3 2" }));
  if (around.regions.length) { // within the horizon's circle
    const clip = S("clipPath", { id: "upper" }); clip.append(S("circle", { r: 100 })); v.append(clip);
  }
  const regions = around.regions.map(region => {
    const colour = KINDS[region.word] || "var(--warn)", g = S("g", { "clip-path": "url(#upper)" }), r = Math.max(.9, region.radius / .9).toFixed(2);
    for (const [share, opacity] of [[.9, .22], [.5, .3]]) { // one group each: where circles overlap nothing is darker
      const inside = S("g", { style: `fill:${colour};opacity:${opacity}` });
      for (const [alt, az, at] of region.points) if (at <= share) { const [x, y] = pol(alt, az); inside.append(S("circle", { cx: x.toFixed(1), cy: y.toFixed(1), r })); }
      g.append(inside);
    }
    for (const field of region.fields) { const [x, y] = pol(field.altitude, field.azimuth); g.append(S("rect", { x: (x - 1).toFixed(1), y: (y - 1).toFixed(1), width: 2, height: 2, style: field.observed ? `fill:${colour}` : `fill:none;stroke:${colour};stroke-width:.4` })); }
    g.append(S("title", {}, `${short(region.name)}: ${region.word}${region.area90 ? `, 90 % in ${Math.round(region.area90)} square degrees` : ""}${region.fields.length ? `, ${region.fields.filter(f => f.observed).length} of ${region.fields.length} fields that are up observed` : ""}`));
    v.append(g);
    const [alt, az] = region.points.reduce((a, b) => b[2] < a[2] ? b : a);
    return { name: region.name, word: region.word, altitude: alt, azimuth: az, radius: region.radius };
  });
  const taken = []; // labels keep apart: each takes the first place that no earlier one has
  if (around.moon.altitude > 0) {
    const [x, y] = pol(around.moon.altitude, around.moon.azimuth), right = x > 45;
    v.append(S("circle", { cx: x, cy: y, r: 4, style: "fill:var(--moon,#f2e3a2);stroke:#a8965a;stroke-width:.4" }), S("text", { x: x + (right ? -5.5 : 5.5), y: y + 2, "text-anchor": right ? "end" : "start" }, `Moon ${Math.round(around.moon_lit * 100)} %`));
    taken.push([x - 54, y - 7, x + 54, y + 6]);
  }
  const scope = night.telescope; if (scope) { const [x, y] = pol(scope.altitude, scope.azimuth); taken.push([x - 9, y - 9, x + 9, y + 9]); }
  const placed = new Set(around.events.map(mark => mark.name)), marks = [...around.events, ...regions.filter(mark => !placed.has(mark.name))];
  for (const mark of marks) {
    const [x, y] = pol(mark.altitude, mark.azimuth), r = Math.max(2.6, Math.min(60, mark.radius / .9)), name = clip(short(mark.name), 18), w = name.length * 4.4, colour = KINDS[mark.word] || "var(--done)";
    const left = ([lx, , at]) => at === "start" ? lx : at === "end" ? lx - w : lx - w / 2;
    const places = [[x + r + 2, y + 2, "start"], [x - r - 2, y + 2, "end"], [x, y - r - 3, "middle"], [x, y + r + 8, "middle"], [x, y + r + 16, "middle"], [x, y - r - 11, "middle"]];
    const place = places.find(p => { const l = left(p); return l > -110 && l + w < 110 && !taken.some(([a0, b0, a1, b1]) => l < a1 && l + w > a0 && p[1] - 7 < b1 && p[1] > b0); });
    const g = S("g"); g.append(S("title", {}, `${short(mark.name)}: ${mark.word}, altitude ${mark.altitude.toFixed(0)}°`), S("circle", { cx: x, cy: y, r, style: `fill:${colour};fill-opacity:.13;stroke:${colour};stroke-width:.9;stroke-dasharray:${mark.word === "rejected" ? "1.5 1.5" : "none"}` }));
    if (place) { taken.push([left(place), place[1] - 7, left(place) + w, place[1]]); g.append(S("text", { x: place[0], y: place[1], "text-anchor": place[2], style: `fill:${colour};font-weight:600;paint-order:stroke;stroke:var(--sky);stroke-width:1.6px` }, name)); }
    v.append(g);
  }
  if (v.id !== "sky") return;
  legend("skylegend", [...[...new Set(marks.map(mark => mark.word))].map(word => [KINDS[word] || "var(--done)", word]), ["", "+ telescope"], ...(around.limit > 0 ? [["", `– – limit ${around.limit}°`]] : [])]);
  const lst = (around.sidereal + (frame.night.now - around.now) / 3590.17) % 24;
  $("skysub").textContent = `LST ${String(Math.floor(lst)).padStart(2, "0")}:${String(Math.floor(lst * 60 % 60)).padStart(2, "0")} · Sun ${around.sun < 0 ? "−" : ""}${Math.abs(around.sun).toFixed(0)}°`;
}

function title() {
  const night = frame.night; document.title = `${night.safety.safe === false ? "✕ " : ""}${night.word} · ${night.observatory}`;
}
const skies = new Map(); // by units, what /sky.json has said of each of several telescopes
function skyOf(each) { const v = document.querySelector(`[data-unit="${CSS.escape(each.unit)}"] svg`); if (v) sky(v, each.night, skies.get(each.unit)); }
function draw() { timeline(); if (frame.telescopes.length) frame.telescopes.forEach(skyOf); else sky(); }
function lookAround() {
  if (!extra.sky || document.hidden) return;
  for (const each of frame.telescopes) look(`${extra.sky}?unit=${encodeURIComponent(each.unit)}`, d => { skies.set(each.unit, d); draw(); });
  if (!frame.telescopes.length) look(extra.sky, d => { around = d; sky(); });
}
let looked = performance.now();
document.addEventListener("frame", e => {
  frame = e.detail; draw(); title();
  if (performance.now() - looked > 5000) { looked = performance.now(); lookAround(); }
});
document.addEventListener("theme", draw);
let wait; addEventListener("resize", () => { clearTimeout(wait); wait = setTimeout(draw, 150); });
draw(); lookAround(); setInterval(lookAround, 60000);
document.documentElement.dataset.ready = "1";
