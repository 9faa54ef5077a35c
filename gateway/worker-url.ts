/**
 * Where a worker's code lies: beside its source (`gateway/<path>.ts`) when the program runs from source, beside the bundle
 * (`<name>.mjs`, without folders) when it is installed.
 */
export function workerUrl(path: string): URL {
  if (import.meta.url.endsWith(".ts")) return new URL(`./${path}.ts`, import.meta.url);
  return new URL(`./${path.slice(path.lastIndexOf("/") + 1)}.mjs`, import.meta.url);
}
