// A click on something with a key asks the server about that image.
element.addEventListener("click", (e) => {
  const chosen = e.target.closest("[data-key]");
  if (!chosen) return;
  for (const other of document.querySelectorAll(".sc-image"))
    other.classList.toggle("sc-on", other.dataset.key === chosen.dataset.key);
  trigger("click", { key: chosen.dataset.key, action: chosen.dataset.action });
});
watch("value", () => {
  const detail = element.querySelector(".sc-detail");
  if (detail) detail.scrollIntoView({ behavior: "smooth", block: "nearest" });
});
