/* Keeps the form in step with its choices.  Prices and instants come in words from the server; nothing is computed here. */
(() => {
  "use strict";
  const form = document.getElementById("vessl-form");
  const data = JSON.parse(document.getElementById("vessl-data").textContent);
  const CUSTOM_IMAGE = "custom:";
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = form) => [...root.querySelectorAll(selector)];
  const checked = (name) => form.querySelector(`input[name="${name}"]:checked`);
  const offered = (teams, team) => !teams || teams.includes(team);
  const team = () => (byId("vessl-team") || form.querySelector('input[name="team"]')).value;
  const cluster = () => (byId("vessl-cluster") || { value: Object.keys(data.clusters)[0] }).value;
  const inZone = new Intl.DateTimeFormat([], { weekday: "short", hour: "2-digit", minute: "2-digit" });
  const inMonth = new Intl.DateTimeFormat([], { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
  const inYear = new Intl.DateTimeFormat([], { dateStyle: "medium" });

  /* -- words ------------------------------------------------------------- */

  function timeElement(iso) {
    const at = new Date(iso);
    const days = (at - Date.now()) / 86400000;
    const element = document.createElement("time");
    element.dateTime = iso;
    element.title = at.toUTCString();
    element.textContent = (days < 6 ? inZone : days < 300 ? inMonth : inYear).format(at);
    return element;
  }

  function moneyElement(amount) {
    const element = document.createElement("span");
    element.className = "vessl-money";
    element.title = amount.exact;
    element.textContent = amount.text;
    return element;
  }

  function lasts(quote, lead) {
    if (!quote.until_iso) return [quote.instead];
    const duration = document.createElement("span");
    duration.className = "vessl-nowrap";
    duration.textContent = `(${quote.duration})`;
    return [lead, timeElement(quote.until_iso), " ", duration];
  }

  /* -- what may be chosen with this team on this cluster ------------------- */

  function obstacleOf(item) {
    if (!offered(item.teams, team())) return `not for team ${data.teams[team()].title}`;
    return item.obstacles[cluster()] || "";
  }

  function presetObstacle(preset) {
    if (!offered(preset.teams, team())) return `not for team ${data.teams[team()].title}`;
    for (const [name, among] of [[preset.spec, data.specs], [preset.image, data.images]]) {
      if (!name) continue;
      const why = among[name] ? obstacleOf(among[name]) : `${name} is not offered to you`;
      if (why) return why;
    }
    return "";
  }

  function showObstacle(input, why) {
    const about = byId(input.getAttribute("aria-describedby"));
    const shown = about.querySelector(".vessl-obstacle");
    input.disabled = Boolean(why);
    if (shown) shown.remove();
    if (!why) return;
    const line = document.createElement("span");
    line.className = "vessl-obstacle";
    const icon = document.createElement("i");
    icon.className = "fa fa-ban";
    icon.setAttribute("aria-hidden", "true");
    line.append(icon, ` not available: ${why}`);
    about.append(line);
  }

  function refreshOffer() {
    for (const input of all('input[name="preset"]')) {
      if (input.value) showObstacle(input, presetObstacle(data.presets[input.value]));
    }
    for (const input of all('input[name="spec"]')) {
      if (!input.value) continue;
      const spec = data.specs[input.value];
      const quote = data.teams[team()].quotes[input.value];
      const card = input.closest(".vessl-card");
      showObstacle(input, obstacleOf(spec));
      card.querySelector("[data-compute]").replaceChildren(moneyElement(quote.compute));
      const line = card.querySelector("[data-lasts]");
      line.replaceChildren(...lasts(quote, "lasts until "));
      line.hidden = input.disabled;
    }
    for (const option of all("#vessl-image option")) {
      if (!option.value) continue;
      const why = obstacleOf(data.images[option.value]);
      option.disabled = Boolean(why);
      option.textContent = option.dataset.title + (why ? ` – not available: ${why}` : "");
    }
    for (const option of all("#vessl-credential option")) {
      if (!option.value) continue;
      option.hidden = option.disabled = !offered(data.credentials[option.value], team());
      option.textContent = option.dataset.title;
      if (option.disabled) option.selected = false;
    }
    for (const row of all("[data-volume]")) {
      const volume = data.volumes[row.dataset.volume];
      const access = volume.access[team()];
      const away = volume.cluster && volume.cluster !== cluster();
      const input = row.querySelector('input[type="checkbox"]');
      showObstacle(input, access ? (away ? "on another cluster" : "") : `not for team ${data.teams[team()].title}`);
      row.querySelector('input:not([type="checkbox"])').disabled = input.disabled;
      if (access) row.querySelector("[data-access]").textContent = access;
    }
  }

  /* A choice that became impossible moves to one that is possible; what is possible stays. */
  function repairChoices() {
    const preset = checked("preset");
    if (preset && preset.disabled) byId("preset-").checked = true;
    const spec = checked("spec");
    if (spec && (!spec.value || spec.disabled)) {
      const free = all('input[name="spec"]').filter((input) => input.value && !input.disabled);
      free.sort((a, b) => data.specs[a.value].rate - data.specs[b.value].rate);
      if (free.length) free[0].checked = true;
      else spec.checked = false;
    }
    const image = byId("vessl-image");
    const option = image.selectedOptions[0];
    if (option && !("unresolved" in option.dataset) && (!option.value || option.disabled)) {
      const free = all("#vessl-image option").find((option) => option.value && !option.disabled);
      if (free) image.value = free.value;
    }
    const custom = byId("vessl-custom");
    if (!custom) return;
    delete custom.dataset.open;
    for (const control of all("input, select", custom)) control.disabled = image.value !== CUSTOM_IMAGE;
    byId("vessl-image-url").required = image.value === CUSTOM_IMAGE;
  }

  /* -- rows --------------------------------------------------------------- */

  let nextIndex = 0;

  function addRow(kind, values) {
    const index = String(nextIndex++ % 1000);
    const row = byId(`vessl-row-${kind}`).content.firstElementChild.cloneNode(true);
    for (const element of [row, ...row.querySelectorAll("*")]) {
      for (const name of ["id", "for", "name"]) {
        const value = element.getAttribute(name);
        if (value) element.setAttribute(name, value.replace("000", index));
      }
    }
    const inputs = all("input, select", row);
    (values || []).forEach((value, position) => { inputs[position].value = value; });
    form.querySelector(`[data-rows="${kind}"]`).append(row);
    return row;
  }

  const isBlank = (row) => all("input", row).every((input) => !input.value.trim());

  function setRows(kind, rows) {
    form.querySelector(`[data-rows="${kind}"]`).replaceChildren();
    rows.forEach((values) => addRow(kind, values));
  }

  function tidyRows(kind) {
    const rows = all(`[data-rows="${kind}"] [data-row]`).filter((row) => !isBlank(row));
    setRows(kind, rows.map((row) => all("input, select", row).map((input) => input.value)));
  }

  /* -- presets -------------------------------------------------------------- */

  /* `only` names the parts to take over; the rest stays as the person had it. */
  function applyPreset(only) {
    const preset = data.presets[(checked("preset") || { value: "" }).value];
    if (!preset) return;
    if (only.includes("spec") && preset.spec) byId(`spec-${preset.spec}`).checked = true;
    if (only.includes("image") && preset.image) byId("vessl-image").value = preset.image;
    if (only.includes("storage")) {
      for (const row of all("[data-volume]")) {
        const path = preset.storage[row.dataset.volume];
        row.querySelector('input[type="checkbox"]').checked = Boolean(path);
        row.querySelector('input:not([type="checkbox"])').value = path || data.volumes[row.dataset.volume].path;
      }
    }
    if (only.includes("ports")) setRows("port", preset.ports);
    if (only.includes("environment")) setRows("variable", preset.environment);
  }

  /* -- summary -------------------------------------------------------------- */

  function refreshSummary() {
    const here = data.teams[team()];
    const spec = checked("spec");
    const quote = spec && spec.value ? here.quotes[spec.value] : null;
    const image = data.images[byId("vessl-image").value];
    const own = byId("vessl-image").value === CUSTOM_IMAGE && byId("vessl-image-url").value.trim();
    const titles = [quote && data.specs[spec.value].title, own || (image && image.title)].filter(Boolean);
    byId("vessl-choice").textContent = titles.join(" · ");
    byId("vessl-compute").replaceChildren(...(quote ? [moneyElement(quote.compute)] : ["–"]));
    byId("vessl-now").replaceChildren(...(quote ? [moneyElement(quote.now)] : ["–"]));
    byId("vessl-home").replaceChildren(moneyElement(here.home));
    byId("vessl-until").replaceChildren(...(quote ? lasts(quote, "") : ["–"]));
    if (byId("vessl-credits") && here.credits) byId("vessl-credits").replaceChildren(moneyElement(here.credits));
    const temporary = quote ? data.specs[spec.value].temporary : "as large as the resource spec says";
    form.querySelector("[data-temporary]").textContent = temporary;
    byId("vessl-no-credits").hidden = !here.no_start;
    byId("vessl-no-credits").lastElementChild.textContent = here.no_start;
    byId("vessl-why-not").hidden = !here.no_start;
    byId("vessl-why-not").textContent = here.no_start;
    byId("vessl-start").disabled = Boolean(here.no_start);
    for (const [id, kind] of [["field-ports", "port"], ["field-environment", "variable"]]) {
      const count = all(`[data-rows="${kind}"] [data-row]`).filter((row) => !isBlank(row)).length;
      byId(id).querySelector("[data-count]").textContent = `(${count})`;
    }
  }

  function refresh() {
    refreshOffer();
    repairChoices();
    refreshSummary();
  }

  /* -- events ---------------------------------------------------------------- */

  form.addEventListener("change", (event) => {
    if (event.target.name === "preset") applyPreset(["spec", "image", "storage", "ports", "environment"]);
    refresh();
  });
  form.addEventListener("input", refreshSummary);
  form.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    if (button.dataset.add) addRow(button.dataset.add).querySelector("input").focus();
    if ("remove" in button.dataset) {
      const add = button.closest("details").querySelector("[data-add]");
      button.closest("[data-row]").remove();
      add.focus();
    }
    if (button.dataset.filter) {
      for (const other of all("[data-filter]")) {
        other.classList.toggle("active", other === button);
        other.setAttribute("aria-pressed", String(other === button));
      }
      for (const card of all("[data-kind]")) {
        card.hidden = button.dataset.filter !== "all" && card.dataset.kind !== button.dataset.filter;
      }
    }
    refreshSummary();
  });
  form.closest("form").addEventListener("submit", () => {
    byId("vessl-start").disabled = true;
    byId("vessl-start").textContent = "Asking for admission…";
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
  });

  /* -- start: what "as in the preset" stands for is filled in, and from now on empty means empty ------------- */

  const open = [];
  const spec = checked("spec");
  if (spec && !spec.value) open.push("spec");
  if (form.querySelector("option[data-from-preset]:checked")) open.push("image");
  const isEmptied = (section) => Boolean((byId(`none-${section}`) || {}).checked);
  const mounted = all('[data-volume] input[type="checkbox"]').some((input) => input.checked);
  tidyRows("port");
  tidyRows("variable");
  if (!mounted && !isEmptied("storage")) open.push("storage");
  if (!form.querySelector('[data-rows="port"] [data-row]') && !isEmptied("ports")) open.push("ports");
  if (!form.querySelector('[data-rows="variable"] [data-row]') && !isEmptied("environment")) open.push("environment");
  applyPreset(open);
  for (const box of all('input[name^="none."]')) box.checked = true;
  refresh();
  for (const choice of all("[data-from-preset]")) choice.remove();
  const refused = byId("vessl-refused");
  if (refused) refused.focus();
})();
