"use strict";
for (const table of document.querySelectorAll("table.sorted")) {
  const heads = table.tHead.rows[0].cells;
  const worth = (row, at) => {
    const exact = row.cells[at].querySelector("data");
    const told = exact === null ? row.cells[at].textContent : exact.value;
    const number = told === "" ? -1 : Number(told);
    return exact === null || Number.isNaN(number) ? told : number;
  };
  for (const [at, head] of [...heads].entries()) {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") !== "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      const rows = [...table.tBodies[0].rows].map((row) => [worth(row, at), row]);
      rows.sort(([a], [b]) => (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b))));
      table.tBodies[0].append(...(down ? rows.reverse() : rows).map(([, row]) => row));
    });
  }
}
