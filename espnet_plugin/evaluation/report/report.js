"use strict";

// Media do not bubble: one listener on the way down hears every player.
document.addEventListener("play", ({ target }) => {
  for (const other of document.querySelectorAll("audio")) if (other !== target) other.pause();
}, true);

// Controls show whole seconds, if there is room: the length stands below in words, too.
function tellLength(player) {
  if (player.dataset.told) return;
  player.dataset.told = "yes";
  player.nextElementSibling?.prepend(`${player.duration.toFixed(1)} s · `);
}
document.addEventListener("loadedmetadata", ({ target }) => tellLength(target), true);
for (const player of document.querySelectorAll("audio")) if (player.readyState > 0) tellLength(player);

// A cursor over each figure that is drawn over time, moved by the player below it.
for (const canvas of document.querySelectorAll(".canvas[data-seconds]")) {
  const player = canvas.closest("figure").querySelector("audio");
  if (!player) continue;
  const { left, right, top, bottom, seconds } = Object.fromEntries(
    Object.entries(canvas.dataset).map(([name, value]) => [name, Number(value)]));
  const cursor = canvas.appendChild(document.createElement("i"));
  cursor.className = "cursor";
  cursor.style.top = `${100 * top}%`;
  cursor.style.bottom = `${100 * bottom}%`;
  const scroller = canvas.parentElement;

  const show = () => {
    const place = left + (right - left) * Math.min(player.currentTime / seconds, 1);
    cursor.style.left = `${100 * place}%`;
    const x = place * canvas.clientWidth - scroller.scrollLeft;
    if (!player.paused && (x < 0 || x > scroller.clientWidth)) scroller.scrollLeft += x - 40;
  };
  const follow = () => {
    show();
    if (!player.paused && !player.ended) requestAnimationFrame(follow);
  };
  player.addEventListener("play", follow);
  for (const event of ["seeked", "pause", "ended"]) player.addEventListener(event, show);
  canvas.addEventListener("click", (event) => {
    const box = canvas.getBoundingClientRect();
    const place = ((event.clientX - box.left) / box.width - left) / (right - left);
    player.currentTime = Math.max(0, Math.min(1, place)) * seconds;
    player.play();
  });
  show();
}

// The search: rows are looked through as data, and only those that are shown become elements.
const source = document.getElementById("utterances");
if (source) {
  const STEP = 10;
  const [ID, CAPTION, TRANSCRIPT, RECORDING, RANKS, RIGHT, COSINE, FOUND, COSINES, KEYWORDS] = [...Array(10).keys()];
  const form = document.getElementById("filters");
  const results = document.getElementById("results");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const { folder, systems, images, keywords, rows } = JSON.parse(source.textContent);
  const kind = (row, wanted) => row[KEYWORDS].some((word) => keywords[word][1] === wanted);
  const fold = (text) => text.normalize("NFKC").toLocaleLowerCase();
  const texts = rows.map((row) => fold(
    [row[ID], row[CAPTION] || "", row[TRANSCRIPT] || "", ...row[KEYWORDS].map((word) => keywords[word][0])].join(" ")));
  const found = { all: () => true, first: (rank) => rank === 1, ten: (rank) => rank <= 10, missed: (rank) => rank > 10 };
  const heard = {
    all: () => true,
    right: (row) => kind(row, "right"),
    none: (row) => row[KEYWORDS].length > 0 && !kind(row, "right"),
    repeated: (row) => new Set(row[KEYWORDS]).size < row[KEYWORDS].length,
  };
  const lots = rows.map(() => Math.random());
  const orders = {
    set: () => 0,
    best: (system) => (a, b) => rows[a][RANKS][system] - rows[b][RANKS][system] || margin(b) - margin(a),
    worst: (system) => (a, b) => rows[b][RANKS][system] - rows[a][RANKS][system] || margin(a) - margin(b),
    random: () => (a, b) => lots[a] - lots[b],
  };
  let chosen = [];

  function margin(place) {
    const row = rows[place];
    return row[COSINE] - (row[COSINES][row[FOUND].findIndex((image) => image !== row[RIGHT])] ?? 0);
  }

  function element(tag, name, ...content) {
    const made = document.createElement(tag);
    if (name) made.className = name;
    made.append(...content);
    return made;
  }

  function image(place, rank, cosine, right) {
    const [id, caption, file] = images[place];
    const missing = () => element("span", "noimage", caption);
    let shown = missing();
    if (file) {
      shown = element("img");
      shown.alt = caption;
      shown.title = `${caption} (${id})`;
      shown.loading = "lazy";
      shown.addEventListener("error", () => shown.replaceWith(missing()), { once: true });
      shown.src = `${folder}/${file}`;
    }
    const score = (cosine / 100).toFixed(2).replace("-", "−");
    const label = element("small", "", `${rank}: ${score}`);
    if (right) label.append(element("b", "", " ✔"));
    return element("li", right ? "answer" : "", shown, label);
  }

  function player(row) {
    const audio = element("audio");
    audio.controls = true;
    audio.preload = "metadata";
    audio.setAttribute("aria-label", `recording ${row[ID]}`);
    audio.addEventListener("error", () => {
      audio.replaceWith(element("p", "heard", `The recording is in ${folder}/, which is not next to this page.`));
    }, { once: true });
    audio.src = `${folder}/${row[RECORDING]}`;
    return audio;
  }

  function chip(word) {
    const [text, what] = keywords[word];
    const button = element("button", `chip ${what}`, text);
    button.type = "button";
    button.title = "search for it";
    button.addEventListener("click", () => {
      form.elements.words.value = text;
      update();
      form.elements.words.focus();
    });
    return button;
  }

  function article(place) {
    const row = rows[place];
    const header = element("header", "", element("p", "said", row[CAPTION] ? `“${row[CAPTION]}”` : row[ID]));
    if (row[RECORDING]) header.append(player(row));
    const ranks = element("p", "ranks", "rank:");
    systems.forEach((system, index) => {
      ranks.append(element("span", "", `${system} `, element("b", "", String(row[RANKS][index]))));
    });
    header.append(ranks);
    if (row[TRANSCRIPT]) header.append(element("p", "heard", `recogniser: “${row[TRANSCRIPT]}”`));
    if (row[KEYWORDS].length) header.append(element("p", "chips", ...row[KEYWORDS].map(chip)));
    if (row[CAPTION]) header.append(element("p", "id", row[ID]));
    const list = element("ol", "images");
    row[FOUND].forEach((item, index) => {
      list.append(image(item, index + 1, row[COSINES][index], item === row[RIGHT]));
    });
    if (!row[FOUND].includes(row[RIGHT])) {
      const gap = element("li", "gap", "…");
      gap.setAttribute("aria-hidden", "true");
      list.append(gap, image(row[RIGHT], row[RANKS][0], row[COSINE], true));
    }
    const made = element("article", "query", header, list);
    made.tabIndex = -1;
    return made;
  }

  function extend() {
    const start = results.childElementCount;
    results.append(...chosen.slice(start, start + STEP).map(article));
    more.hidden = results.childElementCount >= chosen.length;
    return results.children[start];
  }

  function update() {
    const wanted = fold(form.elements.words.value).split(/\s+/).filter(Boolean);
    const system = Number(form.elements.system.value);
    const { rank, keywords: spoken, order } = form.elements;
    const passes = (row, place) => wanted.every((word) => texts[place].includes(word))
      && found[rank.value](row[RANKS][system]) && heard[spoken ? spoken.value : "all"](row);
    chosen = [];
    rows.forEach((row, place) => { if (passes(row, place)) chosen.push(place); });
    const compare = orders[order.value](system);
    if (compare) chosen.sort(compare);
    results.replaceChildren();
    extend();
    count.value = `${chosen.length.toLocaleString("en")} of ${rows.length.toLocaleString("en")} utterances`;
  }

  let waiting = 0;
  form.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(update, 120);
  });
  form.addEventListener("submit", (event) => { event.preventDefault(); update(); });
  more.addEventListener("click", () => extend()?.focus());
  update();
}
