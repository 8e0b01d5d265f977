"use strict";

for (const box of document.querySelectorAll("[data-toggles]")) {
  box.hidden = false;
  const picture = box.closest("ul").previousElementSibling;
  box.addEventListener("change", () => {
    for (const layer of picture.querySelectorAll(`[data-layer="${box.dataset.toggles}"]`)) {
      layer.toggleAttribute("hidden", !box.checked);
    }
  });
}

for (const picture of document.querySelectorAll(".picture")) {
  const [plot, readout] = [picture.querySelector("svg"), picture.querySelector(".readout")];
  const nearest = plot.querySelector(".nearest");
  const points = JSON.parse(picture.querySelector("script").textContent);
  if (points.length === 0) continue;
  plot.addEventListener("pointermove", (event) => {
    const frame = plot.getBoundingClientRect();
    const x = ((event.clientX - frame.left) / frame.width) * 720;
    const y = ((event.clientY - frame.top) / frame.height) * 360;
    let best = points[0];
    for (const point of points) {
      if (Math.hypot(point[0] - x, point[1] - y) < Math.hypot(best[0] - x, best[1] - y)) best = point;
    }
    nearest.removeAttribute("hidden");
    nearest.firstElementChild.setAttribute("cx", best[0]);
    nearest.firstElementChild.setAttribute("cy", best[1]);
    readout.textContent = best[2];
  });
  plot.addEventListener("pointerleave", () => {
    nearest.setAttribute("hidden", "");
    readout.textContent = "\u00a0";
  });
}

for (const button of document.querySelectorAll(".copy")) {
  button.hidden = !navigator.clipboard;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.previousElementSibling.textContent.trim());
    button.textContent = "Copied";
  });
}

let opened = [];
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  for (const details of opened) details.open = true;
});
addEventListener("afterprint", () => {
  for (const details of opened) details.open = false;
});
