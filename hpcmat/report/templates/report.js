"use strict";
(function () {
  const root = document.documentElement;
  const plots = [];

  for (const holder of document.querySelectorAll("[data-figure]")) {
    const source = JSON.parse(document.getElementById(holder.dataset.figure).textContent);
    plots.push(holder);
    Plotly.newPlot(holder, source.data, source.layout, {
      responsive: true, displaylogo: false,
      modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]],
      toImageButtonOptions: { format: "svg", filename: holder.dataset.figure },
    });
  }

  const toggle = document.getElementById("theme");
  toggle.hidden = false;
  toggle.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
  });

  window.addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details[data-print]")) details.open = true;
    for (const plot of plots) Plotly.relayout(plot, { width: 660 });
  });
  window.addEventListener("afterprint", () => {
    for (const plot of plots) Plotly.relayout(plot, { width: null, autosize: true });
  });

  function cellValue(row, column) {
    const cell = row.cells[column];
    const value = cell.dataset.value === undefined ? cell.textContent.trim() : cell.dataset.value;
    const number = Number(value);
    return value !== "" && Number.isFinite(number) ? number : value;
  }

  function compare(a, b) {
    if (a === b) return 0;
    if (a === "") return 1;
    if (b === "") return -1;
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), undefined, { numeric: true });
  }

  for (const block of document.querySelectorAll("[data-table]")) {
    const table = block.querySelector("table");
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const search = block.querySelector("input");
    const choice = block.querySelector("select");
    const all = block.querySelector("[data-all]");
    const count = block.querySelector("[data-count]");
    let limit = Number(block.dataset.table);

    function show() {
      const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      let found = 0, shown = 0;
      for (const row of body.rows) {
        const text = row.textContent.toLowerCase();
        const fits = (!choice.value || row.dataset.purpose === choice.value) && words.every((word) => text.includes(word));
        found += fits;
        const visible = fits && found <= limit;
        shown += visible;
        row.classList.toggle("hidden", !visible);
      }
      count.textContent = shown === rows.length ? `${rows.length} rows` : `${shown} of ${found} found, ${rows.length} in all`;
      all.hidden = found <= limit;
    }

    search.addEventListener("input", show);
    choice.addEventListener("change", show);
    all.addEventListener("click", () => { limit = Infinity; show(); });
    table.tHead.addEventListener("click", (event) => {
      const head = event.target.closest("th");
      if (!event.target.closest("button")) return;
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const column = head.cellIndex;
      rows.sort((a, b) => (up ? 1 : -1) * compare(cellValue(a, column), cellValue(b, column)));
      body.append(...rows);
      show();
    });
    block.querySelector(".controls").hidden = false;
    show();
  }
  root.dataset.ready = "yes";
})();
