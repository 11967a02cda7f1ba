// Building and updating the page.
//
// Data reaches the document only as text nodes and attribute values: names, tags and logs are whatever a submitter wrote, so no
// function here parses HTML. Updates compare before they write, so an unchanged row keeps its selection, focus and layout.

/** An element. Properties starting with `on` are listeners, `null` and `false` are left out, the rest are attributes. */
export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else setAttribute(node, name, value);
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** The first line of a card: its title, then what else belongs there. */
export function cardHead(title, ...others) {
  return el("header", { class: "card-head" }, el("h2", {}, title), ...others);
}

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (value === null || value === undefined || value === false) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
    return;
  }
  const text = value === true ? "" : String(value);
  if (node.getAttribute(name) !== text) node.setAttribute(name, text);
}

const shownKeys = new WeakMap();

/** Replaces the children by those that `build` makes, only if `key` differs from that of the last call. */
export function replaceIfChanged(node, key, build) {
  if (shownKeys.get(node) === key) return;
  shownKeys.set(node, key);
  node.replaceChildren(...build());
}

/**
 * Makes `parent` show `items` in order, one view for each key, touching only what changed.
 *
 * `views` is a Map that the caller keeps: key → {node, update(item)}. `create(item)` makes a view.
 */
export function reconcile(parent, views, items, keyOf, create) {
  const keys = new Set(items.map(keyOf));
  for (const [key, view] of views) {
    if (keys.has(key)) continue;
    view.node.remove();
    views.delete(key);
  }
  const focused = parent.contains(document.activeElement) ? document.activeElement : null;
  let place = parent.firstElementChild;
  for (const item of items) {
    const key = keyOf(item);
    let view = views.get(key);
    if (view === undefined) {
      view = create(item);
      views.set(key, view);
    }
    view.update(item);
    if (view.node === place) place = place.nextElementSibling;
    else parent.insertBefore(view.node, place);
  }
  // An element that is moved loses the focus.
  if (focused !== null && focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}
