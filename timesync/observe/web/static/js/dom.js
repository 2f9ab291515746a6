// Elements and their texts. What the daemon says gets on the page as text alone, never as markup.

export const $ = (id) => document.getElementById(id);

export function h(name, attributes = {}, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "class") made.className = value;
    else if (value !== null && value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((one) => one !== null && one !== undefined));
  return made;
}

export function svg(name, attributes = {}, ...children) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  made.append(...children);
  return made;
}

/** Change a text only where it differs: a selection or a screen reader is not disturbed for nothing. */
export function say(node, text) {
  const said = text === null || text === undefined ? "" : String(text);
  if (node.textContent !== said) node.textContent = said;
}

export function dress(node, name) {
  if (node.className !== name) node.className = name;
}

/** What is remembered of the reader's wishes, where that is allowed. */
export const wishes = {
  get(key) { try { return localStorage.getItem(`timesync-${key}`); } catch { return null; } },
  set(key, value) { try { localStorage.setItem(`timesync-${key}`, value); } catch { /* not remembered */ } },
};

/**
 * A table whose rows stay the same elements as their contents change.
 * Columns: {title, term, cell(row) -> text or {text, class, title, node}, wide}.
 */
export class Table {
  constructor(table, columns, term) {
    this.columns = columns;
    this.rows = new Map();
    const head = h("tr", {}, ...columns.map((one) => h("th", { scope: "col" }, one.term ? term(one.term, one.title) : one.title)));
    this.body = h("tbody");
    table.replaceChildren(h("thead", {}, head), this.body);
  }

  show(items, key) {
    const seen = new Set();
    items.forEach((item, index) => {
      const name = key(item);
      seen.add(name);
      let row = this.rows.get(name);
      if (row === undefined) {
        row = h("tr", {}, ...this.columns.map((one) => h("td", { "data-title": one.title })));
        this.rows.set(name, row);
      }
      if (this.body.children[index] !== row) this.body.insertBefore(row, this.body.children[index] ?? null);
      this.columns.forEach((column, at) => this.fill(row.children[at], column.cell(item)));
    });
    for (const [name, row] of this.rows) {
      if (!seen.has(name)) { row.remove(); this.rows.delete(name); }
    }
  }

  fill(cell, shown) {
    const value = shown !== null && typeof shown === "object" ? shown : { text: shown };
    dress(cell, value.class ?? "");
    if (value.parts) {
      while (cell.children.length < value.parts.length) cell.append(h("span"));
      while (cell.children.length > value.parts.length) cell.lastChild.remove();
      value.parts.forEach((part, at) => {
        dress(cell.children[at], part.class ?? "");
        say(cell.children[at], part.text);
        if (part.label) { cell.children[at].setAttribute("role", "img"); cell.children[at].setAttribute("aria-label", part.label); }
      });
    } else say(cell, value.text);
  }
}
