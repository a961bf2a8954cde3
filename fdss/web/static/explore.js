// Reading needs none of this: it copies, and moves by keys.
"use strict";

(() => {
  const told = document.querySelector(".told");
  const tell = (text) => { if (told) told.textContent = text; };

  async function copy(text) {
    try {
      await navigator.clipboard.writeText(text);
      tell("Copied");
    } catch {
      tell("The browser does not let this page copy");
    }
  }

  if (navigator.clipboard) {
    for (const button of document.querySelectorAll("[data-copy-from]")) {
      button.hidden = false;
      button.addEventListener("click", async () => {
        const answer = await fetch(button.dataset.copyFrom, { headers: { "FDSS-Script": "1" } });
        if (answer.ok) await copy(await answer.text());
        else tell(`Not copied: ${answer.status}`);
      });
    }
    for (const button of document.querySelectorAll("[data-copy-link]")) {
      button.hidden = false;
      button.addEventListener("click", () => copy(location.href));
    }
  }

  const rows = [...document.querySelectorAll("table.rows tbody tr th a")];
  for (const hint of document.querySelectorAll(".keys")) hint.hidden = false;

  function step(by) {
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement);
    const next = rows[Math.min(Math.max(at + by, 0), rows.length - 1)];
    next.focus();
    next.scrollIntoView({ block: "nearest" });
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
    if (event.target.closest("input, select, textarea, audio, [contenteditable]")) return;
    const page = { n: "next", p: "previous" }[event.key];
    const link = page && document.querySelector(`[data-to="${page}"]`);
    if (link) link.click();
    else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
    else return;
    event.preventDefault();
  });
})();
