import type { ObjectInfo, Objects } from "./ports.ts";

/** Every object under a prefix, in byte order, page by page. */
export async function* listAll(
  objects: Pick<Objects, "list">,
  prefix: string,
  options: { readonly after?: string } = {},
): AsyncGenerator<ObjectInfo> {
  const limit = 1000;
  let after = options.after;
  for (;;) {
    const page = await objects.list(prefix, after === undefined ? { limit } : { after, limit });
    yield* page;
    const last = page.at(-1);
    if (last === undefined || page.length < limit) return;
    after = last.key;
  }
}
