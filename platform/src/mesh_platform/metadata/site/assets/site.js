// Search as one types. Without JavaScript there is no search box; all pages can be read and reached without it.
(function () {
  "use strict";
  var root = document.body.dataset.root, entries = [], asked = false, shown = [], at = -1, MOST = 12;
  var FOLDERS = { product: "products", domain: "domains", interface: "interfaces", term: "terms", person: "people", team: "people", dashboard: "dashboards" };
  var RANK = { product: 6, term: 5, domain: 5, person: 5, team: 5, interface: 4, column: 0 };
  window.CATALOG = {
    entries: function (rows) {
      rows.forEach(function (row) { add(row[0], row[1], row[2], row[3], plain(row[3] + " " + row[4])); });
      search();
      // Columns are most of it: what is found without them shows first.
      setTimeout(read, 30, "columns.js");
    },
    columns: function (rows) {
      rows.forEach(function (row) {
        var personal = row[3] ? row[3].split(" ") : [], page = row[1] || "products/" + row[0] + ".html", of = plain(row[0]);
        row[2].split(" ").forEach(function (name) {
          if (name) add("column", name, page, row[0], personal.indexOf(name) < 0 ? of : of + " pii");
        });
      });
      search();
    }
  };
  var box = document.createElement("div"), input = document.createElement("input"), list = document.createElement("ul");
  var said = document.createElement("div");
  box.className = "find"; box.setAttribute("role", "search");
  input.type = "search"; input.placeholder = "Search   /"; input.autocomplete = "off"; input.spellcheck = false;
  set(input, { role: "combobox", "aria-label": "Search products, columns, terms and people", "aria-expanded": "false",
    "aria-controls": "found", "aria-autocomplete": "list" });
  list.id = "found"; list.hidden = true; set(list, { role: "listbox", "aria-label": "Results" });
  said.className = "sr"; said.setAttribute("aria-live", "polite");
  box.append(input, list, said);
  document.querySelector("header").append(box);

  function set(node, values) { for (var name in values) node.setAttribute(name, values[name]); }
  function add(kind, name, href, text, words) {
    var low = plain(name);
    entries.push({ kind: kind, name: name, href: href, text: text, low: low, all: low + " " + words + " " + kind });
  }
  // Most words have no accents; of a large mesh there are 40,000.
  function plain(text) {
    text = text.toLowerCase();
    return /[^\x00-\x7f]/.test(text) ? text.normalize("NFD").replace(/[\u0300-\u036f]/g, "") : text;
  }
  function load() {
    if (asked) return;
    asked = true;
    read("search.js");
  }
  function read(name) {
    var script = document.createElement("script");
    script.src = root + name;
    document.body.append(script);
  }
  function begins(text, word) {
    var place = text.indexOf(word);
    while (place > 0 && /[\p{L}\p{N}]/u.test(text[place - 1])) place = text.indexOf(word, place + 1);
    return place;
  }
  function score(entry, words) {
    var sum = RANK[entry.kind] || 0;
    for (var i = 0; i < words.length; i++) {
      var word = words[i];
      if (entry.all.indexOf(word) < 0) return -1;
      if (entry.low === word || entry.low.slice(-word.length - 1) === "." + word) sum += 60;
      else if (begins(entry.low, word) >= 0) sum += 30;
      else if (entry.low.indexOf(word) >= 0) sum += 15;
      else if (begins(entry.all, word) >= 0) sum += 6;
      else sum += 1;
    }
    return sum * 1000 - entry.name.length;
  }
  function search() {
    var words = plain(input.value).split(/\s+/).filter(Boolean), best = [];
    if (!words.length) return close();
    entries.forEach(function (entry) {
      var sum = score(entry, words);
      if (sum < 0 || (best.length === MOST && sum <= best[MOST - 1][0])) return;
      var place = best.length;
      while (place > 0 && best[place - 1][0] < sum) place--;
      best.splice(place, 0, [sum, entry]);
      if (best.length > MOST) best.pop();
    });
    shown = best.map(function (each) { return each[1]; });
    list.replaceChildren.apply(list, shown.map(function (entry, number) {
      var item = document.createElement("li"), kind = document.createElement("i"), small = document.createElement("small");
      item.id = "found-" + number;
      set(item, { role: "option", "aria-selected": "false" });
      kind.textContent = entry.kind; small.textContent = entry.text;
      item.append(kind, entry.name, small);
      item.addEventListener("mousedown", function (event) { event.preventDefault(); go(number); });
      return item;
    }));
    list.hidden = !shown.length;
    input.setAttribute("aria-expanded", String(!list.hidden));
    said.textContent = shown.length ? shown.length + (shown.length === 1 ? " result" : " results") : entries.length ? "No result" : "";
    choose(shown.length ? 0 : -1);
  }
  function choose(number) {
    at = number;
    Array.prototype.forEach.call(list.children, function (item, each) {
      item.setAttribute("aria-selected", String(each === number));
      if (each === number) item.scrollIntoView({ block: "nearest" });
    });
    if (number < 0) input.removeAttribute("aria-activedescendant");
    else input.setAttribute("aria-activedescendant", "found-" + number);
  }
  function close() {
    list.hidden = true; list.replaceChildren(); shown = []; at = -1; said.textContent = "";
    input.setAttribute("aria-expanded", "false"); input.removeAttribute("aria-activedescendant");
  }
  function go(number) {
    var entry = shown[number];
    if (entry) location.href = root + (entry.href || FOLDERS[entry.kind] + "/" + entry.name + ".html");
  }
  input.addEventListener("focus", load);
  input.addEventListener("input", function () { load(); search(); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", function (event) {
    if (event.key === "ArrowDown" && shown.length) choose((at + 1) % shown.length);
    else if (event.key === "ArrowUp" && shown.length) choose((at + shown.length - 1) % shown.length);
    else if (event.key === "Enter") go(at);
    else if (event.key === "Escape") { input.value = ""; close(); }
    else return;
    event.preventDefault();
  });
  document.addEventListener("keydown", function (event) {
    var busy = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement.tagName);
    if (event.key === "/" && !busy && !event.ctrlKey && !event.metaKey && !event.altKey) { event.preventDefault(); input.focus(); }
  });
})();
