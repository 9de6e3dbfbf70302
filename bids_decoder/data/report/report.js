"use strict";
/* Everything on the page can be read without this file; it adds sorting, filters and downloads. */
(() => {
  const make = (tag, properties = {}, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const textOf = (cell) => cell.textContent.replace(/\s+/g, " ").trim();
  const numberOf = (text) => {
    const found = text.replace(/[,\u00a0 ]/g, "").match(/^[+\u2212-]?\d*\.?\d+(e[+-]?\d+)?/i);
    return found ? Number(found[0].replace("\u2212", "-")) : NaN;
  };
  const save = (name, content) => {
    const link = make("a", { download: name });
    link.href = content instanceof Blob ? URL.createObjectURL(content) : content;
    link.click();
  };

  /* Light and dark. */
  const setTheme = (theme) => { document.documentElement.style.colorScheme = theme; };
  const remember = {
    get() { try { return localStorage.getItem("theme"); } catch { return null; } },
    set(theme) { try { localStorage.setItem("theme", theme); } catch { /* Not kept. */ } },
  };
  const isDark = () => {
    const chosen = document.documentElement.style.colorScheme;
    return chosen ? chosen === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  };
  const addThemeButton = () => {
    if (remember.get()) setTheme(remember.get());
    const button = make("button", { type: "button", className: "theme", textContent: "Dark or light" });
    button.addEventListener("click", () => {
      const theme = isDark() ? "light" : "dark";
      setTheme(theme);
      remember.set(theme);
    });
    document.querySelector("header.top").append(button);
  };

  /* Tables. */
  const compare = (column, sign) => (first, second) => {
    const [a, b] = [first, second].map((row) => textOf(row.cells[column]));
    const [x, y] = [numberOf(a), numberOf(b)];
    if (!Number.isNaN(x) && !Number.isNaN(y)) return sign * (x - y);
    if (Number.isNaN(x) !== Number.isNaN(y)) return Number.isNaN(x) ? 1 : -1;
    return sign * a.localeCompare(b, undefined, { numeric: true });
  };
  const sortBy = (table, head, column) => {
    const down = head.getAttribute("aria-sort") === "ascending";
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    table.tBodies[0].append(...[...table.tBodies[0].rows].sort(compare(column, down ? -1 : 1)));
  };
  const addSorting = (table) => {
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      const button = make("button", { type: "button", className: "sort" }, ...head.childNodes);
      if (!textOf(button)) button.setAttribute("aria-label", "Sort by the first column");
      button.addEventListener("click", () => sortBy(table, head, column));
      head.append(button);
    });
  };
  /* Values in double quotes may hold semicolons. */
  const termsOf = (text) => (text.match(/(?:[^;"]|"[^"]*"?)+/g) || []).filter((term) => term.trim());
  const bare = (text) => text.trim().replace(/^"(.*)"$/, "$1");
  const matches = (row, names, term) => {
    const at = term.indexOf("=");
    const [name, value] = [term.slice(0, Math.max(at, 0)), term.slice(at + 1)];
    const column = at < 0 ? -1 : names.indexOf(name.trim());
    if (column >= 0) return textOf(row.cells[column]).toLowerCase() === bare(value);
    return textOf(row).toLowerCase().includes(bare(term));
  };
  const applyFilter = (table, input, count) => {
    const names = [...table.tHead.rows[0].cells].map((head) => textOf(head).toLowerCase());
    const terms = termsOf(input.value.toLowerCase());
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !terms.every((term) => matches(row, names, term));
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  const addFilter = (table, bar) => {
    const input = make("input", { type: "search", placeholder: "text; column=value" });
    input.setAttribute("aria-label", `Filter rows: ${table.dataset.name}`);
    const count = make("span", { className: "count" });
    count.setAttribute("role", "status");
    const update = () => applyFilter(table, input, count);
    input.addEventListener("input", update);
    table.addEventListener("filter", (event) => { input.value = event.detail; update(); });
    bar.append(input);
    if (table.dataset.quick) {
      const [title, term] = table.dataset.quick.split("|");
      const button = make("button", { type: "button", textContent: title });
      button.setAttribute("aria-pressed", "false");
      button.addEventListener("click", () => {
        const on = button.getAttribute("aria-pressed") !== "true";
        button.setAttribute("aria-pressed", String(on));
        input.value = on ? term : "";
        update();
      });
      bar.append(button);
    }
    bar.append(count);
  };
  const saveTable = (table) => {
    const lines = [...table.rows].map((row) => [...row.cells].map(textOf).join("\t"));
    save(`${table.dataset.name.replace(/[^A-Za-z0-9]+/g, "-")}.tsv`,
      new Blob([`${lines.join("\n")}\n`], { type: "text/tab-separated-values" }));
  };
  const addTableTools = (table) => {
    const bar = make("div", { className: "tools" });
    if (table.classList.contains("sortable")) {
      addSorting(table);
      if (table.tBodies[0].rows.length > 12) addFilter(table, bar);
    }
    const button = make("button", { type: "button", textContent: "TSV" });
    button.setAttribute("aria-label", `Download as TSV: ${table.dataset.name}`);
    button.addEventListener("click", () => saveTable(table));
    bar.append(button);
    table.closest(".scroll").before(bar);
  };

  /* Figures. */
  const svgAddress = (sheet) => {
    const drawn = sheet.querySelector("svg");
    if (drawn) {
      const text = new XMLSerializer().serializeToString(drawn);
      return `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
    }
    const source = sheet.querySelector("img").src;
    return source.startsWith("data:image/svg") ? source : null;
  };
  const savePng = (sheet, name) => {
    const shown = sheet.querySelector("svg, img");
    const image = new Image();
    image.addEventListener("load", () => {
      const box = shown.viewBox?.baseVal;
      const [width, height] = box ? [box.width, box.height] : [image.naturalWidth, image.naturalHeight];
      const scale = svgAddress(sheet) ? 2 : 1;
      const canvas = make("canvas", { width: width * scale, height: height * scale });
      const context = canvas.getContext("2d");
      context.fillStyle = "#fff";
      context.fillRect(0, 0, canvas.width, canvas.height);
      context.drawImage(image, 0, 0, canvas.width, canvas.height);
      save(`${name}.png`, canvas.toDataURL("image/png"));
    });
    image.src = svgAddress(sheet) || shown.src;
  };
  const addFigureTools = (figure) => {
    const sheet = figure.querySelector(".sheet");
    const bar = make("div", { className: "tools" });
    const add = (title, act) => {
      const button = make("button", { type: "button", textContent: title });
      button.setAttribute("aria-label", `Download as ${title}: ${figure.dataset.name}`);
      button.addEventListener("click", act);
      bar.append(button);
    };
    if (svgAddress(sheet)) add("SVG", () => save(`${figure.dataset.name}.svg`, svgAddress(sheet)));
    add("PNG", () => savePng(sheet, figure.dataset.name));
    figure.append(bar);
  };

  /* Drawings whose marks say what they are, by mouse and by arrow keys. */
  const addMarks = (drawing) => {
    const marks = [...drawing.querySelectorAll("[data-said]")];
    const line = make("p", { className: "said", textContent: drawing.dataset.hint });
    line.setAttribute("role", "status");
    drawing.closest(".sheet").append(line);
    const tell = (mark) => { line.textContent = mark.dataset.said; };
    const step = Number(drawing.dataset.columns) || marks.length;
    const moves = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: step, ArrowUp: -step };
    const filter = (mark) => {
      const table = document.getElementById(`${drawing.dataset.table}-table`);
      if (!table || !mark.dataset.filter) return;
      table.dispatchEvent(new CustomEvent("filter", { detail: mark.dataset.filter }));
      table.closest(".scroll").scrollIntoView({ block: "nearest" });
    };
    let place = -1;
    for (const mark of marks) {
      mark.addEventListener("mouseenter", () => tell(mark));
      mark.addEventListener("click", () => filter(mark));
    }
    const go = (next) => {
      marks[place]?.classList.remove("here");
      place = next;
      marks[place].classList.add("here");
      tell(marks[place]);
    };
    drawing.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && place >= 0) filter(marks[place]);
      if (!(event.key in moves)) return;
      event.preventDefault();
      const next = place < 0 ? 0 : place + moves[event.key];
      if (next >= 0 && next < marks.length) go(next);
    });
  };

  addThemeButton();
  document.querySelectorAll("table[data-name]").forEach(addTableTools);
  document.querySelectorAll("figure[data-name]").forEach(addFigureTools);
  document.querySelectorAll("svg.marks").forEach(addMarks);
})();
