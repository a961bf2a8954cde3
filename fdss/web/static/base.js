"use strict";

// Everything here only spares a reload: pages are read and changed without it too.

const HEADERS = { "FDSS-Script": "1" };

class Live {
  constructor(region) {
    this.region = region;
    this.everyMs = 1000 * Number(region.dataset.live);
    this.bar = document.querySelector("[data-live-bar]");
    this.said = document.querySelector("[data-live-said]");
    this.button = document.querySelector("[data-live-pause]");
    this.isPaused = false;
    this.turn = 0;
    this.shown = null;
    this.timer = null;
    if (this.bar) {
      this.bar.hidden = false;
      this.button.addEventListener("click", () => this.pause(!this.isPaused));
    }
    document.addEventListener("visibilitychange", () => this.wait());
    this.say();
    this.wait();
  }

  pause(isPaused) {
    this.isPaused = isPaused;
    this.bar.classList.toggle("paused", isPaused);
    this.button.setAttribute("aria-pressed", String(isPaused));
    this.button.textContent = isPaused ? "Go on" : "Pause";
    if (isPaused) {
      this.tell("Paused");
      this.wait();
    } else {
      this.look();
    }
  }

  wait() {
    clearTimeout(this.timer);
    if (!this.isPaused && !document.hidden) {
      this.timer = setTimeout(() => this.look(), this.everyMs);
    }
  }

  async look(address = location.href) {
    const turn = ++this.turn;
    clearTimeout(this.timer);
    try {
      const answer = await fetch(address, { headers: HEADERS, signal: AbortSignal.timeout(15000) });
      const text = await answer.text();
      if (turn !== this.turn) return true;
      if (answer.status === 401) return this.lose("The login is over: reload the page");
      if (!answer.ok) return this.lose(`The router answered ${answer.status}`);
      this.show(text);
      return true;
    } catch {
      return turn === this.turn && this.lose("The router does not answer");
    } finally {
      if (turn === this.turn) this.wait();
    }
  }

  lose(reason) {
    this.bar?.classList.add("lost");
    this.tell(reason);
    return false;
  }

  show(text) {
    this.bar?.classList.remove("lost");
    if (text !== this.shown) {
      this.shown = text;
      const kept = keep(this.region);
      this.region.innerHTML = text;
      kept();
    }
    this.say();
  }

  say() {
    const summary = this.region.querySelector("[data-live-summary]");
    if (!this.isPaused) this.tell(summary ? summary.textContent : "Live");
  }

  tell(text) {
    // Said again, it would be read aloud again.
    if (this.said && this.said.textContent !== text) this.said.textContent = text;
  }
}

// Returns what puts focus, typed text, selection and scroll places back once a part is replaced.
function keep(region) {
  const focused = region.contains(document.activeElement) ? document.activeElement : null;
  const selection = focused?.type === "search" ? [focused.selectionStart, focused.selectionEnd] : null;
  const typed = focused?.value;
  const boxes = (part) => [...part.querySelectorAll(".scroll")];
  const places = boxes(region).map((box) => [box.scrollLeft, box.scrollTop]);
  const open = [...region.querySelectorAll("details[open][id]")].map((part) => part.id);
  return () => {
    for (const id of open) region.querySelector(`details#${CSS.escape(id)}`)?.setAttribute("open", "");
    boxes(region).forEach((box, at) => places[at] && box.scrollTo(...places[at]));
    const same = focused?.id ? document.getElementById(focused.id) : null;
    if (!same) return;
    if (selection) same.value = typed;
    same.focus({ preventScroll: true });
    if (selection) same.setSelectionRange(...selection);
  };
}

// Returns the present address with what a form looks for, from the first page on.
function addressOf(form) {
  const address = new URL(location.href);
  const field = form.querySelector("input[type=search]");
  address.searchParams.delete(field.name.replace(/\.q$/, ".page"));
  address.searchParams.set(field.name, field.value);
  if (!field.value) address.searchParams.delete(field.name);
  return address.href;
}

function startLive(region) {
  const live = new Live(region);
  let typing = null;
  const goTo = (address) => {
    history.replaceState(null, "", address);
    live.look();
  };
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-swap]");
    if (!link || event.metaKey || event.ctrlKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    goTo(link.href);
  });
  document.addEventListener("submit", (event) => {
    if (!event.target.matches("[data-find]")) return;
    event.preventDefault();
    clearTimeout(typing);
    goTo(addressOf(event.target));
  });
  document.addEventListener("input", (event) => {
    const form = event.target.closest("[data-find]");
    if (!form) return;
    clearTimeout(typing);
    typing = setTimeout(() => goTo(addressOf(form)), 250);
  });
}

function startCopying(button) {
  const field = document.getElementById(button.dataset.copy);
  const said = document.querySelector("[data-copied]");
  field.addEventListener("focus", () => field.select());
  // Browsers have a clipboard for pages under https and of this machine only.
  if (!navigator.clipboard) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(field.value);
      said.textContent = "Copied. Whoever gets it can read what the server serves.";
    } catch {
      field.focus();
      said.textContent = "The browser did not allow it; copy the selected text.";
    }
  });
}

function startPasting(button) {
  const field = document.getElementById(button.dataset.paste);
  if (!navigator.clipboard?.readText) return;
  button.hidden = false;
  button.addEventListener("click", async () => {
    try {
      field.value = (await navigator.clipboard.readText()).trim();
    } catch {
      // The field takes what is pasted by hand.
    }
    field.focus();
  });
}

document.querySelectorAll("[data-live]").forEach(startLive);
document.querySelectorAll("[data-copy]").forEach(startCopying);
document.querySelectorAll("[data-paste]").forEach(startPasting);
