"use strict";
// The page is whole without this script: it only moves the score, filters, sorts and opens details.
(() => {
  const find = (selector, root = document) => root.querySelector(selector);
  const findAll = (selector, root = document) => [...root.querySelectorAll(selector)];
  const data = JSON.parse(find("#data").textContent);
  const withTruth = document.body.classList.contains("with-truth");
  const grid = find(".grid"), slider = find("#score"), order = find("#order"), which = find("#which");
  const LABELS_AT_MOST = 14, LABELS_AT_MOST_WIDE = 60;
  const LETTER = 7.8, LINE = 15;  // pixels on the screen, of the labels' font

  const classOf = (mark) => Number([...mark.classList].find((name) => /^c\d+$/.test(name)).slice(1));
  // Labels go above all masks of their picture, each remembering where its object starts.
  function liftText(mark) {
    const svg = mark.ownerSVGElement, text = find("text", mark);
    const layer = find(".words", svg) || svg.appendChild(document.createElementNS(svg.namespaceURI, "g"));
    layer.setAttribute("class", "words");
    layer.append(text);
    return { element: text, said: text.textContent, x: Number(text.getAttribute("x")), y: Number(text.getAttribute("y")) };
  }
  const cards = findAll(".card").map((card) => ({
    element: card,
    number: Number(card.dataset.number),
    name: card.dataset.name,
    free: card.dataset.objects === "0" && !find(".truth .mark", card),
    tally: Object.fromEntries(findAll("[data-count]", card).map((cell) => [cell.dataset.count, cell])),
    panes: findAll(".pane", card),
    found: findAll(".found .mark", card).map((mark) => ({
      mark, text: liftText(mark), label: classOf(mark), score: Number(mark.dataset.score), kind: mark.dataset.kind,
    })),
    objects: findAll(".truth .mark", card).map((mark) => ({
      mark, text: liftText(mark), label: classOf(mark), crowd: mark.classList.contains("crowd"),
      match: mark.dataset.match ? Number(mark.dataset.match) : null,
    })),
    counts: {},
  }));
  const isWrong = (kind) => kind !== "" && kind !== "correct" && kind !== "ignored";
  const threshold = () => Number(slider.value) / 100;
  const chosenClasses = () => new Set(
    findAll(".classes input").filter((box) => box.checked).map((box) => Number(box.dataset.class)));

  // ---- counts ----
  const countsAt = (curve, step) => ({
    objects: curve.objects, found: curve.found[step], correct: curve.correct[step], wrong: curve.wrong[step],
    missed: curve.objects - curve.correct[step],
  });
  const percent = (part, rest) => (part + rest ? `${Math.round(100 * part / (part + rest))} %` : "–");
  const setText = (selector, text) => findAll(selector).forEach((element) => { element.textContent = text; });

  function updateTotals() {
    const step = Number(slider.value), total = countsAt(data.total, step);
    setText("[data-score]:not(.mark)", threshold().toFixed(2));
    slider.setAttribute("aria-valuetext", threshold().toFixed(2));
    Object.entries(total).forEach(([name, count]) => setText(`[data-total="${name}"]`, count));
    setText('[data-rate="precision"]', percent(total.correct, total.wrong));
    setText('[data-rate="recall"]', percent(total.correct, total.missed));
    setText('[data-rate="free"]', (data.free.wrong[step] / data.free.images).toFixed(2));
    const images = Number(find(".tile dd").textContent);
    setText('[data-rate="found"]', (total.found / Math.max(images, 1)).toFixed(1));
    findAll("tr[data-class]").forEach((row) => {
      const counts = countsAt(data.classes[row.dataset.class], step);
      findAll("[data-count]", row).forEach((cell) => { cell.textContent = counts[cell.dataset.count]; });
    });
  }

  function updateCard(card, score, classes) {
    const counts = { found: 0, correct: 0, wrong: 0, missed: 0 };
    for (const { mark, label, score: own, kind } of card.found) {
      const shown = own >= score && classes.has(label);
      mark.classList.toggle("off", !shown);
      if (!shown) continue;
      counts.found += 1;
      if (kind === "correct") counts.correct += 1;
      if (isWrong(kind)) counts.wrong += 1;
    }
    for (const { mark, label, crowd, match } of card.objects) {
      const shown = classes.has(label), missed = !crowd && !(match !== null && match >= score);
      mark.classList.toggle("off", !shown);
      mark.classList.toggle("bad", missed);
      if (shown && missed) counts.missed += 1;
    }
    for (const [name, cell] of Object.entries(card.tally)) {
      cell.textContent = counts[name];
      cell.parentElement.toggleAttribute("data-zero", counts[name] === 0);
    }
    card.counts = counts;
    if (card.list) fillList(card);
    placeLabels(card);
  }

  const wanted = {
    all: () => true,
    errors: (card) => card.counts.wrong + card.counts.missed > 0,
    free: (card) => card.free,
    some: (card) => card.counts.found > 0,
    empty: (card) => card.counts.found === 0,
  };
  function updateCards() {
    const score = threshold(), classes = chosenClasses();
    let shown = 0;
    for (const card of cards) {
      updateCard(card, score, classes);
      const show = wanted[which.value](card);
      card.element.hidden = !show;
      shown += show;
    }
    const total = cards.reduce((sum, card) => sum + (card.element.hidden ? 0 : card.counts.found), 0);
    const best = Math.max(0, ...cards.flatMap((card) => card.found.map((one) => one.score)));
    find(".status").textContent = total || !cards.length
      ? `${shown} of ${cards.length} images, ${total} masks shown`
      : `${shown} of ${cards.length} images, no mask shown; the best score here is ${best.toFixed(2)}`;
  }

  // ---- order ----
  const errorsOf = (card) => card.counts.wrong + card.counts.missed;
  const keys = {
    errors: (card) => -errorsOf(card),
    wrong: (card) => -card.counts.wrong,
    missed: (card) => -card.counts.missed,
    found: (card) => -card.counts.found,
    fewest: (card) => card.counts.found,
    given: () => 0,
    name: () => 0,
  };
  function sortCards() {
    const key = keys[order.value];
    const byName = (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true });
    const sorted = [...cards].sort((a, b) =>
      key(a) - key(b) || (order.value === "name" ? byName(a, b) : 0) || a.number - b.number);
    if (sorted.some((card, place) => grid.children[place] !== card.element)) {
      grid.append(...sorted.map((card) => card.element));
    }
  }

  // ---- details ----
  function entries(card) {
    const score = threshold(), list = [];
    for (const one of [...card.found].reverse()) {
      if (!one.mark.classList.contains("off")) {
        list.push([one.mark, one.text.said, one.kind, isWrong(one.kind) ? "wrong" : one.kind]);
      }
    }
    for (const one of card.objects) {
      const missed = !one.crowd && !(one.match !== null && one.match >= score);
      if (missed && !one.mark.classList.contains("off")) {
        list.push([one.mark, one.text.said, "missed", "missed"]);
      }
    }
    return list;
  }
  function fillList(card) {
    card.list.replaceChildren(...entries(card).map(([mark, text, word, kind]) => {
      const button = document.createElement("button"), item = document.createElement("li");
      const swatch = document.createElement("span");
      button.type = "button";
      swatch.className = `swatch c${classOf(mark)}`;
      button.append(swatch, text);
      if (word) {
        const note = document.createElement("span");
        note.className = kind;
        note.textContent = (kind === "wrong" ? ` false: ${word}` : ` ${word}`);
        button.append(note);
      }
      const light = (on) => {
        mark.classList.toggle("lit", on);
        mark.closest(".pane").classList.toggle("pointing", on);
      };
      for (const event of ["focus", "pointerenter"]) button.addEventListener(event, () => light(true));
      for (const event of ["blur", "pointerleave"]) button.addEventListener(event, () => light(false));
      item.append(button);
      return item;
    }));
    if (!card.list.children.length) card.list.textContent = "Nothing has this score.";
  }
  function toggleDetails(card) {
    const button = find(".open", card.element), open = button.getAttribute("aria-expanded") !== "true";
    button.setAttribute("aria-expanded", String(open));
    button.firstChild.textContent = open ? "Close" : "Details";
    card.element.classList.toggle("wide", open);
    if (open) {
      card.list = document.createElement("ul");
      card.list.className = "list";
      find(".caption", card.element).append(card.list);
      fillList(card);
      card.element.scrollIntoView({ block: "nearest" });
    } else {
      card.list.remove();
      card.list = null;
    }
    scaleLabels();
  }

  // ---- labels: one size on the screen, none over another ----
  function placeLabels(card) {
    for (const [pane, marks] of [[".found", [...card.found].reverse()], [".truth", card.objects]]) {
      const svg = find(`${pane} svg`, card.element);
      if (!svg) continue;
      const unit = Number(svg.style.getPropertyValue("--unit")) || 1, box = svg.viewBox.baseVal;
      const shown = marks.filter((one) => !one.mark.classList.contains("off"));
      const crowded = shown.length > (card.list ? LABELS_AT_MOST_WIDE : LABELS_AT_MOST);
      const taken = [];
      for (const { text } of marks) text.element.classList.add("off");
      for (const { text } of crowded ? [] : shown) {
        const width = LETTER * unit * text.said.length, height = LINE * unit;
        const x = Math.max(0, Math.min(text.x, box.width - width));
        const place = [text.y, text.y + height, text.y + 2 * height].find((y) => y >= height && y <= box.height
          && !taken.some((other) => Math.abs(other.y - y) < height && other.x < x + width && x < other.x + other.width));
        if (place === undefined) continue;
        taken.push({ x, y: place, width });
        text.element.setAttribute("x", x + 2 * unit);
        text.element.setAttribute("y", place - 3 * unit);
        text.element.classList.remove("off");
      }
    }
  }
  function scaleLabels() {
    const stacked = matchMedia("(max-width: 40rem)").matches || grid.classList.contains("alone");
    for (const card of cards) {
      const width = card.element.clientWidth;
      if (!width) continue;
      const across = card.panes.length > 1 && !stacked ? (width - 10) / 2 : width;
      const tallest = card.list ? 0.85 * innerHeight : 544;  // as the style sheet says
      for (const pane of card.panes) {
        const svg = find("svg", pane), box = svg.viewBox.baseVal;
        svg.style.setProperty("--unit", Math.max(box.width / across, box.height / tallest).toFixed(3));
      }
      placeLabels(card);
    }
  }

  // ---- wiring ----
  const refresh = () => { updateTotals(); updateCards(); };
  slider.addEventListener("input", refresh);
  slider.addEventListener("change", sortCards);
  order.addEventListener("change", sortCards);
  which.addEventListener("change", updateCards);
  const afterClasses = () => { updateCards(); sortCards(); };
  find(".classes").addEventListener("change", afterClasses);
  const checkAll = (on) => { findAll(".classes input").forEach((box) => { box.checked = on; }); afterClasses(); };
  find("#every").addEventListener("click", () => checkAll(true));
  find("#none").addEventListener("click", () => checkAll(false));
  find("#labels").addEventListener("change", (event) => grid.classList.toggle("no-labels", !event.target.checked));
  find("#beside").addEventListener("change", (event) => {
    grid.classList.toggle("alone", !event.target.checked);
    scaleLabels();
  });
  for (const card of cards) {
    find(".open", card.element).addEventListener("click", () => toggleDetails(card));
    find(".panes", card.element).addEventListener("click", () => toggleDetails(card));
  }
  if (innerWidth > 800) find(".more").open = true;
  if (!withTruth) findAll("option.truth-only").forEach((option) => option.remove());
  new ResizeObserver(scaleLabels).observe(grid);
  refresh();
  sortCards();
})();
