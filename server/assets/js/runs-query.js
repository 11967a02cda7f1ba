// The query of the page of runs: what stands in the address after `#/?` is the query of `GET /v1/runs`, and a named view is such a query.
// Pure functions, so that they can be tested by calling them.

/** The filters, of which all must hold; those of `MANY` may be given several times. */
export const FILTERS = [
  "q", "state", "kind", "project", "tag", "archived", "optimizer", "network", "metric", "created_after", "created_before", "job",
];
const MANY = new Set(["tag", "metric"]);
export const NEWEST = "-created";

/** The query without place and page size: what the first page is asked with, and what a view keeps. */
export function viewQuery(query) {
  const kept = [...FILTERS, "sort"].flatMap((name) => query.getAll(name).map((value) => [name, value]));
  const meant = kept.filter(([name, value]) => (value !== "" || name === "project") && !(name === "sort" && value === NEWEST));
  return new URLSearchParams(meant.filter(([name, value]) => !(name === "archived" && value === "false")));
}

/** The first page of the query with one parameter set anew; `""` takes it away. Of `MANY`, all are replaced by these lines. */
export function withParameter(query, name, value) {
  const next = viewQuery(query);
  next.delete(name);
  const values = Array.isArray(value) ? value : [value];
  for (const item of values) if (item !== "" && item !== null) next.append(name, item);
  return viewQuery(next);
}

/** The order that a query asks for: `{key, descending}`. */
export function readSort(query) {
  const sort = query.get("sort") ?? NEWEST;
  return sort.startsWith("-") ? { key: sort.slice(1), descending: true } : { key: sort, descending: false };
}

export function writeSort({ key, descending }) {
  return descending ? `-${key}` : key;
}

/** The name and the statistic of a sort key `metric.NAME.last`, or null. */
export function sortedMetric(key) {
  const match = /^metric\.(.+)\.(last|min|max)$/.exec(key);
  return match ? { name: match[1], statistic: match[2] } : null;
}

/** The address of the page with this query. */
export function address(query) {
  const text = query.toString();
  return text ? `#/?${text}` : "#/";
}

/** Whether a query narrows the list down. */
export function isFiltered(query) {
  return FILTERS.some((name) => viewQuery(query).has(name));
}
