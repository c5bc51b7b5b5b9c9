/* The report's page: tables that sort and filter, figures drawn when they come into view, data as CSV. */
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const dark = matchMedia("(prefers-color-scheme: dark)");

  /* CSV */

  const csvCell = (value) => {
    const text = value === null ? "" : String(value);
    return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };

  const save = (name, { fields, rows }) => {
    const text = [fields, ...rows].map((row) => row.map(csvCell).join(",")).join("\n");
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([`${text}\n`], { type: "text/csv" }));
    link.download = `${name}.csv`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  for (const source of [...data.figures, ...data.tables]) {
    const button = document.getElementById(source.id).querySelector(".csv");
    button.addEventListener("click", () => save(button.dataset.name, source));
  }

  /* Tables */

  const valueOf = (row, column) => {
    const cell = row.cells[column];
    if (cell.dataset.value === undefined) return cell.textContent;
    return cell.dataset.value === "" ? undefined : Number(cell.dataset.value);
  };

  /* What has no value stays at the end in both directions. */
  const compare = (left, right, sign) => {
    if (left === undefined || right === undefined) return (left === undefined ? 1 : 0) - (right === undefined ? 1 : 0);
    if (typeof left === "number") return sign * (left - right);
    return sign * left.localeCompare(right, undefined, { numeric: true });
  };

  const sortBy = (table, column) => {
    const headers = [...table.tHead.rows[0].cells];
    const header = headers[column];
    const isNumeric = header.classList.contains("number");
    const before = header.ariaSort;
    const order = before === null ? (isNumeric ? "descending" : "ascending") : before === "ascending" ? "descending" : "ascending";
    for (const each of headers) each.ariaSort = null;
    header.ariaSort = order;
    const body = table.tBodies[0];
    const rows = [...body.rows];
    const sign = order === "ascending" ? 1 : -1;
    rows.sort((left, right) => compare(valueOf(left, column), valueOf(right, column), sign));
    body.append(...rows);
  }; // prettier-ignore

  const filter = (table, text, output) => {
    const wanted = text.trim().toLowerCase();
    const rows = [...table.tBodies[0].rows];
    for (const row of rows) row.hidden = !row.textContent.toLowerCase().includes(wanted);
    const left = rows.filter((row) => !row.hidden).length;
    output.textContent = wanted === "" ? "" : `${left} of ${rows.length} rows`;
  };

  for (const { id } of data.tables) {
    const place = document.getElementById(id);
    const table = place.querySelector("table");
    place.querySelectorAll("th button").forEach((button, column) => {
      button.addEventListener("click", () => sortBy(table, column));
    });
    const output = place.querySelector("output");
    place.querySelector("input").addEventListener("input", ({ target }) => filter(table, target.value, output));
  }

  /* Figures */

  const objects = ({ fields, rows }) =>
    rows.map((row) => Object.fromEntries(fields.map((name, at) => [name, row[at]])));

  /* So many marks are quicker as a canvas. */
  const canvasFrom = 1500;
  const drawn = new Map();

  /* The charting library is most of the file: it is run with the first figure, not while the page opens. */
  const loadLibrary = () => {
    for (const packed of document.querySelectorAll("script.library")) {
      const script = document.createElement("script");
      script.textContent = packed.textContent;
      packed.replaceWith(script);
    }
  };

  const draw = async (figure) => {
    loadLibrary();
    const plot = document.getElementById(figure.id).querySelector(".plot");
    const before = drawn.get(figure.id);
    const label = document.getElementById(`${figure.id}-title`).textContent;
    const spec = {
      $schema: "https://vega.github.io/schema/vega-lite/v6.json",
      description: label,
      ...figure.spec,
      data: { values: objects(figure) },
    };
    const legendColumns = Math.max(1, Math.min(6, Math.floor(plot.clientWidth / 150)));
    const config = structuredClone(data.configs[dark.matches ? "dark" : "light"]);
    config.legend.columns = legendColumns;
    try {
      const result = await vegaEmbed(plot, spec, {
        mode: "vega-lite",
        config,
        renderer: figure.rows.length >= canvasFrom ? "canvas" : "svg",
        tooltip: { theme: dark.matches ? "dark" : "light" },
        actions: { export: true, source: false, compiled: false, editor: false },
        downloadFileName: document.getElementById(figure.id).querySelector(".csv").dataset.name,
      });
      before?.finalize();
      drawn.set(figure.id, result);
      plot.querySelector("summary")?.setAttribute("aria-label", `Save as a picture: ${label}`);
      plot.dataset.state = "drawn";
    } catch (error) {
      plot.dataset.state = "failed";
      plot.textContent = `This figure could not be drawn: ${error.message}`;
    }
  };

  const byElement = new Map(data.figures.map((figure) => [document.getElementById(figure.id), figure]));
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting) continue;
        watcher.unobserve(target);
        void draw(byElement.get(target));
      }
    },
    { rootMargin: "400px" },
  );
  for (const element of byElement.keys()) watcher.observe(element);

  const drawAll = () => Promise.all(data.figures.map(draw));
  addEventListener("beforeprint", () => void drawAll());
  dark.addEventListener("change", () => {
    for (const figure of data.figures) if (drawn.has(figure.id)) void draw(figure);
  });
})();
