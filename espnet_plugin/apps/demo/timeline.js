// The recording's player moves the cursor; a click on the waveform or on a word moves the player.
const player = () => {
  const line = element.querySelector(".sc-timeline");
  return line && document.querySelector(`#${line.dataset.player} audio`);
};
let end = null;

function follow() {
  const line = element.querySelector(".sc-timeline"), audio = player();
  if (!line || !audio) return;
  const seconds = Number(line.dataset.seconds), now = audio.currentTime;
  if (end !== null && now >= end) { audio.pause(); end = null; }
  const cursor = line.querySelector(".sc-cursor");
  cursor.style.visibility = "visible";
  cursor.style.left = `${Math.min(100, (100 * now) / seconds)}%`;
  for (const word of line.querySelectorAll(".sc-word"))
    word.classList.toggle("sc-on", now >= word.dataset.start && now < word.dataset.end);
  if (!audio.paused) requestAnimationFrame(follow);
}

function play(from, to) {
  const audio = player();
  if (!audio) return;
  end = to;
  audio.currentTime = from;
  audio.play();
}

for (const event of ["play", "seeked", "pause"])
  document.addEventListener(event, (e) => { if (e.target === player()) follow(); }, true);

element.addEventListener("click", (e) => {
  const word = e.target.closest(".sc-word"), wave = e.target.closest(".sc-wave");
  if (word) play(Number(word.dataset.start), Number(word.dataset.end));
  else if (wave) {
    const box = wave.getBoundingClientRect(), line = wave.closest(".sc-timeline");
    play((Number(line.dataset.seconds) * (e.clientX - box.left)) / box.width, null);
  }
});
