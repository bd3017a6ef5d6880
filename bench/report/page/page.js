"use strict";
// Makes the tables sortable and filterable, unpacks the records, and opens the one that a link leads to. Without it the
// tables, figures and texts still read.
(() => {
  const words = JSON.parse(document.getElementById("words").textContent);
  const collator = new Intl.Collator(document.documentElement.lang, { numeric: true });
  const FILTERED_FROM = 6; // rows: fewer are seen at a glance
  const CHOICES = 12; // distinct texts that a column may have to be offered as a choice

  const fill = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);
  const folded = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();
  const shown = (cell) => cell.textContent.replace(/\s+/g, " ").trim();

  function element(name, properties, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  /** Orders rows by one column; what has no value stands last in either direction. */
  function comparison(column, isNumber, sign) {
    const key = (row) => {
      const cell = row.cells[column];
      return isNumber ? (cell.dataset.value === undefined ? null : Number(cell.dataset.value)) : shown(cell) || null;
    };
    const keys = new Map();
    const of = (row) => (keys.has(row) ? keys.get(row) : keys.set(row, key(row)).get(row));
    return (left, right) => {
      const [a, b] = [of(left), of(right)];
      if (a === null || b === null) return (a === null) - (b === null);
      return sign * (isNumber ? a - b : collator.compare(a, b));
    };
  }

  function equip(table) {
    const body = table.tBodies[0];
    const original = [...body.rows];
    const headers = [...table.tHead.rows[0].cells];
    const status = element("output", { htmlFor: table.id });
    const tests = new Map(); // control -> which rows it lets pass
    let order = "";

    function tell() {
      const count = original.filter((row) => !row.hidden).length;
      status.textContent = fill(words.shown, { shown: count, all: original.length }) + order;
    }

    function filter() {
      for (const row of original) row.hidden = ![...tests.values()].every((test) => test(row));
      tell();
    }

    function sort(header, column) {
      const next = { none: "ascending", ascending: "descending", descending: "none" }[header.ariaSort];
      for (const other of headers) if (other.ariaSort) other.ariaSort = "none";
      header.ariaSort = next;
      const isNumber = header.classList.contains("number");
      const sign = next === "descending" ? -1 : 1;
      body.append(...(next === "none" ? original : [...original].sort(comparison(column, isNumber, sign))));
      order = next === "none" ? "" : fill(words[next], { column: header.dataset.name });
      tell();
    }

    function search() {
      const input = element("input", { type: "search", autocomplete: "off", spellcheck: false });
      input.addEventListener("input", () => {
        const wanted = folded(input.value).split(/\s+/).filter(Boolean);
        tests.set(input, (row) => wanted.every((word) => folded(shown(row)).includes(word)));
        filter();
      });
      return element("label", {}, words.search, input);
    }

    function choice(header, column) {
      const found = [...new Set(original.map((row) => shown(row.cells[column])))].filter(Boolean);
      if (found.length < 2 || found.length > CHOICES) return null;
      const select = element("select", {}, new Option(words.all, ""));
      select.append(...found.sort(collator.compare).map((text) => new Option(text, text)));
      select.addEventListener("change", () => {
        tests.set(select, (row) => !select.value || shown(row.cells[column]) === select.value);
        filter();
      });
      return element("label", {}, header.dataset.name, select);
    }

    if (original.length < 2) return;
    headers.forEach((header, column) => {
      header.ariaSort = "none";
      const button = element("button", { type: "button", title: header.title });
      button.append(...header.childNodes);
      button.addEventListener("click", () => sort(header, column));
      const printed = element("span", { className: "printed" }); // browsers repeat no header that holds a button
      printed.append(...[...button.childNodes].map((node) => node.cloneNode(true)));
      header.append(button, printed);
    });
    const tools = element("div", { className: "tools" });
    if (original.length >= FILTERED_FROM) {
      const choices = headers.map((h, i) => (h.classList.contains("choice") ? choice(h, i) : null));
      tools.append(search(), ...choices.filter(Boolean));
      tools.role = "search";
      tools.ariaLabel = fill(words.filter, { table: table.dataset.name });
    }
    tools.append(status);
    table.closest(".scroll").before(tools);
    tell();
  }

  /** Lets a narrow window show each row as a list, in which every cell has its column's name before it. */
  function label(table) {
    const names = [...table.tHead.rows[0].cells].map((header) => header.querySelector(".name").textContent);
    for (const row of table.tBodies[0].rows) {
      [...row.cells].forEach((cell, column) => {
        cell.dataset.label = shown(cell) && names[column];
      });
    }
    table.classList.add("labelled");
  }

  /** Opens the record that the address's fragment names, as older browsers do not, and puts the focus there. */
  function follow() {
    let name;
    try {
      name = decodeURIComponent(location.hash.slice(1));
    } catch {
      return; // not an address that this page gave
    }
    const details = document.getElementById(name)?.closest("details");
    if (!details) return;
    details.open = true;
    details.querySelector("summary").focus({ preventScroll: true });
    details.scrollIntoView();
  }

  let records = null; // a promise of all texts, once one is asked for
  async function unpacked() {
    const bytes = Uint8Array.from(atob(document.getElementById("packed").textContent), (letter) => letter.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  }

  const places = [...document.querySelectorAll("pre.record")];
  places.forEach((place, number) => {
    place.closest("details").addEventListener("toggle", async () => {
      records ??= unpacked();
      place.textContent = (await records)[number];
    }, { once: true });
  });

  const tables = document.querySelectorAll("table.sortable");
  tables.forEach(label);
  tables.forEach(equip);
  addEventListener("hashchange", follow);
  follow();
})();
