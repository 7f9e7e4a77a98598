"use strict";
// Each chart stands in the page once for each choice of the filters that it has; `data-for` says for which.
const filters = [...document.querySelectorAll("select")];
function show() {
  const chosen = filters.map((each) => each.value);
  for (const each of document.querySelectorAll("[data-for]")) {
    const wanted = each.dataset.for.split(" ");
    each.hidden = !wanted.every((choice, number) => choice === "*" || choice === chosen[number]);
  }
}
document.querySelector("#filters").hidden = false;
filters.forEach((each) => each.addEventListener("change", show));
show();
