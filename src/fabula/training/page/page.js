"use strict";
// Shows the specimens of the steps that are chosen, left and right.
for (const side of ["left", "right"]) {
  const chosen = document.getElementById("step-" + side);
  if (!chosen) continue;
  const show = () => {
    for (const place of document.querySelectorAll(`[data-side="${side}"]`)) {
      const kept = document.getElementById(`specimen-${place.dataset.brief}-${chosen.value}`);
      if (kept) place.replaceChildren(kept.content.cloneNode(true));
    }
  };
  chosen.addEventListener("change", show);
  chosen.disabled = false;
}
