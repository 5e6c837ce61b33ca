"use strict";
// Opens racks into nodes, zooms, filters and sorts. Everything is drawn with textContent: no name can become markup.
(() => {
  const D = JSON.parse(document.getElementById("data").textContent);
  const C = D.contracts, SPAN = D.end, $ = (id) => document.getElementById(id);
  const PAGE = 100, DAY = 86400, MANY = 400;
  document.body.classList.add("js");

  // ---- small things
  const el = (tag, cls, text) => { const e = document.createElement(tag); if (cls) e.className = cls; if (text !== undefined) e.textContent = text; return e; };
  const pct = (t) => (100 * Math.min(Math.max(t, 0), SPAN) / SPAN).toFixed(5) + "%";
  const place = (e, start, end) => { e.style.left = pct(start); e.style.width = `calc(${pct(Math.min(end, SPAN))} - ${pct(start)})`; return e; };
  const num = (n) => n.toLocaleString("en-US");
  const money = (micros) => (micros / 1e6).toLocaleString("en-US", { minimumFractionDigits: 2, maximumFractionDigits: 2 });
  const date = (t) => new Date((D.start + t) * 1000);
  const known = new Map(); // instants as text: the same few thousand stand everywhere
  const when = (t) => {
    if (!known.has(t)) known.set(t, t > SPAN ? "open" : date(t).toISOString().replace("T", " ").slice(0, (D.start + t) % 60 ? 19 : 16));
    return known.get(t);
  };
  const span = (a, b) => (D.start + a) % DAY || (D.start + b) % DAY ? `${when(a)} to ${when(b)}` : `${when(a).slice(0, 10)} to ${when(b).slice(0, 10)}`;
  const hash = (text) => { let h = 2166136261; for (let i = 0; i < text.length; i++) h = Math.imul(h ^ text.charCodeAt(i), 16777619); return h >>> 0; };
  const hue = (c) => (hash(C.key[c]) * 137) % 360;
  const CLASS = ["Firm", "Interruptible", "Reserve", "Reserve"];

  // ---- indexes: what lies on each rack and node
  const rackOf = new Int32Array(D.nodes.length).fill(-1);
  D.racks.forEach(([, , first, n], r) => rackOf.fill(r, first, first + n));
  const down = new Set(D.down), cordoned = new Set(D.cordoned), outagesOn = new Map(), arrivals = new Map(), leavings = new Map(), cuts = new Map();
  const push = (map, key, value) => map.has(key) ? map.get(key).push(value) : map.set(key, [value]);
  D.outages.forEach((o) => o[4].forEach((n) => push(outagesOn, n, o)));
  D.moves.forEach((m) => { push(arrivals, m[3] + ":" + m[0], m); push(leavings, m[2], m); });
  D.cuts.forEach(([c, t, planned]) => cuts.set(c + ":" + t, planned));

  // ---- filter
  const filter = { text: "", product: "", cls: "", state: "" };
  let hits = null; // contracts that match, null without a filter
  const wanted = () => {
    if (!filter.text && !filter.product && !filter.cls && !filter.state) return null;
    const text = filter.text.toLowerCase(), found = new Set();
    for (let i = 0; i < C.key.length; i++) {
      if (filter.product !== "" && C.product[i] !== +filter.product) continue;
      if (filter.cls !== "" && (C.flags[i] & 1) !== +filter.cls) continue;
      if (filter.state !== "" && C.state[i] !== +filter.state) continue;
      if (text && !(C.key[i].toLowerCase().includes(text) || C.id[i].toLowerCase().includes(text) || C.holder[i].toLowerCase().includes(text))) continue;
      found.add(i);
    }
    return found;
  };
  const named = (name) => filter.text && name.toLowerCase().includes(filter.text.toLowerCase());

  // ---- nodes of a rack, drawn when it is opened
  const tips = new WeakMap();
  // what a tooltip says is put together when it is asked for; `facts` gives its lines
  const tipped = (e, title, label, facts, note) => { tips.set(e, { title, facts, note }); e.setAttribute("role", "img"); e.setAttribute("aria-label", `${title}, ${label}`); return e; };
  const slots = (flat, gpus) => { // which GPUs of the node each binding is drawn on: the lowest that are free
    const order = [], until = new Array(gpus).fill(-Infinity), out = [];
    for (let i = 0; i < flat.length; i += 5) order.push(i);
    for (const i of order) {
      const take = [];
      for (let g = 0; g < gpus && take.length < flat[i + 1]; g++) if (until[g] <= flat[i + 2]) { take.push(g); until[g] = flat[i + 3]; }
      const runs = [];
      for (const g of take) { const last = runs[runs.length - 1]; if (last && last[0] + last[1] === g) last[1]++; else runs.push([g, 1]); }
      out.push([i, runs.length ? runs : [[0, Math.max(1, gpus)]]]);
    }
    return out;
  };
  const bars = (track, node) => {
    const flat = D.bindings[node], whole = Math.max(D.whole[node], 1);
    for (const [i, runs] of slots(flat, Math.max(whole, D.gpus[node]))) {
      const [c, gpus, start, end, product] = flat.slice(i, i + 5), moved = start >= D.now && arrivals.get(node + ":" + c);
      runs.forEach(([top, height], k) => {
        const bar = place(el("i", "bar"), start, end);
        bar.style.top = (100 * top / whole) + "%"; bar.style.height = (100 * height / whole) + "%"; bar.style.setProperty("--h", hue(c));
        if (C.flags[c] & 1) bar.classList.add("int");
        if (product !== C.product[c]) bar.classList.add("sub");
        const cut = start > D.now && cuts.has(c + ":" + start), left = cuts.has(c + ":" + end);
        if (cut) bar.classList.add("cut");
        if (moved && !k && 2 * height >= whole) bar.classList.add("moved");
        if (hits) bar.classList.add(hits.has(c) ? "on" : named(D.nodes[node]) ? "x" : "off");
        if (2 * height >= whole) bar.append(el("span", "", C.key[c].split("/").pop()));
        const facts = () => [["Node", `${D.nodes[node]}, ${num(gpus)} GPUs`], ["Bound", span(start, end)], ["Contract", `${num(C.gpus[c])} GPUs in lots of ${C.lot[c]}, ${span(C.start[c], C.end[c])}`], ["Class", CLASS[C.flags[c]] + (C.holder[c] ? `, held by ${C.holder[c]}` : "")], ["Grade", D.products[product] + (product !== C.product[c] ? ` for ${D.products[C.product[c]]}` : "")], ["Plan", D.states[C.state[c]]],
          ...moved ? [["Moved", moved.map((m) => `${m[1]} GPUs from ${D.nodes[m[2]]} (${m[4]})`).join(", ")]] : [],
          ...cut || left ? [["Interrupted", (cut ? `at ${when(start)}` : `at ${when(end)}`) + (cuts.get(c + ":" + (cut ? start : end)) ? ", a planned cut" : ", forced")]] : []];
        bar.dataset.c = c; bar.tabIndex = -1;
        track.append(tipped(bar, C.key[c], `${num(gpus)} GPUs on ${D.nodes[node]}, ${span(start, end)}`, facts));
      });
    }
  };
  const leftAt = ([c, , from]) => { // when the lot is gone: where its time there ends early, else when it would have begun
    const flat = D.bindings[from] || [], ends = [];
    for (let i = 0; i < flat.length; i += 5) if (flat[i] === c && flat[i + 3] < C.end[c]) ends.push(flat[i + 3]);
    return ends.length ? Math.min(...ends) : Math.max(D.now, C.start[c]);
  };
  const nodeRow = (node) => {
    const row = el("div", "row node" + (down.has(node) ? " is-down" : "")), label = el("span", "label"), track = el("span", "track");
    label.append(el("span", "", D.nodes[node])); label.title = D.nodes[node];
    const say = el("small"); label.append(say);
    if (down.has(node)) say.append(el("em", "", "down"));
    if (cordoned.has(node)) say.append(el("u", "", "cordoned"));
    if (D.gpus[node] < D.whole[node]) {
      say.append(el("u", "", ` ${D.gpus[node]}/${D.whole[node]}`));
      const dead = el("i", "dead"); dead.style.height = (100 * (1 - D.gpus[node] / D.whole[node])) + "%";
      track.append(tipped(dead, D.nodes[node], `${D.gpus[node]} of ${D.whole[node]} GPUs healthy`, () => [["GPUs", `${D.gpus[node]} of ${D.whole[node]} healthy`]]));
    }
    bars(track, node);
    for (const [name, type, start, end] of outagesOn.get(node) || []) if (end > 0 && start < SPAN) track.append(tipped(place(el("i", "outage"), start, end), name, `${type} outage, ${span(Math.max(start, 0), end)}`, () => [["Outage", type], ["On", D.nodes[node]], ["From", span(Math.max(start, 0), end)]]));
    const gone = (leavings.get(node) || []).filter((m) => !hits || hits.has(m[0]));
    const at = new Map();
    gone.forEach((m) => push(at, leftAt(m), m));
    for (const [t, list] of at) {
      const mark = el("i", "left", `◂ ${list.length}`); mark.style.left = pct(t); if (t > D.now && D.bindings[node].length) mark.classList.add("before");
      track.append(tipped(mark, `Moved away from ${D.nodes[node]}, ${when(t)}`, `${list.length} moves`, () => list.slice(0, 8).map((m) => [C.key[m[0]], `${m[1]} GPUs to ${D.nodes[m[3]]} (${m[4]})`]), list.length > 8 ? `and ${list.length - 8} more` : ""));
    }
    row.append(label, track);
    return row;
  };
  const idle = (node) => !D.bindings[node].length && !down.has(node) && !outagesOn.has(node) && !leavings.has(node);
  const shown = (node) => !hits || named(D.nodes[node]) || D.bindings[node].some((v, i) => i % 5 === 0 && hits.has(v));
  const drawRack = (details) => {
    const box = details.querySelector(".nodes"), r = +details.dataset.rack, [, , first, n] = D.racks[r], out = document.createDocumentFragment();
    let quiet = 0, other = 0;
    for (let node = first; node < first + n; node++) { if (hits && !shown(node) && !named(D.racks[r][1])) other++; else if (idle(node) && !hits) quiet++; else out.append(nodeRow(node)); }
    if (quiet) { const note = el("div", "row node note"); note.append(el("span", "label", ""), el("span", "track")); note.firstChild.append(el("span", "", `${num(quiet)} idle node${quiet > 1 ? "s" : ""}`)); out.append(note); }
    box.replaceChildren(out);
    box.dataset.drawn = "1";
    roving(box);
  };

  // ---- what is not delivered
  const KIND = [["", "short"], [" right", "curtailed by right"], [" refused", "refused"]];
  const drawMissing = (details) => {
    const box = details.querySelector(".nodes"), by = new Map(), out = document.createDocumentFragment();
    D.gaps.forEach((g) => { if (!hits || hits.has(g[0])) push(by, g[0], g); });
    let left = MANY;
    for (const [c, gaps] of by) {
      if (!left--) break;
      const row = el("div", "row node"), label = el("span", "label"), track = el("span", "track");
      label.append(el("span", "", C.key[c]), el("small", "", CLASS[C.flags[c]])); label.title = C.key[c];
      for (const [, gpus, start, end, code, message, kind] of gaps) {
        const bar = place(el("i", "bar gap" + KIND[kind][0]), start, end);
        bar.append(el("span", "", num(gpus) + " GPUs"));
        bar.dataset.c = c; bar.tabIndex = -1;
        track.append(tipped(bar, C.key[c], `${num(gpus)} GPUs ${KIND[kind][1]}, ${span(start, end)}: ${code}`, () => [[num(gpus) + " GPUs", KIND[kind][1]], ["When", span(start, end)], ["Why", code]], message));
      }
      row.append(label, track); out.append(row);
    }
    if (by.size > MANY) { const note = el("div", "row node note"), label = el("span", "label"); label.append(el("span", "", `and ${num(by.size - MANY)} more contracts`)); note.append(label, el("span", "track")); out.append(note); }
    box.replaceChildren(out); box.dataset.drawn = "1"; roving(box);
  };

  // ---- keyboard: one stop per opened rack, arrows from there
  const roving = (box) => { const first = box.querySelector(".bar"); if (first) first.tabIndex = 0; };
  const step = (bar, key) => {
    const row = bar.closest(".row"), all = [...row.querySelectorAll(".bar")], i = all.indexOf(bar);
    if (key === "ArrowRight" || key === "ArrowLeft") return all[i + (key === "ArrowRight" ? 1 : -1)];
    const rows = [...$("gantt").querySelectorAll(".node:has(.bar)")].filter((r) => r.offsetParent), next = rows[rows.indexOf(row) + (key === "ArrowDown" ? 1 : -1)];
    return next && next.querySelector(".bar");
  };
  $("gantt").addEventListener("keydown", (e) => {
    const bar = e.target.closest && e.target.closest(".bar");
    if (bar && e.key.startsWith("Arrow")) { const to = step(bar, e.key); if (to) { bar.tabIndex = -1; to.tabIndex = 0; to.focus(); } e.preventDefault(); }
    else if (bar && (e.key === "Enter" || e.key === " ")) { follow(+bar.dataset.c); e.preventDefault(); }
    else if (e.key === "+" || e.key === "=") zoomTo(zoom * 2);
    else if (e.key === "-") zoomTo(zoom / 2);
    else if (e.key === "0") zoomTo(1);
    else if (e.key === "Escape") clear();
  });

  // ---- racks that the filter leaves
  const racks = [...document.querySelectorAll(".rack")], missing = $("missing");
  const draw = (d) => d.classList.contains("rack") ? drawRack(d) : drawMissing(d);
  const undrawn = (d) => { const box = d.querySelector(".nodes"); delete box.dataset.drawn; if (d.open && !d.hidden) draw(d); else box.replaceChildren(); };
  racks.concat(missing || []).forEach((d) => d.addEventListener("toggle", () => { if (d.open && !d.querySelector(".nodes").dataset.drawn) draw(d); }));
  const overlay = (details, r) => {
    const track = details.querySelector("summary .track");
    track.querySelectorAll(".hit").forEach((h) => h.remove());
    if (!hits) return true;
    const [, name, first, n] = D.racks[r], spans = new Map();
    let found = named(name);
    for (let node = first; node < first + n; node++) {
      found = found || named(D.nodes[node]);
      const flat = D.bindings[node];
      for (let i = 0; i < flat.length; i += 5) if (hits.has(flat[i])) push(spans, flat[i], [flat[i + 2], flat[i + 3]]);
    }
    let left = 40;
    for (const [c, list] of spans) {
      if (!left--) break;
      list.sort((a, b) => a[0] - b[0]);
      const runs = [];
      for (const [a, b] of list) { const last = runs[runs.length - 1]; if (last && a <= last[1]) last[1] = Math.max(last[1], b); else runs.push([a, b]); }
      for (const [a, b] of runs) { const h = place(el("i", "hit"), a, b); h.style.setProperty("--h", hue(c)); track.append(h); }
    }
    return found || spans.size > 0;
  };
  const apply = () => {
    hits = wanted();
    $("gantt").classList.toggle("filtering", !!hits);
    const kept = racks.filter((d, r) => !(d.hidden = !overlay(d, r)));
    document.querySelectorAll(".zone:not(.missing)").forEach((z) => { z.hidden = !!hits && !z.querySelector(".rack:not([hidden])"); });
    racks.forEach(undrawn);
    if (missing) { missing.hidden = !!hits && !D.gaps.some((g) => hits.has(g[0])); undrawn(missing); }
    if (hits && filter.text && kept.length <= 6) kept.forEach((d) => { d.open = true; });
    $("found").textContent = hits ? `${num(hits.size)} of ${num(C.key.length)} contracts, on ${num(kept.length)} of ${num(racks.length)} racks` : "";
    page = 0; table();
  };
  const set = (key, value) => { filter[key] = value; apply(); };
  let typing;
  $("find").addEventListener("input", (e) => { clearTimeout(typing); typing = setTimeout(() => set("text", e.target.value.trim()), 180); });
  [["f-product", "product"], ["f-class", "cls"], ["f-state", "state"]].forEach(([id, key]) => $(id).addEventListener("change", (e) => set(key, e.target.value)));
  D.products.forEach((p, i) => { if (C.product.includes(i)) { const o = el("option", "", p); o.value = i; $("f-product").append(o); } });
  D.states.forEach((s, i) => { if (C.state.includes(i)) { const o = el("option", "", s); o.value = i; $("f-state").append(o); } });
  const follow = (c) => { $("find").value = C.key[c]; set("text", C.key[c]); };
  const clear = () => { ["find", "f-product", "f-class", "f-state"].forEach((id) => { $(id).value = ""; }); Object.keys(filter).forEach((k) => { filter[k] = ""; }); apply(); };
  $("find").addEventListener("keydown", (e) => { if (e.key === "Escape") clear(); });
  $("gantt").addEventListener("click", (e) => { const bar = e.target.closest(".bar"); if (bar) follow(+bar.dataset.c); });

  // ---- zoom: the axis gets wider, positions are shares of it
  let zoom = 1;
  const most = Math.max(2, SPAN / 3600 / 12);
  const STEPS = [900, 3600, 3 * 3600, 6 * 3600, 12 * 3600, DAY, 2 * DAY, 7 * DAY];
  const fixed = $("axis").querySelector(".track").cloneNode(true);
  const label = () => parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--label"));
  const zoomTo = (to, at) => {
    const box = $("gantt"), view = box.clientWidth - label(), mid = at === undefined ? view / 2 : at;
    const share = (box.scrollLeft + mid) / $("axis").querySelector(".track").clientWidth;
    zoom = Math.min(Math.max(to, 1), most);
    box.style.setProperty("--zoom", zoom);
    box.scrollLeft = share * $("axis").querySelector(".track").clientWidth - mid;
    $("out").disabled = $("fit").disabled = zoom === 1; $("in").disabled = zoom === most;
    ticks();
  };
  const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
  const marks = (a, b, wanted) => {
    const out = [], seconds = STEPS.find((s) => s >= wanted);
    if (seconds) {
      for (let t = Math.ceil((D.start + a) / seconds) * seconds; t < D.start + b; t += seconds) {
        const d = new Date(t * 1000), day = d.getUTCDate() + " " + MONTHS[d.getUTCMonth()];
        out.push([t - D.start, seconds < DAY && t % DAY ? d.toISOString().slice(11, 16) : d.getUTCDate() === 1 && d.getUTCMonth() === 0 ? day + " " + d.getUTCFullYear() : day]);
      }
      return out;
    }
    const months = [1, 3, 6, 12, 24, 60].find((m) => m * 30 * DAY >= wanted) || 60, first = date(a);
    for (let m = Math.floor((first.getUTCFullYear() * 12 + first.getUTCMonth()) / months) * months; ; m += months) {
      const t = Date.UTC(Math.floor(m / 12), m % 12, 1) / 1000 - D.start;
      if (t >= b) return out;
      if (t >= a) out.push([t, (months < 12 ? MONTHS[m % 12] + " " : "") + Math.floor(m / 12)]);
    }
  };
  const ticks = () => {
    const axis = $("axis").querySelector(".track"), grid = $("grid").querySelector(".track"), box = $("gantt");
    box.style.setProperty("--x", box.scrollLeft + "px");
    const wide = axis.clientWidth, perPixel = SPAN / wide, from = Math.max(0, (box.scrollLeft - 400) * perPixel), to = Math.min(SPAN, (box.scrollLeft + box.clientWidth + 400) * perPixel);
    const found = marks(from, to, 86 * perPixel), now = fixed.querySelector(".nowline").cloneNode(true), nowGrid = el("i", "nowline");
    nowGrid.style.left = pct(D.now);
    axis.replaceChildren(...found.map(([t, text]) => { const e = el("span", "tick", t > D.now - 70 * perPixel && t < D.now + 48 * perPixel ? "" : text); e.style.left = pct(t); return e; }), now);
    grid.replaceChildren(...found.map(([t]) => { const e = el("i"); e.style.left = pct(t); return e; }), nowGrid);
  };
  $("in").onclick = () => zoomTo(zoom * 2); $("out").onclick = () => zoomTo(zoom / 2); $("fit").onclick = () => zoomTo(1);
  $("gantt").addEventListener("wheel", (e) => { if (!e.ctrlKey && !e.metaKey) return; e.preventDefault(); zoomTo(zoom * (e.deltaY < 0 ? 1.25 : 0.8), Math.max(0, e.clientX - $("gantt").getBoundingClientRect().left - label())); }, { passive: false });
  let waiting = 0;
  const later = () => { if (!waiting) waiting = requestAnimationFrame(() => { waiting = 0; ticks(); }); };
  $("gantt").addEventListener("scroll", later, { passive: true }); addEventListener("resize", later);

  // ---- tooltip, by mouse and by focus
  const tip = $("tip");
  const show = (e, x, y) => {
    const { title, facts, note } = tips.get(e), list = el("dl");
    for (const [k, v] of facts()) list.append(el("dt", "", k), el("dd", "", v));
    tip.replaceChildren(el("b", "", title), list, ...(note ? [el("p", "", note)] : []));
    tip.hidden = false;
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(6, Math.min(x + 14, innerWidth - box.width - 6)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? Math.max(6, y - box.height - 12) : y + 18) + "px";
  };
  $("gantt").addEventListener("mousemove", (e) => { const on = e.target.closest(".bar, .outage, .left, .dead"); if (on && tips.has(on)) show(on, e.clientX, e.clientY); else tip.hidden = true; });
  $("gantt").addEventListener("mouseleave", () => { tip.hidden = true; });
  $("gantt").addEventListener("focusin", (e) => { if (tips.has(e.target)) { const b = e.target.getBoundingClientRect(); show(e.target, Math.max(b.left, 0), b.bottom - 12); } else tip.hidden = true; });
  $("gantt").addEventListener("focusout", () => { tip.hidden = true; });

  // ---- the table of contracts
  const short = C.contracted.map((all, i) => all - C.bound[i] - C.curtailed[i]);
  const column = (key) => key === "short" ? short : C[key];
  let page = 0, order = null, sorted = { key: "", down: false };
  const head = [...$("lines").querySelectorAll("th[data-sort]")];
  const rank = () => {
    if (!sorted.key) { order = [...C.key.keys()].sort((a, b) => C.state[a] - C.state[b] || C.value[b] - C.value[a] || (C.key[a] < C.key[b] ? -1 : 1)); return; }
    const values = column(sorted.key), sign = sorted.down ? -1 : 1;
    order = [...C.key.keys()].sort((a, b) => (values[a] < values[b] ? -sign : values[a] > values[b] ? sign : a - b));
  };
  head.forEach((th) => {
    const button = el("button", "", th.textContent); button.type = "button"; th.replaceChildren(button);
    button.onclick = () => {
      const key = th.dataset.sort; sorted = { key, down: sorted.key === key ? !sorted.down : th.classList.contains("n") };
      head.forEach((other) => other.removeAttribute("aria-sort")); th.setAttribute("aria-sort", sorted.down ? "descending" : "ascending");
      rank(); page = 0; table();
    };
  });
  const line = (i) => {
    const tr = el("tr"), th = el("th"), link = el("button", "link", C.key[i]), state = D.states[C.state[i]], cell = (text, cls) => tr.append(el("td", cls, text));
    th.scope = "row"; link.type = "button"; link.title = "Follow it in the schedule"; link.onclick = () => { follow(i); $("schedule").scrollIntoView(); };
    th.append(link, el("small", "", C.id[i] + (C.holder[i] ? " · " + C.holder[i] : ""))); tr.append(th);
    cell(D.products[C.product[i]]); cell(CLASS[C.flags[i]]); cell(num(C.gpus[i]), "n"); cell(span(C.start[i], C.end[i]));
    const td = el("td"); td.append(el("span", "state s-" + state.toLowerCase(), state)); tr.append(td);
    cell(num(C.on[i]), "n");
    const none = state === "Refused" || state === "Ended";
    [C.contracted[i], C.bound[i], C.curtailed[i], short[i]].forEach((v) => cell(none ? "-" : num(v), "n"));
    [C.owed[i], C.interruption[i], C.substitution[i]].forEach((v) => cell(none ? "-" : money(v), "n"));
    cell(C.risk[i] < 0 ? "-" : num(C.risk[i]), "n");
    return tr;
  };
  const table = () => {
    if (!C.key.length) return;
    const rows = hits ? order.filter((i) => hits.has(i)) : order, pages = Math.max(1, Math.ceil(rows.length / PAGE)), from = page * PAGE;
    $("lines").tBodies[0].replaceChildren(...rows.slice(from, from + PAGE).map(line));
    $("book-found").textContent = rows.length ? `${num(from + 1)} to ${num(Math.min(from + PAGE, rows.length))} of ${num(rows.length)} contracts` : "No contract matches the filter.";
    $("prev").disabled = page === 0; $("next").disabled = page >= pages - 1;
    document.querySelector(".pager").hidden = pages === 1;
  };
  $("prev").onclick = () => { page--; table(); }; $("next").onclick = () => { page++; table(); };

  // ---- first sight: small fleets lie open
  rank(); table(); zoomTo(1);
  if (D.gpus.length <= 600) { let open = 0; racks.forEach((d, r) => { const [, , first, n] = D.racks[r]; let used = false; for (let i = first; i < first + n; i++) used = used || D.bindings[i].length > 0; if (used && open < 40) { d.open = true; open++; } }); }
  if (missing && missing.open) drawMissing(missing);
})();
